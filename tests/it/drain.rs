//! Stopping: what is under way is finished, what is left is kept.

use std::time::Duration;

use serde_json::json;

use crate::delivery::{event, rule_to};
use crate::harness::{Reply, TestBus, TestTarget};

#[tokio::test]
async fn an_attempt_in_flight_is_finished_and_not_repeated() {
    let bus = TestBus::start().await;
    let target = TestTarget::replying([Reply::from(200).after(Duration::from_millis(300))]);
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.publish(&event("1")).await;
    target.receives(1).await;
    let data = bus.drain().await;
    let bus = TestBus::builder().data(data).start().await;
    bus.publish(&event("2")).await;
    let received = target.receives(2).await;
    let ids: Vec<&str> = received
        .iter()
        .map(|request| request.header("ce-id"))
        .collect();
    assert_eq!(ids, ["1", "2"]);
}

#[tokio::test]
async fn a_drained_bus_answers_no_more() {
    let bus = TestBus::start().await;
    let addr = bus.addr();
    bus.drain().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn accepted_events_are_there_after_a_restart() {
    let bus = TestBus::start().await;
    let sequence = bus.publish(&event("1")).await;
    let data = bus.drain().await;
    let bus = TestBus::builder().data(data).start().await;
    let shown = bus
        .get(&format!("/v1/buses/default/events/{sequence}"))
        .await
        .json();
    assert_eq!(shown["event"]["id"], "1");
}
