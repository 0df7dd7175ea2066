//! Reads the events out of an HTTP request, in any of the three content modes.

mod binary;
mod json;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use super::error::quoted;
use super::{ContentMode, DecodeError, ErrorClass, Event, Place, media_type};

/// What a request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// How it came. `Batch` may hold any number of events, none too; the others hold one.
    pub mode: ContentMode,
    /// The events in the order sent.
    pub events: Vec<Event>,
}

/// Decodes a request (CloudEvents HTTP binding, section 3). All events are valid, or the request is
/// refused with the first fault. The caller bounds the body; the events are bounded here.
pub fn decode(headers: &HeaderMap, body: Bytes) -> Result<Received, DecodeError> {
    refuse_coded(headers)?;
    let media_type = content_type(headers)?;
    let mode = mode_of(media_type.unwrap_or_default())?;
    let events = match mode {
        ContentMode::Binary => vec![binary::decode(headers, media_type, &body)?],
        ContentMode::Structured => vec![json::decode_one(&body)?],
        ContentMode::Batch => json::decode_batch(&body)?,
    };
    Ok(Received { mode, events })
}

/// The mode is in the media type's start, case aside; batch first, since structured is a prefix
/// of it. The format behind the prefix must be JSON.
fn mode_of(media_type: &str) -> Result<ContentMode, DecodeError> {
    let starts = |prefix: &str| {
        media_type
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let (mode, json) = if starts("application/cloudevents-batch") {
        (ContentMode::Batch, "application/cloudevents-batch+json")
    } else if starts("application/cloudevents") {
        (ContentMode::Structured, "application/cloudevents+json")
    } else {
        return Ok(ContentMode::Binary);
    };
    if media_type::essence(media_type).eq_ignore_ascii_case(json) {
        return Ok(mode);
    }
    Err(DecodeError::new(
        ErrorClass::UnsupportedMediaType,
        Place::Header(CONTENT_TYPE.to_string()),
        format!(
            "the event format {} is not one the bus reads; send `{json}`",
            quoted(media_type)
        ),
    ))
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, DecodeError> {
    let refuse = |reason: &str| {
        DecodeError::new(
            ErrorClass::Malformed,
            Place::Header(CONTENT_TYPE.to_string()),
            reason,
        )
    };
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(refuse("it is given twice; send it once"));
    }
    match str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.trim_ascii())),
        Err(_) => Err(refuse(
            "it is not text; send a media type, such as `application/json`",
        )),
    }
}

/// Data bytes are kept as sent, so a body that is compressed in transfer cannot be taken.
fn refuse_coded(headers: &HeaderMap) -> Result<(), DecodeError> {
    let coding = headers.get_all(CONTENT_ENCODING).iter().find(|coding| {
        let coding = coding.as_bytes().trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    });
    match coding {
        None => Ok(()),
        Some(coding) => Err(DecodeError::new(
            ErrorClass::UnsupportedMediaType,
            Place::Header(CONTENT_ENCODING.to_string()),
            format!(
                "the bus reads no content coding, and the body has {}; send it as it is",
                quoted(&String::from_utf8_lossy(coding.as_bytes()))
            ),
        )),
    }
}
