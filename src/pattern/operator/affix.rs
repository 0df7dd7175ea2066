//! `{"prefix": "x"}` and `{"suffix": "x"}`: how a string begins or ends.

use super::super::value::Datum;
use super::{Words, quoted};

#[derive(Debug, Clone)]
pub(crate) struct Prefix(Box<str>);

impl Prefix {
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        // One byte rejects most.
        let prefix = self.0.as_bytes();
        matches!(datum, Datum::String(text)
            if text.first() == prefix.first() && text.starts_with(prefix) || prefix.is_empty())
    }

    pub(super) fn words(&self) -> Words {
        let text = quoted(&self.0);
        Words::new(
            format!("starts with {text}"),
            format!("does not start with {text}"),
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Suffix(Box<str>);

impl Suffix {
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        let suffix = self.0.as_bytes();
        matches!(datum, Datum::String(text)
            if text.last() == suffix.last() && text.ends_with(suffix) || suffix.is_empty())
    }

    pub(super) fn words(&self) -> Words {
        let text = quoted(&self.0);
        Words::new(
            format!("ends with {text}"),
            format!("does not end with {text}"),
        )
    }
}
