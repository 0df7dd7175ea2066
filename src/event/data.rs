//! What the data bytes of an event are: JSON, text or neither (JSON format, section 3.1).

use serde::de::IgnoredAny;

use super::error::InvalidEvent;
use super::{Data, media_type};
use crate::json::too_deep;
use crate::limits;

impl<'a> Data<'a> {
    /// The bytes as they were sent.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Data::Json(bytes) | Data::Binary(bytes) => bytes,
            Data::Text(text) => text.as_bytes(),
        }
    }

    /// Reads bytes by their `datacontenttype`, as a binary-mode body or `data_base64` brings them.
    /// Without a type nothing is assumed. What is declared JSON and is none is kept as it is: it
    /// is the target's to judge. JSON that nests too deep is refused.
    pub(super) fn from_bytes(
        media_type: Option<&str>,
        bytes: &'a [u8],
    ) -> Result<Data<'a>, InvalidEvent> {
        let Some(media_type) = media_type else {
            return Ok(Data::Binary(bytes));
        };
        if media_type::is_json(media_type) {
            return match str::from_utf8(bytes) {
                Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                    Data::from_json(text)
                }
                _ => Ok(Data::Binary(bytes)),
            };
        }
        match str::from_utf8(bytes) {
            Ok(text) if media_type::is_utf8_text(media_type) => Ok(Data::Text(text)),
            _ => Ok(Data::Binary(bytes)),
        }
    }

    /// Takes one JSON value, known to be valid, within the depth limit.
    pub(super) fn from_json(valid: &'a str) -> Result<Data<'a>, InvalidEvent> {
        match too_deep(valid, limits::JSON_DEPTH) {
            None => Ok(Data::Json(valid.as_bytes())),
            Some(at) => {
                let (line, column) = line_and_column(valid, at);
                Err(InvalidEvent::too_large(
                    Some("data"),
                    limits::JSON_DEPTH,
                    format!(
                        "the JSON data nests deeper than {} levels (at its line {line}, column {column}); make it flatter, or send it as text under another datacontenttype",
                        limits::JSON_DEPTH
                    ),
                ))
            }
        }
    }
}

/// Line and column of a byte offset, both from 1, the column in bytes.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |n| n + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    (line, before.len() - line_start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_depth_error_says_where() {
        let deep = format!("[\n {}{}\n]", "[".repeat(128), "]".repeat(128));
        let error = Data::from_json(&deep).unwrap_err();
        assert!(error.reason.contains("line 2, column 129"), "{error}");
    }
}
