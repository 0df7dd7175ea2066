//! The ordering key of a target: by what its deliveries are made one at a time.

use serde::{Serialize, Serializer};

use super::problem::Problems;
use super::reader::{Node, short};
use crate::event::Event;
use crate::limits;
use crate::log::OrderKey;
use crate::query::{Kind, Query, Subject};

/// What a failed delivery does to the younger ones of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They wait until it is delivered or a dead letter.
    #[default]
    Block,
    /// They pass while it waits for its retry.
    Skip,
}

/// Where a target's ordering key is found in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderingKey {
    text: String,
    path: Query,
}

impl Serialize for OrderingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl OrderingKey {
    /// Reads the name of an attribute (`subject`) or a plain path (`$.data.order.id`).
    pub(super) fn parse(text: &str) -> Result<OrderingKey, String> {
        let path = if text.starts_with('$') {
            path(text)?
        } else {
            attribute(text)?
        };
        Ok(OrderingKey {
            text: text.to_owned(),
            path,
        })
    }

    /// The event's key. None for an event that has no such attribute or member, or has null, an
    /// object, an array or an empty text there: it is in order with nothing.
    #[must_use]
    pub fn of(&self, event: &Event) -> OrderKey {
        let subject = Subject::event(event);
        let Ok(Some(found)) = self.path.first(&subject) else {
            return OrderKey::NONE;
        };
        match found.kind() {
            Kind::Object | Kind::Array | Kind::Null => OrderKey::NONE,
            Kind::String | Kind::Number | Kind::Boolean => OrderKey::of(found.text().as_bytes()),
        }
    }
}

fn attribute(name: &str) -> Result<Query, String> {
    let is_name = !name.is_empty()
        && name.len() <= limits::ATTRIBUTE_NAME_BYTES
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let refused = || {
        format!(
            "{:?} is no attribute's name (lower-case letters and digits, such as \"partitionkey\"); \
             a member of the data is named by a path such as \"$.data.order.id\"",
            short(name)
        )
    };
    if !is_name || name == "data" {
        return Err(refused());
    }
    Query::parse(&format!("$['{name}']")).map_err(|_| refused())
}

/// A path that looks at one place only: what is in order with what must be clear from the event
/// alone, and costs every event a look.
fn path(text: &str) -> Result<Query, String> {
    let path = Query::parse(text).map_err(|error| error.to_string())?;
    if !path.is_plain() {
        return Err(format!(
            "{:?} is no plain path: it takes names and indexes only, such as \"$.data.items[0].id\" or \"$.data['order id']\"",
            short(text)
        ));
    }
    match path.member() {
        Some(("data", _)) => Ok(path),
        Some((name, false)) => attribute(name).map(|_| path),
        _ => Err(format!(
            "{:?} leads to nothing that an event has: a path begins with \"$.data\" or names an attribute",
            short(text)
        )),
    }
}

pub(super) fn read_key(node: &Node<'_>, problems: &mut Problems) -> Option<OrderingKey> {
    let wanted =
        r#"an attribute's name such as "partitionkey", or a path such as "$.data.order.id""#;
    let text = node.string(wanted, problems)?;
    match OrderingKey::parse(&text) {
        Ok(key) => Some(key),
        Err(detail) => {
            node.problem(problems, detail);
            None
        }
    }
}

pub(super) fn read_on_failure(node: &Node<'_>, problems: &mut Problems) -> Option<OnFailure> {
    match node.string(r#""block" or "skip""#, problems)?.as_str() {
        "block" => Some(OnFailure::Block),
        "skip" => Some(OnFailure::Skip),
        other => {
            node.problem(
                problems,
                format!(
                    "there is no {:?}; it is \"block\" or \"skip\"",
                    short(other)
                ),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, data: &str) -> OrderKey {
        let event = Event::builder("1", "/shop", "t")
            .json(data)
            .build()
            .unwrap();
        OrderingKey::parse(path).unwrap().of(&event)
    }

    #[test]
    fn a_key_is_the_text_of_a_string_number_or_boolean() {
        let text = |text: &str| OrderKey::of(text.as_bytes());
        for (path, data, wanted) in [
            (
                "$.data.order.id",
                r#"{"x":[{}],"order":{"a":"}","id":"o-1"}}"#,
                text("o-1"),
            ),
            ("$.data.n", r#"{ "n" : 7 }"#, text("7")),
            ("$.data['a b'][1]", r#"{"a b":[1,true]}"#, text("true")),
            ("$.data", r#""whole""#, text("whole")),
            ("$.data.k", r#"{"k":"\u0061b"}"#, text("ab")),
            ("$.data.ab", r#"{"\u0061b":"x"}"#, text("x")),
            ("$.source", "{}", text("/shop")),
            ("source", "{}", text("/shop")),
            ("subject", "{}", OrderKey::NONE),
            ("$.data.k", r#"{"k":null}"#, OrderKey::NONE),
            ("$.data.k", r#"{"k":{}}"#, OrderKey::NONE),
            ("$.data.k", r#"{"k":""}"#, OrderKey::NONE),
            ("$.data.k.l", r#"{"k":"l"}"#, OrderKey::NONE),
            ("$.data[2]", "[1,2]", OrderKey::NONE),
            ("$.data[0]", "[]", OrderKey::NONE),
        ] {
            assert_eq!(key(path, data), wanted, "{path} of {data}");
        }
    }

    #[test]
    fn what_is_no_attribute_and_no_plain_path_is_refused() {
        for text in [
            "",
            "$",
            "data",
            "Subject",
            "partition-key",
            "$.data..id",
            "$.data[*]",
            "$.data[-1]",
            "$.data.items[?@.id]",
            "$.subject.x",
            "$[0]",
            "$.data.",
            "$.data['a",
            "$data",
        ] {
            assert!(OrderingKey::parse(text).is_err(), "{text}");
        }
    }
}
