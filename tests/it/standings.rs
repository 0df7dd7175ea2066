//! Targets that are paused, disabled, resumed, tried; and the bus's own events about them.

use std::time::Duration;

use eventyard::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::harness::{Reply, TestBus, TestTarget, eventually};
use crate::pace::{TARGET, publish_many, until_health};

/// A rule that sends the bus's own events of these types to an alert target.
fn alerts_to(target: &TestTarget, types: &Value) -> Value {
    let mut rule = rule_to(target, &json!({}));
    rule["pattern"] = json!({ "type": types });
    rule["targets"][0]["id"] = json!("pager");
    rule
}

async fn act(bus: &TestBus, verb: &str) -> Value {
    let answer = bus.post(&format!("{TARGET}/{verb}"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn ids(target: &TestTarget) -> Vec<String> {
    let received = target.received();
    let ids = received.iter().map(|r| r.header("ce-id").to_owned());
    ids.collect()
}

#[tokio::test]
async fn a_target_that_is_gone_is_disabled_told_of_and_sent_what_waited_once_resumed() {
    let (target, pager) = (TestTarget::replying([410]), TestTarget::accepting());
    let bus = TestBus::start().await;
    let alerts = alerts_to(&pager, &json!(["eventyard.target.disabled"]));
    bus.put_rule("alerts", &alerts).await;
    let mut rule = rule_to(&target, &json!({}));
    rule["targets"][0]["url"] = json!(format!("{}hook?token=hush", target.url()));
    bus.put_rule("orders", &rule).await;
    bus.publish(&event("0")).await;
    let disabled = until_health(&bus, "it is disabled", |health| {
        health["state"] == "disabled" && health["dead_lettered"] == 1
    })
    .await;
    assert_eq!(disabled["disabled_for"], "gone");

    let alert = &pager.receives(1).await[0];
    assert_eq!(alert.header("ce-type"), "eventyard.target.disabled");
    assert_eq!(alert.header("ce-source"), "/eventyard/buses/default");
    assert_eq!(alert.header("ce-subject"), "orders/billing");
    let told = alert.json();
    assert_eq!(told["rule"], "orders");
    assert_eq!(told["target"], "billing");
    assert_eq!(told["reason"], "gone");
    assert_eq!(told["last_status"], 410);
    assert_eq!(told["url"], format!("{}hook", target.url()), "no query");

    publish_many(&bus, 1..30).await;
    until_health(&bus, "the others wait", |health| health["pending"] == 29).await;
    let metrics = bus.get("/metrics").await.text();
    let labels = r#"{bus="default",rule="orders",target="billing"}"#;
    for series in ["target_disabled", "target_stopped_since_seconds"] {
        let series = format!("eventyard_{series}{labels}");
        let line = metrics.lines().find(|line| line.starts_with(&series));
        let value = line.and_then(|line| line.rsplit(' ').next()).unwrap();
        assert_ne!(value, "0", "{series}");
    }

    let bus = TestBus::builder().data(bus.drain().await).start().await;
    let health = until_health(&bus, "they wait after a restart", |health| {
        health["pending"] == 29
    })
    .await;
    assert_eq!(health["state"], "disabled");
    assert_eq!(health["state_since"], disabled["state_since"]);
    assert_eq!(target.received().len(), 1, "nothing more was sent");

    target.now_replying([204]);
    let resumed = act(&bus, "resume").await;
    assert_eq!(resumed["state"], "active");
    assert_eq!(resumed["state_since"], Value::Null);
    target.receives(30).await;
    until_health(&bus, "all is delivered", |health| health["pending"] == 0).await;
    let mut came = ids(&target);
    came.sort_unstable();
    came.dedup();
    assert_eq!(came.len(), 30, "each came");
    assert_eq!(pager.received().len(), 1);
}

/// Waits until the target of the rule `others` has so many. (To ask the bus is cheaper than to copy
/// what thousands of requests were.)
async fn delivered_to_others(bus: &TestBus, count: usize) {
    eventually("the other target has everything", async || {
        let path = "/v1/buses/default/rules/others/targets/billing";
        let health = bus.get(path).await.json();
        (health["delivered"] == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pause_in_a_burst_holds_one_target_and_no_other() {
    let (target, other) = (TestTarget::accepting(), TestTarget::accepting());
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.put_rule("others", &rule_to(&other, &json!({}))).await;
    let (paused, ()) = tokio::join!(
        async {
            target.receives(100).await;
            act(&bus, "pause").await
        },
        publish_many(&bus, 0..2_000),
    );
    assert_eq!(paused["state"], "paused");
    let again = act(&bus, "pause").await;
    assert_eq!(again["state_since"], paused["state_since"]);
    delivered_to_others(&bus, 2_000).await;
    let health = until_health(&bus, "what waits is on disk", |health| {
        health["in_flight"] == 0 && health["ready"] == 0 && health["parked"] == 0
    })
    .await;
    let came = target.received().len() as u64;
    assert_eq!(health["backlogged"].as_u64().unwrap(), 2_000 - came);
    assert!(health["backlogged"].as_u64().unwrap() > 0);
    publish_many(&bus, 2_000..2_100).await;
    delivered_to_others(&bus, 2_100).await;
    assert_eq!(target.received().len() as u64, came);

    // The rule is edited, but not the URL: an operator's word stands.
    let slower = rule_to(&target, &json!({"concurrency": 8}));
    bus.put_rule("orders", &slower).await;
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["state"], "paused");
    act(&bus, "resume").await;
    until_health(&bus, "all is delivered", |health| {
        health["pending"] == 0 && health["delivered"] == 2_100
    })
    .await;
    let mut came = ids(&target);
    came.sort_unstable();
    came.dedup();
    assert_eq!(came.len(), 2_100);
    assert_eq!(target.received().len(), 2_100, "each came once");
}

#[tokio::test]
async fn what_waits_for_a_paused_target_beyond_its_age_is_a_dead_letter_that_says_so() {
    let (target, bus) = (TestTarget::accepting(), TestBus::start().await);
    let options = json!({"retry": {"max_age": "1s"}});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    act(&bus, "pause").await;
    publish_many(&bus, 0..3).await;
    let letters = eventually("three dead letters", async || {
        let page = bus.get("/v1/buses/default/dead-letters").await.json();
        let letters = page["dead_letters"].as_array().unwrap().clone();
        (letters.len() == 3).then_some(letters)
    })
    .await;
    for letter in letters {
        assert_eq!(letter["reason"], "too_old");
        let error = letter["last_error"].as_str().unwrap();
        assert!(error.contains("the target was paused"), "{error}");
    }
    assert_eq!(target.received().len(), 0);
}

#[tokio::test]
async fn another_url_is_another_receiver() {
    let (gone, new) = (TestTarget::replying([410]), TestTarget::accepting());
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&gone, &json!({}))).await;
    publish_many(&bus, 0..1).await;
    until_health(&bus, "it is disabled", |health| {
        health["state"] == "disabled"
    })
    .await;
    publish_many(&bus, 1..5).await;
    bus.put_rule("orders", &rule_to(&new, &json!({}))).await;
    new.receives(4).await;
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["state"], "active");
    eventually("the log forgets", async || {
        bus.running()
            .log()
            .target_marks()
            .unwrap()
            .is_empty()
            .then_some(())
    })
    .await;
    bus.put_rule("orders", &rule_to(&gone, &json!({}))).await;
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["state"], "active", "put back, it may try again");
}

#[tokio::test]
async fn a_pause_holds_when_the_target_moves_and_over_a_restart() {
    let (old, new) = (TestTarget::accepting(), TestTarget::accepting());
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&old, &json!({}))).await;
    bus.post(&format!("{TARGET}/pause"), &json!({})).await;
    bus.put_rule("orders", &rule_to(&new, &json!({}))).await;
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["state"], "paused");
    publish_many(&bus, 0..1).await;
    let bus = TestBus::builder().data(bus.drain().await).start().await;
    until_health(&bus, "its event waits", |health| {
        health["state"] == "paused" && health["backlogged"] == 1
    })
    .await;
    assert_eq!((old.received().len(), new.received().len()), (0, 0));
    bus.post(&format!("{TARGET}/resume"), &json!({})).await;
    new.receives(1).await;
    assert_eq!(old.received().len(), 0);
}

