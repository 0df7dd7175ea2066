//! Makes an event from another one and more attributes.

use std::borrow::Cow;

use super::draft::Draft;
use super::error::InvalidEvent;
use super::stored::Given;
use super::{Event, Value};

impl Event {
    /// The same event with these optional attributes, which replace ones of the same name and stand
    /// behind the others.
    ///
    /// # Errors
    /// [`InvalidEvent`] when a name or value is not valid, or the limits are passed.
    pub fn with(&self, attributes: &[(&str, Value<'_>)]) -> Result<Event, InvalidEvent> {
        let mut draft = Draft::default();
        let kept = self
            .attributes()
            .filter(|(name, _)| attributes.iter().all(|(new, _)| new != name));
        for (name, value) in kept.chain(attributes.iter().copied()) {
            draft.set(Cow::Borrowed(name), given(value))?;
        }
        draft.finish(self.data())
    }
}

fn given(value: Value<'_>) -> Given<'_> {
    match value {
        Value::String(text) => Given::String(Cow::Borrowed(text)),
        Value::Integer(number) => Given::Integer(number),
        Value::Boolean(truth) => Given::Boolean(truth),
    }
}
