//! Texts that are no document at all: no JSON, too deep, doubled fields, and anything.

use proptest::prelude::*;

use super::*;

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
