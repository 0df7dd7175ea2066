//! One text of a request, such as a header's value: the same for every event, or from the event.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{TransformError, Work};
use crate::query::{Query, Subject};

/// Where a text comes from.
#[derive(Clone, PartialEq)]
pub enum Parameter {
    Constant(String),
    FromEvent { path: Query, otherwise: Otherwise },
}

/// What is taken when the path selects nothing, or null.
#[derive(Debug, Clone, PartialEq)]
pub enum Otherwise {
    /// The event cannot be sent.
    Fail,
    /// The parameter is left out.
    Omit,
    Text(String),
}

impl Parameter {
    /// The text: a string's characters, a number or boolean as it was sent. `None`: it is to be left
    /// out. The queries of one request share `work`.
    pub(crate) fn text<'s>(
        &'s self,
        subject: &'s Subject<'_>,
        work: &mut Work,
    ) -> Result<Option<Cow<'s, str>>, TransformError> {
        let (path, otherwise) = match self {
            Parameter::Constant(text) => return Ok(Some(Cow::Borrowed(text))),
            Parameter::FromEvent { path, otherwise } => (path, otherwise),
        };
        work.spend(path, subject)?;
        let costly = |_| TransformError::TooCostly(path.text().to_owned());
        let found = path.first(subject).map_err(costly)?;
        if let Some(found) = found.filter(|found| found.kind() != crate::query::Kind::Null) {
            if found.kind().is_container() {
                return Err(TransformError::NoText(path.text().to_owned()));
            }
            return Ok(Some(Cow::Owned(found.text().into_owned())));
        }
        match otherwise {
            Otherwise::Fail => Err(TransformError::NoDefault(path.text().to_owned())),
            Otherwise::Omit => Ok(None),
            Otherwise::Text(text) => Ok(Some(Cow::Borrowed(text))),
        }
    }
}

/// Constants do not show: they may be tokens.
impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parameter::Constant(_) => f.write_str("Constant(..)"),
            Parameter::FromEvent { path, .. } => f.debug_tuple("FromEvent").field(path).finish(),
        }
    }
}

/// As a document writes it.
impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (path, otherwise) = match self {
            Parameter::Constant(text) => return serializer.serialize_str(text),
            Parameter::FromEvent { path, otherwise } => (path, otherwise),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", path)?;
        match otherwise {
            Otherwise::Fail => {}
            Otherwise::Omit => map.serialize_entry("default", &())?,
            Otherwise::Text(text) => map.serialize_entry("default", text)?,
        }
        map.end()
    }
}