#[tokio::test]
async fn a_target_that_fails_for_long_is_disabled_over_restarts_too() {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let (target, pager) = (TestTarget::replying([404]), TestTarget::accepting());
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let options = json!({
        "disable_after": "1h",
        "retry": {"max_attempts": 1_000, "max_age": "24h", "initial_delay": "10ms", "max_delay": "10ms"}
    });
    let alerts = alerts_to(&pager, &json!(["eventyard.target.disabled"]));
    bus.put_rule("alerts", &alerts).await;
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    publish_many(&bus, 0..12).await;
    // The clock moves only between attempts: one that ends after it moved is parked from there on.
    let all_parked = async |bus: &TestBus| {
        until_health(bus, "all are parked", |health| {
            health["parked"] == 12 && health["in_flight"] == 0
        })
        .await
    };
    target.receives(12).await;
    all_parked(&bus).await;
    clock.advance(Duration::from_secs(25 * 60));
    target.receives(24).await;
    until_health(&bus, "it is known to fail", |health| {
        health["failing_since"] == "2023-11-14T22:13:20.000Z"
    })
    .await;
    assert_eq!(all_parked(&bus).await["state"], "active");

    let data = bus.drain().await;
    let bus = TestBus::builder().data(data).clock(clock.clone());
    let bus = bus.start().await;
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["failing_since"], "2023-11-14T22:13:20.000Z");
    clock.advance(Duration::from_secs(25 * 60));
    target.receives(36).await;
    assert_eq!(all_parked(&bus).await["state"], "active");
    clock.advance(Duration::from_secs(11 * 60));
    let health = until_health(&bus, "it is disabled", |health| {
        health["state"] == "disabled"
    })
    .await;
    assert_eq!(health["disabled_for"], "failing");
    let alert = pager.receives(1).await[0].json();
    assert_eq!(alert["reason"], "failing");
    assert_eq!(alert["failing_since"], "2023-11-14T22:13:20.000Z");

    target.now_replying([204]);
    act(&bus, "resume").await;
    clock.advance(Duration::from_secs(60));
    let health = until_health(&bus, "all is delivered", |health| health["pending"] == 0).await;
    assert_eq!(health["failing_since"], Value::Null);
}

