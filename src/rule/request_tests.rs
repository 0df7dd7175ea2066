//! What a target's request becomes for an event, and what is refused of it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Event;
use crate::guard::{Config, Guard, Mode};
use crate::log::{BusName, RuleName, TargetId};
use crate::query::Subject;

fn rule(options: &Value) -> String {
    let mut target = json!({"id": "t", "url": "https://h/o"});
    for (name, value) in options.as_object().unwrap() {
        target[name] = value.clone();
    }
    json!({"pattern": {"type": ["a"]}, "targets": [target]}).to_string()
}

fn target(options: &Value) -> Target {
    let document = RuleDocument::parse(&rule(options)).unwrap();
    let [target] = <[TargetDocument; 1]>::try_from(document.targets).unwrap();
    let (bus, rule) = (BusName::default_bus(), RuleName::new("r").unwrap());
    target.into_target(&bus, &rule, TargetId(1))
}

fn event(data: &Value) -> Event {
    Event::builder("1", "/s", "a")
        .attribute("subject", "s/1")
        .json(data.to_string().as_bytes())
        .build()
        .unwrap()
}

fn fill(options: &Value, data: &Value) -> Result<FilledShape, String> {
    let target = target(options);
    let event = event(data);
    target.request.fill(&target.url, &Subject::event(&event))
}

#[track_caller]
fn check_url(options: &Value, data: &Value, expected: &str) {
    let url = fill(options, data).map(|filled| filled.url.to_string());
    assert_eq!(url.as_deref(), Ok(expected), "{options} {data}");
}

#[track_caller]
fn check_failure(options: &Value, data: &Value, part: &str) {
    let reason = fill(options, data).unwrap_err();
    assert!(reason.contains(part), "{reason}");
}

/// The target's URL has `/orders/{id}/items`, filled with `$.data.id`.
fn id() -> Value {
    json!({"url": "https://h:8443/a%20b/{id}/items?x=1", "path": {"id": {"path": "$.data.id"}}})
}

#[test]
fn a_value_stays_in_its_segment() {
    for (value, expected) in [
        (json!("17"), "17"),
        (json!(17), "17"),
        (json!(1.50), "1.5"),
        (json!(true), "true"),
        (json!("a b"), "a%20b"),
        (json!("?x#y&z=1;%2e%2e"), "%3Fx%23y%26z%3D1%3B%252e%252e"),
        (json!("…"), "%E2%80%A6"),
        (json!("..."), "..."),
        (json!("@evil.example:1"), "%40evil.example%3A1"),
        (json!("{id}"), "%7Bid%7D"),
    ] {
        let expected = format!("https://h:8443/a%20b/{expected}/items?x=1");
        check_url(&id(), &json!({"id": value}), &expected);
    }
    for (value, part) in [
        (json!("a/b"), "'/'"),
        (json!("../b"), "'/'"),
        (json!("a\\b"), "'\\\\'"),
        (json!(".."), "leads elsewhere"),
        (json!("."), "leads elsewhere"),
        (json!("%2E%2e"), "leads elsewhere"),
        (json!(""), "is empty"),
        (json!("a\nb"), "'\\n'"),
        (json!("a\u{0}"), "'\\0'"),
        (json!("x".repeat(4_097)), "at most 4096"),
        (json!("ü".repeat(1_000)), "at most 4096"),
        (json!({"a": 1}), "`$.data.id` is an object or array"),
        (json!([]), "`$.data.id` is an object or array"),
        (json!(null), "`$.data.id` selects nothing"),
    ] {
        check_failure(&id(), &json!({ "id": value }), part);
    }
    check_failure(&id(), &json!({}), "`$.data.id` selects nothing");
}

