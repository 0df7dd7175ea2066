//! Where an event is in a trace, and the spans that the bus adds to it: publish, route, attempt.
//!
//! The ids of an event's trace and of its spans follow from the event, so that whoever has the event
//! knows them: nothing is handed from publishing to routing to the attempt days later. Only what a
//! publisher's request said of its own trace is remembered, for a while.

mod context;
#[cfg(feature = "otlp")]
mod export;
mod kept;
#[cfg(feature = "otlp")]
mod proto;
#[cfg(not(feature = "otlp"))]
mod without;

use std::borrow::Cow;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderMap;
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::mpsc;

pub use self::context::SpanContext;
#[cfg(feature = "otlp")]
pub use self::export::{Exporter, start};
#[cfg(not(feature = "otlp"))]
pub use self::without::{Exporter, start};

use self::kept::{Given, Kept};
use crate::clock::Timestamp;
use crate::event::{Event, Value as AttributeValue};
use crate::limits;

/// Where spans go, and which are made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// The base URL of an OTLP receiver over HTTP; none are made without it.
    pub endpoint: Option<reqwest::Url>,
    /// What it wants to be shown, such as a key. The values are marked as sensitive.
    pub headers: HeaderMap,
    /// Of the traces that begin here, this share is recorded, from 0 to 1. Whether one is that
    /// began elsewhere, was decided there.
    pub sample: f64,
}

/// Makes spans, or does not. Clones share it.
#[derive(Debug, Clone)]
pub struct Spans(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kept: Kept,
    out: Option<mpsc::Sender<Span>>,
    /// Traces are recorded whose id begins below.
    sampled_below: u64,
    exported: AtomicU64,
    lost: AtomicU64,
}

/// An event's place in its trace.
#[derive(Debug, Clone)]
pub struct Traced {
    trace: [u8; 16],
    /// The publisher's span, or the one that the event itself names.
    parent: Option<SpanContext>,
    /// The event names another trace than the request that brought it.
    link: Option<SpanContext>,
    state: Option<Box<str>>,
    sampled: bool,
    key: u64,
}

/// What the bus does with an event, each a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Publish = 1,
    Route = 2,
}

/// One span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub context: SpanContext,
    pub parent: Option<[u8; 8]>,
    pub state: Option<Box<str>>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub attributes: Vec<(&'static str, Value)>,
    pub links: Vec<SpanContext>,
    pub error: Option<String>,
}

/// Who is at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Server,
    Client,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(Cow<'static, str>),
    Number(u64),
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The receiver took them.
    pub exported: u64,
    /// There was no room for them, or the receiver was away for too long.
    pub lost: u64,
}

/// The extension that names an event's own trace (CloudEvents, Distributed Tracing), and the header
/// that names a request's (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";
/// What goes with the header.
pub const TRACESTATE: &str = "tracestate";

impl Spans {
    /// Makes no spans; what publishers say of their traces is passed on all the same.
    #[must_use]
    pub fn off() -> Self {
        Self::new(None, 0.0)
    }

    fn new(out: Option<mpsc::Sender<Span>>, sample: f64) -> Self {
        // A share of all ids; 1 is all of them, since the cast saturates.
        let sampled_below = (sample.clamp(0.0, 1.0) * 2.0_f64.powi(64)) as u64;
        Self(Arc::new(Inner {
            kept: Kept::default(),
            out,
            sampled_below,
            exported: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }))
    }

