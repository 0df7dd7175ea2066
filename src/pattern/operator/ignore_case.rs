//! `equals-ignore-case`, alone or under `prefix` or `suffix`: a string whatever its case.

use super::super::value::Datum;
use super::{Words, quoted};

/// Text whose every character may stand in its lower or its upper case.
///
/// event-ruler folds the pattern, not the event, and one UTF-16 unit at a time. So `ß` in a
/// pattern accepts `ß` and `SS`, never `ss`; `i` does not accept `İ`; and characters beyond U+FFFF
/// have no cases. There event-ruler loses them altogether; here every text equals itself.
#[derive(Debug, Clone)]
pub(crate) struct IgnoreCase {
    text: Box<str>,
    /// `None` for ASCII, which has nothing to remember.
    cases: Option<Box<[Cases]>>,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Start,
    End,
}

/// The spellings of one character. None is the start or the end of another, so that the first one
/// found is the only one.
type Cases = Box<[Box<str>]>;

impl IgnoreCase {
    pub(super) fn whole(text: &str) -> Self {
        Self::new(text, Part::Whole)
    }

    pub(super) fn prefix(text: &str) -> Self {
        Self::new(text, Part::Start)
    }

    pub(super) fn suffix(text: &str) -> Self {
        Self::new(text, Part::End)
    }

    fn new(text: &str, part: Part) -> Self {
        Self {
            text: text.into(),
            cases: (!text.is_ascii()).then(|| text.chars().map(cases).collect()),
            part,
        }
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        matches!(datum, Datum::String(text) if self.accepts_text(text))
    }

    pub(super) fn accepts_text(&self, text: &[u8]) -> bool {
        let Some(cases) = &self.cases else {
            let wanted = self.text.as_bytes();
            let part = match self.part {
                Part::Whole => Some(text),
                Part::Start => text.get(..wanted.len()),
                Part::End => text
                    .len()
                    .checked_sub(wanted.len())
                    .map(|start| &text[start..]),
            };
            return part.is_some_and(|part| part.eq_ignore_ascii_case(wanted));
        };
        let mut rest = text;
        if self.part == Part::End {
            return cases.iter().rev().all(|cases| {
                let mut cases = cases.iter();
                let shorter = cases.find_map(|case| rest.strip_suffix(case.as_bytes()));
                shorter.map(|shorter| rest = shorter).is_some()
            });
        }
        let found = cases.iter().all(|cases| {
            let mut cases = cases.iter();
            let shorter = cases.find_map(|case| rest.strip_prefix(case.as_bytes()));
            shorter.map(|shorter| rest = shorter).is_some()
        });
        found && (self.part == Part::Start || rest.is_empty())
    }

    /// Whether only strings of ASCII are accepted.
    pub(crate) fn is_ascii(&self) -> bool {
        self.cases.is_none()
    }

    pub(crate) fn part(&self) -> Part {
        self.part
    }

    /// What every accepted text folds to, in the part that counts; `None` when the spellings of some
    /// character fold to different texts.
    pub(crate) fn folded(&self) -> Option<Vec<u8>> {
        let folded = |text: &str| fold(text.as_bytes()).to_vec();
        let one_fold = |cases: &Cases| {
            let mut folds = cases.iter().map(|case| folded(case));
            let first = folds.next();
            folds.all(|fold| Some(fold) == first)
        };
        let all = self.cases.iter().flatten().all(one_fold);
        all.then(|| folded(&self.text))
    }

    pub(super) fn words(&self) -> Words {
        let text = quoted(&self.text);
        let (holds, fails) = match self.part {
            Part::Whole => ("is", "is not"),
            Part::Start => ("starts with", "does not start with"),
            Part::End => ("ends with", "does not end with"),
        };
        Words::new(
            format!("{holds} {text} in some case"),
            format!("{fails} {text} in any case"),
        )
    }
}

fn cases(character: char) -> Cases {
    let mut cases: Vec<Box<str>> = vec![character.to_string().into()];
    if u32::from(character) <= 0xFFFF {
        for case in [
            character.to_lowercase().to_string(),
            character.to_uppercase().to_string(),
        ] {
            if !cases.iter().any(|known| **known == *case) {
                cases.push(case.into());
            }
        }
    }
    cases.into()
}

/// A folded text; short ones of ASCII need no allocation.
pub(crate) enum Folded {
    Short([u8; SHORT], usize),
    Long(Vec<u8>),
}

const SHORT: usize = 64;

impl std::ops::Deref for Folded {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Folded::Short(bytes, length) => &bytes[..*length],
            Folded::Long(bytes) => bytes,
        }
    }
}

/// A text's characters in the lower case of their upper case, one by one.
#[inline]
pub(crate) fn fold(text: &[u8]) -> Folded {
    if text.is_ascii() {
        if text.len() > SHORT {
            return Folded::Long(text.to_ascii_lowercase());
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text);
        bytes[..text.len()].make_ascii_lowercase();
        return Folded::Short(bytes, text.len());
    }
    fold_beyond_ascii(text)
}

fn fold_beyond_ascii(text: &[u8]) -> Folded {
    let text = String::from_utf8_lossy(text);
    let folded: String = text
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    Folded::Long(folded.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_character_folds_alike_or_is_said_not_to() {
        let mut unlike = Vec::new();
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = character.to_string();
            let pattern = IgnoreCase::whole(&text);
            let spellings = cases(character);
            for spelling in &spellings {
                assert!(pattern.accepts_text(spelling.as_bytes()), "{character}");
            }
            match pattern.folded() {
                Some(folded) => {
                    for spelling in &spellings {
                        assert_eq!(*fold(spelling.as_bytes()), *folded, "{character}");
                    }
                }
                None => unlike.push(character),
            }
        }
        assert!(unlike.len() < 50, "{unlike:?}");
    }
}
