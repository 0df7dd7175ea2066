//! Compares JSON texts by what they mean: order of keys, space and spelling aside, digits kept.

use std::borrow::Cow;

use super::problem::{Problems, join};
use super::reader::Node;
use crate::json::too_deep;
use crate::limits;

/// The first place where two JSON texts mean different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// RFC 6901 pointer, within either.
    pub pointer: String,
    /// As each has it; None where it has nothing.
    pub wanted: Option<String>,
    pub seen: Option<String>,
}

/// Where `seen` differs from `wanted`. Text that is no JSON differs as a whole.
#[must_use]
pub fn difference(wanted: &str, seen: &str) -> Option<Difference> {
    match (document(wanted), document(seen)) {
        (Some(wanted), Some(seen)) => differs(&wanted, &seen),
        (None, None) if wanted == seen => None,
        (_, _) => Some(Difference {
            pointer: String::new(),
            wanted: Some(wanted.to_owned()),
            seen: Some(seen.to_owned()),
        }),
    }
}

/// The text as everyone would write it: indented, keys sorted, the last of doubled ones; numbers as
/// they stand. None of what is no JSON.
#[must_use]
pub fn normalised(text: &str) -> Option<String> {
    let mut written = String::with_capacity(text.len() * 2);
    write(&document(text)?, 0, &mut written);
    written.push('\n');
    Some(written)
}

/// None of what is too deep, too: what follows recurses.
fn document(text: &str) -> Option<Node<'_>> {
    if too_deep(text, limits::JSON_DEPTH).is_some() {
        return None;
    }
    Node::document(text, &mut Problems::default())
}

fn differs(wanted: &Node<'_>, seen: &Node<'_>) -> Option<Difference> {
    let here = || {
        Some(Difference {
            pointer: wanted.pointer.clone(),
            wanted: Some(wanted.raw().to_owned()),
            seen: Some(seen.raw().to_owned()),
        })
    };
    match (kind(wanted), kind(seen)) {
        (b'{', b'{') => {
            let (ours, theirs) = (sorted(wanted), sorted(seen));
            for (name, value) in &ours {
                match theirs.iter().find(|(other, _)| other == name) {
                    Some((_, other)) => {
                        if let Some(difference) = differs(value, other) {
                            return Some(difference);
                        }
                    }
                    None => return Some(missing(&value.pointer, Some(value), None)),
                }
            }
            let extra = theirs
                .iter()
                .find(|(name, _)| ours.iter().all(|(other, _)| other != name));
            extra.map(|(name, value)| missing(&join(&wanted.pointer, name), None, Some(value)))
        }
        (b'[', b'[') => {
            let (ours, theirs) = (wanted.elements(), seen.elements());
            let mut pairs = ours.iter().zip(&theirs);
            if let Some(difference) = pairs.find_map(|(one, other)| differs(one, other)) {
                return Some(difference);
            }
            let pointer = |at: usize| format!("{}/{at}", wanted.pointer);
            if let Some(more) = ours.get(theirs.len()) {
                return Some(missing(&pointer(theirs.len()), Some(more), None));
            }
            let more = theirs.get(ours.len());
            more.map(|more| missing(&pointer(ours.len()), None, Some(more)))
        }
        (b'"', b'"') if string(wanted) == string(seen) => None,
        (b'0', b'0') if same_number(wanted.raw(), seen.raw()) => None,
        _ if wanted.raw() == seen.raw() => None,
        _ => here(),
    }
}

fn missing(pointer: &str, wanted: Option<&Node<'_>>, seen: Option<&Node<'_>>) -> Difference {
    let text = |node: &Node<'_>| node.raw().to_owned();
    Difference {
        pointer: pointer.to_owned(),
        wanted: wanted.map(text),
        seen: seen.map(text),
    }
}

/// The first byte of a value; `0` of every number.
fn kind(node: &Node<'_>) -> u8 {
    match node.raw().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => b'0',
        Some(first) => *first,
        None => 0,
    }
}

fn string(node: &Node<'_>) -> Option<String> {
    serde_json::from_str(node.raw()).ok()
}

/// `1` is `1.0` and `1e0`. Beyond what binary64 keeps, only the same digits are the same.
fn same_number(one: &str, other: &str) -> bool {
    let short = |text: &str| text.bytes().filter(u8::is_ascii_digit).count() <= 15;
    let value = |text: &str| text.parse::<f64>().ok();
    one == other || (short(one) && short(other) && value(one) == value(other))
}

