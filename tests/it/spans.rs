//! Traces for OpenTelemetry: from the publisher's through the bus to the target, and to a receiver of
//! spans over a real socket.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::delivery::{event, rule_to};
use crate::harness::{Received, TestBus, TestTarget, eventually, send};

/// The publisher's span.
const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// The trace that the event itself was created in.
const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn traced(receiver: &TestTarget) -> TestBus {
    let endpoint = receiver.url().parse().unwrap();
    TestBus::builder()
        .config(|config| {
            config.spans.endpoint = Some(endpoint);
            config.spans.sample = 1.0;
        })
        .start()
        .await
}

/// Publishes in binary mode, with these headers beside the event's.
async fn publish(bus: &TestBus, id: &str, headers: &[(&str, &str)]) {
    let mut request = bus
        .request(Method::POST, "/")
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/shop")
        .header("ce-type", "order.created")
        .header("content-type", "application/json")
        .body("{}");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    assert_eq!(send(request).await.status, 202);
}

fn requests(receiver: &TestTarget) -> Vec<ExportTraceServiceRequest> {
    let decode = |one: &Received| {
        assert_eq!(one.path, "/v1/traces");
        assert_eq!(one.header("content-type"), "application/x-protobuf");
        ExportTraceServiceRequest::decode(one.body.clone()).unwrap()
    };
    receiver.received().iter().map(decode).collect()
}

fn spans(receiver: &TestTarget) -> Vec<Span> {
    let resources = requests(receiver)
        .into_iter()
        .flat_map(|request| request.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// All spans, once there are so many.
async fn so_many(receiver: &TestTarget, count: usize) -> Vec<Span> {
    eventually(&format!("{count} spans"), async || {
        let spans = spans(receiver);
        (spans.len() >= count).then_some(spans)
    })
    .await
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    let mut found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    found.sort_by_key(|span| span.end_time_unix_nano);
    found
}

fn attribute(attributes: &[KeyValue], key: &str) -> Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        _ => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_trace_goes_from_the_publisher_through_the_bus_to_the_target() {
    let (receiver, target) = (
        TestTarget::replying([200]),
        TestTarget::replying([503, 204]),
    );
    let bus = traced(&receiver).await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let headers = [
        ("traceparent", ASKED),
        ("tracestate", "a=b"),
        ("ce-traceparent", OWN),
    ];
    publish(&bus, "1", &headers).await;
    let spans = so_many(&receiver, 4).await;
    assert_eq!(spans.len(), 4, "{spans:?}");
    let [publish] = named(&spans, "publish default")[..] else {
        panic!("{spans:?}");
    };
    let [route] = named(&spans, "route default")[..] else {
        panic!("{spans:?}");
    };
    let [first, second] = named(&spans, "deliver billing")[..] else {
        panic!("{spans:?}");
    };
    // One trace, each span below the one before.
    for span in &spans {
        assert_eq!(hex(&span.trace_id), ASKED[3..35]);
        assert_eq!(span.trace_state, "a=b");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert_eq!(attribute(&span.attributes, "cloudevents.event_id"), "1");
        assert_eq!(attribute(&span.attributes, "eventyard.bus"), "default");
    }
    assert_eq!(hex(&publish.parent_span_id), ASKED[36..52]);
    assert_eq!(route.parent_span_id, publish.span_id);
    for attempt in [first, second] {
        assert_eq!(attempt.parent_span_id, route.span_id);
        assert_eq!(attempt.kind(), SpanKind::Client);
        assert_eq!(
            attribute(&attempt.attributes, "server.address"),
            "127.0.0.1"
        );
    }
    assert_eq!(
        (publish.kind(), route.kind()),
        (SpanKind::Server, SpanKind::Internal)
    );
    // The event's own trace is another one: a link.
    assert_eq!(publish.links.len(), 1);
    assert_eq!(hex(&publish.links[0].trace_id), OWN[3..35]);
    assert_eq!(hex(&publish.links[0].span_id), OWN[36..52]);
    // What came of the attempts.
    let status = |span: &Span| span.status.clone().map(|status| status.code());
    assert_eq!(status(first), Some(StatusCode::Error));
    assert_eq!(
        attribute(&first.attributes, "http.response.status_code"),
        503
    );
    assert_eq!(attribute(&first.attributes, "error.type"), "5xx");
    assert_eq!(attribute(&first.attributes, "eventyard.attempt"), 1);
    assert_eq!(status(second), None);
    assert_eq!(
        attribute(&second.attributes, "http.response.status_code"),
        204
    );
    assert_eq!(attribute(&second.attributes, "eventyard.attempt"), 2);
    // What the target was told; the event itself was not touched.
    for (attempt, received) in [first, second].into_iter().zip(target.receives(2).await) {
        let (trace, span) = (hex(&attempt.trace_id), hex(&attempt.span_id));
        assert_eq!(
            received.header("traceparent"),
            format!("00-{trace}-{span}-01")
        );
        assert_eq!(received.header("tracestate"), "a=b");
        assert_eq!(received.header("ce-traceparent"), OWN);
    }
    let resource = requests(&receiver)[0].resource_spans[0]
        .resource
        .clone()
        .unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), "eventyard");
    assert_eq!(
        attribute(&resource.attributes, "service.instance.id"),
        bus.addr().to_string()
    );
}