    /// Whether spans are made at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.out.is_some()
    }

    /// A request with these headers brought the events: the trace that it names is remembered.
    pub fn brought(&self, headers: &HeaderMap, bus: &str, events: &[Event]) {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let Some(parent) = text(TRACEPARENT).and_then(SpanContext::parse) else {
            return;
        };
        let state = text(TRACESTATE);
        for event in events {
            self.given(bus, event, parent, state);
        }
    }

    fn given(&self, bus: &str, event: &Event, parent: SpanContext, state: Option<&str>) {
        let state = state.filter(|state| state.len() <= limits::TRACESTATE_BYTES);
        let given = Given {
            parent,
            state: state.map(Into::into),
        };
        self.0.kept.keep(identity(bus, event).0, given);
    }

    /// The same as [`Spans::of`], where there is something to record or to pass on.
    #[must_use]
    pub fn known(&self, bus: &str, event: &Event) -> Option<Traced> {
        let is_told = || self.0.kept.has_any() || event.attribute(TRACEPARENT).is_some();
        (self.is_on() || is_told()).then(|| self.of(bus, event))
    }

    /// An event's place in its trace: that of the request that brought it, else that which the event
    /// names itself, else one of its own.
    #[must_use]
    pub fn of(&self, bus: &str, event: &Event) -> Traced {
        let (key, trace) = identity(bus, event);
        let given = self.0.kept.of(key);
        let own = match event.attribute(TRACEPARENT) {
            Some(AttributeValue::String(text)) => SpanContext::parse(text),
            _ => None,
        };
        let (parent, state) = match given {
            Some(given) => (Some(given.parent), given.state),
            None => (own, None),
        };
        let begins = u64::from_be_bytes(trace[..8].try_into().unwrap_or_default());
        let is_own = |own: &SpanContext| parent.is_some_and(|parent| parent.trace == own.trace);
        Traced {
            trace: parent.map_or(trace, |parent| parent.trace),
            link: own.filter(|own| !is_own(own)),
            sampled: match parent {
                Some(parent) => parent.sampled,
                None => begins < self.0.sampled_below || self.0.sampled_below == u64::MAX,
            },
            parent,
            state,
            key,
        }
    }

    /// Hands a span over; never waits. What there is no room for is counted and let go.
    pub fn record(&self, span: Span) {
        if let Some(out) = &self.0.out
            && out.try_send(span).is_err()
        {
            self.0.lost.fetch_add(1, Relaxed);
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            exported: self.0.exported.load(Relaxed),
            lost: self.0.lost.load(Relaxed),
        }
    }
}

impl Traced {
    /// Whether its spans are recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// What a target is told where the bus makes no spans: the trace as it was given, if it was.
    #[must_use]
    pub fn passed_on(&self) -> Option<SpanContext> {
        self.parent
    }

    /// The event was taken.
    #[must_use]
    pub fn publish(&self) -> Span {
        let mut span = self.span(Part::Publish, Kind::Server);
        span.parent = self.parent.map(|parent| parent.span);
        span.links = self.link.into_iter().collect();
        span
    }

    /// Its rules were found.
    #[must_use]
    pub fn route(&self) -> Span {
        let mut span = self.span(Part::Route, Kind::Internal);
        span.parent = Some(self.id(Part::Publish));
        span
    }

    /// One attempt to deliver it.
    #[must_use]
    pub fn attempt(&self, id: [u8; 8]) -> Span {
        let mut span = self.span(Part::Route, Kind::Client);
        span.parent = Some(span.context.span);
        span.context.span = id;
        span
    }

    /// Where an attempt with this id is.
    #[must_use]
    pub fn at(&self, id: [u8; 8]) -> SpanContext {
        SpanContext {
            trace: self.trace,
            span: id,
            sampled: self.sampled,
        }
    }

    /// The traces of others that an attempt delivers as well, in a batch.
    #[must_use]
    pub fn link(&self) -> SpanContext {
        self.at(self.id(Part::Route))
    }

