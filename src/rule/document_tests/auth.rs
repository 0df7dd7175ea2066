//! How a target is shown who sends: credentials, certificates, and what these leave no room for.

use super::*;

#[test]
fn auth_is_one_way_with_its_secret_by_name() {
    for good in [
        r#"{"basic": {"username": "u", "password": {"secret": "p"}}}"#,
        r#"{"basic": {"username": "", "password": {"secret": "p"}}}"#,
        r#"{"bearer": {"secret": "t"}}"#,
        r#"{"api_key": {"in": "header", "name": "X-Api-Key", "value": {"secret": "k"}}}"#,
        r#"{"api_key": {"in": "query", "name": "api key", "value": {"secret": "k"}}}"#,
        r#"{"oauth2": {"token_url": "https://t/", "client_id": "c", "client_secret": {"secret": "s"}}}"#,
        r#"{"oauth2": {"token_url": "https://t/", "client_id": "c", "client_secret": {"secret": "s"}, "scope": "a b", "audience": "https://api", "client_auth": "body"}}"#,
    ] {
        check_target(&format!(r#""auth": {good}"#), &[]);
    }
    let oauth2 = |fields: &str| {
        format!(
            r#"{{"oauth2": {{"token_url": "https://t/", "client_id": "c", "client_secret": {{"secret": "s"}}, {fields}}}}}"#
        )
    };
    let long = "x".repeat(1025);
    for (bad, pointer, part) in [
        ("{}", "", "needs one of"),
        (
            r#"{"bearer": {"secret": "a"}, "basic": {}}"#,
            "",
            "keep the one",
        ),
        (
            r#"{"bearre": {"secret": "a"}}"#,
            "/bearre",
            "did you mean `bearer`?",
        ),
        (
            r#"{"bearer": "hunter2"}"#,
            "/bearer",
            "names a secret and does not hold it",
        ),
        (r#"{"bearer": {}}"#, "/bearer", "needs `secret`"),
        (
            r#"{"bearer": {"secret": "a b"}}"#,
            "/bearer/secret",
            "a secret's name",
        ),
        (
            r#"{"basic": {"password": {"secret": "p"}}}"#,
            "/basic",
            "needs `username`",
        ),
        (
            r#"{"basic": {"username": "u"}}"#,
            "/basic",
            "needs `password`",
        ),
        (
            r#"{"basic": {"username": "a:b", "password": {"secret": "p"}}}"#,
            "/basic/username",
            "a colon",
        ),
        (
            r#"{"basic": {"username": "a\nb", "password": {"secret": "p"}}}"#,
            "/basic/username",
            "control",
        ),
        (
            &format!(r#"{{"basic": {{"username": "{long}", "password": {{"secret": "p"}}}}}}"#),
            "/basic/username",
            "0 to 1024 bytes",
        ),
        (
            r#"{"api_key": {"in": "cookie", "name": "k", "value": {"secret": "k"}}}"#,
            "/api_key/in",
            "one of `header` and `query`",
        ),
        (
            r#"{"api_key": {"in": "header", "name": "ce-id", "value": {"secret": "k"}}}"#,
            "/api_key/name",
            "cannot be set",
        ),
        (
            r#"{"api_key": {"in": "header", "name": "a b", "value": {"secret": "k"}}}"#,
            "/api_key/name",
            "no header name",
        ),
        (
            r#"{"api_key": {"in": "query", "name": "", "value": {"secret": "k"}}}"#,
            "/api_key/name",
            "1 to 1024",
        ),
        (
            &oauth2(r#""client_auth": "post""#),
            "/oauth2/client_auth",
            "`basic` and `body`",
        ),
        (&oauth2(r#""scope": """#), "/oauth2/scope", "1 to 1024"),
        (&oauth2(r#""audience": 1"#), "/oauth2/audience", "a string"),
        (
            r#"{"oauth2": {"token_url": "/x", "client_id": "", "client_secret": 1}}"#,
            "/oauth2/token_url",
            "whole URL",
        ),
    ] {
        let text = format!(r#""auth": {bad}"#);
        let problems = RuleDocument::parse(&with_target(&text)).unwrap_err();
        let pointer = format!("/targets/0/auth{pointer}");
        let found = problems.iter().find(|problem| problem.pointer == pointer);
        let detail = &found
            .unwrap_or_else(|| panic!("{bad}: {problems:?}"))
            .detail;
        assert!(detail.contains(part), "{bad}: {detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
    }
}

#[test]
fn what_auth_sets_is_set_nowhere_else() {
    check_target(
        r#""headers": {"Authorization": "x"}, "auth": {"bearer": {"secret": "t"}}"#,
        &[(
            "/targets/0/auth",
            "`authorization`, and so does `headers`; remove it",
        )],
    );
    check_target(
        r#""headers": {"x-key": "x"}, "auth": {"api_key": {"in": "header", "name": "X-Key", "value": {"secret": "t"}}}"#,
        &[("/targets/0/auth", "`x-key`, and so does `headers`")],
    );
    check_target(
        r#""headers": {"x-key": "x"}, "auth": {"api_key": {"in": "query", "name": "x-key", "value": {"secret": "t"}}}"#,
        &[],
    );
    check(
        r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/?a=1&k%65y=2",
            "auth": {"api_key": {"in": "query", "name": "key", "value": {"secret": "t"}}}}]}"#,
        &[("/targets/0/auth", "`key`, and so does `url`")],
    );
    check_target(
        r#""query": {"key": "x"}, "auth": {"api_key": {"in": "query", "name": "key", "value": {"secret": "t"}}}"#,
        &[("/targets/0/auth", "`key`, and so does `query`")],
    );
    check_target(
        r#""auth": {"api_key": {"in": "header", "name": "Content-Type", "value": {"secret": "t"}}}"#,
        &[("/targets/0/auth/api_key/name", "what the body is")],
    );
}

#[test]
fn certificates_are_named_and_need_https() {
    let check = |tls: &str, expected: &[(&str, &str)]| {
        let text = format!(
            r#"{{"pattern": {{"type": ["a"]}}, "targets": [{{"id": "t", "url": "https://h/", "tls": {tls}}}]}}"#
        );
        check(&text, expected);
    };
    check(
        r#"{"ca": {"secret": "a"}, "identity": {"secret": "b"}}"#,
        &[],
    );
    check(
        "{}",
        &[("/targets/0/tls", "needs `ca`, `identity` or both")],
    );
    check(
        r#"{"ca": "-----BEGIN CERTIFICATE-----"}"#,
        &[("/targets/0/tls/ca", "names a secret and does not hold it")],
    );
    check(
        r#"{"cert": {}}"#,
        &[
            ("/targets/0/tls", "needs `ca`"),
            ("/targets/0/tls/cert", "`tls` has no `cert`"),
        ],
    );
    check_target(
        r#""tls": {"ca": {"secret": "a"}}"#,
        &[("/targets/0/tls", "starts with https://")],
    );
}
