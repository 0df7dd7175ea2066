//! A rule's document: from the user's JSON to a checked rule with every default in place.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::dead_letter::DeadLetterPush;
use super::filter::Filter;
use super::locate;
use super::problem::{Problem, Problems, join};
use super::pull;
use super::reader::{Node, Shape};
use super::schedule::{self, RuleSchedule};
use super::target_document::TargetDocument;
use crate::guard::Guard;
use crate::json::too_deep;
use crate::limits;
use crate::pattern::EventPattern;

pub(super) const RULE: Shape = Shape {
    what: "a rule",
    fields: &[
        "$schema",
        "description",
        "enabled",
        "pattern",
        "filter",
        "schedule",
        "targets",
    ],
    later: &[],
    elsewhere: &[
        ("id", "into an element of `targets`"),
        ("url", "into an element of `targets`"),
        ("pull", "into an element of `targets`"),
        ("path", "into an element of `targets`"),
        ("query", "into an element of `targets`"),
        ("method", "into an element of `targets`"),
        ("mode", "into an element of `targets`"),
        ("headers", "into an element of `targets`"),
        ("timeout", "into an element of `targets`"),
        ("concurrency", "into an element of `targets`"),
        ("rate_limit", "into an element of `targets`"),
        ("ordering_key", "into an element of `targets`"),
        ("on_failure", "into an element of `targets`"),
        ("retry", "into an element of `targets`"),
        ("batch", "into an element of `targets`"),
        ("transform", "into an element of `targets`"),
        ("signing", "into an element of `targets`"),
        ("auth", "into an element of `targets`"),
        ("validation", "into an element of `targets`"),
        ("tls", "into an element of `targets`"),
        ("dead_letter", "into an element of `targets`"),
        ("disable_after", "into an element of `targets`"),
        ("reply", "into an element of `targets`"),
        ("jsonpath", "into `filter`"),
        ("cron", "into `schedule`"),
        ("rate", "into `schedule`"),
        ("timezone", "into `schedule`"),
    ],
};

pub(super) const FILTER: Shape = Shape {
    what: "`filter`",
    fields: &["jsonpath"],
    later: &["cesql", "all", "any", "not"],
    elsewhere: &[],
};

/// An event pattern with the text it was written in, so that numbers keep their digits.
#[derive(Debug, Clone)]
pub struct PatternText {
    text: Box<RawValue>,
    compiled: EventPattern,
}

impl PatternText {
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.get()
    }

    #[must_use]
    pub fn compiled(&self) -> &EventPattern {
        &self.compiled
    }
}

/// Every event has a type.
const NOTHING: &str = r#"{"type":[{"exists":false}]}"#;

impl PatternText {
    /// A pattern that no event matches.
    fn nothing() -> Option<Self> {
        Some(Self {
            text: RawValue::from_string(NOTHING.to_owned()).ok()?,
            compiled: EventPattern::parse(NOTHING).ok()?,
        })
    }

    fn is_nothing(&self) -> bool {
        self.text() == NOTHING
    }
}

impl Serialize for PatternText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

/// A rule as its document describes it, checked, with all defaults in place. Serializes to the
/// document's form, the defaults written out; [`RuleDocument::text`] is what the user wrote.
#[derive(Debug, Clone, Serialize)]
pub struct RuleDocument {
    #[serde(skip)]
    text: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub enabled: bool,
    /// Of a rule that fires on a schedule alone: one that no event matches.
    #[serde(skip_serializing_if = "PatternText::is_nothing")]
    pub pattern: PatternText,
    /// Must hold beside the pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// When it fires by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<RuleSchedule>,
    #[serde(serialize_with = "pull::serialize_targets")]
    pub targets: Vec<TargetDocument>,
}

impl RuleDocument {
    /// Reads a rule's JSON; all problems at once.
    pub fn parse(text: &str) -> Result<RuleDocument, Vec<Problem>> {
        let mut problems = Problems::default();
        let document = read(text, &mut problems);
        problems.settle(document)
    }

    /// What is refused of a rule that is put, but not of one that the log holds: the URLs that lead
    /// where the guard lets nobody go, as far as their text tells (names are judged when they are
    /// connected to), placeholders in URLs that nothing fills, events that a schedule cannot emit, and
    /// values deeper than an event may be.
    #[must_use]
    pub fn refused(&self, guard: &Guard) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(offset) = too_deep(&self.text, limits::JSON_DEPTH) {
            problems.push(Problem {
                pointer: String::new(),
                detail: format!("is nested deeper than {} levels here", limits::JSON_DEPTH),
                offset: Some(offset),
            });
        } else if let Some(detail) = self.schedule.as_ref().and_then(RuleSchedule::cannot_emit) {
            let pointer = "/schedule/event".to_owned();
            problems.push(Problem {
                offset: locate::find(&self.text, &pointer),
                pointer,
                detail,
            });
        }
        for (index, target) in self.targets.iter().enumerate() {
            let mut refuse = |at: &str, detail: String| {
                let pointer = format!("/targets/{index}/{at}");
                problems.push(Problem {
                    offset: locate::find(&self.text, &pointer),
                    pointer,
                    detail,
                });
            };
            for (at, url) in target.urls() {
                if let Err(refusal) = guard.check_url(url) {
                    refuse(at, refusal.to_string());
                }
            }
            if let Some(detail) = target.unfilled() {
                refuse("url", detail);
            }
        }
        problems
    }

    /// The user's text.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

