//! Makes events in code: for the CLI, the client and tests.

use std::borrow::Cow;

use super::draft::Draft;
use super::error::InvalidEvent;
use super::stored::Given;
use super::{Data, Event, Value};

/// Collects an event; `build` checks all rules. Start with [`Event::builder`].
#[derive(Debug, Clone)]
pub struct EventBuilder {
    attributes: Vec<(String, Given<'static>)>,
    data: Option<Vec<u8>>,
    /// Whether data that is no JSON is a mistake of the caller.
    json_promised: bool,
}

impl EventBuilder {
    pub(super) fn new(id: &str, source: &str, kind: &str) -> Self {
        let builder = Self {
            attributes: Vec::new(),
            data: None,
            json_promised: false,
        };
        builder
            .attribute("specversion", super::attribute::SPECVERSION)
            .attribute("id", id)
            .attribute("source", source)
            .attribute("type", kind)
    }

    /// Adds an optional attribute or an extension.
    #[must_use]
    pub fn attribute<'v>(mut self, name: &str, value: impl Into<Value<'v>>) -> Self {
        let value = match value.into() {
            Value::String(text) => Given::String(Cow::Owned(text.to_owned())),
            Value::Integer(number) => Given::Integer(number),
            Value::Boolean(truth) => Given::Boolean(truth),
        };
        self.attributes.push((name.to_owned(), value));
        self
    }

    /// Sets one JSON value as data, with `datacontenttype` `application/json`; `build` refuses what
    /// is no JSON.
    #[must_use]
    pub fn json(mut self, json: impl Into<Vec<u8>>) -> Self {
        self.data = Some(json.into());
        self.json_promised = true;
        self.attribute("datacontenttype", "application/json")
    }

    /// Sets bytes of a media type as data, read as a binary-mode request's body would be.
    #[must_use]
    pub fn data(mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.data = Some(bytes.into());
        self.json_promised = false;
        self.attribute("datacontenttype", media_type)
    }

    /// Checks all rules of the specification and the limits, and makes the event.
    pub fn build(&self) -> Result<Event, InvalidEvent> {
        let mut draft = Draft::default();
        for (name, value) in &self.attributes {
            draft.set(Cow::Borrowed(name), value.clone())?;
        }
        let data = match &self.data {
            None => None,
            Some(bytes) => Some(Data::from_bytes(draft.data_content_type(), bytes)?),
        };
        if self.json_promised && !matches!(data, Some(Data::Json(_))) {
            return Err(InvalidEvent::malformed(
                "data",
                "the data is not JSON; mend it, or say its media type",
            ));
        }
        draft.finish(data)
    }
}
