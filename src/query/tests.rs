//! Queries against tables, another library, and the bounds of their cost.

use super::cost::{self, Measures};
use super::*;
use crate::event::Event;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::time::Instant;

#[track_caller]
fn check(query: &str, document: &Json, expected: Result<bool, TooCostly>) {
    let query = Query::parse(query).unwrap();
    assert_eq!(selects_any(&query, document), expected, "{}", query.text());
}

fn selects_any(query: &Query, document: &Json) -> Result<bool, TooCostly> {
    let text = document.to_string();
    let subject = Subject::json(text.as_bytes()).expect("the document is JSON");
    query.selects_any(&subject)
}

#[test]
fn a_query_selects_what_is_there() {
    let event = json!({"type": "order", "n": 3, "data": {"items": [{"price": 9, "sku": "a"}, {"price": 11, "sku": "b"}], "none": null}});
    for query in [
        "$.data.items[?@.price > 10]",
        "$.data.none",
        "$.data.items[1]",
        "$.data.items[-1:]",
        "$..sku",
        "$..items..sku",
        "$[?@ == 'order']",
        "$.data.items[?match(@.sku, '[b-z]')]",
        "$.data.items[?search(@.sku, 'a')]",
        "$.data[?length(@) == 2]",
        "$.data[?count(@.*) == 2]",
        "$['data']['items'][?@.price > 10 && @.sku == 'b']",
        "$.data.items[?@.price > $.n]",
    ] {
        check(query, &event, Ok(true));
    }
    for query in [
        "$.data.items[?@.price > 11]",
        "$.missing",
        "$.data.items[2]",
        "$..absent",
        "$.data.items[?@.price > 'a']",
        "$.data.items[?match(@.sku, 'B')]",
    ] {
        check(query, &event, Ok(false));
    }
}

#[track_caller]
fn refused(query: &str, part: &str) {
    let error = Query::parse(query).unwrap_err().to_string();
    assert!(error.contains(part), "{query}: {error}");
}

#[test]
fn a_bad_query_is_refused_with_its_reason() {
    refused("", "is no JSONPath query");
    refused("data.items", "it begins with `$`");
    refused("$.data[?@.a >]", "is no JSONPath query");
    refused("$.data[", "is no JSONPath query");
    refused(&format!("$.{}", "a".repeat(2_000)), "at most 1024 bytes");
    refused("$..a..b..c", "at most 2 descendant");
    refused("$..a[?@..b && $..c]", "at most 2 descendant");
    refused("$[?lenght(@.a) > 2]", "is no JSONPath query");
    refused("$[?in(@.a, $.b)]", "no function `in`");
    refused("$[?match(@.a, @.b)]", "must be a pattern in quotes");
    refused("$[?search(@.a, '(a{90}){90}')]", "too costly");
    refused(
        &format!("$[?{}@.a{}]", "(".repeat(300), ")".repeat(300)),
        "nests at most",
    );
}

