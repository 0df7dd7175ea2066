//! Health, readiness, metrics.

use serde_json::json;

use crate::delivery::{event, rule_to};
use crate::harness::{TestBus, TestTarget, eventually};

#[tokio::test]
async fn a_bus_that_is_well_is_alive_and_ready() {
    let bus = TestBus::start().await;
    assert_eq!(bus.get("/healthz").await.json()["status"], "alive");
    let ready = bus.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["ready"], json!(true));
    assert_eq!(ready.json()["parts"]["journal"], "writable");
    assert_eq!(ready.json()["parts"]["draining"], json!(false));
}

#[tokio::test]
async fn what_happens_is_counted() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.publish(&event("1")).await;
    bus.publish(&event("1")).await;
    bus.post("/", &json!({})).await.problem(400);
    target.receives(1).await;
    let metrics = eventually("the delivery is counted", async || {
        let metrics = bus.get("/metrics").await.text();
        let counted = metrics.contains("eventyard_deliveries_total{outcome=\"delivered\"} 1");
        counted.then_some(metrics)
    })
    .await;
    for line in [
        "eventyard_events_published_total 1",
        "eventyard_events_duplicate_total 1",
        "eventyard_publish_refused_total{class=\"malformed\"} 1",
        "eventyard_publish_seconds_count 2",
        "eventyard_journal_writable 1",
        "eventyard_target_pending{bus=\"default\",rule=\"orders\",target=\"billing\"} 0",
    ] {
        assert!(metrics.contains(line), "no `{line}` in:\n{metrics}");
    }
}
