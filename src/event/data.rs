//! What the data bytes of an event are: JSON, text or neither (JSON format, section 3.1).

use serde::de::IgnoredAny;

use super::error::InvalidEvent;
use super::{Data, media_type};
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

/// `[` or `{`: they differ in one bit.
fn opens(b: u8) -> bool {
    b | 0x20 == b'{'
}

/// How many bytes open an array or object, those inside strings too. Counting in bytes, a chunk at
/// a time, lets the compiler compare many at once.
fn count_opens(text: &str) -> usize {
    let chunks = text.as_bytes().chunks(usize::from(u8::MAX));
    chunks
        .map(|chunk| usize::from(chunk.iter().map(|b| u8::from(opens(*b))).sum::<u8>()))
        .sum()
}

/// Where valid JSON passes the depth, as a byte offset. Nearly all documents hold fewer brackets
/// than the limit allows levels, and counting those is cheap.
fn too_deep(valid: &str, limit: usize) -> Option<usize> {
    if count_opens(valid) <= limit {
        return None;
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, b) in valid.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b if opens(b) => {
                depth += 1;
                if depth > limit {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
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
    fn depth_counts_brackets_outside_strings() {
        for (json, deepest) in [
            ("1", 0),
            ("[]", 1),
            ("[[],[],[],[]]", 2),
            (r#"{"a":[{"b":1}]}"#, 3),
            (r#"["[[[[", "\"[[[", {}]"#, 2),
            (r#"["\\", [[]]]"#, 3),
        ] {
            assert_eq!(too_deep(json, deepest), None, "{json}");
            if let Some(shallower) = deepest.checked_sub(1) {
                assert!(too_deep(json, shallower).is_some(), "{json}");
            }
        }
    }

    #[test]
    fn a_depth_error_says_where() {
        let deep = format!("[\n {}{}\n]", "[".repeat(128), "]".repeat(128));
        let error = Data::from_json(&deep).unwrap_err();
        assert!(error.reason.contains("line 2, column 129"), "{error}");
    }
}
