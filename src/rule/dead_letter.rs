//! `dead_letter`: how long a target's dead letters are kept, and where they are pushed.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::bounded::read_duration;
use super::duration::format_duration;
use super::problem::Problems;
use super::reader::{Node, Shape};
use super::target_url::check_url;
use crate::limits;
use crate::log::TargetName;

pub(super) const DEAD_LETTER: Shape = Shape {
    what: "`dead_letter`",
    fields: &["retention", "url", "target"],
    later: &[],
    elsewhere: &[],
};

/// What becomes of deliveries that are given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterPolicy {
    /// Default 14d.
    pub retention: Duration,
    pub push: Option<DeadLetterPush>,
}

/// Where a dead letter is moved to.
#[derive(Debug, Clone, PartialEq)]
pub enum DeadLetterPush {
    Url(reqwest::Url),
    /// Another target of the same rule.
    Target(TargetName),
}

impl Default for DeadLetterPolicy {
    fn default() -> Self {
        Self {
            retention: limits::DEAD_LETTER_RETENTION,
            push: None,
        }
    }
}

impl Serialize for DeadLetterPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("retention", &format_duration(self.retention))?;
        match &self.push {
            Some(DeadLetterPush::Url(url)) => map.serialize_entry("url", url.as_str())?,
            Some(DeadLetterPush::Target(target)) => map.serialize_entry("target", target)?,
            None => {}
        }
        map.end()
    }
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<DeadLetterPolicy> {
    let object = node.object(&DEAD_LETTER, problems)?;
    let retention = read_duration(
        &object,
        "retention",
        limits::DEAD_LETTER_RETENTION,
        (Duration::from_secs(1), limits::DEAD_LETTER_RETENTION_MAX),
        problems,
    );
    let push = match (object.field("url"), object.field("target")) {
        (None, None) => Some(None),
        (Some(_), Some(target)) => {
            target.problem(problems, "stands beside `url`; keep one of the two");
            None
        }
        (Some(url), None) => {
            let text = url.string(r#"a URL such as "https://example.com/dead""#, problems)?;
            match check_url(&text) {
                Ok(url) => Some(Some(DeadLetterPush::Url(url))),
                Err(detail) => {
                    url.problem(problems, detail);
                    None
                }
            }
        }
        (None, Some(target)) => {
            let text = target.string(r#"another target's id such as "rescue""#, problems)?;
            match TargetName::new(&text) {
                Ok(name) => Some(Some(DeadLetterPush::Target(name))),
                Err(error) => {
                    target.problem(problems, error.to_string());
                    None
                }
            }
        }
    };
    Some(DeadLetterPolicy {
        retention: retention?,
        push: push?,
    })
}
