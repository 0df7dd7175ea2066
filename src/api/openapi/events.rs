//! Publishing, browsing, scheduled events.

use serde_json::{Value, json};

use super::named;
use super::operation::Operation;
use crate::api::events::{Browse, EventList, ShownEvent};
use crate::api::page::Page;
use crate::api::scheduled::ScheduledList;
use crate::api::tail;
use crate::api::trace::{self, ShownTrace};

/// What a publisher is answered: written by hand, since publishing is most of what a bus is asked.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it stands for what `publish` writes")]
struct Accepted {
    /// An entry an event, in their order.
    accepted: Vec<AcceptedEvent>,
}

#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it stands for what `publish` writes")]
struct AcceptedEvent {
    id: String,
    source: String,
    /// Its number in the log; that of the first one, of a duplicate.
    sequence: u64,
    /// The bus had it already.
    #[schema(required = false)]
    duplicate: bool,
}

const EVENTS: &str = "/v1/buses/{bus}/events";
const EVENT: &str = "/v1/buses/{bus}/events/{sequence}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        publish(EVENTS, "publish", "Publishes events to a bus").refuses(&[404]),
        handshake(EVENTS, "handshake"),
        publish("/", "publishToDefault", "Publishes events to the bus `default`"),
        handshake("/", "handshakeOfDefault"),
        Operation::get(EVENTS, "listEvents", "Lists the events of a bus")
            .says("The newest first; those after a place in the log, oldest first, when `after` says so.")
            .query::<Browse>()
            .answers::<EventList>(
                200,
                "A page of events.",
                json!({"events": [shown()], "next": "below-17"}),
            )
            .refuses(&[503]),
        Operation::get(EVENT, "getEvent", "Shows one event")
            .answers::<ShownEvent>(200, "The event.", shown())
            .refuses(&[503]),
        Operation::get(&format!("{EVENT}/trace"), "traceEvent", "Tells what became of an event")
            .says("Which rules matched, and each delivery with its attempts, as far as they are remembered: see `remembered`. Whether a rule matches is computed by the rule as it is now; `basis` says whether it was the same when the event came.")
            .query::<trace::Wanted>()
            .answers::<ShownTrace>(200, "What is known.", traced())
            .refuses(&[503]),
        Operation::get("/v1/buses/{bus}/tail", "tail", "Follows a bus")
            .says("Server-sent events that do not end: a message an event, `gap` for what is not kept any more, and `position` now and then.")
            .query::<tail::Wanted>()
            .header("Last-Event-ID", "The last id that was read; stronger than `after`.", "17")
            .answers_as(
                200,
                "What comes.",
                "text/event-stream",
                json!({"type": "string"}),
                format!("id: 17\ndata: {}\n\n", shown()).into(),
            )
            .refuses(&[422, 503]),
        Operation::delete(EVENT, "cancelEvent", "Cancels a scheduled event")
            .says("One that waits for its `deliverat` is not routed then; it stays in the log.")
            .answers_nothing(204, "It is cancelled.")
            .refuses(&[409, 503]),
        Operation::get("/v1/buses/{bus}/scheduled", "listScheduled", "Lists events that wait for their time")
            .says("The earliest due first.")
            .query::<Page>()
            .answers::<ScheduledList>(
                200,
                "A page of events.",
                json!({"scheduled": [waiting()]}),
            )
            .refuses(&[503]),
    ]
}