/// The members by name, the last of doubled ones.
fn sorted<'a>(node: &Node<'a>) -> Vec<(Cow<'a, str>, Node<'a>)> {
    let mut members = node.entries().unwrap_or_default();
    members.reverse();
    // Stable: of one name the last in the text comes first, and stays.
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    members.dedup_by(|(later, _), (kept, _)| later == kept);
    members
}

fn write(node: &Node<'_>, depth: usize, written: &mut String) {
    let line = |depth: usize, written: &mut String| {
        written.push('\n');
        written.extend(std::iter::repeat_n("  ", depth));
    };
    match kind(node) {
        b'{' => {
            let members = sorted(node);
            written.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    written.push(',');
                }
                line(depth + 1, written);
                written.push_str(&serde_json::Value::from(name.as_ref()).to_string());
                written.push_str(": ");
                write(value, depth + 1, written);
            }
            if !members.is_empty() {
                line(depth, written);
            }
            written.push('}');
        }
        b'[' => {
            let elements = node.elements();
            written.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    written.push(',');
                }
                line(depth + 1, written);
                write(element, depth + 1, written);
            }
            if !elements.is_empty() {
                line(depth, written);
            }
            written.push(']');
        }
        b'"' => match string(node) {
            Some(text) => written.push_str(&serde_json::Value::from(text).to_string()),
            None => written.push_str(node.raw()),
        },
        _ => written.push_str(node.raw()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: pointer, wanted, seen; `-` where there is nothing.
    #[track_caller]
    fn check(wanted: &str, seen: &str, expected: Option<[&str; 3]>) {
        let found = difference(wanted, seen).map(|difference| {
            let text = |side: Option<String>| side.unwrap_or_else(|| "-".to_owned());
            [
                difference.pointer,
                text(difference.wanted),
                text(difference.seen),
            ]
        });
        assert_eq!(
            found,
            expected.map(|parts| parts.map(str::to_owned)),
            "{wanted} and {seen}"
        );
    }

    #[test]
    fn spelling_makes_no_difference() {
        check(r#"{"a": 1, "b": [true]}"#, r#"{"b":[true],"a":1.0}"#, None);
        check(r#""\u0061/""#, r#""a\/""#, None);
        check(r#"{"a": 1, "a": 2}"#, r#"{"a": 2}"#, None);
        check("100", "1e2", None);
        check("[]", " [ ] ", None);
        check("plain text", "plain text", None);
    }

    #[test]
    fn the_first_difference_is_named() {
        check(
            r#"{"a": {"b/c": 1}}"#,
            r#"{"a": {"b/c": 2}}"#,
            Some(["/a/b~1c", "1", "2"]),
        );
        check(r#"{"a": 1}"#, "{}", Some(["/a", "1", "-"]));
        check("{}", r#"{"a": 1}"#, Some(["/a", "-", "1"]));
        check("[1, 2]", "[1]", Some(["/1", "2", "-"]));
        check("[1]", "[1, 2]", Some(["/1", "-", "2"]));
        check("1", "\"1\"", Some(["", "1", "\"1\""]));
        check("null", "false", Some(["", "null", "false"]));
        check("{}", "plain", Some(["", "{}", "plain"]));
    }

    #[test]
    fn digits_beyond_binary64_count() {
        check(
            "12345678901234567890",
            "12345678901234567891",
            Some(["", "12345678901234567890", "12345678901234567891"]),
        );
        check("0.1", "0.10", None);
    }

    #[test]
    fn a_text_is_normalised_once_and_for_all() {
        let text = r#" {"b": [1.50, {}], "a": "\u00e4", "b2": [], "a": "ü"} "#;
        let normal = normalised(text).unwrap();
        assert_eq!(
            normal,
            "{\n  \"a\": \"ü\",\n  \"b\": [\n    1.50,\n    {}\n  ],\n  \"b2\": []\n}\n"
        );
        assert_eq!(normalised(&normal).unwrap(), normal);
        assert_eq!(normalised("{"), None);
    }

    #[test]
    fn what_is_too_deep_is_compared_as_text() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(difference(&deep, &deep), None);
        assert_eq!(difference(&deep, "[]").unwrap().pointer, "");
        assert_eq!(normalised(&deep), None);
    }
}
