//! Finds the place of a JSON pointer in a text, and shows it as a compiler would.

use super::problem::Problems;
use super::reader::Node;

/// A place in a text, as editors count: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Byte offset of the value that `pointer` (RFC 6901) names in the JSON `text`; of a doubled member,
/// the last one's. None when the text is no JSON or has no such value.
#[must_use]
pub fn find(text: &str, pointer: &str) -> Option<usize> {
    let mut node = Node::document(text, &mut Problems::default())?;
    let mut tokens = pointer.split('/');
    // What stands before the first slash: nothing, in a pointer.
    if tokens.next() != Some("") {
        return None;
    }
    for token in tokens {
        let token = token.replace("~1", "/").replace("~0", "~");
        let found = if node.raw().starts_with('[') {
            let index: usize = token.parse().ok()?;
            node.elements().into_iter().nth(index)
        } else {
            let entries = node.entries()?;
            entries
                .into_iter()
                .rev()
                .find(|(name, _)| *name == token)
                .map(|(_, value)| value)
        };
        node = found?;
    }
    Some(node.offset())
}

/// Line and column of a byte offset.
#[must_use]
pub fn place(text: &str, offset: usize) -> Place {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        line: before.matches('\n').count() + 1,
        column: before[start..].chars().count() + 1,
    }
}

/// Most characters of a source line that an excerpt shows.
const EXCERPT_WIDTH: usize = 100;

/// The line of `place` with a caret under its column, such as
/// ```text
///   |
/// 4 |   "targts": [],
///   |   ^
/// ```
#[must_use]
pub fn excerpt(text: &str, place: Place) -> String {
    let line = text.lines().nth(place.line - 1).unwrap_or("");
    // Of a very long line (minified JSON) only the part around the place is shown.
    let skipped = (place.column - 1).saturating_sub(EXCERPT_WIDTH / 2);
    let shown: String = line
        .chars()
        .skip(skipped)
        .take(EXCERPT_WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(place.column - 1 - skipped);
    let shown = shown.trim_end();
    format!("{margin} |\n{number} | {shown}\n{margin} | {indent}^\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, pointer: &str, expected: Option<&str>) {
        let found = find(text, pointer).map(|offset| &text[offset..]);
        assert_eq!(
            found.map(|rest| &rest[..expected.map_or(0, str::len)]),
            expected,
            "{pointer} in {text}"
        );
    }

    #[test]
    fn a_pointer_leads_to_its_value() {
        let text = r#" {"a": [10, {"b/c": true}], "m~n": "x", "\u0061b": 7, "": 5} "#;
        check(text, "", Some("{\"a\""));
        check(text, "/a", Some("[10"));
        check(text, "/a/0", Some("10"));
        check(text, "/a/1/b~1c", Some("true"));
        check(text, "/m~0n", Some("\"x\""));
        check(text, "/ab", Some("7"));
        check(text, "/", Some("5"));
    }

    #[test]
    fn a_pointer_to_nothing_leads_nowhere() {
        check(r#"{"a": [1]}"#, "/b", None);
        check(r#"{"a": [1]}"#, "/a/1", None);
        check(r#"{"a": [1]}"#, "/a/x", None);
        check(r#"{"a": [1]}"#, "a", None);
        check("{", "/a", None);
    }

    #[test]
    fn of_a_doubled_member_the_last_is_found() {
        check(r#"{"a": 1, "a": 2}"#, "/a", Some("2"));
    }

    #[test]
    fn places_count_characters_from_one() {
        let text = "{\n  \"ä\": 1\n}";
        assert_eq!(place(text, 0), Place { line: 1, column: 1 });
        let offset = text.find('1').unwrap();
        assert_eq!(place(text, offset), Place { line: 2, column: 8 });
        assert_eq!(place(text, 999), Place { line: 3, column: 2 });
        assert_eq!(place("", 0), Place { line: 1, column: 1 });
    }

    #[test]
    fn an_excerpt_puts_a_caret_under_the_place() {
        assert_eq!(
            excerpt("{\n  \"targts\": []\n}", Place { line: 2, column: 3 }),
            "  |\n2 |   \"targts\": []\n  |   ^\n"
        );
        let long = "x".repeat(5_000);
        let shown = excerpt(
            &long,
            Place {
                line: 1,
                column: 4_000,
            },
        );
        assert!(
            shown.lines().all(|line| line.len() <= EXCERPT_WIDTH + 4),
            "{shown}"
        );
    }
}