#[test]
fn no_query_takes_long_to_compile() {
    let start = Instant::now();
    for filler in ["(", "!(", "@.a&&(", "@[?(", "length(", "@['a',"] {
        for depth in 0..MAX_NESTING {
            let _ = Query::parse(&format!(
                "$[?{}@.a{}]",
                filler.repeat(depth),
                ")".repeat(depth)
            ));
            let _ = Query::parse(&format!("$[?{}", filler.repeat(depth)));
        }
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn a_costly_evaluation_is_not_begun() {
    let items: Vec<Json> = (0..20_000).map(|n| json!({"n": n})).collect();
    let wide = json!({"data": items});
    check("$.data[?$..x]", &wide, Err(TooCostly));
    check(
        "$[*,*,*,*,*,*,*,*][*,*,*,*,*,*,*,*][*,*,*,*,*,*,*,*]",
        &wide,
        Err(TooCostly),
    );
    check("$.data[?@.n == 19999]", &wide, Ok(true));
    check("$..n", &wide, Ok(true));

    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({"x": deep, "y": [1, 2, 3]});
    }
    check("$..x..y", &deep, Err(TooCostly));
    check("$..x", &deep, Ok(true));

    // Every selected node carries its path: a long key above many nodes would cost gigabytes.
    let heavy = json!({"k".repeat(500_000): vec![0; 200_000]});
    check("$..*", &heavy, Err(TooCostly));
}

/// Queries out of the parts that rules use, over [`document`]s.
fn query() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let test = prop_oneof![
        name().prop_map(|name| format!("@.{name}")),
        name().prop_map(|name| format!("!@.{name}")),
        (name(), 0..3).prop_map(|(name, n)| format!("@.{name} > {n}")),
        (name(), name()).prop_map(|(a, b)| format!("@.{a} == @.{b}")),
        name().prop_map(|name| format!("@..{name}")),
        name().prop_map(|name| format!("$.{name}")),
        Just("@ == 'x'".to_owned()),
        Just("match(@, '[a-x]')".to_owned()),
        Just("length(@) >= 2".to_owned()),
        Just("count(@.*) > 1".to_owned()),
    ];
    let both = (test.clone(), test.clone());
    let test = prop_oneof![test, both.prop_map(|(a, b)| format!("({a} || {b}) && {a}")),];
    let segment = prop_oneof![
        name().prop_map(|name| format!(".{name}")),
        name().prop_map(|name| format!("..{name}")),
        Just(".*".to_owned()),
        Just("..*".to_owned()),
        (-2..3).prop_map(|index| format!("[{index}]")),
        (-2..3).prop_map(|start| format!("[{start}:]")),
        Just("['a','a',1,*]".to_owned()),
        test.prop_map(|test| format!("[?{test}]")),
    ];
    prop::collection::vec(segment, 0..4).prop_map(|parts| format!("${}", parts.concat()))
}

fn document() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        (0..4).prop_map(Json::from),
        Just(json!("x")),
        Just(json!("yy")),
        Just(json!(null)),
        Just(json!(true)),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        let name = prop::sample::select(vec!["a", "b", "c"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Json>()),
        ]
    })
}

proptest! {
    #[test]
    fn verdicts_agree_with_another_library(query in query(), document in document()) {
        if let Ok(filter) = Query::parse(&query) {
            let other = serde_json_path::JsonPath::parse(&query).unwrap();
            let expected = if other.query(&document).is_empty() {
                Ok(false)
            } else {
                Ok(true)
            };
            prop_assert_eq!(selects_any(&filter, &document), expected);
        }
    }

    #[test]
    fn no_query_selects_more_than_was_counted(query in query(), document in document()) {
        if let Ok(Form::Full { query, .. }) = full(&query) {
            let measures = Measures::of(&document, limits::JSON_DEPTH).unwrap();
            let nodes = js_path_process(&query, &document).unwrap();
            let bytes: usize = nodes.iter().map(|node| node.path.len() + 16).sum();
            prop_assert!(bytes as u64 <= cost::work(&query, &measures));
        }
    }

    #[test]
    fn no_query_makes_the_compiler_panic(query in r"\$([.\[\]?@*'a0:,()!=<> &|-]|\.\.){0,24}") {
        let _ = Query::parse(&query);
    }
}

