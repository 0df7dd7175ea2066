//! `{"wildcard": "a*b"}`: a string with any characters where the stars stand.

use memchr::memmem;

use super::super::PatternError;
use super::super::error::Pointer;
use super::super::value::Datum;
use super::{Words, quoted};

/// The text around the stars. `*` stands for any characters, none included; `\*` and `\\` are the
/// characters themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wildcard {
    text: Box<str>,
    /// One more than there are stars.
    pieces: Box<[Box<str>]>,
}

impl Wildcard {
    pub(super) fn parse(text: &str, at: &Pointer<'_>) -> Result<Wildcard, PatternError> {
        let mut pieces: Vec<Box<str>> = Vec::new();
        let mut piece = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '*' if characters.peek() == Some(&'*') => {
                    return Err(at.error(
                        "two stars side by side mean no more than one; write one, or \\\\* for the character itself",
                    ));
                }
                '*' => pieces.push(std::mem::take(&mut piece).into()),
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '\\')) => piece.push(escaped),
                    _ => {
                        return Err(at.error(
                            "a backslash in a wildcard escapes a star or a backslash; write \\\\\\\\ in JSON for a backslash itself",
                        ));
                    }
                },
                other => piece.push(other),
            }
        }
        pieces.push(piece.into());
        Ok(Wildcard {
            text: text.into(),
            pieces: pieces.into(),
        })
    }

    pub(crate) fn pieces(&self) -> &[Box<str>] {
        &self.pieces
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        matches!(datum, Datum::String(text) if self.accepts_text(text))
    }

    /// What an accepted text begins with.
    pub(super) fn start(&self) -> &[u8] {
        self.pieces.first().map_or(&[], |piece| piece.as_bytes())
    }

    /// What an accepted text ends with.
    pub(super) fn end(&self) -> &[u8] {
        self.pieces.last().map_or(&[], |piece| piece.as_bytes())
    }

    /// Each piece is taken where it is found first, which leaves most to the others.
    fn accepts_text(&self, text: &[u8]) -> bool {
        let [first, middle @ .., last] = &*self.pieces else {
            return *text == *self.pieces[0].as_bytes();
        };
        let Some(rest) = text.strip_prefix(first.as_bytes()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_bytes()) else {
            return false;
        };
        middle
            .iter()
            .all(|piece| match memmem::find(rest, piece.as_bytes()) {
                Some(at) => {
                    rest = &rest[at + piece.len()..];
                    true
                }
                None => false,
            })
    }

    pub(super) fn words(&self) -> Words {
        let text = quoted(&self.text);
        Words::new(format!("is like {text}"), format!("is not like {text}"))
    }
}
