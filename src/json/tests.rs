//! The skipping functions against the scanner that reads every byte.

use proptest::prelude::*;
use serde_json::Value;

use super::{JsonText, Strings, is_plain, skip};

fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z\\\\\"{}\\[\\].é😀]{0,12}",
        "[a-z]{60,70}",
        "\\\\{0,70}",
        "[\\\\\"]{0,70}",
    ];
    let scalar = prop_oneof![
        text.clone().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    scalar.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_ends_where_it_ends(value in json(), pretty in any::<bool>(), tail in "[,\\]} ]{0,70}") {
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let behind = format!("{text},{tail}");
        prop_assert_eq!(skip::value(behind.as_bytes(), 0), text.len());
        prop_assert!(JsonText::check(text.as_bytes()).is_some());
    }

    #[test]
    fn no_bytes_make_skipping_panic(bytes in prop::collection::vec(prop::sample::select(&b"\"\\{}[],: x"[..]), 0..200), at in 0_usize..210) {
        for offset in [
            skip::value(&bytes, at),
            skip::container(&bytes, at.min(bytes.len())),
            skip::string(&bytes, at.min(bytes.len())).after,
        ] {
            prop_assert!(offset <= bytes.len().max(at));
        }
        is_plain(&bytes);
    }

    #[test]
    fn wide_and_narrow_lanes_see_the_same(bytes in prop::collection::vec(prop::sample::select(&b"\"\\{}[],: x"[..]), 0..300), at in 0_usize..310) {
        prop_assert_eq!(skip::container(&bytes, at), skip::container_narrow(&bytes, at));
    }

    #[test]
    fn strings_end_where_each_alone_does(value in json(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let bytes = text.as_bytes();
        let mut strings = Strings::new(bytes);
        let mut at = 0;
        while let Some(quote) = bytes[at..].iter().position(|byte| *byte == b'"') {
            let alone = skip::string(bytes, at + quote + 1);
            prop_assert_eq!(strings.end(at + quote + 1), alone.end);
            prop_assert_eq!(strings.is_escaped(), alone.escaped);
            at = alone.after;
        }
    }

    #[test]
    fn documents_without_odd_keys_are_plain(value in json()) {
        fn odd(value: &Value) -> bool {
            match value {
                Value::Object(map) => map.iter().any(|(key, value)| {
                    key.contains(['.', '"', '\\']) || odd(value)
                }),
                Value::Array(elements) => elements.iter().any(odd),
                _ => false,
            }
        }
        prop_assert_eq!(is_plain(value.to_string().as_bytes()), !odd(&value));
    }
}

#[test]
fn repeated_dotted_and_escaped_keys_are_not_plain() {
    let check = |text: &str, plain: bool| {
        let checked = JsonText::check(text.as_bytes()).unwrap();
        assert_eq!(checked.is_plain(), plain, "{text}");
    };
    check(r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#, true);
    check(r#"{"a":"a","b":"a"}"#, true);
    check(r#"{"a":"x.y"}"#, true);
    check(r#"{"a" : 1, "a" : 2}"#, false);
    check(r#"{"a":{"b":1,"c":{},"b":2}}"#, false);
    check(r#"{"a.b":1}"#, false);
    check(r#"[{"\u0061":1}]"#, false);
    check("[]", true);
    check("\"x\"", true);
    let many: Vec<String> = (0..300).map(|n| format!("\"k{n}\":{n}")).collect();
    check(&format!("{{{}}}", many.join(",")), false);
}

#[test]
fn what_is_no_json_is_not_checked() {
    let deep = "[".repeat(crate::limits::JSON_DEPTH + 1);
    for text in ["", "{", "{}x", "{'a':1}", "[1,]", "\u{1}", &deep] {
        assert_eq!(JsonText::check(text.as_bytes()), None, "{text}");
    }
    assert_eq!(JsonText::check(b"\"\xff\""), None);
}
