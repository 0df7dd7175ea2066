//! `disable_after`: how long a target may accept nothing before the bus gives it up.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::duration::{format_duration, parse_duration};
use super::problem::Problems;
use super::reader::{Node, short};
use crate::limits;

/// A duration, or `None` for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisableAfter(pub Option<Duration>);

impl Default for DisableAfter {
    fn default() -> Self {
        Self(Some(limits::DISABLE_AFTER))
    }
}

/// As it is written in a document.
impl Serialize for DisableAfter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(duration) => serializer.serialize_str(&format_duration(duration)),
            None => serializer.serialize_str("never"),
        }
    }
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<DisableAfter> {
    let (least, most) = (Duration::from_secs(1), limits::DISABLE_AFTER_MAX);
    let text = node.string(r#"a duration such as "5d", or "never""#, problems)?;
    if text == "never" {
        return Some(DisableAfter(None));
    }
    let problem = match parse_duration(&text) {
        Ok(duration) if (least..=most).contains(&duration) => {
            return Some(DisableAfter(Some(duration)));
        }
        Ok(_) => format!(
            r#"must be from {} to {}, or "never", not {text}"#,
            format_duration(least),
            format_duration(most)
        ),
        Err(error) => format!(r#"{:?} does not read: {error}; or "never""#, short(&text)),
    };
    node.problem(problems, problem);
    None
}
