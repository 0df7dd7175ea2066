//! Reads a duration or a size that a document writes as a string, within bounds.

use std::time::Duration;

use super::duration::{format_duration, parse_duration};
use super::problem::Problems;
use super::reader::{Object, short};
use super::size::{format_size, parse_size};

/// A duration field within its bounds (both included), or its default.
pub(super) fn read_duration(
    object: &Object<'_>,
    name: &str,
    default: Duration,
    (least, most): (Duration, Duration),
    problems: &mut Problems,
) -> Option<Duration> {
    let Some(node) = object.field(name) else {
        return Some(default);
    };
    let text = node.string(r#"a duration such as "10s""#, problems)?;
    match parse_duration(&text) {
        Ok(duration) if (least..=most).contains(&duration) => Some(duration),
        Ok(_) => {
            node.problem(
                problems,
                format!(
                    "must be from {} to {}, not {text}",
                    format_duration(least),
                    format_duration(most)
                ),
            );
            None
        }
        Err(error) => {
            node.problem(
                problems,
                format!("{:?} does not read: {error}", short(&text)),
            );
            None
        }
    }
}

/// A byte size within its bounds (both included), or its default.
pub(super) fn read_size(
    object: &Object<'_>,
    name: &str,
    default: u64,
    (least, most): (u64, u64),
    problems: &mut Problems,
) -> Option<u64> {
    let Some(node) = object.field(name) else {
        return Some(default);
    };
    let text = node.string(r#"a size such as "8GiB""#, problems)?;
    match parse_size(&text) {
        Ok(size) if (least..=most).contains(&size) => Some(size),
        Ok(_) => {
            node.problem(
                problems,
                format!(
                    "must be from {} to {}, not {text}",
                    format_size(least),
                    format_size(most)
                ),
            );
            None
        }
        Err(error) => {
            node.problem(
                problems,
                format!("{:?} does not read: {error}", short(&text)),
            );
            None
        }
    }
}
