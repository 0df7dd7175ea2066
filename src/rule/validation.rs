//! `validation`: whether a target is asked, before anything is sent, if it wants events at all
//! (CloudEvents "HTTP 1.1 Web Hooks", section 4).

use http::HeaderValue;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::problem::Problems;
use super::reader::{Node, Shape, short};

pub(super) const VALIDATION: Shape = Shape {
    what: "`validation`",
    fields: &["origin"],
    later: &[],
    elsewhere: &[],
};

/// Who asks when a rule does not say.
const ORIGIN: HeaderValue = HeaderValue::from_static("eventyard");

/// Longest name of DNS, in characters.
const NAME: usize = 253;
const LABEL: usize = 63;

/// The target must agree before it is sent anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// The name that the bus asks under, and that every delivery carries.
    pub origin: HeaderValue,
}

impl Serialize for Validation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.origin == ORIGIN {
            return serializer.serialize_str("cloudevents");
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("origin", self.origin.to_str().unwrap_or_default())?;
        map.end()
    }
}

/// Reads `"none"`, `"cloudevents"` or `{"origin": "bus.example.com"}`; the inner `None` is none.
pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Option<Validation>> {
    if node.raw().starts_with('{') {
        let object = node.object(&VALIDATION, problems)?;
        let example = r#"the bus's name such as "origin": "bus.example.com""#;
        let origin = object.required("origin", example, problems)?;
        let text = origin.string(r#"a DNS name such as "bus.example.com""#, problems)?;
        if !is_dns_name(&text) {
            let detail = format!(
                "{:?} is no DNS name: it takes letters, digits, `-` and dots between",
                short(&text)
            );
            origin.problem(problems, detail);
            return None;
        }
        let origin = HeaderValue::from_str(&text).ok()?;
        return Some(Some(Validation { origin }));
    }
    let wanted = r#""cloudevents", "none" or {"origin": "bus.example.com"}"#;
    match node.string(wanted, problems)?.as_str() {
        "cloudevents" => Some(Some(Validation { origin: ORIGIN })),
        "none" => Some(None),
        other => {
            let detail = format!("there is no validation {:?}; it is {wanted}", short(other));
            node.problem(problems, detail);
            None
        }
    }
}

fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= NAME && text.split('.').all(label)
}
