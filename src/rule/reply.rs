//! `reply`: whether a CloudEvent that the target answers with is published, and to which bus.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::problem::Problems;
use super::reader::{Node, Shape};
use crate::log::BusName;

pub(super) const REPLY: Shape = Shape {
    what: "`reply`",
    fields: &["bus"],
    later: &[],
    elsewhere: &[],
};

/// Where replies are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyTo {
    /// The bus of the event that was delivered.
    SameBus,
    Bus(BusName),
}

impl Serialize for ReplyTo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::SameBus => serializer.serialize_bool(true),
            Self::Bus(bus) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("bus", bus)?;
                map.end()
            }
        }
    }
}

/// Reads `true`, `false` or `{"bus": "name"}`; the inner `None` is no reply.
pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Option<ReplyTo>> {
    if !node.raw().starts_with('{') {
        let wanted = node.boolean(problems)?;
        return Some(wanted.then_some(ReplyTo::SameBus));
    }
    let object = node.object(&REPLY, problems)?;
    let bus = object.required("bus", r#"a bus's name such as "bus": "replies""#, problems)?;
    let text = bus.string(r#"a bus's name such as "replies""#, problems)?;
    match BusName::new(&text) {
        Ok(bus) => Some(Some(ReplyTo::Bus(bus))),
        Err(error) => {
            bus.problem(problems, error.to_string());
            None
        }
    }
}