fn read(text: &str, problems: &mut Problems) -> Option<RuleDocument> {
    if text.len() > limits::RULE_BYTES {
        // Of a file no more is read, so that its size is not known here.
        let most = limits::RULE_BYTES;
        problems.add(
            "",
            0,
            format!("a rule has at most {most} bytes, this one has more"),
        );
        return None;
    }
    let object = Node::document(text, problems)?.object(&RULE, problems)?;
    if let Some(schema) = object.field("$schema") {
        schema.string("the schema's path or URL", problems);
    }
    let description = object
        .field("description")
        .map(|node| node.string("a string", problems));
    let enabled = match object.field("enabled") {
        Some(node) => node.boolean(problems),
        None => Some(true),
    };
    let schedule = object
        .field("schedule")
        .map(|node| schedule::read(node, problems));
    let pattern = match (object.field("pattern"), &schedule) {
        (None, Some(_)) => PatternText::nothing(),
        _ => object
            .required(
                "pattern",
                r#"the events it wants, such as "pattern": {"type": ["order.placed"]}"#,
                problems,
            )
            .and_then(|node| read_pattern(node, problems)),
    };
    let filter = object
        .field("filter")
        .map(|node| read_filter(node, problems));
    let targets = object
        .required(
            "targets",
            r#"where they go, such as "targets": [{"id": "shop", "url": "https://…"}]"#,
            problems,
        )
        .and_then(|node| read_targets(node, problems));
    Some(RuleDocument {
        text: Arc::from(text),
        description: optional(description)?,
        enabled: enabled?,
        pattern: pattern?,
        filter: optional(filter)?,
        schedule: optional(schedule)?,
        targets: targets?,
    })
}

/// A field that may be absent: None only when it is there and bad.
fn optional<T>(field: Option<Option<T>>) -> Option<Option<T>> {
    match field {
        Some(None) => None,
        Some(good) => Some(good),
        None => Some(None),
    }
}

fn read_pattern(node: &Node<'_>, problems: &mut Problems) -> Option<PatternText> {
    match EventPattern::parse_whole(node.raw()) {
        Ok(compiled) => Some(PatternText {
            text: RawValue::from_string(node.raw().to_owned()).ok()?,
            compiled,
        }),
        Err(faults) => {
            for fault in faults {
                let within = fault
                    .offset
                    .or_else(|| locate::find(node.raw(), &fault.pointer))
                    .unwrap_or(0);
                let pointer = format!("{}{}", node.pointer, fault.pointer);
                problems.add(&pointer, node.offset() + within, fault.reason);
            }
            None
        }
    }
}

fn read_filter(node: &Node<'_>, problems: &mut Problems) -> Option<Filter> {
    let object = node.object(&FILTER, problems)?;
    let example = r#"a query such as "jsonpath": "$.data.items[?@.price > 10]""#;
    let field = object.required("jsonpath", example, problems)?;
    let text = field.string(r#"a query such as "$.data.items[?@.price > 10]""#, problems)?;
    match Filter::parse(&text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            field.problem(problems, error.to_string());
            None
        }
    }
}

fn read_targets(node: &Node<'_>, problems: &mut Problems) -> Option<Vec<TargetDocument>> {
    let elements = node.array(
        r#"an array of targets such as [{"id": "shop", "url": "https://…"}]"#,
        problems,
    )?;
    if elements.is_empty() {
        node.problem(
            problems,
            "must hold at least one target; to pause a rule, set `enabled` to false",
        );
        return None;
    }
    if elements.len() > limits::TARGETS_PER_RULE {
        let detail = format!(
            "a rule has at most {} targets, this one has {}; split it in two",
            limits::TARGETS_PER_RULE,
            elements.len()
        );
        node.problem(problems, detail);
        return None;
    }
    let mut targets: Vec<TargetDocument> = Vec::with_capacity(elements.len());
    let mut complete = true;
    for element in &elements {
        let Some(target) = TargetDocument::read(element, problems) else {
            complete = false;
            continue;
        };
        if targets.iter().any(|other| other.id == target.id) {
            let pointer = join(&element.pointer, "id");
            let within = locate::find(element.raw(), "/id").unwrap_or(0);
            let detail = format!(
                "`{}` is another target's id already; ids are unique within a rule",
                target.id
            );
            problems.add(&pointer, element.offset() + within, detail);
        }
        targets.push(target);
    }
    if complete {
        check_dead_letter_targets(&elements, &targets, problems);
    }
    complete.then_some(targets)
}

/// A dead letter may be pushed to another target of its rule, which must be there.
fn check_dead_letter_targets(
    elements: &[Node<'_>],
    targets: &[TargetDocument],
    problems: &mut Problems,
) {
    for (element, target) in elements.iter().zip(targets) {
        let Some(DeadLetterPush::Target(name)) = &target.dead_letter.push else {
            continue;
        };
        let detail = if *name == target.id {
            "is the target itself; name another one of this rule".to_owned()
        } else if let Some(other) = targets.iter().find(|other| other.id == *name) {
            if other.pull.is_some() {
                format!("`{name}` is pulled, and letters are sent; name one with a `url`")
            } else if other.validation.is_none() {
                continue;
            } else {
                format!(
                    "`{name}` has `validation`, and letters do not wait for it to agree; name another one"
                )
            }
        } else {
            format!("this rule has no target `{name}`")
        };
        let within = locate::find(element.raw(), "/dead_letter/target").unwrap_or(0);
        let pointer = format!("{}/dead_letter/target", element.pointer);
        problems.add(&pointer, element.offset() + within, detail);
    }
}