fn publish(path: &str, id: &'static str, summary: &'static str) -> Operation {
    let batch = json!({"type": "array", "items": named("CloudEvent")});
    let event = event();
    let accepted =
        json!({"accepted": [{"id": event["id"], "source": event["source"], "sequence": 17}]});
    let mut operation = Operation::post(path, id, summary)
        .says("CloudEvents over HTTP: one event in the body (structured), several (batch, taken whole or not at all), or one whose attributes are `ce-` headers and whose data is the body (binary). The answer comes once all of them are on disk. An event whose `source` and `id` the bus has seen within its `dedup_window` is not taken again, and answered with its first `sequence`.")
        .takes_as("application/cloudevents+json", named("CloudEvent"), &[("", event.clone())])
        .takes_as("application/cloudevents-batch+json", batch, &[("", json!([event]))])
        .takes_as("application/json", json!({}), &[("", event["data"].clone())])
        .takes_as("*/*", json!({}), &[("", "any data".into())])
        .body_is_optional()
        .answers::<Accepted>(202, "Every event is on disk.", accepted)
        .once("a day, over restarts")
        .refuses(&[415, 422]);
    let attributes = [
        ("ce-specversion", "Of an event in binary mode.", "1.0"),
        (
            "ce-id",
            "Of an event in binary mode; percent-encoded, as all of them.",
            "order-1",
        ),
        ("ce-source", "Of an event in binary mode.", "/example/shop"),
        (
            "ce-type",
            "Of an event in binary mode. Other attributes and extensions likewise.",
            "com.example.order.placed",
        ),
    ];
    for (name, about, example) in attributes {
        operation = operation.header(name, about, example);
    }
    operation
}

fn handshake(path: &str, id: &'static str) -> Operation {
    Operation::options(
        path,
        id,
        "Answers a webhook sender that asks whether it may deliver",
    )
    .says("The CloudEvents webhook handshake. Whether a bus is there is told to those who may publish to it or read it.")
    .header("WebHook-Request-Origin", "Who asks.", "shop.example.com")
    .answers_nothing(200, "It may.")
    .with_header(200, "Allow", "The methods that are taken.")
    .with_header(200, "WebHook-Allowed-Origin", "`*`, to who says an origin.")
    .with_header(200, "WebHook-Allowed-Rate", "`*`, to who says an origin.")
}

pub(super) fn event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "order-1",
        "source": "/example/shop",
        "type": "com.example.order.placed",
        "time": "2026-11-22T19:30:00Z",
        "data": {"total": 120, "customer": {"region": "eu-west"}},
    })
}

fn shown() -> Value {
    json!({
        "sequence": 17,
        "time": "2026-11-22T19:30:00.120Z",
        "bus": "default",
        "event": event(),
    })
}

fn traced() -> Value {
    let attempt = json!({
        "number": 1,
        "started": "2026-11-22T19:30:00.131Z",
        "queued_ms": 11,
        "prepared_ms": 0.041,
        "dns_ms": 1.2,
        "connect_ms": 0.8,
        "tls_ms": 3.1,
        "first_byte_ms": 12.25,
        "took_ms": 12.32,
        "status": 503,
        "result": "5xx",
        "response": "busy",
        "then": "retry",
        "retry_at": "2026-11-22T19:30:01.020Z",
    });
    let delivery = json!({
        "target": "billing",
        "state": "retrying",
        "since": "2026-11-22T19:30:00.120Z",
        "attempts_made": 1,
        "next_attempt": "2026-11-22T19:30:01.020Z",
        "last_status": 503,
        "last_error": "busy",
        "attempts": [attempt],
    });
    let field = json!({
        "pointer": "/data/total",
        "matches": false,
        "wanted": r#"[{"numeric":["<",100]}]"#,
        "seen": ["120"],
        "reason": "120 is not < 100",
    });
    json!({
        "bus": "default",
        "sequence": 17,
        "time": "2026-11-22T19:30:00.120Z",
        "id": "order-1",
        "source": "/example/shop",
        "type": "com.example.order.placed",
        "routed": "done",
        "remembered": {"traces": "all", "since": "2026-11-20T08:00:00.000Z"},
        "rules": [
            {"rule": "large-orders", "basis": "as_routed", "revision": 9, "deliveries": [delivery]},
        ],
        "explain": {
            "rule": "small-orders",
            "put_since": false,
            "matches": false,
            "enabled": true,
            "pattern": {"matches": false, "fields": [field]},
        },
    })
}

fn waiting() -> Value {
    let mut shown = shown();
    shown["due"] = "2026-11-23T06:00:00.000Z".into();
    shown["event"]["deliverat"] = "2026-11-23T06:00:00Z".into();
    shown
}
