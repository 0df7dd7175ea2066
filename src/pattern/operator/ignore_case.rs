//! `equals-ignore-case`, alone or under `prefix` or `suffix`: a string whatever its case.

use super::super::flatten::Datum;
use super::{Words, quoted};

/// Text whose every character may stand in its lower or its upper case.
///
/// event-ruler folds the pattern, not the event, and one UTF-16 unit at a time. So `ß` in a
/// pattern accepts `ß` and `SS`, never `ss`; `i` does not accept `İ`; and characters beyond U+FFFF
/// have no cases. There event-ruler loses them altogether; here every text equals itself.
#[derive(Debug, Clone)]
pub(crate) struct IgnoreCase {
    text: Box<str>,
    cases: Box<[Cases]>,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
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
            cases: text.chars().map(cases).collect(),
            part,
        }
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        matches!(datum, Datum::String(text) if self.accepts_text(text))
    }

    pub(super) fn accepts_text(&self, text: &str) -> bool {
        let mut rest = text;
        if self.part == Part::End {
            return self.cases.iter().rev().all(|cases| {
                let shorter = cases.iter().find_map(|case| rest.strip_suffix(&**case));
                shorter.map(|shorter| rest = shorter).is_some()
            });
        }
        let found = self.cases.iter().all(|cases| {
            let shorter = cases.iter().find_map(|case| rest.strip_prefix(&**case));
            shorter.map(|shorter| rest = shorter).is_some()
        });
        found && (self.part == Part::Start || rest.is_empty())
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
