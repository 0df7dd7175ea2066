//! Rule and bus documents against the problems they have: one table, the same for every field.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::limits;

/// Problems as `pointer: detail`, of which the expected ones are parts.
#[track_caller]
fn compare(text: &str, found: Result<(), Vec<Problem>>, expected: &[(&str, &str)]) {
    let found = found.err().unwrap_or_default();
    let shown: Vec<String> = found
        .iter()
        .map(|problem| format!("{}: {}", problem.pointer, problem.detail))
        .collect();
    assert_eq!(found.len(), expected.len(), "{text}\n{shown:#?}");
    for (problem, (pointer, part)) in found.iter().zip(expected) {
        assert_eq!(problem.pointer, *pointer, "{text}\n{shown:#?}");
        assert!(problem.detail.contains(part), "{part:?} in {shown:#?}");
        assert!(problem.offset.is_some(), "{shown:#?}");
    }
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    compare(text, RuleDocument::parse(text).map(drop), expected);
}

#[track_caller]
fn check_bus(text: &str, expected: &[(&str, &str)]) {
    compare(text, BusDocument::parse(text).map(drop), expected);
}

/// A good rule whose one target has these fields too.
fn with_target(fields: &str) -> String {
    format!(
        r#"{{"pattern": {{"type": ["a"]}}, "targets": [{{"id": "t", "url": "http://h/", {fields}}}]}}"#
    )
}

#[track_caller]
fn check_target(fields: &str, expected: &[(&str, &str)]) {
    check(&with_target(fields), expected);
}

#[track_caller]
fn check_url(url: &str, expected: Option<&str>) {
    let rule = json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": url}]});
    let expected: Vec<(&str, &str)> = expected
        .map(|part| ("/targets/0/url", part))
        .into_iter()
        .collect();
    check(&rule.to_string(), &expected);
}

const MINIMAL: &str =
    r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/"}]}"#;

#[test]
fn a_minimal_rule_has_the_documented_defaults() {
    let rule = RuleDocument::parse(MINIMAL).unwrap();
    assert_eq!(
        serde_json::to_value(&rule).unwrap(),
        json!({
            "enabled": true,
            "pattern": {"type": ["a"]},
            "targets": [{
                "id": "t", "url": "http://h/", "method": "POST", "mode": "binary", "headers": {}, "timeout": "10s", "concurrency": 32,
                "retry": {"max_attempts": 12, "max_age": "1d", "initial_delay": "1s", "max_delay": "10m", "jitter": true},
                "dead_letter": {"retention": "14d"},
                "disable_after": "5d"
            }]
        })
    );
}

#[test]
fn a_full_rule_keeps_what_it_says() {
    let text = r#"{"$schema": "x", "description": "d", "enabled": false, "pattern": {"n": [1.50]},
        "filter": {"jsonpath": "$.data[?@.a > 1]"},
        "targets": [{"id": "t", "url": "https://h:1/p?q", "method": "PUT", "mode": "batch", "headers": {"X-Tenant": "acme"}, "timeout": "1s", "concurrency": 1,
            "retry": {"max_attempts": 1, "max_age": "90s", "initial_delay": "1ms", "max_delay": "2s", "jitter": false},
            "batch": {"max_events": 2, "max_bytes": "64KiB", "max_wait": "0s"},
            "dead_letter": {"retention": "30d", "url": "https://h/dead"}, "disable_after": "never"}]}"#;
    let rule = RuleDocument::parse(text).unwrap();
    let view = serde_json::to_string(&rule).unwrap();
    assert!(
        view.contains(r#""pattern":{"n": [1.50]}"#),
        "numbers keep their digits: {view}"
    );
    let expected: Value = serde_json::from_str(text).unwrap();
    let mut view: Value = serde_json::from_str(&view).unwrap();
    view["$schema"] = json!("x");
    view["targets"][0]["headers"] = json!({"X-Tenant": "acme"});
    assert_eq!(view, expected);
    assert_eq!(&**rule.text(), text);
    assert_eq!(
        RuleDocument::parse(&serde_json::to_string(&rule).unwrap())
            .unwrap()
            .targets,
        rule.targets
    );
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    check("{}", &[("", "needs `pattern`"), ("", "needs `targets`")]);
    check(
        r#"{"pattern": {"type": ["a"]}, "targets": [{}]}"#,
        &[("/targets/0", "needs `id`"), ("/targets/0", "needs `url`")],
    );
    check(
        r#"{"pattern": {"type": ["a"]}, "targets": []}"#,
        &[("/targets", "at least one target")],
    );
}

