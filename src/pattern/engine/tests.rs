//! How much is looked at for an event: the same on every machine, unlike time.

use super::{Matcher, Snapshot};
use crate::pattern::{Document, EventPattern};

fn snapshot(patterns: impl Iterator<Item = String>) -> Snapshot<u32> {
    let mut matcher = Matcher::default();
    for (number, pattern) in patterns.enumerate() {
        let pattern =
            EventPattern::parse(&pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        matcher.add(number as u32, &pattern);
    }
    matcher.snapshot()
}

/// Checks how many candidates an event has at most, and how many rules it matches.
fn check(
    rules: usize,
    pattern: impl Fn(usize) -> String,
    event: &str,
    most: usize,
    matches: usize,
) {
    let snapshot = snapshot((0..rules).map(&pattern));
    let document = Document::json(event.as_bytes());
    let found = snapshot.matches(&document).len();
    assert_eq!(found, matches, "{} against {event}", pattern(0));
    let candidates = snapshot.candidates(&document);
    assert!(candidates <= most, "{candidates} for {}", pattern(0));
}

#[test]
fn what_an_event_does_not_hold_is_not_looked_at() {
    let event = r#"{"s": "s7", "id": "c-000042", "n": 4242, "p": "/v1/p00042/x", "w": "arn:a:b-000042/k",
        "ip": "10.0.42.7", "e": "x@d00042.test"}"#;
    let rules = 20_000;
    // Values of their own beside one that hundreds share.
    check(
        rules,
        |n| format!(r#"{{"s": ["s{}"], "id": ["c-{n:06}"]}}"#, n % 50),
        event,
        60,
        0,
    );
    check(
        rules,
        |n| format!(r#"{{"p": [{{"prefix": "/v1/p{n:05}/"}}]}}"#),
        event,
        1,
        1,
    );
    check(
        rules,
        |n| format!(r#"{{"e": [{{"suffix": "@d{n:05}.test"}}]}}"#),
        event,
        1,
        1,
    );
    check(
        rules,
        |n| format!(r#"{{"id": [{{"equals-ignore-case": "C-{n:06}"}}]}}"#),
        event,
        1,
        1,
    );
    check(
        rules,
        |n| format!(r#"{{"w": [{{"wildcard": "arn:*:b-{n:06}/*"}}]}}"#),
        event,
        20,
        1,
    );
    check(
        256,
        |n| format!(r#"{{"ip": [{{"cidr": "10.0.{n}.0/24"}}]}}"#),
        event,
        1,
        1,
    );
    check(
        rules,
        |n| format!(r#"{{"n": [{{"numeric": [">", {n}, "<", {}]}}]}}"#, n + 2),
        event,
        12,
        1,
    );
    check(
        rules,
        |n| format!(r#"{{"n": [{{"numeric": [">=", {}]}}]}}"#, 10 * n + 4_243),
        event,
        120,
        0,
    );
}

#[test]
fn crowds_are_told_apart_by_a_second_and_a_third_value() {
    let event = r#"{"a": "1", "b": "2", "c": "3"}"#;
    check(
        27_000,
        |n| {
            format!(
                r#"{{"a": ["{}"], "b": ["{}"], "c": ["{}"]}}"#,
                n % 30,
                n / 30 % 30,
                n / 900
            )
        },
        event,
        120,
        1,
    );
}

#[test]
fn what_all_share_costs_what_all_match() {
    let event = r#"{"a": "x"}"#;
    check(
        10_000,
        |_| r#"{"a": ["x"]}"#.to_owned(),
        event,
        10_000,
        10_000,
    );
    check(
        5_000,
        |n| format!(r#"{{"a": [{{"anything-but": ["y", "{n}"]}}]}}"#),
        event,
        5_000,
        5_000,
    );
    check(
        5_000,
        |n| format!(r#"{{"f{n}": [{{"exists": false}}]}}"#),
        event,
        5_000,
        5_000,
    );
}

#[test]
fn hostile_patterns_and_events_are_matched_in_reasonable_work() {
    // A path for each rule: the tree of paths grows, an event does not notice.
    check(
        20_000,
        |n| format!(r#"{{"f{n}": ["x"]}}"#),
        r#"{"f7": "x"}"#,
        1,
        1,
    );
    // Prefixes of each other: all that match are looked at, and no other.
    let long = "x".repeat(600);
    let event = format!(r#"{{"a": "{long}"}}"#);
    check(
        500,
        |n| format!(r#"{{"a": [{{"prefix": "{}"}}]}}"#, "x".repeat(n + 1)),
        &event,
        500,
        500,
    );
    check(
        500,
        |n| format!(r#"{{"a": [{{"prefix": "{}y"}}]}}"#, "x".repeat(n + 1)),
        &event,
        500,
        0,
    );
    // A large array of objects.
    let elements: Vec<String> = (0..10_000)
        .map(|n| format!(r#"{{"x": {n}, "y": {}}}"#, n + 1))
        .collect();
    let event = format!(r#"{{"a": [{}]}}"#, elements.join(","));
    check(
        1_000,
        |n| format!(r#"{{"a": {{"x": [{n}], "y": [{n}]}}}}"#),
        &event,
        1_000,
        0,
    );
    check(
        1_000,
        |n| format!(r#"{{"a": {{"x": [{n}], "y": [{}]}}}}"#, n + 1),
        &event,
        1_000,
        1_000,
    );
}

#[test]
fn removing_all_leaves_nothing() {
    let mut matcher = Matcher::default();
    let pattern = |n: u32| {
        let text = format!(
            r#"{{"a": ["{}"], "b": [{{"prefix": "p{}"}}, {{"numeric": [">", {n}]}}], "c": [{{"wildcard": "*abcdefgh{n}*"}}]}}"#,
            n % 3,
            n % 7
        );
        EventPattern::parse(&text).unwrap()
    };
    for round in 0..3 {
        for n in 0..500 {
            matcher.add(n, &pattern(n));
        }
        for n in (0..500).filter(|n| n % 2 == round % 2) {
            matcher.remove(&n);
        }
    }
    assert_eq!(matcher.len(), 250);
    for n in 0..500 {
        matcher.remove(&n);
    }
    assert!(matcher.is_empty());
    assert!(
        matcher
            .matches(&Document::json(br#"{"a": "1", "b": 900}"#))
            .is_empty()
    );
}
