//! A CloudEvent as the bus sees it: one validated, immutable record, cheap to clone, and its way in
//! and out over HTTP.
//!
//! Reading order: `stored` (how an event lies in memory and on disk), `attribute`, `time`,
//! `media_type`, `data` (the rules of the specification), `draft` (where an event is put together),
//! `decode` and `encode` (the HTTP binding), `handshake`, `sdk`.

mod attribute;
mod builder;
mod data;
mod decode;
mod draft;
mod encode;
mod error;
mod extend;
mod handshake;
mod header_value;
mod media_type;
mod own;
mod sdk;
mod stored;
mod time;

#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

pub use builder::EventBuilder;
pub use decode::{Received, decode};
pub use encode::{encode, encode_batch};
pub use error::{DecodeError, ErrorClass, InvalidEvent, Place};
pub use handshake::consent;
pub use media_type::is_media_type;
pub use own::{SCHEDULE_FIRED, is_reserved};
pub use sdk::SdkError;
pub use stored::StoredEventError;

use stored::{Layout, Parts};

/// The moment that an RFC 3339 timestamp names, in milliseconds since 1970; those before are 1970.
#[must_use]
pub fn moment_millis(text: &str) -> Option<u64> {
    time::millis(text).map(|millis| u64::try_from(millis).unwrap_or(0))
}

/// A valid CloudEvent 1.0. Cloning shares the bytes.
///
/// Two events are equal when their attributes, in the order sent, and their data bytes are.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    stored: Bytes,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_json()))
    }
}

/// A context attribute's value, as the JSON format writes it (CloudEvents spec, "Type System").
/// Binary, URI, URI-reference and Timestamp travel as strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    String(&'a str),
    Integer(i32),
    Boolean(bool),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(text)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Value::Integer(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Boolean(truth)
    }
}

/// The event's payload, its bytes exactly as they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// One valid JSON value within the depth limit; `datacontenttype` is a JSON type or absent.
    Json(&'a [u8]),
    /// UTF-8 text that structured mode carries as a JSON string; `datacontenttype` is present.
    Text(&'a str),
    /// Anything else; structured mode carries it as `data_base64`.
    Binary(&'a [u8]),
}

/// How an HTTP message carries events (CloudEvents HTTP binding, section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentMode {
    /// Attributes in `ce-` headers, the data as the body.
    Binary,
    /// One event as `application/cloudevents+json`.
    Structured,
    /// Events as `application/cloudevents-batch+json`.
    Batch,
}

impl Event {
    /// Starts an event from the attributes that every event has.
    #[must_use]
    pub fn builder(id: &str, source: &str, kind: &str) -> EventBuilder {
        EventBuilder::new(id, source, kind)
    }

    /// The `id` attribute; with `source` it names the event.
    #[must_use]
    pub fn id(&self) -> &str {
        Layout::of(&self.stored).id(&self.stored)
    }

    /// The `source` attribute, a URI-reference.
    #[must_use]
    pub fn source(&self) -> &str {
        Layout::of(&self.stored).source(&self.stored)
    }

    /// The `type` attribute.
    #[must_use]
    pub fn kind(&self) -> &str {
        Layout::of(&self.stored).kind(&self.stored)
    }

    /// One attribute by name (`specversion`, `id`, …, extensions).
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "specversion" => Some(Value::String(attribute::SPECVERSION)),
            "id" => Some(Value::String(self.id())),
            "source" => Some(Value::String(self.source())),
            "type" => Some(Value::String(self.kind())),
            _ => Layout::of(&self.stored).optional(&self.stored).named(name),
        }
    }

    /// All attributes: specversion, id, source, type, then the optional ones and extensions in the
    /// order sent.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        [
            ("specversion", Value::String(attribute::SPECVERSION)),
            ("id", Value::String(self.id())),
            ("source", Value::String(self.source())),
            ("type", Value::String(self.kind())),
        ]
        .into_iter()
        .chain(self.optional_attributes())
    }

    /// The optional attributes and extensions, in the order sent.
    fn optional_attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        Layout::of(&self.stored).optional(&self.stored)
    }

    /// The `datacontenttype` attribute.
    #[must_use]
    pub fn data_content_type(&self) -> Option<&str> {
        match self.attribute("datacontenttype") {
            Some(Value::String(media_type)) => Some(media_type),
            _ => None,
        }
    }

    /// The `deliverat` extension, in milliseconds since 1970: when the event is to be routed.
    #[must_use]
    pub fn deliver_at_millis(&self) -> Option<u64> {
        match self.attribute(attribute::DELIVER_AT) {
            Some(Value::String(text)) => moment_millis(text),
            _ => None,
        }
    }

    /// The payload; absent and empty are two things, except in binary mode, which cannot tell them
    /// apart and reads an empty body as absent.
    #[must_use]
    pub fn data(&self) -> Option<Data<'_>> {
        Layout::of(&self.stored).data(&self.stored)
    }

    /// Whether the data is JSON in which no object repeats a key and no key holds a dot or an escape.
    #[must_use]
    pub fn data_is_plain(&self) -> bool {
        Layout::data_is_plain(&self.stored)
    }

    /// The payload's bytes, sharing the event's memory; empty without data.
    #[must_use]
    pub fn data_bytes(&self) -> Bytes {
        Layout::of(&self.stored).data_bytes(&self.stored)
    }

    /// The stored form: what the journal keeps. `Event::from_stored` reads it back.
    #[must_use]
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }

    fn of_parts(parts: &Parts<'_>) -> Event {
        Event {
            stored: parts.write(),
        }
    }

    /// Reads the stored form back without copying; checks lengths and UTF-8, never panics.
    pub fn from_stored(stored: Bytes) -> Result<Event, StoredEventError> {
        stored::check(&stored)?;
        Ok(Event { stored })
    }

    /// The same event with other data, JSON or UTF-8 text. Its `dataschema` goes: it described the
    /// data that was there.
    pub fn with_data(&self, is_json: bool, data: &[u8]) -> Result<Event, InvalidEvent> {
        let mut builder = Event::builder(self.id(), self.source(), self.kind());
        for (name, value) in self.optional_attributes() {
            if !matches!(name, "datacontenttype" | "dataschema") {
                builder = builder.attribute(name, value);
            }
        }
        if is_json {
            builder.json(data).build()
        } else {
            builder.data("text/plain; charset=utf-8", data).build()
        }
    }

    /// The whole event in the JSON event format (data as the bytes sent, when JSON). It is one JSON
    /// value, yet not one line: line breaks between the tokens of JSON data stay.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.stored.len() + 256);
        encode::write_json(self, &mut json);
        json
    }
}
