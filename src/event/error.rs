//! Why something is no event, in words for its sender.

use std::borrow::Cow;
use std::fmt;

/// What kind of refusal it is; the api turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It breaks a rule of CloudEvents, of the HTTP binding or of JSON.
    Malformed,
    /// Its media type, event format or content coding is not one that the bus reads.
    UnsupportedMediaType,
    /// It passes a bound of `limits.rs`; the sentence names what is counted.
    TooLarge { limit: usize },
}

/// Why attributes and data make no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidEvent {
    /// What kind of refusal it is.
    pub class: ErrorClass,
    /// The offending attribute, or `data`; none when it is the event as a whole.
    pub attribute: Option<String>,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl InvalidEvent {
    pub(super) fn malformed(attribute: &str, reason: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::Malformed,
            attribute: Some(attribute.to_owned()),
            reason: reason.into(),
        }
    }

    pub(super) fn too_large(
        attribute: Option<&str>,
        limit: usize,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            class: ErrorClass::TooLarge { limit },
            attribute: attribute.map(str::to_owned),
            reason: reason.into(),
        }
    }
}

/// Where in a request the fault lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The request as a whole, or the data of a binary-mode event.
    Request,
    /// A header, by its lower-case name.
    Header(String),
    /// A value inside a structured or batch body, as an RFC 6901 pointer; `""` is the whole body.
    /// A missing attribute is named by the pointer it would have.
    Pointer(String),
    /// A spot in a body that is no JSON; both count from 1, columns in bytes.
    Text { line: usize, column: usize },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Request => f.write_str("the request"),
            Place::Header(name) => write!(f, "header `{name}`"),
            Place::Pointer(pointer) if pointer.is_empty() => f.write_str("the body"),
            Place::Pointer(pointer) => write!(f, "`{pointer}`"),
            Place::Text { line, column } => write!(f, "the body, line {line}, column {column}"),
        }
    }
}

/// Why a request holds no events that the bus takes: the place, what is wrong, what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct DecodeError {
    /// What kind of refusal it is.
    pub class: ErrorClass,
    /// Where the fault lies.
    pub place: Place,
    /// What is wrong and what would be right, without the place.
    pub reason: String,
}

impl DecodeError {
    pub(super) fn new(class: ErrorClass, place: Place, reason: impl Into<String>) -> Self {
        Self {
            class,
            place,
            reason: reason.into(),
        }
    }

    /// The JSON pointer of the fault, when the body is JSON.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        match &self.place {
            Place::Pointer(pointer) => Some(pointer),
            _ => None,
        }
    }

    /// The lower-case name of the header at fault.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match &self.place {
            Place::Header(name) => Some(name),
            _ => None,
        }
    }
}

/// A sender's text inside a sentence: quoted, escaped, and cut to a readable length.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// A text cut to a readable length.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