#[test]
fn an_unknown_field_suggests_the_near_one() {
    check(
        &MINIMAL.replace("targets", "target"),
        &[
            ("", "needs `targets`"),
            ("/target", "did you mean `targets`?"),
        ],
    );
    check_target(
        r#""Time-out": "1s""#,
        &[("/targets/0/Time-out", "did you mean `timeout`?")],
    );
    check_target(
        r#""retry": {"maxAttempts": 3}"#,
        &[(
            "/targets/0/retry/maxAttempts",
            "did you mean `max_attempts`?",
        )],
    );
    check_target(
        r#""colour": 1"#,
        &[("/targets/0/colour", "it has `id`, `url`")],
    );
    check_target(r#""a/b~c": 1"#, &[("/targets/0/a~1b~0c", "has no `a/b~c`")]);
    check_target(
        r#""rate_limit": "5 per second""#,
        &[("/targets/0/rate_limit", "a slash and s, m or h")],
    );
    check_target(
        r#""rate_limit": 5"#,
        &[("/targets/0/rate_limit", "must be a rate such as")],
    );
    check_target(
        r#""disable_after": "0s""#,
        &[(
            "/targets/0/disable_after",
            "must be from 1s to 365d, or \"never\"",
        )],
    );
    check_target(
        r#""disable_after": "later""#,
        &[("/targets/0/disable_after", "or \"never\"")],
    );
    check(
        &MINIMAL.replacen('{', r#"{"rate_limit": "5/s", "#, 1),
        &[("/rate_limit", "into an element of `targets`")],
    );
    check_target(
        r#""max_attempts": 1"#,
        &[("/targets/0/max_attempts", "move it into `retry`")],
    );
}

#[test]
fn every_field_of_a_target_is_known_to_stand_in_one() {
    use super::document::RULE;
    use super::target_document::TARGET;
    let own = |field: &&&str| !RULE.fields.contains(field);
    for field in TARGET.fields.iter().filter(own) {
        let known = RULE.elsewhere.iter().any(|(name, _)| name == field);
        assert!(known, "{field}");
    }
    let beside = RULE
        .fields
        .iter()
        .filter(|field| !TARGET.fields.contains(field));
    for field in beside.filter(|field| !matches!(**field, "$schema" | "targets")) {
        let known = TARGET.elsewhere.iter().any(|(name, _)| name == field);
        assert!(known, "{field}");
    }
}

#[test]
fn one_bad_field_hides_no_other() {
    check_target(
        r#""signing": {"secret": 5}, "auth": {"bearer": "t"}, "ordering_key": 1, "on_failure": 1, "reply": 1"#,
        &[
            ("/targets/0/signing/secret", "must be the name"),
            ("/targets/0/auth/bearer", "does not hold it"),
            ("/targets/0/ordering_key", "must be an attribute's name"),
            ("/targets/0/on_failure", "must be \"block\""),
            ("/targets/0/reply", "must be true or false"),
        ],
    );
    check_target(
        r#""mode": "batch", "batch": {"max_events": 0}, "tls": {}, "dead_letter": 1"#,
        &[
            ("/targets/0/batch/max_events", "from 1 to"),
            ("/targets/0/tls", "needs `ca`"),
            ("/targets/0/tls", "https://"),
            ("/targets/0/dead_letter", "must be an object"),
        ],
    );
    check(
        r#"{"schedule": {"cron": "x", "timezone": 1, "catch_up": true, "event": 1}, "targets": [{"id": "t", "url": "http://h/"}]}"#,
        &[
            ("/schedule/cron", "has 1 fields"),
            ("/schedule/timezone", "must be a time zone"),
            ("/schedule/catch_up", "must be \"latest\""),
            ("/schedule/event", "must be an object"),
        ],
    );
    check_bus(
        r#"{"description": 1, "dedup_window": 1}"#,
        &[
            ("/description", "must be a string"),
            ("/dedup_window", "must be a duration"),
        ],
    );
}

#[test]
fn a_form_that_is_nearly_one_is_told_before_what_it_has() {
    for (form, part) in [
        ("template", "did you mean \"TEMPLATE\"?"),
        ("Original", "did you mean \"ORIGINAL\"?"),
        ("XSLT", "it is \"ORIGINAL\", \"CONSTANT\""),
    ] {
        check_target(
            &format!(r#""transform": {{"form": "{form}", "value": {{}}, "template": "x"}}"#),
            &[("/targets/0/transform/form", part)],
        );
    }
}

#[test]
fn what_people_write_in_the_place_of_json_is_told_with_a_remedy() {
    for (text, part) in [
        (format!("\u{feff}{MINIMAL}"), "without one"),
        (String::new(), "is empty"),
        (" \r\n\t".to_owned(), "is empty"),
        (format!("// mine\n{MINIMAL}"), "no comments"),
        ("{\n  # mine\n}".to_owned(), "no comments"),
        (r#"{"pattern": /* any */ {}}"#.to_owned(), "no comments"),
        ("{'pattern': {}}".to_owned(), "double quotes"),
        (r#"{"targets": [1, ]}"#.to_owned(), "remove the comma"),
        (r#"{"targets": [1],}"#.to_owned(), "comma"),
        ("pattern:\n  type: [a]\n".to_owned(), "this is not JSON"),
    ] {
        check(&text, &[("", part)]);
    }
}

#[track_caller]
fn check_put(text: &str, pointer: &str, part: &str) {
    let document = RuleDocument::parse(text).expect("the log may hold it");
    let refused = document.refused(&crate::guard::Guard::off());
    let [problem] = refused.as_slice() else {
        panic!("{refused:?}");
    };
    assert_eq!(problem.pointer, pointer);
    assert!(problem.detail.contains(part), "{problem:?}");
    assert!(problem.offset.is_some());
}

#[test]
fn what_is_too_deep_for_readers_that_recurse_is_refused_when_it_is_put() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let constant = |levels| with_target(&format!(r#""transform": {{"input": {}}}"#, deep(levels)));
    check_put(&constant(10_000), "", "deeper than 128 levels");
    let document = RuleDocument::parse(&constant(limits::JSON_DEPTH - 4)).unwrap();
    assert_eq!(document.refused(&crate::guard::Guard::off()), []);
    let brackets = MINIMAL.replacen(
        '{',
        &format!(r#"{{"description": "\"{}","#, "[".repeat(200)),
        1,
    );
    let document = RuleDocument::parse(&brackets).unwrap();
    assert_eq!(document.refused(&crate::guard::Guard::off()), []);
}

#[test]
fn a_schedule_whose_event_cannot_be_made_is_refused_when_it_is_put() {
    let scheduled = |event: &str| {
        format!(
            r#"{{"schedule": {{"rate": "1 hour", "event": {event}}}, "targets": [{{"id": "t", "url": "http://h/"}}]}}"#
        )
    };
    check_put(
        &scheduled(r#"{"type": "a\uffff"}"#),
        "/schedule/event",
        "type",
    );
    let document = RuleDocument::parse(&scheduled(r#"{"type": "a", "data": [1.50]}"#)).unwrap();
    assert_eq!(document.refused(&crate::guard::Guard::off()), []);
}

#[test]
fn fields_of_later_versions_are_refused_by_name() {
    let rule = MINIMAL.replacen(
        '{',
        r#"{"filter": {"jsonpath": "$.a", "cesql": "TRUE"}, "#,
        1,
    );
    check(&rule, &[("/filter/cesql", "this version has no")]);
    let rule = MINIMAL.replacen('{', r#"{"ordering_key": "subject", "#, 1);
    check(&rule, &[("/ordering_key", "into an element of `targets`")]);
}

#[test]
fn a_signed_target_is_structured_unless_it_says_otherwise() {
    let mode = |settings: &str| {
        let text = format!(
            r#"{{"pattern": {{"type": ["a"]}}, "targets": [{{"id": "t", "url": "http://h/", {settings}}}]}}"#
        );
        RuleDocument::parse(&text).unwrap().targets[0].mode
    };
    assert_eq!(mode(r#""signing": {"secret": "k"}"#), Mode::Structured);
    assert_eq!(
        mode(r#""signing": {"secret": "k"}, "mode": "binary""#),
        Mode::Binary
    );
    check_target(
        r#""signing": {}"#,
        &[("/targets/0/signing", "eventyard secret generate")],
    );
    check_target(
        r#""signing": {"secret": "a", "secrets": ["b"]}"#,
        &[("/targets/0/signing", "not both")],
    );
    check_target(
        r#""signing": {"secrets": []}"#,
        &[("/targets/0/signing/secrets", "1 to 4")],
    );
    check_target(
        r#""signing": {"secret": "whsec_/+=="}"#,
        &[("/targets/0/signing/secret", "a secret's name")],
    );
}

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

#[test]
fn wrong_types_are_told_apart() {
    check("[]", &[("", "must be an object with")]);
    check(
        &MINIMAL.replacen('{', r#"{"enabled": "yes", "description": 3, "#, 1),
        &[
            ("/enabled", "true or false, not a string"),
            ("/description", "a string, not a number"),
        ],
    );
    check(
        r#"{"pattern": {"type": ["a"]}, "targets": {}}"#,
        &[("/targets", "an array of targets")],
    );
    check(
        r#"{"pattern": {"type": ["a"]}, "targets": [1, null]}"#,
        &[("/targets/0", "not a number"), ("/targets/1", "not null")],
    );
    check_target(
        r#""timeout": 10, "concurrency": "8", "mode": true, "headers": [], "retry": 1"#,
        &[
            (
                "/targets/0/timeout",
                "a duration such as \"10s\", not a number",
            ),
            (
                "/targets/0/concurrency",
                "a whole number from 1 to 1024, not a string",
            ),
            ("/targets/0/mode", "not a boolean"),
            ("/targets/0/headers", "an object of strings"),
            ("/targets/0/retry", "an object with `max_attempts`"),
        ],
    );
}

#[test]
fn values_out_of_bounds_name_the_bounds() {
    check_target(
        r#""timeout": "1ms""#,
        &[("/targets/0/timeout", "from 10ms to 15m")],
    );
    check_target(
        r#""timeout": "1h30m""#,
        &[("/targets/0/timeout", "such as 200ms, 5s")],
    );
    check_target(
        r#""concurrency": 0"#,
        &[("/targets/0/concurrency", "from 1 to 1024")],
    );
    check_target(
        r#""concurrency": 1.5"#,
        &[("/targets/0/concurrency", "not 1.5")],
    );
    check_target(
        r#""retry": {"max_attempts": 0, "max_age": "31d", "max_delay": "2d"}"#,
        &[
            ("/targets/0/retry/max_attempts", "from 1 to 1000"),
            ("/targets/0/retry/max_age", "from 1s to 30d"),
            ("/targets/0/retry/max_delay", "from 1ms to 1d"),
        ],
    );
    check_target(
        r#""retry": {"initial_delay": "5s", "max_delay": "1s"}"#,
        &[(
            "/targets/0/retry/initial_delay",
            "longer than `max_delay` (1s)",
        )],
    );
    check_target(r#""retry": {"max_delay": "500ms"}"#, &[]);
    check_target(
        r#""mode": "bach""#,
        &[("/targets/0/mode", "did you mean `batch`?")],
    );
    check_target(
        r#""mode": "x""#,
        &[(
            "/targets/0/mode",
            "one of `binary`, `structured` and `batch`",
        )],
    );
}

#[test]
fn batch_settings_need_mode_batch() {
    check_target(r#""batch": {}"#, &[("/targets/0/batch", "mode batch only")]);
    check_target(r#""mode": "batch", "batch": {}"#, &[]);
    check_target(
        r#""mode": "batch", "batch": {"max_events": 1001, "max_bytes": "1B", "max_wait": "2m"}"#,
        &[
            ("/targets/0/batch/max_events", "from 1 to 1000"),
            ("/targets/0/batch/max_bytes", "from 1KiB to 8MiB"),
            ("/targets/0/batch/max_wait", "from 0s to 1m"),
        ],
    );
}

#[test]
fn a_url_must_be_whole_and_plain() {
    for good in [
        "http://h",
        "https://h:8443/p/a?q=1&r",
        "HTTP://H/",
        "http://127.0.0.1:8081/x",
        "http://[::1]/",
        "http://a.b/%20",
    ] {
        check_url(good, None);
    }
    for (bad, part) in [
        ("", "must be a whole URL"),
        ("/hooks", "must be a whole URL"),
        ("ftp://h/", "must be a whole URL"),
        ("http:h/", "must be a whole URL"),
        ("http://", "is no URL"),
        ("http:///x", "has no host"),
        ("http://h:x/", "is no URL"),
        ("http://h:0/", "port 0"),
        ("http://u:p@h/", "user or password"),
        ("http://u@h/", "user or password"),
        ("http://h/#f", "fragment"),
        ("http://h/a b", "percent-encode"),
        ("http://h/\n", "percent-encode"),
        (" http://h/", "percent-encode"),
        ("http://h\\x", "percent-encode"),
        (
            &format!("http://h/{}", "x".repeat(5_000)),
            "at most 4096 bytes",
        ),
    ] {
        check_url(bad, Some(part));
    }
}

#[test]
fn headers_that_are_not_the_rules_to_set_are_refused_with_the_reason() {
    check_target(
        r#""headers": {"Authorization": "Bearer x", "x-a": "", "X-B": "a\tb"}"#,
        &[],
    );
    for (name, part) in [
        ("Connection", "one connection"),
        ("transfer-encoding", "one connection"),
        ("Content-Length", "computed from the body"),
        ("content-type", "follows from the event"),
        ("Host", "the target's `url`"),
        ("User-Agent", "names itself"),
        ("ce-id", "event's attributes"),
        ("CE-Type", "event's attributes"),
        ("webhook-signature", "delivery's id"),
        ("a b", "no header name"),
        ("", "no header name"),
        ("ä", "no header name"),
    ] {
        let pointer = format!("/targets/0/headers/{name}");
        check_target(
            &format!(r#""headers": {{"{name}": "x"}}"#),
            &[(&pointer, part)],
        );
    }
    for value in [r"a\r\nb: c", r"a\nb", r"\u0000", "ä", r"\u007f"] {
        check_target(
            &format!(r#""headers": {{"x-a": "{value}"}}"#),
            &[("/targets/0/headers/x-a", "visible ASCII")],
        );
    }
    check_target(
        r#""headers": {"x-a": " b"}"#,
        &[("/targets/0/headers/x-a", "blank")],
    );
    check_target(
        r#""headers": {"x-a": "1", "X-A": "2"}"#,
        &[("/targets/0/headers/X-A", "given twice")],
    );
    check_target(
        r#""headers": {"x-a": 1}"#,
        &[(
            "/targets/0/headers/x-a",
            "must be a string, or a value from the event",
        )],
    );
    let many: Vec<String> = (0..51).map(|n| format!(r#""x-{n}": "v""#)).collect();
    check_target(
        &format!(r#""headers": {{{}}}"#, many.join(",")),
        &[("/targets/0/headers", "at most 50 headers")],
    );
}

#[test]
fn header_values_do_not_show_in_debug_output() {
    let rule = RuleDocument::parse(&with_target(
        r#""headers": {"authorization": "Bearer hunter2"}"#,
    ))
    .unwrap();
    let shown = format!("{:?}", rule.targets);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn target_ids_are_names_and_unique() {
    check(
        r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://a/"}, {"url": "http://b/", "id": "t"}]}"#,
        &[("/targets/1/id", "another target's id")],
    );
    check(
        r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "a b", "url": "http://a/"}]}"#,
        &[("/targets/0/id", "a target name")],
    );
    let many: Vec<Value> = (0..=limits::TARGETS_PER_RULE)
        .map(|n| json!({"id": format!("t{n}"), "url": "http://a/"}))
        .collect();
    check(
        &json!({"pattern": {"type": ["a"]}, "targets": many}).to_string(),
        &[("/targets", "at most 100 targets, this one has 101")],
    );
}

#[test]
fn a_doubled_field_is_refused_outside_of_the_pattern() {
    check(
        &MINIMAL.replacen('{', r#"{"enabled": true, "enabled": false, "#, 1),
        &[("/enabled", "given twice")],
    );
    check(
        &MINIMAL.replacen('{', r#"{"enabled": true, "en\u0061bled": false, "#, 1),
        &[("/enabled", "given twice")],
    );
    check_target(
        r#""retry": {"jitter": true, "jitter": true}"#,
        &[("/targets/0/retry/jitter", "given twice")],
    );
    check(
        &MINIMAL.replace(r#"{"type": ["a"]}"#, r#"{"type": ["a"], "type": ["b"]}"#),
        &[],
    );
}

#[test]
fn problems_of_the_pattern_and_the_filter_point_into_them() {
    check(
        &MINIMAL.replace(r#"["a"]"#, r#"[{"prefxi": "a"}]"#),
        &[("/pattern/type/0/prefxi", "prefxi")],
    );
    check(
        &MINIMAL.replace(r#"{"type": ["a"]}"#, "3"),
        &[("/pattern", "")],
    );
    check(
        &MINIMAL.replacen('{', r#"{"filter": {"jsonpath": "data"}, "#, 1),
        &[("/filter/jsonpath", "no JSONPath query")],
    );
    check(
        &MINIMAL.replacen('{', r#"{"filter": {"cesql": "x"}, "#, 1),
        &[
            ("/filter", "needs `jsonpath`"),
            ("/filter/cesql", "this version has no `cesql`"),
        ],
    );
    check(
        &MINIMAL.replacen('{', r#"{"filter": "$.x", "#, 1),
        &[("/filter", "an object with `jsonpath`")],
    );
}

#[test]
fn what_is_no_json_is_one_problem_at_its_place() {
    check("", &[("", "not JSON")]);
    check("{\"pattern\": }", &[("", "not JSON: expected value")]);
    let problems = RuleDocument::parse("{\n  \"enabled\": tru\n}").unwrap_err();
    assert_eq!(
        place("{\n  \"enabled\": tru\n}", problems[0].offset.unwrap()).line,
        2
    );
    check(&format!("{MINIMAL} x"), &[("", "trailing characters")]);
    check(r#"{"\ud800": 1}"#, &[("", "a name that is no text")]);
    check(
        &" ".repeat(limits::RULE_BYTES + 1),
        &[("", "at most 262144 bytes")],
    );
}

#[test]
fn problems_come_in_the_order_of_the_text() {
    let text = r#"{"targets": [{"id": "", "url": ""}], "pattern": {"type": ["a"]}, "enabled": 1}"#;
    check(
        text,
        &[
            ("/targets/0/id", "empty"),
            ("/targets/0/url", "whole URL"),
            ("/enabled", "true or false"),
        ],
    );
}

#[test]
fn a_bus_document_is_checked_the_same_way() {
    check_bus("{}", &[]);
    check_bus(
        r#"{"$schema": "x", "description": "d", "retention": {"max_age": "24h", "max_bytes": "500MB"}, "dedup_window": "0s"}"#,
        &[],
    );
    check_bus(
        r#"{"retension": {}}"#,
        &[("/retension", "did you mean `retention`?")],
    );
    check_bus(
        r#"{"max_age": "1d"}"#,
        &[("/max_age", "move it into `retention`")],
    );
    check_bus(
        r#"{"retention": {"max_age": "1s", "max_bytes": 8}, "dedup_window": "25h"}"#,
        &[
            ("/retention/max_age", "from 1m to 3650d"),
            ("/retention/max_bytes", "a size such as"),
            ("/dedup_window", "from 0s to 1d"),
        ],
    );
    assert_eq!(
        serde_json::to_value(BusDocument::parse("{}").unwrap()).unwrap(),
        json!({"retention": {"max_age": "7d", "max_bytes": "8GiB"}, "dedup_window": "10m"})
    );
}

/// JSON that resembles a rule: known names and values in wrong places.
fn arbitrary_json() -> impl Strategy<Value = Value> {
    let name = || {
        prop::sample::select(vec![
            "pattern", "targets", "id", "url", "retry", "batch", "mode", "headers", "timeout",
            "filter", "jsonpath", "enabled", "type", "data", "x-a", "",
        ])
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        name().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        Just(json!("http://h/")),
        Just(json!("10s")),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_the_reader_panic(value in arbitrary_json()) {
        let text = value.to_string();
        for problem in RuleDocument::parse(&text).err().unwrap_or_default() {
            let offset = problem.offset.unwrap();
            prop_assert!(text.is_char_boundary(offset));
            let _ = excerpt(&text, place(&text, offset));
        }
        let _ = BusDocument::parse(&text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r#"[{}\[\]":,a-c0-9\\u ét\n]{0,40}"#) {
        let _ = RuleDocument::parse(&text);
        let _ = find(&text, "/a/0/b");
    }
}

#[test]
fn a_dead_letter_policy_names_one_place_that_exists() {
    check_target(
        r#""dead_letter": {"target": "t"}"#,
        &[("/targets/0/dead_letter/target", "is the target itself")],
    );
    check_target(
        r#""dead_letter": {"target": "other"}"#,
        &[("/targets/0/dead_letter/target", "has no target `other`")],
    );
    check_target(
        r#""dead_letter": {"target": "other", "url": "http://h/"}"#,
        &[("/targets/0/dead_letter/target", "keep one of the two")],
    );
    check_target(
        r#""dead_letter": {"retention": "0s"}"#,
        &[(
            "/targets/0/dead_letter/retention",
            "must be from 1s to 3650d",
        )],
    );
    check_target(
        r#""dead_letter": {"url": "ftp://h/"}"#,
        &[("/targets/0/dead_letter/url", "http")],
    );
}

#[test]
fn a_reply_goes_to_a_bus_and_not_with_batches() {
    check_target(
        r#""reply": "yes""#,
        &[("/targets/0/reply", "must be true or false")],
    );
    check_target(
        r#""reply": {"bus": "a b"}"#,
        &[("/targets/0/reply/bus", "a b")],
    );
    check_target(
        r#""reply": true, "mode": "batch""#,
        &[("/targets/0/reply", "does not go with mode batch")],
    );
}