#[test]
fn plain_paths_are_known_by_their_spelling() {
    for text in [
        "$",
        "$.a",
        "$._a1.b-c",
        "$.detail-type",
        "$['a b']",
        "$[\"a'b\"][0]",
        "$.ü['.']",
        "$[0][12]",
    ] {
        let query = Query::parse(text).unwrap();
        assert!(query.is_plain() && query.is_singular(), "{text}");
    }
    for text in ["$ .a", "$[ 'a' ]", "$['a\\n']", "$[-1]", "$.a[-1]['b']"] {
        let query = Query::parse(text).unwrap();
        assert!(!query.is_plain() && query.is_singular(), "{text}");
    }
    for text in ["$.*", "$..a", "$['a','b']", "$[1:2]", "$[?@.a]"] {
        let query = Query::parse(text).unwrap();
        assert!(!query.is_plain() && !query.is_singular(), "{text}");
    }
    for text in [
        "$.", "$.1a", "$.-a", "$[01]", "$['a", "$[]", "a", "$a", "$..a-b",
    ] {
        assert!(Query::parse(text).is_err(), "{text}");
    }
}

/// What a query selects first in a document, as JSON and as text.
#[track_caller]
fn first(query: &str, document: &str) -> Option<(String, String)> {
    let subject = Subject::json(document.as_bytes()).unwrap();
    let found = Query::parse(query).unwrap().first(&subject).unwrap()?;
    Some((found.json().into_owned(), found.text().into_owned()))
}

