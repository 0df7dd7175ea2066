//! Conversion from and to the official SDK's event, the interchange type at the library's edge.
//!
//! The SDK holds less than the bus: times in UTC, JSON numbers as 64-bit values, extensions in no
//! order. So a round trip through it keeps the meaning, not the bytes; inside the bus it has no place.

use std::borrow::Cow;

use cloudevents::event::{AttributeValue, TryIntoUrl};
use cloudevents::{AttributesWriter, EventBuilder, EventBuilderV10};

use super::draft::Draft;
use super::error::InvalidEvent;
use super::stored::Given;
use super::{Data, Event, Value, media_type};

/// Why the SDK's event type cannot hold an event of the bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the CloudEvents SDK cannot hold the event: {0}")]
pub struct SdkError(String);

impl TryFrom<&cloudevents::Event> for Event {
    type Error = InvalidEvent;

    /// Checks what the SDK leaves unchecked. Its version 0.3 is refused. Text without a
    /// `datacontenttype` becomes a JSON string, as the SDK's own structured form has it.
    fn try_from(event: &cloudevents::Event) -> Result<Event, InvalidEvent> {
        let mut draft = Draft::default();
        for (name, value) in event.iter() {
            let value = match value {
                AttributeValue::Boolean(truth) => Given::Boolean(*truth),
                AttributeValue::Integer(number) => {
                    Given::Integer(super::draft::integer(name, &number.to_string())?)
                }
                AttributeValue::String(text) => Given::String(Cow::Borrowed(text)),
                AttributeValue::Time(_) => {
                    let time = value.to_string();
                    let utc = time.strip_suffix("+00:00").map(|utc| format!("{utc}Z"));
                    Given::String(Cow::Owned(utc.unwrap_or(time)))
                }
                other => Given::String(Cow::Owned(other.to_string())),
            };
            draft.set(Cow::Owned(name.to_owned()), value)?;
        }
        let media_type = draft.data_content_type();
        let json;
        let data = match event.data() {
            None => None,
            Some(cloudevents::Data::Json(value)) => {
                json = value.to_string();
                Some(Data::from_bytes(
                    media_type.or(Some("application/json")),
                    json.as_bytes(),
                )?)
            }
            Some(cloudevents::Data::String(text)) if media_type.is_none() => {
                json = serde_json::Value::from(text.as_str()).to_string();
                Some(Data::from_json(&json)?)
            }
            Some(cloudevents::Data::String(text)) => match media_type {
                Some(json) if media_type::is_json(json) => {
                    Some(Data::from_bytes(media_type, text.as_bytes())?)
                }
                _ => Some(Data::Text(text)),
            },
            Some(cloudevents::Data::Binary(bytes)) => Some(Data::from_bytes(media_type, bytes)?),
        };
        draft.finish(data)
    }
}

impl TryFrom<cloudevents::Event> for Event {
    type Error = InvalidEvent;

    fn try_from(event: cloudevents::Event) -> Result<Event, InvalidEvent> {
        Event::try_from(&event)
    }
}

impl TryFrom<&Event> for cloudevents::Event {
    type Error = SdkError;

    /// Fails for what the SDK cannot hold: a `dataschema` that is no WHATWG URL, JSON numbers beyond
    /// 64 bits' range, JSON deeper than 127 levels.
    fn try_from(event: &Event) -> Result<cloudevents::Event, SdkError> {
        let mut builder = EventBuilderV10::new()
            .id(event.id())
            .source(event.source())
            .ty(event.kind());
        for (name, value) in event.optional_attributes() {
            builder = match (name, value) {
                ("subject", Value::String(text)) => builder.subject(text),
                ("time", Value::String(text)) => builder.time(text),
                ("dataschema" | "datacontenttype", _) => builder,
                (name, Value::String(text)) => builder.extension(name, text),
                (name, Value::Integer(number)) => builder.extension(name, i64::from(number)),
                (name, Value::Boolean(truth)) => builder.extension(name, truth),
            };
        }
        let fail = |error: &dyn std::fmt::Display| SdkError(error.to_string());
        let mut converted = builder.build().map_err(|error| fail(&error))?;
        if let Some(Value::String(uri)) = event.attribute("dataschema") {
            let url = uri.into_url().map_err(|error| fail(&error))?;
            converted.set_dataschema(Some(url));
        }
        converted.set_datacontenttype(event.data_content_type());
        let data: cloudevents::Data = match event.data() {
            None => return Ok(converted),
            Some(Data::Json(json)) => serde_json::from_slice::<serde_json::Value>(json)
                .map_err(|error| fail(&error))?
                .into(),
            Some(Data::Text(text)) => text.into(),
            Some(Data::Binary(bytes)) => bytes.to_vec().into(),
        };
        converted.set_data_unchecked(data);
        Ok(converted)
    }
}
