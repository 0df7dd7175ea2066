//! What a target may say beside its credentials.

use super::*;

#[track_caller]
fn check_url(url: &str, expected: Option<&str>) {
    let rule = json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": url}]});
    let expected: Vec<(&str, &str)> = expected
        .map(|part| ("/targets/0/url", part))
        .into_iter()
        .collect();
    check(&rule.to_string(), &expected);
}

#[test]
fn every_field_of_a_target_is_known_to_stand_in_one() {
    use crate::rule::document::RULE;
    use crate::rule::target_document::TARGET;
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