#[test]
fn what_is_selected_keeps_its_bytes() {
    let document = r#" { "a" : [ 1.50, 12345678901234567890123, {"z":1, "b":1e2} ], "s\u0031": "x\n\"é\u00e9",
        "twice": 1, "twice": {"z": 2}, "no": null, "yes": true } "#;
    for (query, json, text) in [
        ("$.a[0]", "1.50", "1.50"),
        (
            "$.a[1]",
            "12345678901234567890123",
            "12345678901234567890123",
        ),
        ("$.a[2]", r#"{"z":1, "b":1e2}"#, r#"{"z":1, "b":1e2}"#),
        ("$.s1", r#""x\n\"é\u00e9""#, "x\n\"éé"),
        ("$.twice", r#"{"z": 2}"#, r#"{"z": 2}"#),
        ("$.twice.z", "2", "2"),
        ("$.no", "null", "null"),
        ("$.yes", "true", "true"),
        ("$.a[-1]", r#"{"z":1, "b":1e2}"#, r#"{"z":1, "b":1e2}"#),
        ("$.a[-3:]", "1.50", "1.50"),
        ("$..z", "1", "1"),
        ("$[ 's1' ]", r#""x\n\"éé""#, "x\n\"éé"),
        ("$[ 'twice' ]['z']", "2", "2"),
    ] {
        let found = first(query, document);
        assert_eq!(found, Some((json.to_owned(), text.to_owned())), "{query}");
    }
    for query in [
        "$.a[3]", "$.a.b", "$.b", "$[0]", "$.no.x", "$.s1[0]", "$[ 'x' ]",
    ] {
        assert_eq!(first(query, document), None, "{query}");
    }
    assert_eq!(first("$", " [1] ").unwrap().0, "[1]");
    assert_eq!(first("$", "\"a\"").unwrap().1, "a");
}

#[test]
fn an_event_is_asked_as_patterns_see_it() {
    let event = Event::builder("1", "/s", "t")
        .attribute("count", 7)
        .attribute("label", "a\"b")
        .json(r#"{"n":1.0,"list":["x"]}"#)
        .build()
        .unwrap();
    let subject = Subject::event(&event);
    let ask = |query: &str| {
        let found = Query::parse(query).unwrap().first(&subject).unwrap()?;
        Some((found.kind(), found.json().into_owned()))
    };
    for (query, kind, json) in [
        ("$.id", Kind::String, r#""1""#),
        ("$.count", Kind::Number, "7"),
        ("$[ 'count' ]", Kind::Number, "7"),
        ("$.label", Kind::String, r#""a\"b""#),
        ("$.data.n", Kind::Number, "1.0"),
        ("$.data.list[-1]", Kind::String, r#""x""#),
        ("$.data", Kind::Object, r#"{"n":1.0,"list":["x"]}"#),
        ("$[ 'data' ]", Kind::Object, r#"{"n":1.0,"list":["x"]}"#),
    ] {
        assert_eq!(ask(query), Some((kind, json.to_owned())), "{query}");
    }
    for query in ["$.nothing", "$[0]", "$.id.x", "$.data.list[1]"] {
        assert_eq!(ask(query), None, "{query}");
    }
    let whole: Json = serde_json::from_str(&ask("$").unwrap().1).unwrap();
    assert_eq!(whole["data"]["list"], json!(["x"]));
    assert_eq!(whole["label"], "a\"b");
}

#[test]
fn data_that_is_no_json_is_absent() {
    let event = Event::builder("1", "/s", "t")
        .data("text/plain", "hello")
        .build()
        .unwrap();
    let subject = Subject::event(&event);
    for query in ["$.data", "$[ 'data' ]", "$..data"] {
        assert!(!Query::parse(query).unwrap().selects_any(&subject).unwrap());
    }
    let whole = Query::parse("$").unwrap().first(&subject).unwrap().unwrap();
    let whole: Json = serde_json::from_str(&whole.json()).unwrap();
    assert_eq!(whole["id"], "1");
    assert_eq!(whole.get("data"), None);
}

/// A document spelled with blanks and escapes, which mean nothing.
fn spelled(document: &Json, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = String::new();
    let pretty = serde_json::to_string_pretty(document).unwrap();
    let mut in_string = false;
    for c in pretty.chars() {
        in_string ^= c == '"';
        match c {
            c if in_string && c.is_ascii_lowercase() && random.bool() => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            '\n' | ' ' if !in_string && random.bool() => {}
            c => text.push(c),
        }
    }
    text
}

proptest! {
    #[test]
    fn what_is_found_agrees_with_another_library(
        query in query(),
        document in document(),
        seed in any::<u64>(),
    ) {
        if let Ok(query) = Query::parse(&query) {
            let text = spelled(&document, seed);
            let subject = Subject::json(text.as_bytes()).unwrap();
            let found: Vec<Json> = query
                .all(&subject)
                .unwrap()
                .iter()
                .map(|found| serde_json::from_str(&found.json()).unwrap())
                .collect();
            let other = serde_json_path::JsonPath::parse(query.text()).unwrap();
            let expected: Vec<Json> = other.query(&document).all().into_iter().cloned().collect();
            // The order of an object's members is nobody's.
            let sorted = |mut values: Vec<Json>| {
                values.sort_by_key(Json::to_string);
                values
            };
            prop_assert_eq!(sorted(found), sorted(expected), "{} in {}", query.text(), text);
        }
    }

    #[test]
    fn a_plain_path_finds_what_the_library_finds(
        steps in prop::collection::vec(prop_oneof!["[abc]".prop_map(|name| format!("['{name}']")), (0..3).prop_map(|n| format!("[{n}]"))], 0..4),
        document in document(),
        seed in any::<u64>(),
    ) {
        let text = spelled(&document, seed);
        let subject = Subject::json(text.as_bytes()).unwrap();
        let path = format!("${}", steps.concat());
        let plain = Query::parse(&path).unwrap();
        prop_assert!(plain.is_plain());
        let found = plain.first(&subject).unwrap();
        let found = found.map(|found| serde_json::from_str::<Json>(&found.json()).unwrap());
        let Ok(Form::Full { query, .. }) = full(&path) else { panic!("{path}") };
        let expected = js_path_process(&query, &document).unwrap().pop();
        prop_assert_eq!(found.as_ref(), expected.map(|node| node.val));
    }

    #[test]
    fn bytes_that_are_no_json_never_panic(bytes in prop::collection::vec(prop::sample::select(b"{}[]\":,a1\\ ".to_vec()), 0..40)) {
        for path in ["$.a", "$.a[1]", "$[0].a", "$"] {
            let steps = plain::parse(path).unwrap();
            for plain in [false, true] {
                let _ = plain::find(&bytes, &steps, plain);
            }
        }
    }
}
