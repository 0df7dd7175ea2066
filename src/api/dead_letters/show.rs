//! Dead letters and their groups as the API writes them.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Key, key};
use crate::api::Api;
use crate::api::openapi::{CloudEvent, DeadLetterId, Moment, Name, Reason};
use crate::api::page::Cursor;
use crate::delivery::dead_letter::{Group, Groups};
use crate::log::{BusName, DeadLetter, RuleName, Sequence, TargetId, TargetName};
use crate::rule::Target;

/// A dead letter; with its event when one is asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(in crate::api) struct ShownLetter {
    #[schema(value_type = DeadLetterId)]
    id: String,
    #[schema(value_type = Name)]
    bus: BusName,
    #[schema(value_type = Name)]
    rule: RuleName,
    #[schema(value_type = Name)]
    target: TargetName,
    sequence: Sequence,
    #[schema(value_type = Reason)]
    reason: &'static str,
    attempts: u32,
    /// Of the first attempt.
    #[schema(value_type = Moment)]
    since: String,
    #[schema(value_type = Moment)]
    dead_at: String,
    last_status: Option<u16>,
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CloudEvent>)]
    event: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterList)]
pub(in crate::api) struct LetterList {
    pub(super) dead_letters: Vec<ShownLetter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// Dead letters, counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroups)]
pub(in crate::api) struct ShownGroups {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    dry_run: bool,
    count: u64,
    /// Of these, those that have a target to be delivered to.
    redrivable: u64,
    groups: Vec<ShownGroup>,
    /// In no group, since there are too many of those.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    ungrouped: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroup)]
struct ShownGroup {
    #[schema(value_type = Name)]
    rule: RuleName,
    #[schema(value_type = Name)]
    target: TargetName,
    /// The target is there no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    target_gone: bool,
    #[schema(value_type = Reason)]
    reason: &'static str,
    /// Such as `5xx`; `none` when the target did not answer.
    status: String,
    count: u64,
    #[schema(value_type = Moment)]
    oldest: String,
    #[schema(value_type = Moment)]
    newest: String,
    example: Example,
}

/// The newest of a group.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterExample)]
struct Example {
    #[schema(value_type = DeadLetterId)]
    id: String,
    sequence: Sequence,
    error: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ShownLetter {
    pub(super) fn with_event(self, event: Option<Box<RawValue>>) -> Self {
        Self { event, ..self }
    }
}

impl ShownGroups {
    /// Shows groups whose letters would go to `to`, or to their own targets.
    pub(super) fn of(api: &Api, groups: Groups, to: Option<&Target>) -> Self {
        let rules = api.rules.current();
        let mut redrivable = if to.is_some() {
            groups.count
        } else {
            groups.ungrouped
        };
        let shown = groups.groups.into_iter().map(|group| {
            let Group { key, example, .. } = group;
            let target_gone = rules.target(key).is_none();
            if to.is_none() && !target_gone {
                redrivable += group.count;
            }
            ShownGroup {
                rule: group.rule,
                target: group.target,
                target_gone,
                reason: group.reason.as_str(),
                status: group.status.to_string(),
                count: group.count,
                oldest: group.oldest.to_string(),
                newest: group.newest.to_string(),
                example: Example {
                    id: id((key, example)),
                    sequence: example,
                    error: group.example_error,
                },
            }
        });
        let groups_shown = shown.collect();
        Self {
            dry_run: false,
            count: groups.count,
            redrivable,
            groups: groups_shown,
            ungrouped: groups.ungrouped,
        }
    }

    pub(super) fn dry_run(self) -> Self {
        Self {
            dry_run: true,
            ..self
        }
    }
}

impl From<DeadLetter> for ShownLetter {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: id(key(&letter)),
            bus: letter.bus,
            rule: letter.rule,
            target: letter.target_name,
            sequence: letter.sequence,
            reason: letter.reason.as_str(),
            attempts: letter.attempts,
            since: letter.since.to_string(),
            dead_at: letter.dead_at.to_string(),
            last_status: letter.last_status,
            last_error: letter.last_error,
            event: None,
        }
    }
}

/// `<target key>-<sequence>`
pub(super) fn id((target, sequence): Key) -> String {
    format!("{}-{sequence}", target.0)
}

pub(super) fn parse_id(text: &str) -> Option<Key> {
    let (target, sequence) = text.split_once('-')?;
    Some((TargetId(target.parse().ok()?), sequence.parse().ok()?))
}

/// A dead letter's place is its id.
impl Cursor for Key {
    fn write(&self) -> String {
        id(*self)
    }

    fn read(text: &str) -> Option<Self> {
        parse_id(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let key = (TargetId(17), 120_044);
        assert_eq!(id(key), "17-120044");
        assert_eq!(parse_id("17-120044"), Some(key));
        for bad in ["", "17", "17-", "-3", "x-3", "17-120044-1", "99999999999-1"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