#[tokio::test]
async fn a_trace_begins_at_the_bus_or_where_the_event_says() {
    let (receiver, target) = (TestTarget::replying([200]), TestTarget::accepting());
    let bus = traced(&receiver).await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    publish(&bus, "1", &[]).await;
    publish(&bus, "2", &[("ce-traceparent", OWN)]).await;
    // Who began it does not want it recorded.
    let unwanted = ASKED.replace("-01", "-00");
    publish(&bus, "3", &[("traceparent", &unwanted)]).await;
    publish(&bus, "4", &[("traceparent", "00-no-trace-01")]).await;
    let spans = so_many(&receiver, 9).await;
    let of = |id: &str| -> Vec<&Span> {
        let is_of = |span: &&Span| attribute(&span.attributes, "cloudevents.event_id") == id;
        spans.iter().filter(is_of).collect()
    };
    for (id, count) in [("1", 3), ("2", 3), ("3", 0), ("4", 3)] {
        assert_eq!(of(id).len(), count, "{id}");
    }
    let root = |id: &str| {
        let spans = of(id);
        let root = spans
            .into_iter()
            .find(|span| span.name == "publish default");
        root.unwrap().clone()
    };
    assert_eq!(root("1").parent_span_id, [0; 0]);
    assert_ne!(root("1").trace_id, root("4").trace_id);
    assert_eq!(hex(&root("2").trace_id), OWN[3..35]);
    assert_eq!(hex(&root("2").parent_span_id), OWN[36..52]);
    assert!(root("2").links.is_empty());
    let received = target.receives(4).await;
    let told = received
        .iter()
        .find(|one| one.header("ce-id") == "3")
        .unwrap();
    let told = told.header("traceparent");
    assert!(
        told.starts_with(&ASKED[..35]) && told.ends_with("-00"),
        "{told}"
    );
}

#[tokio::test]
async fn a_bus_without_a_receiver_passes_traces_on() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    publish(&bus, "1", &[]).await;
    publish(&bus, "2", &[("ce-traceparent", OWN)]).await;
    publish(&bus, "3", &[("traceparent", ASKED), ("tracestate", "a=b")]).await;
    let received = target.receives(3).await;
    let told = |id: &str| {
        let one = received
            .iter()
            .find(|one| one.header("ce-id") == id)
            .unwrap();
        (one.header("traceparent"), one.header("tracestate"))
    };
    assert_eq!(told("1"), ("", ""));
    assert_eq!(told("2"), (OWN, ""));
    assert_eq!(told("3"), (ASKED, "a=b"));
}

#[tokio::test]
async fn an_attempt_with_several_events_names_all_their_traces() {
    let (receiver, target) = (TestTarget::replying([200]), TestTarget::accepting());
    let bus = traced(&receiver).await;
    let batch = json!({"mode": "batch", "batch": {"max_events": 2, "max_wait": "1m"}});
    bus.put_rule("orders", &rule_to(&target, &batch)).await;
    publish(&bus, "1", &[]).await;
    publish(&bus, "2", &[]).await;
    let spans = so_many(&receiver, 5).await;
    let attempts = named(&spans, "deliver billing");
    assert_eq!(attempts.len(), 1);
    let routes = named(&spans, "route default");
    let trace = |route: &&&Span| route.trace_id == attempts[0].trace_id;
    let other = routes.iter().find(|route| !trace(route)).unwrap();
    assert_eq!(attempts[0].links.len(), 1);
    assert_eq!(attempts[0].links[0].trace_id, other.trace_id);
    assert_eq!(attempts[0].links[0].span_id, other.span_id);
}

#[tokio::test]
async fn a_receiver_that_is_away_holds_nobody_up() {
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", silent.local_addr().unwrap());
    let endpoint = endpoint.parse().unwrap();
    let target = TestTarget::accepting();
    let bus = TestBus::builder()
        .config(|config| {
            config.spans.endpoint = Some(endpoint);
            config.spans.sample = 1.0;
        })
        .start()
        .await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    // Two spans each: more than are queued. Of a type that no rule is for.
    for batch in 0..6 {
        let events: Vec<Value> = (0..1_000)
            .map(|number| {
                let mut event = event(&format!("{batch}-{number}"));
                event["type"] = json!("bulk");
                event
            })
            .collect();
        let request = bus
            .request(Method::POST, "/")
            .header("content-type", "application/cloudevents-batch+json")
            .body(json!(events).to_string());
        assert_eq!(send(request).await.status, 202);
    }
    bus.publish(&event("1")).await;
    target.receives(1).await;
    eventually("spans are let go", async || {
        let metrics = bus.get("/metrics").await.text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(r#"eventyard_spans_total{outcome="lost"} "#))?;
        (line.parse::<f64>().unwrap() > 0.0).then_some(())
    })
    .await;
    let asked = Instant::now();
    bus.drain().await;
    assert!(
        asked.elapsed() < Duration::from_secs(15),
        "{:?}",
        asked.elapsed()
    );
}
