//! Publishing: the three content modes, duplicates, and what is refused.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestBus, send};

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.created", "data": {"total": 120}})
}

async fn publish(bus: &TestBus, path: &str, content_type: &str, body: impl ToString) -> Answer {
    let request = bus
        .request(Method::POST, path)
        .header("content-type", content_type);
    send(request.body(body.to_string())).await
}

#[tokio::test]
async fn an_event_of_each_mode_is_accepted() {
    let bus = TestBus::start().await;
    let binary = bus
        .request(Method::POST, "/v1/buses/default/events")
        .header("ce-specversion", "1.0")
        .header("ce-id", "a \"b\"".replace(' ', "%20"))
        .header("ce-source", "/shop")
        .header("ce-type", "order.created")
        .header("content-type", "application/json")
        .body("{}");
    let binary = send(binary).await;
    assert_eq!(binary.status, 202, "{binary:?}");
    let structured = publish(&bus, "/", "application/cloudevents+json", event("2")).await;
    assert_eq!(structured.status, 202, "{structured:?}");
    let batch = json!([event("3"), event("4")]);
    let batch = publish(&bus, "/", "Application/CloudEvents-Batch+JSON", batch).await;
    assert_eq!(batch.status, 202, "{batch:?}");
    let batch = batch.json();
    assert_eq!(batch["accepted"].as_array().unwrap().len(), 2);
    assert_eq!(batch["accepted"][1]["id"], "4");
    assert_eq!(batch["accepted"][1]["source"], "/shop");
    assert!(batch["accepted"][1]["sequence"].is_u64());
    assert!(batch["accepted"][1].get("duplicate").is_none());
}

#[tokio::test]
async fn a_duplicate_answers_with_the_first_ones_sequence() {
    let bus = TestBus::start().await;
    let first = bus.publish(&event("1")).await;
    let again = publish(&bus, "/", "application/cloudevents+json", event("1")).await;
    let again = again.json();
    assert_eq!(again["accepted"][0]["sequence"], json!(first));
    assert_eq!(again["accepted"][0]["duplicate"], json!(true));
}

#[tokio::test]
async fn one_bad_event_refuses_the_batch_and_is_pointed_at() {
    let bus = TestBus::start().await;
    let batch =
        json!([event("1"), {"specversion": "1.0", "id": "", "source": "/shop", "type": "t"}]);
    let answer = publish(&bus, "/", "application/cloudevents-batch+json", batch).await;
    let problem = answer.problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/1/id", "{problem}");
    let events = bus.get("/v1/buses/default/events").await.json();
    assert_eq!(events["events"], json!([]));
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_the_status_that_says_why() {
    let bus = TestBus::start().await;
    let structured = "application/cloudevents+json";
    publish(&bus, "/", structured, "{").await.problem(400);
    publish(&bus, "/", "application/cloudevents+avro", "x")
        .await
        .problem(415);
    publish(&bus, "/v1/buses/nope/events", structured, event("1"))
        .await
        .problem(404);
    publish(&bus, "/v1/buses/-nope/events", structured, event("1"))
        .await
        .problem(400);
    let huge = "x".repeat(eventyard::limits::BODY_BYTES + 1);
    publish(&bus, "/", structured, huge).await.problem(413);
}

#[tokio::test]
async fn a_webhook_sender_is_given_consent() {
    let bus = TestBus::start().await;
    for path in ["/", "/v1/buses/default/events"] {
        let request = bus
            .request(Method::OPTIONS, path)
            .header("webhook-request-origin", "shop.example.com")
            .header("webhook-request-rate", "100");
        let answer = send(request).await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert!(!answer.header("webhook-allowed-origin").is_empty());
        assert!(!answer.header("webhook-allowed-rate").is_empty());
        assert!(answer.header("allow").contains("POST"));
    }
    for (name, status) in [("nobody", 404), ("-nope", 400)] {
        let path = format!("/v1/buses/{name}/events");
        let request = bus.request(Method::OPTIONS, &path);
        let answer = send(request.header("webhook-request-origin", "shop.example.com")).await;
        answer.problem(status);
        assert_eq!(answer.header("webhook-allowed-origin"), "", "{name}");
        assert_eq!(answer.header("webhook-allowed-rate"), "", "{name}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_a_wrong_method_405_with_allow() {
    let bus = TestBus::start().await;
    bus.get("/v2/anything").await.problem(404);
    let answer = bus.delete("/v1/buses/default/events").await;
    answer.problem(405);
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        assert!(answer.header("allow").contains(method), "{answer:?}");
    }
    let head = send(bus.request(Method::HEAD, "/healthz")).await;
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
}