#[tokio::test]
async fn a_breaker_that_opens_and_closes_is_told_of() {
    let (target, pager) = (TestTarget::replying([503]), TestTarget::accepting());
    let bus = TestBus::start().await;
    let alerts = alerts_to(&pager, &json!([{"prefix": "eventyard.breaker."}]));
    bus.put_rule("alerts", &alerts).await;
    let options = json!({
        "retry": {"max_attempts": 50, "initial_delay": "10ms", "max_delay": "20ms"}
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    publish_many(&bus, 0..12).await;
    let opened = &pager.receives(1).await[0];
    assert_eq!(opened.header("ce-type"), "eventyard.breaker.opened");
    assert_eq!(opened.header("ce-subject"), "orders/billing");
    assert_eq!(opened.json()["last_status"], 503);
    assert!(opened.json()["failures"].as_u64().unwrap() >= 10);
    target.now_replying([204]);
    let closed = &pager.receives(2).await[1];
    assert_eq!(closed.header("ce-type"), "eventyard.breaker.closed");
    assert_eq!(pager.received().len(), 2);
}

/// What the pager got about dead letters of the rule `orders`: how many they are in all, and how
/// many events it took.
fn told_dead(pager: &TestTarget) -> (u64, usize) {
    let received = pager.received();
    let orders: Vec<Value> = received
        .iter()
        .map(|request| request.json())
        .filter(|told| told["rule"] == "orders")
        .collect();
    let counts = orders.iter().map(|told| told["count"].as_u64().unwrap());
    (counts.sum(), orders.len())
}

#[tokio::test]
async fn many_dead_letters_make_few_events_and_alerts_never_feed_on_themselves() {
    let (target, pager) = (TestTarget::replying([400]), TestTarget::replying([400]));
    let bus = TestBus::start().await;
    let alerts = alerts_to(&pager, &json!([{"prefix": "eventyard."}]));
    bus.put_rule("alerts", &alerts).await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let begun = tokio::time::Instant::now();
    publish_many(&bus, 0..500).await;
    let few = eventually("all are told of", async || {
        let (told, events) = told_dead(&pager);
        (told == 500).then_some(events)
    })
    .await;
    // Five and one in each second that it took.
    let most = 6 * (begun.elapsed().as_secs() + 2);
    assert!(few as u64 <= most, "{few} events for 500 dead letters");
    let first = pager.received()[0].json();
    assert_eq!(first["reason"], "refused");
    assert_eq!(first["event"]["type"], "order.created");

    // Two more seconds' worth: whatever the refused alerts had made would be there by now.
    for round in 1..=2 {
        let from = 500 + (round - 1) * 20;
        publish_many(&bus, from..from + 20).await;
        eventually("these are told of too", async || {
            (told_dead(&pager).0 == 500 + 20 * round as u64).then_some(())
        })
        .await;
    }
    let about_alerts = pager
        .received()
        .iter()
        .filter(|request| request.json()["rule"] == "alerts")
        .count();
    assert_eq!(about_alerts, 0, "nothing is told of alerts that died");
    let letters = "/v1/buses/default/rules/alerts/targets/pager/dead-letters?limit=1000";
    let dead = bus.get(letters).await.json()["dead_letters"]
        .as_array()
        .unwrap()
        .len();
    assert!(dead > 0, "the alerts themselves are dead letters");
}

#[tokio::test]
async fn the_bus_is_silent_about_itself_when_told_so() {
    let (target, pager) = (TestTarget::replying([410]), TestTarget::accepting());
    let quiet = |config: &mut eventyard::config::Config| config.delivery.own_events = false;
    let bus = TestBus::builder().config(quiet).start().await;
    let alerts = alerts_to(&pager, &json!([{"prefix": "eventyard."}, "order.created"]));
    bus.put_rule("alerts", &alerts).await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    publish_many(&bus, 0..1).await;
    until_health(&bus, "it is disabled", |health| {
        health["state"] == "disabled"
    })
    .await;
    let data = bus.drain().await;
    // Whatever was published before the end of the drain is delivered now.
    let bus = TestBus::builder().data(data).config(quiet).start().await;
    publish_many(&bus, 1..2).await;
    eventually("the later event", async || {
        ids(&pager).contains(&"1".to_owned()).then_some(())
    })
    .await;
    assert_eq!(pager.received().len(), 2);
}

#[tokio::test]
async fn types_of_the_bus_s_own_are_refused_from_publishers() {
    let bus = TestBus::start().await;
    let publish = async |kind: &str| {
        let mut event = event("1");
        event["type"] = json!(kind);
        let request = bus
            .request(reqwest::Method::POST, "/")
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string());
        crate::harness::send(request).await
    };
    let problem = publish("eventyard.target.disabled").await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/type");
    assert!(problem["detail"].as_str().unwrap().contains("eventyard."));
    for free in ["eventyard.schedule.fired", "eventyards.x", "eventyard"] {
        assert_eq!(publish(free).await.status, 202, "{free}");
    }
    let schedule = json!({
        "schedule": {"rate": "1 hour", "event": {"type": "eventyard.breaker.opened"}},
        "targets": [{"id": "t", "url": "http://127.0.0.1:9/"}]
    });
    let refused = bus.put("/v1/buses/default/rules/s", &schedule).await;
    let problem = refused.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/schedule/event/type");
}

#[tokio::test]
async fn a_test_goes_the_way_of_a_delivery_and_answers_at_once() {
    let answer = Reply::from(202).body("thank you");
    let (target, bus) = (TestTarget::replying([answer]), TestBus::start().await);
    let options = json!({
        "headers": {"x-tenant": "acme"},
        "transform": {"input_paths": {"of": "$.type"}, "template": {"got": "<of>"}}
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    act(&bus, "pause").await;
    publish_many(&bus, 0..1).await;
    let tested = act(&bus, "test").await;
    assert_eq!(tested["delivered"], true);
    assert_eq!(tested["status"], 202);
    assert_eq!(tested["response"], "thank you");
    assert!(tested["took_ms"].is_u64());
    let received = target.received();
    assert_eq!(received.len(), 1, "the test alone");
    assert_eq!(received[0].header("ce-type"), "eventyard.target.test");
    assert_eq!(received[0].header("ce-id"), tested["event"]);
    assert_eq!(received[0].header("x-tenant"), "acme");
    assert_eq!(received[0].json(), json!({"got": "eventyard.target.test"}));
    until_health(&bus, "the event waits", |health| {
        health["state"] == "paused" && health["pending"] == 1
    })
    .await;

    target.now_replying([Reply::from(500).body("no")]);
    let tested = act(&bus, "test").await;
    assert_eq!(tested["delivered"], false);
    assert_eq!(
        (&tested["status"], &tested["response"]),
        (&json!(500), &json!("no"))
    );
    drop(target);
    let tested = eventually("the target is not there", async || {
        let tested = act(&bus, "test").await;
        tested["status"].is_null().then_some(tested)
    })
    .await;
    assert!(!tested["error"].as_str().unwrap().is_empty());
    for verb in ["pause", "resume", "test"] {
        let path = format!("/v1/buses/default/rules/orders/targets/nobody/{verb}");
        bus.post(&path, &json!({})).await.problem(404);
    }
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["failures"], Value::Null);
    assert_eq!(health["dead_lettered"], 0);
}
