//! Follows a bus: its events as they come, as server-sent events that go on where they broke off.
//!
//! A reader is never waited for and nothing is kept for it: it reads the log at its own pace, behind
//! a cursor of its own. What it has missed for good is said (`gap`), and how far the bus has looked
//! is said now and then (`position`), so that a reader that goes on does not begin too early.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use utoipa::IntoParams;

use super::events::{self, NotShown, ShownEvent};
use super::extract::{Filter, Place};
use super::{Api, Problem};
use crate::access::Scope;
use crate::limits;
use crate::log::{BusName, LoggedEvent, Sequence};
use crate::pattern::EventPattern;
use crate::rule;

/// The media type of server-sent events (WHATWG HTML, section 9.2).
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// What a client says that goes on (the same, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// The query of a tail.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// An event pattern; all events without it.
    #[param(example = r#"{"type": [{"prefix": "com.example.order."}]}"#)]
    pattern: Option<String>,
    /// Begin behind this sequence; with the next event without it.
    #[param(pattern = "^[0-9]{1,19}$", example = "17")]
    after: Option<String>,
}

/// `GET /v1/buses/{bus}/tail`
pub(super) async fn tail(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
    Filter(wanted): Filter<Wanted>,
) -> Result<Response, Problem> {
    events::known_bus(&api, &place.bus)?;
    let pattern = wanted.pattern.as_deref().map(EventPattern::parse_whole);
    let pattern = pattern.transpose()?;
    let newest = api.log.durable_through();
    // A log that is not the one that the reader knows ends before the reader's cursor.
    let after = cursor(&headers, wanted.after.as_deref())?.map(|after| after.min(newest));
    let seat = Arc::clone(&api.tails).try_acquire_owned();
    let seat = seat.map_err(|_| {
        let detail = format!("{} readers follow the bus already.", limits::TAILS);
        Problem::unavailable(detail, 10)
    })?;
    let created = api
        .log
        .buses()?
        .into_iter()
        .find(|bus| bus.bus == place.bus);
    let reader = Reader {
        after: after.unwrap_or(newest),
        created: created.map_or(0, |bus| bus.created),
        api,
        bus: place.bus,
        headers,
        pattern,
        said: Instant::now(),
        begins: true,
        span: Span::current(),
        _seat: seat,
    };
    let parts = stream::unfold(reader, |mut reader| async move {
        let part = reader.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(part), reader))
    });
    Ok(event_stream(Body::from_stream(parts)))
}

/// An answer of server-sent events.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold parts back until it has many.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Where to begin: a client that goes on sends the address that it began with, so that its
/// `Last-Event-ID` is the newer word.
fn cursor(headers: &HeaderMap, after: Option<&str>) -> Result<Option<Sequence>, Problem> {
    let (name, text) = match (headers.get(LAST_EVENT_ID), after) {
        (Some(last), _) => ("Last-Event-ID", last.to_str().unwrap_or("no text")),
        (None, Some(after)) => ("after", after),
        (None, None) => return Ok(None),
    };
    match text.trim().parse() {
        Ok(sequence) => Ok(Some(sequence)),
        Err(_) => Err(Problem::malformed(format!(
            "`{name}` is {text:?}; the sequence of an event is wanted, 0 for the oldest that is kept."
        ))),
    }
}

/// One who follows a bus.
struct Reader {
    api: Arc<Api>,
    bus: BusName,
    /// Events from before the bus was created belong to another of its name.
    created: Sequence,
    /// Of its request: they hold its key.
    headers: HeaderMap,
    pattern: Option<EventPattern>,
    /// Everything up to here was looked at.
    after: Sequence,
    /// When something was last sent.
    said: Instant,
    begins: bool,
    /// Its request's: log lines about it stand there.
    span: Span,
    _seat: OwnedSemaphorePermit,
}

