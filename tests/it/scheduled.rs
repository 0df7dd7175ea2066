//! Events with a delivery time: routed then, over restarts, unless they are cancelled.

use std::time::Duration;

use eventyard::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::harness::{TestBus, TestTarget, eventually};

const SCHEDULED: &str = "/v1/buses/default/scheduled";

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_700_000_000_000))
}

/// An event that is due so long after the clock's start.
fn due_in(id: &str, clock: &Clock, wait: Duration) -> Value {
    let mut event = event(id);
    event["deliverat"] = json!(clock.now().plus(wait).to_string());
    event
}

async fn waiting(bus: &TestBus, count: usize) -> Vec<Value> {
    eventually(&format!("{count} waiting events"), async || {
        let list = bus.get(SCHEDULED).await.json();
        let events = list["scheduled"].as_array().unwrap().clone();
        (events.len() == count).then_some(events)
    })
    .await
}

fn ids(target: &TestTarget) -> Vec<String> {
    let received = target.received();
    received
        .iter()
        .map(|r| r.header("ce-id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_scheduled_event_is_routed_at_its_time_and_not_before() {
    let clock = clock();
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let target = TestTarget::accepting();
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let hour = Duration::from_secs(3_600);
    // Longer than a delivery may be pending: that counts from when it is due.
    bus.publish(&due_in("late", &clock, 48 * hour)).await;
    let sequence = bus.publish(&due_in("soon", &clock, hour)).await;
    bus.publish(&due_in("past", &clock, Duration::ZERO)).await;
    bus.publish(&event("now")).await;
    target.receives(2).await;
    let listed = waiting(&bus, 2).await;
    assert_eq!(listed[0]["event"]["id"], "soon");
    assert_eq!(listed[0]["due"], clock.now().plus(hour).to_string());
    let path = format!("/v1/buses/default/events/{sequence}");
    assert_eq!(bus.get(&path).await.json()["due"], listed[0]["due"]);
    let page = bus.get(&format!("{SCHEDULED}?limit=1")).await.json();
    let next = page["next"].as_str().unwrap();
    let rest = bus.get(&format!("{SCHEDULED}?after={next}")).await.json();
    assert_eq!(rest["scheduled"][0]["event"]["id"], "late");
    clock.advance(hour);
    target.receives(3).await;
    waiting(&bus, 1).await;
    assert!(bus.get(&path).await.json().get("due").is_none());
    clock.advance(47 * hour);
    target.receives(4).await;
    waiting(&bus, 0).await;
    let mut seen = ids(&target);
    assert_eq!(seen.split_off(2), ["soon", "late"]);
    seen.sort();
    assert_eq!(seen, ["now", "past"]);
}

#[tokio::test]
async fn scheduled_events_outlive_a_restart_and_are_delivered_once() {
    let clock = clock();
    let target = TestTarget::accepting();
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    for number in 0..300 {
        let wait = Duration::from_secs(60 + number % 7);
        bus.publish(&due_in(&number.to_string(), &clock, wait))
            .await;
    }
    eventually("all wait", async || {
        let list = bus.get(&format!("{SCHEDULED}?limit=1000")).await.json();
        (list["scheduled"].as_array().unwrap().len() == 300).then_some(())
    })
    .await;
    let data = bus.drain().await;
    clock.advance(Duration::from_secs(3_600));
    let bus = TestBus::builder()
        .clock(clock.clone())
        .data(data)
        .start()
        .await;
    target.receives(300).await;
    waiting(&bus, 0).await;
    let data = bus.drain().await;
    let bus = TestBus::builder()
        .clock(clock.clone())
        .data(data)
        .start()
        .await;
    waiting(&bus, 0).await;
    bus.publish(&event("after")).await;
    target.receives(301).await;
    let mut seen = ids(&target);
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), target.received().len()), (301, 301));
}

#[tokio::test]
async fn an_event_that_waits_is_cancelled_and_no_other() {
    let clock = clock();
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let target = TestTarget::accepting();
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let hour = Duration::from_secs(3_600);
    let cancelled = bus.publish(&due_in("cancelled", &clock, hour)).await;
    bus.publish(&due_in("kept", &clock, hour)).await;
    let now = bus.publish(&event("now")).await;
    waiting(&bus, 2).await;
    let path = |sequence: u64| format!("/v1/buses/default/events/{sequence}");
    assert_eq!(bus.delete(&path(cancelled)).await.status, 204);
    bus.delete(&path(cancelled)).await.problem(409);
    bus.delete(&path(now)).await.problem(409);
    bus.delete(&path(1_000_000)).await.problem(404);
    waiting(&bus, 1).await;
    assert_eq!(bus.get(&path(cancelled)).await.status, 200);
    clock.advance(hour);
    target.receives(2).await;
    waiting(&bus, 0).await;
    assert_eq!(ids(&target), ["now", "kept"]);
}

#[tokio::test]
async fn a_time_with_more_digits_than_a_clock_has_is_waited_for() {
    let clock = clock();
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let mut event = event("1");
    event["deliverat"] = json!("2023-11-15T00:00:00.12345678901234567890Z");
    bus.publish(&event).await;
    let waiting = waiting(&bus, 1).await;
    assert_eq!(waiting[0]["due"], "2023-11-15T00:00:00.123Z");
}

#[tokio::test]
async fn a_time_that_does_not_read_or_lies_too_far_ahead_is_refused() {
    let bus = TestBus::start().await;
    for bad in [
        json!("tomorrow"),
        json!("2026-12-24"),
        json!(""),
        json!(5),
        json!("2999-01-01T00:00:00Z"),
        json!("9999-12-31T23:59:59Z"),
    ] {
        let mut event = event("1");
        event["deliverat"] = bad.clone();
        let request = bus
            .request(reqwest::Method::POST, "/")
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string());
        let problem = crate::harness::send(request).await.problem(400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("deliverat"), "{bad}: {detail}");
    }
}
