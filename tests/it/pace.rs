//! How fast a target is sent to: rate limits, pauses that it asks for, room for both kinds of
//! attempts.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::delivery::{event, rule_to};
use crate::harness::{Reply, TestBus, TestTarget, eventually};

pub(crate) const TARGET: &str = "/v1/buses/default/rules/orders/targets/billing";

/// Publishes so many events in batches.
pub(crate) async fn publish_many(bus: &TestBus, ids: std::ops::Range<usize>) {
    let ids: Vec<usize> = ids.collect();
    for some in ids.chunks(500) {
        let events: Vec<Value> = some.iter().map(|id| event(&id.to_string())).collect();
        let request = bus
            .request(reqwest::Method::POST, "/")
            .header("content-type", "application/cloudevents-batch+json")
            .body(Value::from(events).to_string());
        assert_eq!(request.send().await.unwrap().status(), 202);
    }
}

/// Waits until the target's health is so.
pub(crate) async fn until_health(
    bus: &TestBus,
    what: &str,
    holds: impl FnMut(&Value) -> bool,
) -> Value {
    bus.until(TARGET, what, holds).await
}

#[tokio::test]
async fn a_rate_limit_delays_retries_too_and_drops_nothing() {
    let target = TestTarget::replying(std::iter::repeat_n(503_u16, 5).chain([200]));
    let bus = TestBus::start().await;
    let options = json!({"rate_limit": "50/s"});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    let began = Instant::now();
    publish_many(&bus, 0..55).await;
    let received = target.receives(60).await;
    // Six may go ahead: one, and a tenth of a second's worth.
    let least = Duration::from_millis(20) * (60 - 6);
    let last = received.iter().map(|request| request.at).max().unwrap();
    assert!(last.duration_since(began) >= least, "{:?}", last - began);
    let health = until_health(&bus, "all is delivered", |health| health["pending"] == 0).await;
    assert_eq!(health["delivered"], 55);
    assert_eq!(health["dead_lettered"], 0);
}

#[tokio::test]
async fn a_new_rate_holds_at_once() {
    let (target, bus) = (TestTarget::accepting(), TestBus::start().await);
    let slow = rule_to(&target, &json!({"rate_limit": "1/h"}));
    bus.put_rule("orders", &slow).await;
    publish_many(&bus, 0..700).await;
    let health = until_health(&bus, "one went out and the others wait", |health| {
        health["delivered"] == 1 && health["pending"] == 699
    })
    .await;
    assert_eq!(health["breaker"], "closed");
    until_health(&bus, "the status tells for what", |health| {
        health["throttled_by"] == "rate_limit"
    })
    .await;
    let metrics = bus.get("/metrics").await.text();
    let series = r#"eventyard_target_throttled{bus="default",rule="orders",target="billing"} 1"#;
    assert!(metrics.contains(series), "{metrics}");
    let fast = rule_to(&target, &json!({"rate_limit": "100000/s"}));
    bus.put_rule("orders", &fast).await;
    target.receives(700).await;
    until_health(&bus, "nothing waits any more", |health| {
        health["pending"] == 0 && health["throttled_by"].is_null()
    })
    .await;
    assert_eq!(target.received().len(), 700, "each came once");
}

#[tokio::test]
async fn what_waits_for_its_rate_costs_few_records_and_bounded_memory() {
    let (target, bus) = (TestTarget::accepting(), TestBus::start().await);
    let options = json!({"rate_limit": "20/s"});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    let before = bus.running().log().durable_through();
    publish_many(&bus, 0..6_000).await;
    until_health(&bus, "all but a few are on disk", |health| {
        let wait = |name: &str| health[name].as_u64().unwrap();
        wait("backlogged") >= 4_000 && wait("ready") <= 1_200 && wait("delivered") >= 40
    })
    .await;
    let records = bus.running().log().durable_through() - before - 6_000;
    assert!(records <= 200, "{records} records beside the events");
}