    fn span(&self, part: Part, kind: Kind) -> Span {
        Span {
            context: self.at(self.id(part)),
            parent: None,
            state: self.state.clone(),
            name: Cow::Borrowed(""),
            kind,
            start_nanos: 0,
            end_nanos: 0,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    fn id(&self, part: Part) -> [u8; 8] {
        let mut hasher = SipHasher13::new();
        hasher.write(&self.trace);
        hasher.write_u64(self.key);
        hasher.write_u8(part as u8);
        (hasher.finish128().h1 | 1).to_be_bytes()
    }
}

impl Span {
    /// Says what it is, when it ended and how long it took.
    #[must_use]
    pub fn ended(
        mut self,
        name: impl Into<Cow<'static, str>>,
        at: Timestamp,
        took: Duration,
    ) -> Self {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.name = name.into();
        self.end_nanos = nanos(Duration::from_millis(at.as_millis()));
        self.start_nanos = self.end_nanos.saturating_sub(nanos(took));
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((key, value.into()));
        self
    }

    /// Adds what is known of the event.
    #[must_use]
    pub fn about(self, bus: &str, sequence: u64, event: &Event) -> Self {
        self.with("eventyard.bus", bus.to_owned())
            .with("eventyard.sequence", sequence)
            .with("cloudevents.event_id", shortened(event.id()))
            .with("cloudevents.event_source", shortened(event.source()))
            .with("cloudevents.event_type", shortened(event.kind()))
    }

    /// Says what went wrong.
    pub fn fails(&mut self, why: &str) {
        self.error = Some(shortened(why));
    }
}

/// What a span holds of a stranger's text: many wait to be sent.
fn shortened(text: &str) -> String {
    let mut length = text.len().min(limits::SPAN_TEXT_BYTES);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    text[..length].to_owned()
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// What names the event among all, and the id of a trace of its own.
fn identity(bus: &str, event: &Event) -> (u64, [u8; 16]) {
    let mut hasher = SipHasher13::new();
    for part in [bus, event.source(), event.id()] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xFF);
    }
    let hash = hasher.finish128();
    // Never all zero, which is no trace.
    let trace = hash.as_u128() | 1;
    (hash.h2, trace.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn event(id: &str, own: Option<&str>) -> Event {
        let mut event = Event::builder(id, "/s", "t");
        if let Some(own) = own {
            event = event.attribute(TRACEPARENT, own);
        }
        event.build().unwrap()
    }

    fn context(text: &str) -> SpanContext {
        SpanContext::parse(text).unwrap()
    }

    #[test]
    fn the_spans_of_an_event_are_one_trace() {
        let spans = Spans::new(None, 1.0);
        let traced = spans.of("default", &event("1", None));
        let (publish, route) = (traced.publish(), traced.route());
        let attempt = traced.attempt([7; 8]);
        assert_eq!(publish.parent, None);
        assert_eq!(route.parent, Some(publish.context.span));
        assert_eq!(attempt.parent, Some(route.context.span));
        assert_eq!(attempt.context.span, [7; 8]);
        for span in [&route, &attempt] {
            assert_eq!(span.context.trace, publish.context.trace);
        }
        // The same wherever and whenever it is asked, and another for another event.
        let again = Spans::off().of("default", &event("1", None));
        assert_eq!(again.publish().context.span, publish.context.span);
        let other = spans.of("other", &event("1", None));
        assert_ne!(other.publish().context.trace, publish.context.trace);
    }

    #[test]
    fn a_span_holds_the_start_of_a_long_text() {
        let long = "ä".repeat(20_000);
        let event = event(&long, None);
        let mut span = Spans::off().of("default", &event).publish();
        span = span.about("default", 1, &event);
        span.fails(&long);
        let start = "ä".repeat(limits::SPAN_TEXT_BYTES / 2);
        assert_eq!(span.error.as_ref(), Some(&start));
        let id = ("cloudevents.event_id", Value::from(start));
        assert!(span.attributes.contains(&id));
    }

    #[test]
    fn a_trace_goes_on_from_the_request_or_else_from_the_event() {
        let spans = Spans::new(None, 1.0);
        let with_own = event("1", Some(OWN));
        let publish = spans.of("default", &with_own).publish();
        assert_eq!(publish.context.trace, context(OWN).trace);
        assert_eq!(publish.parent, Some(context(OWN).span));
        assert_eq!(publish.links, []);

        spans.given("default", &with_own, context(ASKED), Some("a=b"));
        let publish = spans.of("default", &with_own).publish();
        assert_eq!(publish.context.trace, context(ASKED).trace);
        assert_eq!(publish.parent, Some(context(ASKED).span));
        assert_eq!(publish.links, [context(OWN)], "its own trace is linked");
        assert_eq!(publish.state.as_deref(), Some("a=b"));
        let broken = event("2", Some("00-no-trace-01"));
        assert_eq!(spans.of("default", &broken).publish().parent, None);
    }

    #[test]
    fn who_began_a_trace_decides_whether_it_is_recorded() {
        let sampled = |share: f64| {
            let spans = Spans::new(None, share);
            let ids = 0..2_000;
            let events = ids.map(|id| event(&id.to_string(), None));
            let sampled = events.filter(|event| spans.of("default", event).is_sampled());
            sampled.count()
        };
        assert_eq!(sampled(0.0), 0);
        assert_eq!(sampled(1.0), 2_000);
        let quarter = sampled(0.25);
        assert!((400..600).contains(&quarter), "{quarter}");
        let spans = Spans::new(None, 1.0);
        let unwanted = event("1", Some(&OWN.replace("-01", "-00")));
        assert!(!spans.of("default", &unwanted).is_sampled());
        let none = Spans::new(None, 0.0);
        assert!(none.of("default", &event("1", Some(OWN))).is_sampled());
    }
}
