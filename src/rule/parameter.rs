//! Reads one text of a request: a string, or `{"path": "$.data.tenant", "default": "-"}`, which
//! takes it from the event.

use super::problem::Problems;
use super::reader::{Node, Shape};
use crate::query::Query;
use crate::transform::{Otherwise, Parameter};

pub(super) const PARAMETER: Shape = Shape {
    what: "a value from the event",
    fields: &["path", "default"],
    later: &[],
    elsewhere: &[],
};

/// What a place in the request asks of its texts.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Why a text cannot stand there.
    pub(super) check: fn(&str) -> Result<(), String>,
    /// Whether the place may be left out when the event has no value.
    pub(super) may_omit: bool,
}

pub(super) fn read(node: &Node<'_>, wanted: Wanted, problems: &mut Problems) -> Option<Parameter> {
    if !node.raw().starts_with('{') {
        let what = r#"a string, or a value from the event such as {"path": "$.data.tenant"}"#;
        return text(node, what, wanted, problems).map(Parameter::Constant);
    }
    let object = node.object(&PARAMETER, problems)?;
    let path = object.required("path", r#"a JSONPath such as "path": "$.id""#, problems);
    let path = path.and_then(|path| read_path(path, problems));
    let otherwise = match object.field("default") {
        None => Some(Otherwise::Fail),
        Some(null) if null.raw() == "null" => {
            if !wanted.may_omit {
                null.problem(
                    problems,
                    "a part of the path cannot be left out; give a text, or no `default`: then an event without the value becomes a dead letter",
                );
            }
            Some(Otherwise::Omit)
        }
        Some(default) => {
            let what = "a string, or null to leave it out";
            text(default, what, wanted, problems).map(Otherwise::Text)
        }
    };
    Some(Parameter::FromEvent {
        path: path?,
        otherwise: otherwise?,
    })
}

fn text(node: &Node<'_>, what: &str, wanted: Wanted, problems: &mut Problems) -> Option<String> {
    let text = node.string(what, problems)?;
    match (wanted.check)(&text) {
        Ok(()) => Some(text),
        Err(detail) => {
            node.problem(problems, detail);
            None
        }
    }
}

fn read_path(node: &Node<'_>, problems: &mut Problems) -> Option<Query> {
    let text = node.string(r#"a JSONPath such as "$.data.tenant""#, problems)?;
    match Query::parse(&text) {
        Ok(query) if query.is_singular() => Some(query),
        Ok(_) => {
            node.problem(
                problems,
                "may select several values where one is wanted: name the one, such as `[0]` in the place of `[*]`",
            );
            None
        }
        Err(error) => {
            node.problem(problems, error.to_string());
            None
        }
    }
}

/// Says of each value from the event that a batch, which is one request for many events, cannot
/// have it.
pub(super) fn refuse_for_batch(parameters: &Node<'_>, problems: &mut Problems) {
    for (_, value) in parameters.entries().unwrap_or_default() {
        if value.raw().starts_with('{') {
            value.problem(
                problems,
                "does not go with mode batch: of which of its events? Give a text, or another `mode`",
            );
        }
    }
}
