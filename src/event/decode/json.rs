//! Structured and batch content mode: events in the JSON event format, read in one pass that
//! borrows from the body and leaves data as the bytes sent.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::event::attribute::check_name;
use crate::event::data::line_and_column;
use crate::event::draft::{Draft, check_len, integer};
use crate::event::error::{cut, quoted};
use crate::event::stored::Given;
use crate::event::{Data, DecodeError, ErrorClass, Event, InvalidEvent, Place, media_type};
use crate::limits;

/// The standard alphabet; padding may be missing, as many senders leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes one event object.
pub(super) fn decode_one(body: &[u8]) -> Result<Event, DecodeError> {
    let mut reading = Reading::default();
    let text = text_of(body)?;
    let mut json = serde_json::Deserializer::from_str(text);
    EventSeed(&mut reading)
        .deserialize(&mut json)
        .and_then(|event| json.end().map(|()| event))
        .map_err(|error| reading.refusal(&error))
}

/// Decodes an array of event objects.
pub(super) fn decode_batch(body: &[u8]) -> Result<Vec<Event>, DecodeError> {
    let mut reading = Reading::default();
    let text = text_of(body)?;
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(BatchVisitor(&mut reading))
        .and_then(|events| json.end().map(|()| events))
        .map_err(|error| reading.refusal(&error))
}

/// The body as text. A byte order mark is skipped, as RFC 8259 section 8.1 allows.
fn text_of(body: &[u8]) -> Result<&str, DecodeError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Err(DecodeError::new(
            ErrorClass::Malformed,
            Place::Request,
            "the body is empty, and the Content-Type promises CloudEvents in JSON; send them",
        ));
    }
    str::from_utf8(body).map_err(|error| {
        let valid = str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default();
        let (line, column) = line_and_column(valid, valid.len());
        DecodeError::new(
            ErrorClass::Malformed,
            Place::Text { line, column },
            "the body is not UTF-8, as JSON is; encode it so",
        )
    })
}

/// Where the reader is, and why it stopped: serde's own errors carry text only.
#[derive(Debug, Default)]
struct Reading {
    /// The event's index, in a batch.
    index: Option<usize>,
    refusal: Option<DecodeError>,
}

impl Reading {
    /// The pointer of the event, or of one of its members.
    fn pointer(&self, member: Option<&str>) -> Place {
        let mut pointer = self.index.map(|n| format!("/{n}")).unwrap_or_default();
        if let Some(member) = member {
            pointer.push('/');
            pointer.push_str(&member.replace('~', "~0").replace('/', "~1"));
        }
        Place::Pointer(pointer)
    }

    /// Keeps the reason and stops serde.
    fn stop<E: de::Error>(&mut self, error: InvalidEvent) -> E {
        let place = self.pointer(error.attribute.as_deref());
        self.refusal = Some(DecodeError::new(error.class, place, error.reason));
        E::custom("refused")
    }

    fn refusal(self, error: &serde_json::Error) -> DecodeError {
        if let Some(refusal) = self.refusal {
            return refusal;
        }
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let what = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(what, _)| what);
        // "invalid type: null, expected …" is the only kind that the visitors leave to serde.
        if let (Category::Data, Some((found, wanted))) =
            (error.classify(), what.rsplit_once(", expected "))
        {
            let found = found.strip_prefix("invalid type: ").unwrap_or(found);
            return DecodeError::new(
                ErrorClass::Malformed,
                self.pointer(None),
                format!("found {}, wanted {wanted}", cut(found)),
            );
        }
        DecodeError::new(
            ErrorClass::Malformed,
            Place::Text { line, column },
            format!("the JSON is broken: {what}; mend it there"),
        )
    }
}

struct BatchVisitor<'r>(&'r mut Reading);

impl<'de> Visitor<'de> for BatchVisitor<'_> {
    type Value = Vec<Event>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of CloudEvents (one alone goes as `application/cloudevents+json`)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Event>, A::Error> {
        let mut events = Vec::new();
        loop {
            self.0.index = Some(events.len());
            let Some(event) = seq.next_element_seed(EventSeed(self.0))? else {
                // Whatever fails from here on is about the array.
                self.0.index = None;
                return Ok(events);
            };
            events.push(event);
        }
    }
}

