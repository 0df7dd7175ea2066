//! Tells what became of one event: which rules matched, each delivery, each attempt; and why a rule
//! did not match.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Filter, Place};
use super::openapi::{DeadLetterId, Moment, Name, Reason};
use super::{Api, Problem, dead_letters, events};
use crate::clock::Timestamp;
use crate::delivery::{
    Attempt, DeliveryTrace, EventTrace, Micros, NextStep, Routed, RuleTrace, Text,
};
use crate::log::{BusName, LoggedEvent, RuleName, Sequence, TargetName};
use crate::rule::RuleExplanation;

/// The query of a trace.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// A rule of the bus: why it matches the event, or does not.
    #[param(value_type = Option<String>, example = "large-orders")]
    explain: Option<RuleName>,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventTrace)]
pub(super) struct ShownTrace {
    #[schema(value_type = Name)]
    bus: BusName,
    sequence: Sequence,
    /// When the bus took it.
    #[schema(value_type = Moment)]
    time: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    /// `done`, `not_yet`, or `scheduled` while it waits for its `deliverat`.
    routed: &'static str,
    /// When it is to be routed, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Moment>)]
    due: Option<String>,
    remembered: Remembered,
    /// The rules that match it, by name, and those of which there is a delivery although they do not
    /// match any more.
    rules: Vec<ShownRule>,
    /// Of deliveries of rules that were changed or deleted since, some may be missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    cut_short: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<ShownExplanation>,
}

/// Which attempts are remembered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RememberedAttempts)]
struct Remembered {
    /// `all`, `failures` (and the attempt that then worked) or `off`, as the setting `traces` says.
    traces: &'static str,
    /// Attempts that ended before are forgotten, wholly or in part: the bus started then, or had no
    /// room. Of these the log knows the last failure, and dead letters.
    #[schema(value_type = Moment)]
    since: String,
}

/// A rule that matches, or did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleTrace)]
struct ShownRule {
    #[schema(value_type = Name)]
    rule: RuleName,
    /// How it is known: `as_routed`, the rule is as it was when the event came; `put_since`, it was put
    /// after that, and would match as it is now; `earlier`, it is gone or does not match any more, but
    /// there is a delivery.
    basis: &'static str,
    /// Of the rule as it is now.
    revision: Option<Sequence>,
    deliveries: Vec<ShownDelivery>,
}

/// What became of the event at one target.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryTrace)]
struct ShownDelivery {
    #[schema(value_type = Name)]
    target: TargetName,
    /// `waiting`, `sending`, `retrying`, `delivered`, `dead_lettered`; `dead_letter_removed` since;
    /// `settled`, delivered or its dead letter removed, of which nothing more is known; `unknown`,
    /// whether there was a delivery.
    state: &'static str,
    /// What keeps it from being tried: `paused`, `disabled`, `breaker`, `rate_limit`, `retry_after`,
    /// `credentials`, `validation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<&'static str>,
    /// Since when it is or was pending.
    #[schema(value_type = Option<Moment>)]
    since: Option<String>,
    attempts_made: u32,
    #[schema(value_type = Option<Moment>)]
    next_attempt: Option<String>,
    /// Of the last attempt, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<ShownDeadLetter>,
    /// Those that are remembered, in the order of their end.
    attempts: Vec<ShownAttempt>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TracedDeadLetter)]
struct ShownDeadLetter {
    #[schema(value_type = DeadLetterId)]
    id: String,
    #[schema(value_type = Reason)]
    reason: &'static str,
    #[schema(value_type = Moment)]
    dead_at: String,
}

/// One attempt. Times are in milliseconds, and absent where it did not come to that.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AttemptTrace)]
struct ShownAttempt {
    number: u32,
    /// Nothing was sent, and it is not counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    uncounted: bool,
    #[schema(value_type = Moment)]
    started: String,
    /// From when it was due to its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_ms: Option<u64>,
    /// Until the request was on its way: the event read, transformed, credentials had.
    #[serde(skip_serializing_if = "Option::is_none")]
    prepared_ms: Option<f64>,
    /// Of a new connection: finding the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_ms: Option<f64>,
    /// From the request on its way to the head of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    /// The whole attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<f64>,
    /// Deliveries in the same request, of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u32>,
    status: Option<u16>,
    /// As the metrics class it, such as `5xx` or `timeout`; or why nothing was sent: `expired`,
    /// `not_transformed`, `not_read`, `unreadable`.
    result: &'static str,
    /// The start of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What followed: `delivered`, `retry` or `dead_letter`.
    then: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Moment>)]
    retry_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Reason>)]
    reason: Option<&'static str>,
}

/// Why a rule matches the event, or does not; by the rule as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TracedExplanation)]
struct ShownExplanation {
    #[schema(value_type = Name)]
    rule: RuleName,
    /// The rule was put after the event came: what the event met then is not known.
    put_since: bool,
    #[serde(flatten)]
    explanation: RuleExplanation,
}

