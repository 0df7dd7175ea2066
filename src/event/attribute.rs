//! The rules for names and values of context attributes (CloudEvents spec, "Context Attributes").

use fluent_uri::{Uri, UriRef};

use super::error::{InvalidEvent, quoted};
use super::{media_type, time};
use crate::limits;

/// The one version of the specification that the bus speaks.
pub(super) const SPECVERSION: &str = "1.0";

/// The extension that names the time at which the event is to be routed.
pub(super) const DELIVER_AT: &str = "deliverat";

/// Whether values of the name must be strings, by the specification or by ours.
pub(super) fn is_text(name: &str) -> bool {
    is_core(name) || name == DELIVER_AT
}

/// Whether the specification gives the name a meaning, so that it is no extension.
pub(super) fn is_core(name: &str) -> bool {
    matches!(
        name,
        "specversion"
            | "id"
            | "source"
            | "type"
            | "subject"
            | "time"
            | "dataschema"
            | "datacontenttype"
    )
}

fn has_name_characters(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether an optional attribute or extension may bear the name.
pub(super) fn is_optional_name(name: &str) -> bool {
    has_name_characters(name)
        && name.len() <= limits::ATTRIBUTE_NAME_BYTES
        && !matches!(name, "specversion" | "id" | "source" | "type" | "data")
}

/// Checks an attribute's name: `[a-z0-9]+`, bounded, and not the reserved `data`.
pub(super) fn check_name(name: &str) -> Result<(), InvalidEvent> {
    if name.len() > limits::ATTRIBUTE_NAME_BYTES {
        let start: String = name.chars().take(32).collect();
        return Err(InvalidEvent::too_large(
            Some(&start),
            limits::ATTRIBUTE_NAME_BYTES,
            format!(
                "an attribute's name has at most {} bytes, this one has {}",
                limits::ATTRIBUTE_NAME_BYTES,
                name.len()
            ),
        ));
    }
    if name == "data" {
        return Err(InvalidEvent::malformed(
            name,
            "`data` is the payload's name and cannot be an attribute's; choose another name",
        ));
    }
    if has_name_characters(name) {
        Ok(())
    } else {
        Err(InvalidEvent::malformed(
            name,
            format!(
                "an attribute's name holds lower-case letters a-z and digits only, {} does not; rename it",
                quoted(name)
            ),
        ))
    }
}

/// Whether the character may stand in a String (spec, "Type System"). Lone surrogates cannot occur
/// in UTF-8.
fn may_stand(c: char) -> bool {
    let code = u32::from(c);
    !(c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE)
}

/// Checks an attribute's string: what every String must keep, and what its name asks for.
pub(super) fn check_text(name: &str, text: &str) -> Result<(), InvalidEvent> {
    let plain = text.bytes().all(|b| matches!(b, 0x20..=0x7E));
    if !plain && let Some(c) = text.chars().find(|c| !may_stand(*c)) {
        return Err(InvalidEvent::malformed(
            name,
            format!(
                "attribute `{name}` holds the character U+{:04X}; control characters and noncharacters are not allowed in attributes, remove it or send it inside the data",
                u32::from(c)
            ),
        ));
    }
    if text.is_empty() && is_core(name) {
        let remedy = match name {
            "specversion" | "id" | "source" | "type" => "give it a value",
            _ => "give it a value or leave it out",
        };
        return Err(InvalidEvent::malformed(
            name,
            format!("attribute `{name}` is empty; {remedy}"),
        ));
    }
    let wanted = match name {
        "specversion" if text != SPECVERSION => {
            "must be \"1.0\", the version of CloudEvents that the bus speaks"
        }
        "source" if UriRef::parse(text).is_err() => {
            "must be a URI-reference (RFC 3986), in which spaces and non-ASCII characters are percent-encoded"
        }
        "dataschema" if Uri::parse(text).is_err() => {
            "must be an absolute URI (RFC 3986), such as \"https://example.com/schemas/order\""
        }
        DELIVER_AT if !time::is_timestamp(text) => {
            "must be the time at which to deliver, a timestamp (RFC 3339) with a zone, such as \"2026-12-24T18:00:00Z\""
        }
        "time" if !time::is_timestamp(text) => {
            "must be a timestamp (RFC 3339) with a zone, such as \"2018-04-05T17:31:00Z\""
        }
        "datacontenttype" if !media_type::is_media_type(text) => {
            "must be a media type (RFC 2046), such as \"application/json\""
        }
        _ => return Ok(()),
    };
    Err(InvalidEvent::malformed(
        name,
        format!("attribute `{name}` {wanted}; {} is not", quoted(text)),
    ))
}