struct EventSeed<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Event;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event, D::Error> {
        if self.0.index.is_some_and(|n| n >= limits::BATCH_EVENTS) {
            return Err(self.0.stop(InvalidEvent::too_large(
                None,
                limits::BATCH_EVENTS,
                format!(
                    "a batch has at most {} events; send the rest in another",
                    limits::BATCH_EVENTS
                ),
            )));
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent as a JSON object")?;
        match self.0.index {
            Some(_) => Ok(()),
            None => f.write_str(" (an array goes as `application/cloudevents-batch+json`)"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let mut members = Members::default();
        while let Some(Name(name)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            members
                .take(name, value.get())
                .map_err(|error| self.0.stop(error))?;
        }
        members.finish().map_err(|error| self.0.stop(error))
    }
}

/// A member's name, borrowed unless it holds escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute's name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// The members of one event object, as far as they were read.
#[derive(Default)]
struct Members<'a> {
    draft: Draft<'a>,
    data: Option<&'a str>,
    /// `Some(None)` is an explicit `null`.
    data_base64: Option<Option<Cow<'a, str>>>,
}

impl<'a> Members<'a> {
    fn take(&mut self, name: Cow<'a, str>, value: &'a str) -> Result<(), InvalidEvent> {
        let twice = match &*name {
            "data" => self.data.replace(value).is_some(),
            "data_base64" => {
                let base64 = match value {
                    "null" => None,
                    _ => Some(string(&name, value)?),
                };
                self.data_base64.replace(base64).is_some()
            }
            _ => return self.attribute(name, value),
        };
        if twice {
            return Err(InvalidEvent::malformed(
                &name,
                format!("`{name}` is given twice; send it once"),
            ));
        }
        Ok(())
    }

    fn attribute(&mut self, name: Cow<'a, str>, value: &'a str) -> Result<(), InvalidEvent> {
        check_name(&name)?;
        let given = match value.as_bytes().first() {
            Some(b'"') => Given::String(string(&name, value)?),
            Some(b't') => Given::Boolean(true),
            Some(b'f') => Given::Boolean(false),
            Some(b'n') => return self.draft.leave_out(name),
            Some(b'[' | b'{') => {
                return Err(InvalidEvent::malformed(
                    &name,
                    format!(
                        "attribute `{name}` is an object or array, and attributes must be strings, whole numbers or booleans; move it into `data`"
                    ),
                ));
            }
            _ => Given::Integer(integer(&name, value)?),
        };
        self.draft.set(name, given)
    }

    fn finish(&self) -> Result<Event, InvalidEvent> {
        let media_type = self.draft.data_content_type();
        match (self.data, &self.data_base64) {
            (Some(_), Some(Some(_))) => Err(InvalidEvent::malformed(
                "data_base64",
                "an event has `data` or `data_base64`, not both; leave one out",
            )),
            (None, None | Some(None)) => self.draft.finish(None),
            (None, Some(Some(base64))) => {
                let bytes = BASE64.decode(&**base64).map_err(|error| {
                    InvalidEvent::malformed(
                        "data_base64",
                        format!("`data_base64` is not Base64 in the standard alphabet ({error}); encode the bytes so"),
                    )
                })?;
                check_len(bytes.len())?;
                let data = Data::from_bytes(media_type, &bytes).map_err(|error| InvalidEvent {
                    attribute: Some("data_base64".to_owned()),
                    ..error
                })?;
                self.draft.finish(Some(data))
            }
            (Some(value), _) if media_type.is_none_or(media_type::is_json) => {
                check_len(value.len())?;
                self.draft.finish(Some(Data::from_json(value)?))
            }
            (Some(value), _) => {
                if !value.starts_with('"') {
                    return Err(InvalidEvent::malformed(
                        "data",
                        format!(
                            "`data` must be a JSON string when datacontenttype is {}; quote it, or name a JSON type",
                            quoted(media_type.unwrap_or_default())
                        ),
                    ));
                }
                self.draft.finish(Some(Data::Text(&string("data", value)?)))
            }
        }
    }
}

/// The text of a JSON string, borrowed unless it holds escapes.
fn string<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, InvalidEvent> {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        // Half a surrogate pair is JSON, but no text.
        Some(_) => serde_json::from_str(value).map(Cow::Owned).map_err(|_| {
            InvalidEvent::malformed(
                name,
                format!("`{name}` holds half of a surrogate pair, which is no character; send the whole pair"),
            )
        }),
        None => Err(InvalidEvent::malformed(
            name,
            format!("`{name}` must be a JSON string; put the value in quotes"),
        )),
    }
}