#[test]
fn several_values_and_defaults_fill_a_path() {
    let options = json!({
        "url": "https://h/{a}-{b}/x{b}/{c.d}",
        "path": {"a": {"path": "$.data.a"}, "b": {"path": "$.subject", "default": "z"},
                 "c.d": {"path": "$.data.no", "default": "none"}}
    });
    check_failure(&options, &json!({"a": 1}), "`{b}` of the URL: holds '/'");
    let options = json!({
        "url": "https://h/{a}{b}",
        "path": {"a": {"path": "$.data.a"}, "b": {"path": "$.data.b", "default": "z"}}
    });
    check_url(&options, &json!({"a": 1}), "https://h/1z");
    check_url(&options, &json!({"a": 1, "b": null}), "https://h/1z");
    // Two halves of what leads up.
    check_failure(&options, &json!({"a": "x", "b": ".."}), "leads elsewhere");
    let halves = json!({"url": "https://h/p/.{a}/q", "path": {"a": {"path": "$.data.a"}}});
    check_failure(&halves, &json!({"a": "."}), "leads elsewhere");
    let halves = json!({"url": "https://h/p/%2e{a}/q", "path": {"a": {"path": "$.data.a"}}});
    check_failure(&halves, &json!({"a": "."}), "leads elsewhere");
    check_url(&halves, &json!({"a": "b"}), "https://h/p/%2eb/q");
}

#[test]
fn a_query_gets_what_the_event_says() {
    let options = json!({
        "url": "https://h/o?fixed=1",
        "query": {"v": "2", "tenant": {"path": "$.data.tenant", "default": null},
                  "when": {"path": "$.data.when", "default": "now & then"}}
    });
    check_url(
        &options,
        &json!({}),
        "https://h/o?fixed=1&v=2&when=now%20%26%20then",
    );
    check_url(
        &options,
        &json!({"tenant": "a&b=c#d/../ü\r\n", "when": 1e3}),
        "https://h/o?fixed=1&tenant=a%26b%3Dc%23d%2F..%2F%C3%BC%0D%0A&v=2&when=1000.0",
    );
    let alone = json!({"query": {"t": {"path": "$.data.t", "default": null}}});
    check_url(&alone, &json!({}), "https://h/o");
    check_url(&alone, &json!({"t": ""}), "https://h/o?t=");
    check_failure(&alone, &json!({"t": "x".repeat(5_000)}), "at most 4096");
    check_failure(&alone, &json!({"t": "ü".repeat(1_000)}), "at most 4096");
}

#[test]
fn a_header_gets_what_the_event_says_or_the_delivery_fails() {
    let options = json!({"headers": {
        "x-tenant": {"path": "$.data.tenant"},
        "x-none": {"path": "$.data.none", "default": null},
        "x-other": {"path": "$.data.none", "default": "-"},
    }});
    let filled = fill(&options, &json!({"tenant": " a b\t"})).unwrap();
    let mut shown: Vec<_> = filled.headers.iter().collect();
    shown.sort_by_key(|(name, _)| name.as_str());
    let shown: Vec<_> = shown
        .into_iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(shown, [("x-other", "-"), ("x-tenant", "a b")]);
    assert!(filled.headers.values().all(|value| value.is_sensitive()));
    for bad in ["a\r\nx: y", "a\nb", "a\u{0}", "ü", "a\u{7f}"] {
        check_failure(&options, &json!({ "tenant": bad }), "visible ASCII");
    }
    check_failure(
        &options,
        &json!({}),
        "the header `x-tenant`: `$.data.tenant`",
    );
    check_failure(
        &options,
        &json!({"tenant": "x".repeat(4_097)}),
        "more than 4096 bytes",
    );
}

#[test]
fn what_is_constant_takes_its_room_from_what_is_not() {
    let options = json!({"headers": {
        "x-fixed": "y".repeat(4_000), "x-t": {"path": "$.data.t"}
    }});
    assert!(fill(&options, &json!({"t": "x".repeat(80)})).is_ok());
    check_failure(&options, &json!({"t": "x".repeat(90)}), "more than 4096");
}

