//! Says what is wrong with a pattern, where, and what would be right.

use crate::json::Broken;

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PatternError {
    /// A sentence for the author of the pattern: what is wrong and what would be right.
    pub reason: String,
    /// RFC 6901 pointer to the offending value inside the pattern (`""` is the whole).
    pub pointer: String,
    /// Byte offset into the pattern's text, when the text itself does not parse.
    pub offset: Option<usize>,
}

impl From<Broken> for PatternError {
    fn from(broken: Broken) -> Self {
        let Broken { at, reason } = broken;
        PatternError {
            reason: format!("the pattern is not JSON at byte {at}: {reason}"),
            pointer: String::new(),
            offset: Some(at),
        }
    }
}

/// The way from the pattern's root to one of its values, kept on the stack of who reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pointer<'p> {
    parent: Option<&'p Pointer<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl<'p> Pointer<'p> {
    pub(crate) const ROOT: Pointer<'static> = Pointer {
        parent: None,
        step: Step::Index(0),
    };

    pub(crate) fn key(&'p self, key: &'p str) -> Pointer<'p> {
        Pointer {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub(crate) fn index(&'p self, index: usize) -> Pointer<'p> {
        Pointer {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> PatternError {
        PatternError {
            reason: reason.into(),
            pointer: self.to_string(),
            offset: None,
        }
    }
}

impl std::fmt::Display for Pointer<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        parent.fmt(out)?;
        match self.step {
            Step::Key(key) => write!(out, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => write!(out, "/{index}"),
        }
    }
}
