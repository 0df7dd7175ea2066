//! The variables that every template has: the rule's, the bus's and the event's own.

use serde_json::Value as Json;

use crate::query::{Query, Subject};

/// What the reserved variables of a template stand for, besides the event itself.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    pub bus: &'a str,
    pub rule: &'a str,
    pub target: &'a str,
    pub rule_arn: &'a str,
    /// When the bus took the event, in RFC 3339.
    pub ingestion_time: &'a str,
    pub sequence: u64,
}

/// A variable whose name is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserved {
    Bus,
    Rule,
    Target,
    RuleArn,
    IngestionTime,
    Sequence,
    /// The event without its data, as sent.
    Event,
    /// The same as EventBridge gives it: `time` is the ingestion time.
    AwsEvent,
    /// The whole event.
    EventJson,
    /// The event's data: JSON as it is, other text as a string, bytes in base64.
    Data,
}

/// Every reserved name. EventBridge's own spelling stands beside ours.
pub(super) const RESERVED: [(&str, Reserved); 14] = [
    ("aws.events.rule-name", Reserved::Rule),
    ("aws.events.rule-arn", Reserved::RuleArn),
    ("aws.events.event", Reserved::AwsEvent),
    ("aws.events.event.json", Reserved::EventJson),
    ("aws.events.event.ingestion-time", Reserved::IngestionTime),
    ("eventyard.bus-name", Reserved::Bus),
    ("eventyard.rule-name", Reserved::Rule),
    ("eventyard.rule-arn", Reserved::RuleArn),
    ("eventyard.target-id", Reserved::Target),
    ("eventyard.event", Reserved::Event),
    ("eventyard.event.json", Reserved::EventJson),
    ("eventyard.event.ingestion-time", Reserved::IngestionTime),
    ("eventyard.event.sequence", Reserved::Sequence),
    ("eventyard.event.data", Reserved::Data),
];

impl Reserved {
    pub(super) fn named(name: &str) -> Option<Reserved> {
        let found = RESERVED.iter().find(|(reserved, _)| *reserved == name);
        found.map(|(_, reserved)| *reserved)
    }

    /// The variable's value as JSON text; `None` for the data of an event without any.
    pub(super) fn json(self, subject: &Subject<'_>, variables: &Variables<'_>) -> Option<String> {
        let string = |text: &str| Some(Json::from(text).to_string());
        match self {
            Reserved::Bus => string(variables.bus),
            Reserved::Rule => string(variables.rule),
            Reserved::Target => string(variables.target),
            Reserved::RuleArn => string(variables.rule_arn),
            Reserved::IngestionTime => string(variables.ingestion_time),
            Reserved::Sequence => Some(variables.sequence.to_string()),
            Reserved::Event => Some(envelope(subject, None)),
            Reserved::AwsEvent => Some(envelope(subject, Some(variables.ingestion_time))),
            Reserved::EventJson => Some(whole(subject)),
            Reserved::Data => match subject.as_event() {
                Some(_) => {
                    let members = members(&whole(subject));
                    let data = |(name, _): &(String, String)| {
                        matches!(name.as_str(), "data" | "data_base64")
                    };
                    members.into_iter().find(data).map(|(_, value)| value)
                }
                None => None,
            },
        }
    }
}

/// The whole event, data that is not JSON included.
fn whole(subject: &Subject<'_>) -> String {
    if let Some(event) = subject.as_event() {
        return String::from_utf8_lossy(&event.to_json()).into_owned();
    }
    let root = Query::parse("$").expect("a dollar sign is a query");
    match root.first(subject) {
        Ok(Some(found)) => found.json().into_owned(),
        _ => "null".to_owned(),
    }
}

/// The event without its data. With a time it is as EventBridge gives it: that is its `time`. A
/// document of EventBridge's own shape loses `detail`, and its `detail-type` becomes `detailType`.
fn envelope(subject: &Subject<'_>, ingestion_time: Option<&str>) -> String {
    let is_event = subject.as_event().is_some();
    let mut json = String::from("{");
    for (name, value) in members(&whole(subject)) {
        let name = match name.as_str() {
            "data" | "data_base64" if is_event => continue,
            "detail" if !is_event => continue,
            "detail-type" if !is_event => "detailType",
            name => name,
        };
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&Json::from(name).to_string());
        json.push(':');
        match ingestion_time {
            Some(time) if name == "time" => json.push_str(&Json::from(time).to_string()),
            _ => json.push_str(&value),
        }
    }
    // An event need not have a time; EventBridge's always do.
    if let Some(time) = ingestion_time
        && is_event
        && subject
            .as_event()
            .is_some_and(|event| event.attribute("time").is_none())
    {
        json.push_str(",\"time\":");
        json.push_str(&Json::from(time).to_string());
    }
    json.push('}');
    json
}

/// The members of a JSON object in their order, values as they are written.
fn members(object: &str) -> Vec<(String, String)> {
    let Ok(node) = crate::json::read(object) else {
        return Vec::new();
    };
    let crate::json::Tree::Object(entries) = node.tree else {
        return Vec::new();
    };
    entries
        .into_iter()
        .map(|(name, value)| (name, object[value.span].to_owned()))
        .collect()
}
