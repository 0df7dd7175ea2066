//! Where an event is put together: attributes are checked as they come, the whole at the end.

use std::borrow::Cow;

use super::error::{InvalidEvent, cut};
use super::stored::{Given, Parts};
use super::{Data, Event, attribute};
use crate::limits;

/// An event in the making. Every door into the bus (HTTP, the builder, the SDK) goes through it,
/// so that one place knows the rules.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    specversion: bool,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    optional: Vec<(Cow<'a, str>, Given<'a>)>,
    /// Names that JSON gave as `null`: absent, but not to be given again.
    unset: Vec<Cow<'a, str>>,
    extensions: usize,
    attribute_bytes: usize,
}

impl<'a> Draft<'a> {
    /// Takes one attribute; refuses bad names and values and second ones of a name.
    pub(super) fn set(&mut self, name: Cow<'a, str>, value: Given<'a>) -> Result<(), InvalidEvent> {
        self.check_new(&name)?;
        match &value {
            Given::String(text) => attribute::check_text(&name, text)?,
            Given::Integer(_) | Given::Boolean(_) if attribute::is_text(&name) => {
                return Err(not_a_string(&name));
            }
            Given::Integer(_) | Given::Boolean(_) => {}
        }
        self.count(&name, value.len())?;
        match (&*name, value) {
            ("specversion", _) => self.specversion = true,
            ("id", Given::String(text)) => self.id = Some(text),
            ("source", Given::String(text)) => self.source = Some(text),
            ("type", Given::String(text)) => self.kind = Some(text),
            (_, value) => self.optional.push((name, value)),
        }
        Ok(())
    }

    /// Takes an attribute that is absent by an explicit `null`.
    pub(super) fn leave_out(&mut self, name: Cow<'a, str>) -> Result<(), InvalidEvent> {
        self.check_new(&name)?;
        self.count(&name, 0)?;
        self.unset.push(name);
        Ok(())
    }

    fn check_new(&self, name: &str) -> Result<(), InvalidEvent> {
        attribute::check_name(name)?;
        if self.holds(name) {
            return Err(InvalidEvent::malformed(
                name,
                format!("attribute `{name}` is given twice; send it once"),
            ));
        }
        Ok(())
    }

    fn holds(&self, name: &str) -> bool {
        match name {
            "specversion" if self.specversion => true,
            "id" if self.id.is_some() => true,
            "source" if self.source.is_some() => true,
            "type" if self.kind.is_some() => true,
            _ => {
                self.optional.iter().any(|(given, _)| given == name)
                    || self.unset.iter().any(|given| given == name)
            }
        }
    }

    fn count(&mut self, name: &str, value_len: usize) -> Result<(), InvalidEvent> {
        self.attribute_bytes += name.len() + value_len;
        if self.attribute_bytes > limits::ATTRIBUTES_BYTES {
            return Err(InvalidEvent::too_large(
                Some(name),
                limits::ATTRIBUTES_BYTES,
                format!(
                    "with `{name}` the attributes take more than {} bytes together; move large values into the data",
                    limits::ATTRIBUTES_BYTES
                ),
            ));
        }
        self.extensions += usize::from(!attribute::is_core(name));
        if self.extensions > limits::EXTENSIONS {
            return Err(InvalidEvent::too_large(
                Some(name),
                limits::EXTENSIONS,
                format!(
                    "an event has at most {} extension attributes, `{name}` is one more; move some into the data",
                    limits::EXTENSIONS
                ),
            ));
        }
        Ok(())
    }

    /// The `datacontenttype`, once it was set.
    pub(super) fn data_content_type(&self) -> Option<&str> {
        self.optional.iter().find_map(|(name, value)| match value {
            Given::String(text) if name == "datacontenttype" => Some(&**text),
            _ => None,
        })
    }

    /// Makes the event, if the required attributes are there and it fits the limits.
    pub(super) fn finish(&self, data: Option<Data<'_>>) -> Result<Event, InvalidEvent> {
        if !self.specversion {
            return Err(missing("specversion", ", \"1.0\""));
        }
        let parts = Parts {
            id: self.id.as_deref().ok_or_else(|| missing("id", ""))?,
            source: self
                .source
                .as_deref()
                .ok_or_else(|| missing("source", ""))?,
            kind: self.kind.as_deref().ok_or_else(|| missing("type", ""))?,
            optional: &self.optional,
            data,
        };
        check_len(parts.len())?;
        Ok(Event::of_parts(&parts))
    }
}

fn missing(name: &str, value: &str) -> InvalidEvent {
    InvalidEvent::malformed(
        name,
        format!("attribute `{name}` is missing, every CloudEvent has one; add it{value}"),
    )
}

/// Holds an event's length against the limit; data alone that passes it spares the work before.
pub(super) fn check_len(len: usize) -> Result<(), InvalidEvent> {
    if len <= limits::EVENT_BYTES {
        return Ok(());
    }
    Err(InvalidEvent::too_large(
        None,
        limits::EVENT_BYTES,
        format!(
            "the event takes {len} bytes and {} is the most; keep the data elsewhere and send its address in the extension `dataref`",
            limits::EVENT_BYTES
        ),
    ))
}

/// Reads an Integer as the type system writes it: an optional minus and digits, 32 bits.
pub(super) fn integer(name: &str, number: &str) -> Result<i32, InvalidEvent> {
    if attribute::is_core(name) {
        return Err(not_a_string(name));
    }
    number.parse().map_err(|_| {
        InvalidEvent::malformed(
            name,
            format!(
                "attribute `{name}` is the number {}, and a number in an attribute must be whole and within 32 bits; send it as a string",
                cut(number)
            ),
        )
    })
}

fn not_a_string(name: &str) -> InvalidEvent {
    InvalidEvent::malformed(
        name,
        format!("attribute `{name}` must be a string; put its value in quotes"),
    )
}
