//! Finds the place of a JSON pointer in a text, and shows it as a compiler would.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

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

/// Most columns of a source line that an excerpt shows.
const EXCERPT_WIDTH: usize = 100;

/// The line of `place` with a caret under its column, such as
/// ```text
///   |
/// 4 |   "targts": [],
///   |   ^
/// ```
/// A terminal gives some characters two columns, and others none: the caret stands where it shows
/// the place.
#[must_use]
pub fn excerpt(text: &str, place: Place) -> String {
    let line = text.lines().nth(place.line - 1).unwrap_or("");
    let line: Vec<char> = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let (before, rest) = line.split_at((place.column - 1).min(line.len()));
    // Of a very long line (minified JSON) only the part around the place is shown.
    let near = match fitting(line.iter(), EXCERPT_WIDTH) == line.len() {
        true => 0,
        false => before.len() - fitting(before.iter().rev(), EXCERPT_WIDTH / 2),
    };
    let before = String::from_iter(&before[near..]);
    let rest = &rest[..fitting(rest.iter(), EXCERPT_WIDTH.saturating_sub(before.width()))];
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(before.width());
    let shown = before + &String::from_iter(rest);
    let shown = shown.trim_end();
    format!("{margin} |\n{number} | {shown}\n{margin} | {indent}^\n")
}

/// How many of these characters fit into so many columns, few of them without a width.
fn fitting<'c>(chars: impl Iterator<Item = &'c char>, columns: usize) -> usize {
    let mut taken = 0;
    let within = chars.take(4 * EXCERPT_WIDTH).take_while(|c| {
        taken += c.width().unwrap_or(0);
        taken <= columns
    });
    within.count()
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
        // Behind the line's end, where a string is not closed.
        assert_eq!(
            excerpt("[\"", Place { line: 1, column: 3 }),
            "  |\n1 | [\"\n  |   ^\n"
        );
    }

    #[test]
    fn a_caret_stands_under_what_it_means_whatever_stands_before() {
        let check = |before: &str, columns: usize| {
            let text = format!("{before}!");
            let column = before.chars().count() + 1;
            let shown = excerpt(&text, Place { line: 1, column });
            let caret = shown.lines().last().unwrap();
            assert_eq!(caret, format!("  | {}^", " ".repeat(columns)), "{before}");
        };
        check("{\"ä\": ", 6);
        check("{\"e\u{301}\": ", 6);
        check("{\"日本語\": ", 11);
        check("{\"한\": ", 7);
        check("{\"🎉\": ", 7);
        check("{\"ｗ\": ", 7);
        check("{\"❤\u{fe0f}\": ", 7);
        // A control character is shown as one blank: what a tab's width is, the terminal knows.
        check("\t\t{\"a\": ", 8);
        let tabs = excerpt("\t\"a\"", Place { line: 1, column: 2 });
        assert_eq!(tabs, "  |\n1 |  \"a\"\n  |  ^\n");
    }

    #[test]
    fn of_a_long_line_what_is_around_the_place_is_shown() {
        let fits = "x".repeat(EXCERPT_WIDTH);
        let shown = excerpt(
            &fits,
            Place {
                line: 1,
                column: EXCERPT_WIDTH,
            },
        );
        assert!(shown.contains(&fits), "{shown}");
        for filler in ["x", "語", "🎉", "e\u{301}", "\u{301}"] {
            let long = filler.repeat(5_000);
            for column in [1, 50, 51, 4_000, 5_000] {
                let shown = excerpt(&long, Place { line: 1, column });
                let widest = shown.lines().map(str::width).max().unwrap();
                assert!(widest <= EXCERPT_WIDTH + 4, "{widest}: {shown}");
                let caret = shown.lines().last().unwrap().width();
                assert!(caret <= EXCERPT_WIDTH + 5, "{caret}: {shown}");
                assert!(shown.len() <= 20 * EXCERPT_WIDTH, "{}", shown.len());
            }
        }
    }
}
