//! What is wrong with a document: where, and how to mend it.

use serde::Serialize;

/// One thing to mend in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// RFC 6901 pointer to the offending value (`""` is the whole document).
    pub pointer: String,
    /// A sentence for the author: what is wrong and what would be right.
    pub detail: String,
    /// Byte offset of the place in the document's text, where one is known.
    #[serde(skip)]
    pub offset: Option<usize>,
}

/// Problems as they are found; a document is good when none was.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, pointer: &str, offset: usize, detail: impl Into<String>) {
        self.0.push(Problem {
            pointer: pointer.to_owned(),
            detail: detail.into(),
            offset: Some(offset),
        });
    }

    /// The value when it is complete and nothing was found; else all problems, in the text's order.
    pub(super) fn settle<T>(mut self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => {
                self.0.sort_by_key(|problem| problem.offset);
                Err(self.0)
            }
        }
    }
}

/// Appends `name` to a pointer as one reference token (RFC 6901, section 3).
pub(crate) fn join(pointer: &str, name: &str) -> String {
    let mut joined = String::with_capacity(pointer.len() + name.len() + 1);
    joined.push_str(pointer);
    joined.push('/');
    for c in name.chars() {
        match c {
            '~' => joined.push_str("~0"),
            '/' => joined.push_str("~1"),
            c => joined.push(c),
        }
    }
    joined
}