#[track_caller]
fn refused(options: &Value, pointer: &str, part: &str) {
    let document = RuleDocument::parse(&rule(options));
    let problems = document.unwrap_err();
    assert_eq!(problems[0].pointer, format!("/targets/0/{pointer}"));
    assert!(problems[0].detail.contains(part), "{problems:?}");
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    let from_event = json!({"path": "$.data.id"});
    for (options, pointer, part) in [
        (json!({"method": "GET"}), "method", "carries no body"),
        (json!({"method": "put"}), "method", "did you mean `PUT`"),
        (json!({"method": "TRACE"}), "method", "it is one of `POST`"),
        (
            json!({"headers": {"x-a": {"path": "data"}}}),
            "headers/x-a/path",
            "no JSONPath",
        ),
        (
            json!({"headers": {"x-a": {"path": "$.a[*]"}}}),
            "headers/x-a/path",
            "several values",
        ),
        (
            json!({"headers": {"x-a": {"default": "a"}}}),
            "headers/x-a",
            "needs `path`",
        ),
        (
            json!({"headers": {"x-a": {"path": "$.a", "dfault": "a"}}}),
            "headers/x-a/dfault",
            "did you mean `default`",
        ),
        (
            json!({"headers": {"x-a": {"path": "$.a", "default": "a\n"}}}),
            "headers/x-a/default",
            "visible ASCII",
        ),
        (
            json!({"headers": {"ce-id": from_event}}),
            "headers/ce-id",
            "event's attributes",
        ),
        (
            json!({"headers": {"Content-Length": from_event}}),
            "headers/Content-Length",
            "computed",
        ),
        (
            json!({"headers": {"content-type": "text/csv"}}),
            "headers/content-type",
            "only with a `transform`",
        ),
        (
            json!({"headers": {"Content-Type": "text/csv"}, "mode": "structured", "transform": {"template": "x"}}),
            "headers/Content-Type",
            "in mode binary",
        ),
        (
            json!({"headers": {"content-type": "csv"}, "transform": {"template": "x"}}),
            "headers/content-type",
            "no media type",
        ),
        (
            json!({"headers": {"content-type": from_event}, "transform": {"template": "x"}}),
            "headers/content-type",
            "a media type such as",
        ),
        (
            json!({"headers": {"x-a": from_event}, "mode": "batch"}),
            "headers/x-a",
            "of which of its events",
        ),
        (
            json!({"query": {"a": from_event}, "mode": "batch"}),
            "query/a",
            "of which of its events",
        ),
        (
            json!({"validation": "cloudevents", "method": "PUT"}),
            "method",
            "asks about POST",
        ),
        (
            json!({"validation": "cloudevents", "query": {"a": from_event}}),
            "query/a",
            "for one URL",
        ),
        (
            json!({"validation": "cesql"}),
            "validation",
            "no validation",
        ),
        (json!({"query": {"a": 1}}), "query/a", "must be a string"),
        (json!({"query": {"": "a"}}), "query/", "parameter's name"),
        (
            json!({"url": "http://h/?a=1", "query": {"a": "2"}}),
            "query/a",
            "already",
        ),
        (
            json!({"path": {"id": from_event}}),
            "path/id",
            "has no place",
        ),
        (
            json!({"url": "http://h/{id}/{no}", "path": {"id": from_event}}),
            "url",
            "names `{no}`",
        ),
        (
            json!({"url": "http://h/{ids}/{id}", "path": {"id": from_event}}),
            "url",
            "did you mean `{id}`",
        ),
        (
            json!({"url": "http://h/{id", "path": {"id": from_event}}),
            "path/id",
            "has no place",
        ),
        (
            json!({"url": "http://h/x?a={id}", "path": {"id": from_event}}),
            "url",
            "into `query`",
        ),
        (
            json!({"url": "http://h/{id}/..", "path": {"id": from_event}}),
            "url",
            "loses a placeholder",
        ),
        (
            json!({"url": "http://h/%7b/{id}", "path": {"id": from_event}}),
            "url",
            "encoded brace",
        ),
        (
            json!({"url": "http://{id}/x", "path": {"id": from_event}}),
            "url",
            "in its host",
        ),
        (
            json!({"url": "http://h/{id}", "path": {"id": {"path": "$.id", "default": null}}}),
            "path/id/default",
            "cannot be left out",
        ),
        (
            json!({"url": "http://h/{id}", "path": {"id": {"path": "$.id", "default": ".."}}}),
            "path/id/default",
            "leads elsewhere",
        ),
        (
            json!({"url": "http://h/{id}", "path": {"id": "a/b"}}),
            "path/id",
            "'/'",
        ),
    ] {
        refused(&options, pointer, part);
    }
}

