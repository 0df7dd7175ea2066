//! A bus: how long it keeps events and within which time it recognises duplicates.

use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::bounded::{read_duration, read_size};
use super::duration::format_duration;
use super::problem::{Problem, Problems};
use super::reader::{Node, Shape};
use super::size::format_size;
use crate::limits;
use crate::log::{BusName, Retention, Sequence};

pub(super) const BUS: Shape = Shape {
    what: "a bus",
    fields: &["$schema", "description", "retention", "dedup_window"],
    later: &["validation", "dead_letter", "auth"],
    elsewhere: &[
        ("max_age", "into `retention`"),
        ("max_bytes", "into `retention`"),
    ],
};

pub(super) const RETENTION: Shape = Shape {
    what: "`retention`",
    fields: &["max_age", "max_bytes"],
    later: &[],
    elsewhere: &[("dedup_window", "beside `retention`")],
};

/// A bus as its document describes it, checked, with all defaults in place. Serializes to the
/// document's form.
#[derive(Debug, Clone, PartialEq)]
pub struct BusDocument {
    text: Arc<str>,
    pub description: Option<String>,
    /// Default 7 days and 8 GiB.
    pub retention: Retention,
    /// How long the ids of a bus's events are remembered; zero: duplicates are not looked for.
    /// Default 10 minutes.
    pub dedup_window: Duration,
}

impl BusDocument {
    /// Reads a bus's JSON; all problems at once.
    pub fn parse(text: &str) -> Result<BusDocument, Vec<Problem>> {
        let mut problems = Problems::default();
        let document = read(text, &mut problems);
        problems.settle(document)
    }

    /// The user's text.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl Default for BusDocument {
    fn default() -> Self {
        Self {
            text: Arc::from("{}"),
            description: None,
            retention: Retention {
                max_age: Duration::from_secs(7 * 24 * 60 * 60),
                max_bytes: 8 << 30,
            },
            dedup_window: Duration::from_secs(10 * 60),
        }
    }
}

fn read(text: &str, problems: &mut Problems) -> Option<BusDocument> {
    if text.len() > limits::RULE_BYTES {
        let most = limits::RULE_BYTES;
        problems.add(
            "",
            0,
            format!("a bus has at most {most} bytes, this one has more"),
        );
        return None;
    }
    let object = Node::document(text, problems)?.object(&BUS, problems)?;
    let default = BusDocument::default();
    if let Some(schema) = object.field("$schema") {
        schema.string("the schema's path or URL", problems);
    }
    let description = match object.field("description") {
        Some(node) => node.string("a string", problems).map(Some),
        None => Some(None),
    };
    let retention = match object.field("retention") {
        Some(node) => read_retention(node, &default.retention, problems),
        None => Some(default.retention),
    };
    let dedup_window = read_duration(
        &object,
        "dedup_window",
        default.dedup_window,
        (Duration::ZERO, limits::DEDUP_WINDOW),
        problems,
    );
    Some(BusDocument {
        text: Arc::from(text),
        description: description?,
        retention: retention?,
        dedup_window: dedup_window?,
    })
}

fn read_retention(
    node: &Node<'_>,
    default: &Retention,
    problems: &mut Problems,
) -> Option<Retention> {
    let object = node.object(&RETENTION, problems)?;
    let max_age = read_duration(
        &object,
        "max_age",
        default.max_age,
        (
            Duration::from_secs(60),
            Duration::from_secs(3_650 * 24 * 60 * 60),
        ),
        problems,
    );
    let max_bytes = read_size(
        &object,
        "max_bytes",
        default.max_bytes,
        (1 << 20, 1 << 50),
        problems,
    );
    Some(Retention {
        max_age: max_age?,
        max_bytes: max_bytes?,
    })
}

impl Serialize for BusDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Shown<'a>(&'a Retention);
        impl Serialize for Shown<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("max_age", &format_duration(self.0.max_age))?;
                map.serialize_entry("max_bytes", &format_size(self.0.max_bytes))?;
                map.end()
            }
        }
        let mut map = serializer.serialize_map(None)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        map.serialize_entry("retention", &Shown(&self.retention))?;
        map.serialize_entry("dedup_window", &format_duration(self.dedup_window))?;
        map.end()
    }
}

/// A bus that exists.
#[derive(Debug, Clone)]
pub struct Bus {
    pub name: BusName,
    pub document: BusDocument,
    /// Sequence of the change that put it; 0 for `default` while nobody has put it.
    pub revision: Sequence,
}