#[tokio::test]
async fn a_delivery_that_its_rate_kept_beyond_its_age_says_so() {
    let (target, bus) = (TestTarget::accepting(), TestBus::start().await);
    let options = json!({"rate_limit": "1/h", "retry": {"max_age": "1s"}});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    publish_many(&bus, 0..5).await;
    let letters = eventually("four dead letters", async || {
        let page = bus.get("/v1/buses/default/dead-letters").await.json();
        let letters = page["dead_letters"].as_array().unwrap().clone();
        (letters.len() == 4).then_some(letters)
    })
    .await;
    for letter in letters {
        assert_eq!(letter["reason"], "too_old");
        assert_eq!(letter["attempts"], 0);
        let error = letter["last_error"].as_str().unwrap();
        assert!(error.contains("rate_limit of 1/h"), "{error}");
    }
    assert_eq!(target.received().len(), 1);
}

#[tokio::test]
async fn a_target_that_says_when_to_come_back_is_left_alone_until_then() {
    let busy = Reply::from(429).header("retry-after", "2");
    let target = TestTarget::replying([busy, 200.into()]);
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    publish_many(&bus, 0..1).await;
    until_health(&bus, "the first attempt failed", |health| {
        health["last_status"] == 429
    })
    .await;
    publish_many(&bus, 1..6).await;
    until_health(&bus, "the others wait", |health| {
        health["throttled_by"] == "retry_after"
    })
    .await;
    let received = target.receives(7).await;
    for request in &received[1..] {
        let waited = request.at.duration_since(received[0].at);
        assert!(waited >= Duration::from_millis(1_900), "{waited:?}");
    }
    until_health(&bus, "all is delivered", |health| health["pending"] == 0).await;
}

#[tokio::test]
async fn concurrency_shrinks_while_the_target_has_too_much_and_grows_back() {
    // Fewer failures in a row than open the breaker.
    let answers = std::iter::repeat_n(429_u16, 9).chain([200]);
    let (target, bus) = (TestTarget::replying(answers), TestBus::start().await);
    let options = json!({
        "concurrency": 8,
        "retry": {"max_attempts": 20, "initial_delay": "50ms", "max_delay": "50ms", "jitter": false}
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    publish_many(&bus, 0..1).await;
    until_health(&bus, "one at a time", |health| health["concurrency"] == 1).await;
    until_health(&bus, "it is delivered", |health| health["delivered"] == 1).await;
    let metrics = bus.get("/metrics").await.text();
    assert!(
        metrics.contains("eventyard_target_concurrency{"),
        "{metrics}"
    );
    publish_many(&bus, 1..100).await;
    until_health(&bus, "all of it again", |health| health["concurrency"] == 8).await;
}

#[tokio::test]
async fn retries_that_hang_leave_room_for_fresh_events() {
    // The first eight fail at once; from then on whatever comes hangs, but for what is new.
    let slow = Reply::from(500).after(Duration::from_secs(20));
    let mut answers: Vec<Reply> = vec![500.into(); 8];
    answers.extend(std::iter::repeat_n(slow, 6));
    answers.push(200.into());
    let (target, bus) = (TestTarget::replying(answers), TestBus::start().await);
    let options = json!({
        "concurrency": 8,
        "timeout": "30s",
        "retry": {"max_attempts": 3, "initial_delay": "200ms", "max_delay": "200ms", "jitter": false}
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    publish_many(&bus, 0..8).await;
    let received = target.receives(14).await;
    let began = received[13].at;
    publish_many(&bus, 8..20).await;
    let health = until_health(&bus, "the fresh ones came through", |health| {
        health["delivered"] == 12
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(health["in_flight"], 6, "the retries hang as before");
}

#[tokio::test]
async fn connections_are_used_again_and_both_are_counted() {
    let (target, bus) = (TestTarget::accepting(), TestBus::start().await);
    let options = json!({"concurrency": 4});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    publish_many(&bus, 0..400).await;
    until_health(&bus, "all is delivered", |health| {
        health["delivered"] == 400
    })
    .await;
    let metrics = bus.get("/metrics").await.text();
    let counter = |name: &str| -> u64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next())
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{name} in {metrics}"))
    };
    assert_eq!(counter("eventyard_target_requests_total "), 400);
    let opened = counter("eventyard_target_connections_total ");
    assert!(
        (1..=20).contains(&opened),
        "{opened} connections for 400 requests, 4 at once"
    );
}