#[test]
fn braces_that_nothing_fills_are_refused_when_a_rule_is_put_but_not_when_it_is_held() {
    let guard = Guard::new(
        Config {
            mode: Mode::Off,
            ..Config::default()
        },
        false,
    );
    for (options, refused) in [
        (json!({"url": "http://h/o/{id}"}), true),
        (json!({"url": "http://h/o/%7Bid%7D"}), false),
        (
            json!({"url": "http://h/o/{id}", "path": {"id": {"path": "$.id"}}}),
            false,
        ),
    ] {
        let document = RuleDocument::parse(&rule(&options)).unwrap();
        let problems = document.refused(&guard);
        assert_eq!(!problems.is_empty(), refused, "{options}: {problems:?}");
        if refused {
            assert_eq!(problems[0].pointer, "/targets/0/url");
            assert!(problems[0].detail.contains(r#"add "path": {"id""#));
        }
    }
}

#[test]
fn a_shape_reads_back_as_it_was_written() {
    let options = json!({
        "url": "https://h/o/{id}?a=1", "method": "PUT",
        "path": {"id": {"path": "$.data.id"}},
        "query": {"b": {"path": "$.data.b", "default": null}, "a b": "ü"},
        "headers": {"x-a": "1", "x-b": {"path": "$.data.b", "default": "-"}, "content-type": "text/csv"},
        "transform": {"template": "x"}
    });
    let document = RuleDocument::parse(&rule(&options)).unwrap();
    let view = serde_json::to_value(&document).unwrap();
    for (name, value) in options.as_object().unwrap() {
        assert_eq!(view["targets"][0][name], *value, "{name}");
    }
    let again = RuleDocument::parse(&view.to_string()).unwrap();
    assert_eq!(again.targets, document.targets);
}

#[test]
fn dead_letters_go_elsewhere_without_it() {
    let mut options = id();
    options["method"] = json!("DELETE");
    options["headers"] = json!({"x-t": {"path": "$.data.t"}});
    let target = target(&options);
    let pushed = target.for_dead_letters(&"https://d/".parse().unwrap());
    assert_eq!(pushed.request, RequestShape::default());
}

proptest! {
    /// Whatever the event holds: host, number of segments and the other parameters stay, and what
    /// the receiver decodes is the value.
    #[test]
    fn no_event_changes_more_than_its_place(
        id in prop_oneof![any::<String>(), "[./\\\\%2eE?#@:a]{0,6}"],
        parameter in any::<String>(),
    ) {
        let mut options = self::id();
        options["query"] = json!({"q": {"path": "$.data.q"}, "z": "1"});
        let Ok(filled) = fill(&options, &json!({"id": id, "q": parameter})) else {
            return Ok(());
        };
        let url = reqwest::Url::parse(filled.url.as_str()).unwrap();
        prop_assert_eq!(&url, &filled.url);
        prop_assert_eq!(url.host_str(), Some("h"));
        prop_assert_eq!(url.port(), Some(8443));
        prop_assert_eq!(url.fragment(), None);
        let segments: Vec<&str> = url.path_segments().unwrap().collect();
        prop_assert_eq!(segments.len(), 3);
        prop_assert_eq!(segments[2], "items");
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        prop_assert_eq!(query, [("x".into(), "1".into()), ("q".into(), parameter), ("z".into(), "1".into())]);
        let one = reqwest::Url::parse(&format!("http://h/?{}", segments[1])).unwrap();
        let decoded: Vec<_> = one.query_pairs().into_owned().collect();
        prop_assert_eq!(&decoded[0].0, &id);
    }
}
