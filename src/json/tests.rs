//! The skipping functions against the scanner that reads every byte.

use proptest::prelude::*;
use serde_json::Value;

use super::{JsonText, Member, Strings, is_plain, skip};

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

/// What a member may hold: strings of lengths that blocks end within, and others.
fn member_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[a-z:,{}é]{0,12}".prop_map(Value::from),
        2 => "[a-z]{40,70}".prop_map(Value::from),
        1 => "[a-z\\\\\"]{0,12}".prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => json(),
    ]
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
    fn members_are_read_as_they_were_written(
        members in prop::collection::vec(("[a-z\\\\é]{0,70}", member_value()), 0..12),
        (colon, comma) in (prop::sample::select(&[":", ": ", " :", " : "][..]), prop::sample::select(&[",", ", ", " ,\n", " , "][..])),
    ) {
        let written: Vec<(String, String)> = members
            .iter()
            .map(|(key, value)| (Value::from(key.as_str()).to_string(), value.to_string()))
            .collect();
        let inner: Vec<String> = written.iter().map(|(key, value)| format!("{key}{colon}{value}")).collect();
        let text = format!("{{{}}}", inner.join(comma));
        let bytes = text.as_bytes();
        let mut strings = Strings::new(bytes);
        let (mut read, mut at) = (Vec::new(), skip::space(bytes, 1));
        while bytes[at] == b'"' {
            let (from, follows) = (at, skip::value(bytes, at));
            let value_at = skip::space(bytes, skip::space(bytes, follows) + 1);
            let value_ends = skip::value(bytes, value_at);
            let key_end = match strings.member(from + 1) {
                Member::Text { key_end, value_start, value_end, is_followed } => {
                    prop_assert_eq!((value_start, value_end), (value_at + 1, value_ends - 1));
                    prop_assert_eq!(is_followed, is_followed && bytes[value_ends..].starts_with(b",\""));
                    key_end
                }
                Member::Key { key_end } => {
                    // What is close together and short is seen, wherever the blocks lie.
                    let is_close = value_at == follows + 1 && bytes[value_at] == b'"';
                    let is_short = value_ends - from <= 64 && !text[from..value_ends].contains('\\');
                    let is_clear = !bytes[from..bytes.len().min(from + 70)].contains(&b'\\');
                    prop_assert!(!(is_close && is_short && is_clear), "{}", &text[from..]);
                    key_end
                }
            };
            prop_assert_eq!(key_end + 1, follows);
            read.push((text[from..follows].to_owned(), text[value_at..value_ends].to_owned()));
            at = skip::space(bytes, value_ends);
            if bytes[at] == b',' {
                at = skip::space(bytes, at + 1);
            }
        }
        prop_assert_eq!(read, written);
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
