//! What a target receives in the place of an event's data: a part of the event, a constant, or a
//! template that is filled from it.
//!
//! A transform is compiled when its rule is put, and applied to an event at delivery. It knows of no
//! target and no HTTP; the core takes any JSON document, since EventBridge's recorded cases are no
//! CloudEvents.

mod parameter;
mod template;
mod variables;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

pub use parameter::{Otherwise, Parameter};
pub use template::{Marks, Template, TemplateError, Variable};
pub use variables::Variables;

use crate::limits;
use crate::query::{Query, Subject};

/// What a target receives of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// The same JSON for every event.
    Constant(String),
    /// What a query selects: its value, or an array of values when it may select several.
    Path(Query),
    Template(Template),
}

/// What is sent in the place of the event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// One JSON value; else text.
    pub is_json: bool,
    pub bytes: Bytes,
}

/// Why an event could not be transformed; another try would end the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    #[error("`{0}` selects nothing in this event")]
    Nothing(String),
    #[error(
        "`{0}` is an object or array in this event, and its place in the template is inside a JSON string; take the quotes around it away"
    )]
    ContainerInString(String),
    #[error("`{0}` selects nothing in this event, or null, and has no `default`")]
    NoDefault(String),
    #[error("`{0}` is an object or array in this event; a string, number or boolean is wanted")]
    NoText(String),
    #[error("`{0}` was not run: the event is too large or too deep for this query")]
    TooCostly(String),
    #[error("the result has more than {max} bytes", max = limits::TRANSFORM_RESULT_BYTES)]
    TooLarge,
}

impl Transform {
    pub fn apply(
        &self,
        subject: &Subject<'_>,
        variables: &Variables<'_>,
    ) -> Result<Payload, TransformError> {
        let mut work = Work::default();
        let (is_json, text) = match self {
            Transform::Constant(json) => (true, json.clone()),
            Transform::Path(query) => match work.value(query, subject)? {
                Some(json) => (true, json.into_owned()),
                None => return Err(TransformError::Nothing(query.text().to_owned())),
            },
            Transform::Template(template) => (
                template.is_json(),
                template.fill(subject, variables, &mut work)?,
            ),
        };
        if text.len() > limits::TRANSFORM_RESULT_BYTES {
            return Err(TransformError::TooLarge);
        }
        Ok(Payload {
            is_json,
            bytes: Bytes::from(text),
        })
    }
}

/// The work of all queries of one transform on one event, which share one bound.
#[derive(Debug, Default)]
pub(crate) struct Work(u64);

impl Work {
    fn spend(&mut self, query: &Query, subject: &Subject<'_>) -> Result<(), TransformError> {
        self.0 = self.0.saturating_add(query.work(subject));
        if self.0 > limits::QUERY_WORK {
            return Err(TransformError::TooCostly(query.text().to_owned()));
        }
        Ok(())
    }

    /// The one value of a query that selects one at most, or an array of all that it selects.
    fn value<'s>(
        &mut self,
        query: &Query,
        subject: &'s Subject<'_>,
    ) -> Result<Option<Cow<'s, str>>, TransformError> {
        self.spend(query, subject)?;
        let costly = |_| TransformError::TooCostly(query.text().to_owned());
        if query.is_singular() {
            let found = query.first(subject).map_err(costly)?;
            return Ok(found.map(|found| Cow::Owned(found.json().into_owned())));
        }
        let all = query.all(subject).map_err(costly)?;
        let mut array = String::from("[");
        for (n, found) in all.iter().enumerate() {
            if n > 0 {
                array.push(',');
            }
            array.push_str(&found.json());
            if array.len() > limits::TRANSFORM_RESULT_BYTES {
                return Err(TransformError::TooLarge);
            }
        }
        array.push(']');
        Ok(Some(Cow::Owned(array)))
    }
}