/// `GET /v1/buses/{bus}/events/{sequence}/trace`
pub(super) async fn trace(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(wanted): Filter<Wanted>,
) -> Result<Json<ShownTrace>, Problem> {
    let event = events::of_bus(&api, &place.bus, place.sequence()?).await?;
    let explain = match &wanted.explain {
        Some(rule) => Some(explained(&api, &event, rule)?),
        None => None,
    };
    let trace = api.delivery.trace(Arc::clone(&event)).await?;
    Ok(Json(shown(&event, trace, explain)))
}

fn explained(api: &Api, event: &LoggedEvent, rule: &RuleName) -> Result<ShownExplanation, Problem> {
    let known = api.rules.rule(&event.bus, rule);
    let known = known.ok_or_else(|| Problem::no_rule(&event.bus, rule))?;
    Ok(ShownExplanation {
        rule: known.name.clone(),
        put_since: known.revision > event.sequence,
        explanation: known.explain(&event.event),
    })
}

fn shown(event: &LoggedEvent, trace: EventTrace, explain: Option<ShownExplanation>) -> ShownTrace {
    let (routed, due) = match trace.routed {
        Routed::Done => ("done", None),
        Routed::NotYet => ("not_yet", None),
        Routed::Scheduled(due) => ("scheduled", Some(due.to_string())),
    };
    ShownTrace {
        bus: event.bus.clone(),
        sequence: event.sequence,
        time: event.time.to_string(),
        id: event.event.id().to_owned(),
        source: event.event.source().to_owned(),
        kind: event.event.kind().to_owned(),
        routed,
        due,
        remembered: Remembered {
            traces: trace.mode.as_str(),
            since: trace.since.to_string(),
        },
        rules: trace.rules.into_iter().map(ShownRule::from).collect(),
        cut_short: trace.cut_short,
        explain,
    }
}

impl From<RuleTrace> for ShownRule {
    fn from(trace: RuleTrace) -> Self {
        let deliveries = trace.deliveries.into_iter();
        Self {
            rule: trace.rule,
            basis: trace.basis.as_str(),
            revision: trace.revision,
            deliveries: deliveries.map(ShownDelivery::from).collect(),
        }
    }
}

impl From<DeliveryTrace> for ShownDelivery {
    fn from(trace: DeliveryTrace) -> Self {
        // Each attempt was due when the one before said so.
        let mut due = None;
        let mut attempts = Vec::with_capacity(trace.attempts.len());
        for attempt in trace.attempts {
            let first = (attempt.number <= 1).then_some(attempt.since);
            let next = match attempt.step {
                NextStep::RetryAt(due) => Some(due),
                _ => None,
            };
            attempts.push(ShownAttempt::of(attempt, due.or(first)));
            due = next;
        }
        Self {
            target: trace.target,
            state: trace.state.as_str(),
            held_by: trace.held_by,
            since: trace.since.map(|moment| moment.to_string()),
            attempts_made: trace.attempts_made,
            next_attempt: trace.next_attempt.map(|moment| moment.to_string()),
            last_status: trace.last_status,
            last_error: trace.last_error,
            dead_letter: trace.dead_letter.map(|letter| ShownDeadLetter {
                id: dead_letters::id_of(&letter),
                reason: letter.reason.as_str(),
                dead_at: letter.dead_at.to_string(),
            }),
            attempts,
        }
    }
}

impl ShownAttempt {
    fn of(attempt: Attempt, due: Option<Timestamp>) -> Self {
        let timing = attempt.timing;
        let took = timing.took.map(std::time::Duration::from);
        let started = attempt.ended.minus(took.unwrap_or_default());
        let (then, retry_at, reason) = match attempt.step {
            NextStep::Delivered => ("delivered", None, None),
            NextStep::RetryAt(due) => ("retry", Some(due.to_string()), None),
            NextStep::DeadLetter(reason) => ("dead_letter", None, Some(reason.as_str())),
        };
        let (response, error) = match attempt.text {
            Text::Nothing => (None, None),
            Text::Response(text) => (Some(text.into()), None),
            Text::Error(text) => (None, Some(text.into())),
        };
        let millis = |micros: Option<Micros>| micros.map(Micros::as_millis);
        Self {
            number: attempt.number,
            uncounted: !attempt.counts,
            started: started.to_string(),
            queued_ms: due.map(|due| millis_of(started.since(due))),
            prepared_ms: millis(timing.prepared),
            dns_ms: millis(timing.dns),
            connect_ms: millis(timing.connect),
            tls_ms: millis(timing.tls),
            first_byte_ms: millis(timing.first_byte),
            took_ms: millis(timing.took),
            batch: Some(attempt.batch).filter(|batch| *batch > 1),
            status: attempt.status,
            result: attempt.result,
            response,
            error,
            then,
            retry_at,
            reason,
        }
    }
}

fn millis_of(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
