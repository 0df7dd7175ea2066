//! Publishes the CloudEvent that a target answers with, before its delivery counts as done.
//!
//! As Knative's contract has it, a 200 may carry a reply and a 202 never does. An answer that is no
//! CloudEvent is no reply. A reply bears how many replies led to it, so that two targets that answer
//! each other end, and which event and which target caused it.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::attempt::Sender;
use crate::event::{self, Event, Value};
use crate::limits;
use crate::log::{BusName, LoggedEvent};
use crate::rule::{ReplyTo, Target};

const HOPS: &str = "eventyardhops";
const CAUSE: &str = "eventyardcause";
const VIA: &str = "eventyardvia";
const CAUSATION: &str = "causationid";
const CORRELATION: &str = "correlationid";

/// Why a reply was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplyError {
    /// Another attempt may do better.
    NotStored(String),
    /// No attempt will.
    Loops(String),
}

/// Whether an answer's head announces a CloudEvent.
pub(crate) fn is_reply(target: &Target, status: StatusCode, headers: &HeaderMap) -> bool {
    let structured = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let prefix = value.trim_start().get(..23);
            prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case("application/cloudevents"))
        });
    target.reply.is_some()
        && status == StatusCode::OK
        && (structured || headers.contains_key("ce-specversion"))
}

impl Sender {
    /// Publishes an answer that [`is_reply`].
    pub(crate) async fn publish_reply(
        &self,
        target: &Target,
        cause: &LoggedEvent,
        webhook_id: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), ReplyError> {
        let bus = match &target.reply {
            Some(ReplyTo::Bus(bus)) => bus,
            _ => &cause.bus,
        };
        let hops = hops(&cause.event) + 1;
        if hops > limits::REPLY_HOPS {
            return Err(ReplyError::Loops(format!(
                "the reply would be the {hops}th in a row, {} are published: do the targets answer each other?",
                limits::REPLY_HOPS
            )));
        }
        let failed =
            |what: String| ReplyError::NotStored(format!("the reply was not published: {what}"));
        let window = self.rules.window(bus);
        let window = window.ok_or_else(|| failed(format!("there is no bus `{bus}`")))?;
        // A target that gives no id gets one that is the same for a repeat of the delivery.
        let named = HeaderName::from_static("ce-id");
        if headers.contains_key("ce-specversion") && !headers.contains_key(&named) {
            let id = HeaderValue::try_from(format!("reply-{webhook_id}"));
            headers.insert(named, id.map_err(|error| failed(error.to_string()))?);
        }
        let replies = event::decode(&headers, body).map_err(|error| failed(error.to_string()))?;
        let reserved = replies.events.iter().map(Event::kind);
        if let Some(kind) = reserved.into_iter().find(|kind| event::is_reserved(kind)) {
            return Err(failed(format!(
                "its type {kind:?} is for events of the bus's own"
            )));
        }
        let replies: Vec<Event> = replies
            .events
            .iter()
            .map(|reply| with_cause(reply, hops, target, cause))
            .collect::<Result<_, _>>()
            .map_err(|error| failed(error.to_string()))?;
        self.log
            .append(bus, replies, window)
            .await
            .map(drop)
            .map_err(|error| failed(error.to_string()))
    }
}

/// How many replies led to this event.
fn hops(event: &Event) -> i32 {
    match event.attribute(HOPS) {
        Some(Value::Integer(hops)) => hops.max(0),
        // A binary-mode message cannot tell a number from its digits.
        Some(Value::String(text)) => text.parse().map_or(0, |hops: i32| hops.max(0)),
        _ => 0,
    }
}

fn with_cause(
    reply: &Event,
    hops: i32,
    target: &Target,
    cause: &LoggedEvent,
) -> Result<Event, event::InvalidEvent> {
    let place = place(&cause.bus, cause.sequence);
    let via = format!("{}/{}", target.rule, target.id);
    let mut attributes = vec![
        (HOPS, Value::Integer(hops)),
        (CAUSE, Value::String(&place)),
        (VIA, Value::String(&via)),
    ];
    // These are others' names too: what the target says wins.
    if reply.attribute(CAUSATION).is_none() {
        attributes.push((CAUSATION, Value::String(cause.event.id())));
    }
    if reply.attribute(CORRELATION).is_none() {
        let inherited = cause.event.attribute(CORRELATION);
        attributes.push((
            CORRELATION,
            inherited.unwrap_or(Value::String(cause.event.id())),
        ));
    }
    reply.with(&attributes)
}

fn place(bus: &BusName, sequence: u64) -> String {
    format!("{bus}/{sequence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_read_in_both_spellings() {
        let with = |value: Value<'_>| {
            hops(
                &Event::builder("1", "/a", "t")
                    .attribute(HOPS, value)
                    .build()
                    .unwrap(),
            )
        };
        assert_eq!(with(Value::Integer(3)), 3);
        assert_eq!(with(Value::String("3")), 3);
        assert_eq!(with(Value::String("many")), 0);
        assert_eq!(with(Value::Integer(-9)), 0);
    }
}