impl Reader {
    /// The next part of the answer; `None` ends it, and the reader comes again.
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.begins) {
            // At once, so that the reader has its cursor, and knows that it is heard.
            return Some(self.position());
        }
        let (stopped, span) = (self.api.draining.clone(), self.span.clone());
        let following = self.follow().instrument(span);
        stopped.run_until_cancelled(following).await?
    }

    async fn follow(&mut self) -> Option<Bytes> {
        loop {
            // Asked before reading: an empty answer then means that there is nothing up to here.
            let durable = self.api.log.durable_through();
            let read = self.api.log.read_on(self.after, limits::ROUTER_READ);
            let run = match read.await {
                Ok(run) => run,
                Err(error) => {
                    tracing::warn!(bus = %self.bus, %error, "a tail cannot read the log");
                    return None;
                }
            };
            // Who begins at 0 asks for what there is.
            if let Some(last) = run.gone_through.filter(|_| self.after > 0) {
                return self.may_go_on().then(|| self.gap(last));
            }
            if run.events.is_empty() {
                self.after = self.after.max(durable);
                let due = self.said + limits::TAIL_SAYS_EVERY;
                let more = self.api.log.wait_past(durable);
                let waited = tokio::time::timeout_at(due, more).await;
                // It returns without news when the log is closed or has failed.
                if waited.is_ok_and(|through| through <= durable) {
                    return None;
                }
            } else {
                let part = self.write(&run.events)?;
                if !part.is_empty() {
                    self.said = Instant::now();
                    return self.may_go_on().then(|| Bytes::from(part));
                }
                // Events that are in memory are read without a wait, and others want the thread too.
                tokio::task::yield_now().await;
            }
            if Instant::now() >= self.said + limits::TAIL_SAYS_EVERY {
                return self.may_go_on().then(|| self.position());
            }
        }
    }

    /// What is wanted of these events. An event that cannot be shown ends the answer, behind those
    /// before it: it must not be missing without a word.
    fn write(&mut self, events: &[Arc<LoggedEvent>]) -> Option<String> {
        let mut part = String::new();
        for event in events {
            if self.wants(event)
                && let Err(reason) = write_event(event, &mut part)
            {
                if !part.is_empty() {
                    return Some(part);
                }
                tracing::error!(bus = %self.bus, sequence = event.sequence, %reason, "a tail ends at an event that cannot be shown");
                return None;
            }
            self.after = event.sequence;
        }
        Some(part)
    }

    fn wants(&self, event: &LoggedEvent) -> bool {
        event.bus == self.bus
            && event.sequence >= self.created
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| rule::matches(pattern, &event.event))
    }

    /// Whether there is the bus still, and the key still opens it.
    fn may_go_on(&self) -> bool {
        let may = self.api.may_go_on(&self.headers, Scope::Read, &self.bus);
        may && events::known_bus(&self.api, &self.bus).is_ok()
    }

    /// Says that what was to come next is not in the log any more, up to `last`.
    fn gap(&mut self, last: Sequence) -> Bytes {
        let text = format!(
            "id: {last}\nevent: gap\ndata: {{\"after\":{},\"through\":{last}}}\n\n",
            self.after
        );
        self.after = last;
        self.said = Instant::now();
        Bytes::from(text)
    }

    fn position(&mut self) -> Bytes {
        self.said = Instant::now();
        let at = self.after;
        let text = format!("id: {at}\nevent: position\ndata: {{\"sequence\":{at}}}\n\n");
        Bytes::from(text)
    }
}

/// One message. A line ends one of its fields: JSON has line ends between its tokens only, where a
/// blank does as well.
fn write_event(event: &LoggedEvent, part: &mut String) -> Result<(), NotShown> {
    let shown: ShownEvent = events::show_waiting(event, None)?;
    let json = serde_json::to_string(&shown).expect("what is shown has string keys only");
    let json = json.replace(['\n', '\r'], " ");
    // Writing to a string cannot fail.
    let _ = write!(part, "id: {}\ndata: {json}\n\n", event.sequence);
    Ok(())
}
