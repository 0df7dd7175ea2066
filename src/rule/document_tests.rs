//! Rule and bus documents against the problems they have: one table, the same for every field.

mod auth;
mod broken;
mod targets;

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
