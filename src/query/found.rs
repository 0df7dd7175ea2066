//! What a query has selected: one value, as JSON or as text.

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::event::Value;
use crate::json::unescaped;

/// A value of a document or an event, in its own bytes wherever it has some: numbers keep their
/// digits, objects the order of their keys.
#[derive(Debug, Clone)]
pub struct Found<'a>(pub(super) Place<'a>);

#[derive(Debug, Clone)]
pub(super) enum Place<'a> {
    /// Valid JSON.
    Text(Cow<'a, [u8]>),
    Attribute(Value<'a>),
    /// A string, boolean or null: what a tree keeps without loss.
    Scalar(&'a Json),
}

/// The kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// Whether it is an object or an array.
    #[must_use]
    pub fn is_container(self) -> bool {
        matches!(self, Kind::Object | Kind::Array)
    }
}

impl<'a> Found<'a> {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Place::Text(json) => match json.first() {
                Some(b'{') => Kind::Object,
                Some(b'[') => Kind::Array,
                Some(b'"') => Kind::String,
                Some(b't' | b'f') => Kind::Boolean,
                Some(b'n') => Kind::Null,
                _ => Kind::Number,
            },
            Place::Attribute(Value::String(_)) => Kind::String,
            Place::Attribute(Value::Integer(_)) => Kind::Number,
            Place::Attribute(Value::Boolean(_)) => Kind::Boolean,
            Place::Scalar(Json::Bool(_)) => Kind::Boolean,
            Place::Scalar(Json::Null) => Kind::Null,
            Place::Scalar(_) => Kind::String,
        }
    }

    /// The value as JSON text.
    #[must_use]
    pub fn json(&self) -> Cow<'_, str> {
        match &self.0 {
            Place::Text(json) => String::from_utf8_lossy(json),
            Place::Attribute(value) => Cow::Owned(match value {
                Value::String(text) => Json::from(*text).to_string(),
                Value::Integer(number) => number.to_string(),
                Value::Boolean(truth) => truth.to_string(),
            }),
            Place::Scalar(json) => Cow::Owned(json.to_string()),
        }
    }

    /// A string's characters; every other value as JSON text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Place::Text(json) => match &**json {
                [b'"', inner @ .., b'"'] if inner.contains(&b'\\') => Cow::Owned(unescaped(inner)),
                [b'"', inner @ .., b'"'] => String::from_utf8_lossy(inner),
                json => String::from_utf8_lossy(json),
            },
            Place::Attribute(Value::String(text)) => Cow::Borrowed(text),
            Place::Scalar(Json::String(text)) => Cow::Borrowed(text),
            Place::Attribute(_) | Place::Scalar(_) => self.json(),
        }
    }

    pub(super) fn in_text(json: &'a [u8]) -> Found<'a> {
        Found(Place::Text(Cow::Borrowed(json)))
    }
}
