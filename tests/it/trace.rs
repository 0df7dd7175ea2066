//! What became of an event: rules, deliveries, attempts, over failures, restarts and changed rules.

use std::time::Duration;

use eventyard::clock::{Clock, Timestamp};
use eventyard::delivery::TracesMode;
use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::harness::{Reply, TestBus, TestTarget, eventually};

fn path(sequence: u64) -> String {
    format!("/v1/buses/default/events/{sequence}/trace")
}

async fn trace(bus: &TestBus, sequence: u64) -> Value {
    bus.get(&path(sequence)).await.json()
}

/// The trace once the only delivery of the only rule is in this state.
async fn until_state(bus: &TestBus, sequence: u64, state: &str) -> Value {
    eventually(&format!("a delivery that is {state}"), async || {
        let trace = trace(bus, sequence).await;
        (trace["rules"][0]["deliveries"][0]["state"] == state).then_some(trace)
    })
    .await
}

fn quickly() -> Value {
    json!({"retry": {"max_attempts": 3, "initial_delay": "10ms", "max_delay": "10ms", "jitter": false}})
}

#[tokio::test]
async fn a_delivery_is_told_attempt_by_attempt() {
    let busy = Reply::from(503).body("too busy");
    let target = TestTarget::replying([busy, Reply::from(200).body("taken")]);
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&target, &quickly())).await;
    let sequence = bus.publish(&event("1")).await;
    let trace = until_state(&bus, sequence, "delivered").await;
    assert_eq!(trace["sequence"], sequence);
    assert_eq!(
        (&trace["id"], &trace["routed"]),
        (&json!("1"), &json!("done"))
    );
    assert_eq!(trace["remembered"]["traces"], "all");
    assert_eq!(trace["rules"][0]["rule"], "orders");
    assert_eq!(trace["rules"][0]["basis"], "as_routed");
    let delivery = &trace["rules"][0]["deliveries"][0];
    assert_eq!(delivery["attempts_made"], 2);
    assert_eq!(delivery["next_attempt"], Value::Null);
    let [first, second] = delivery["attempts"].as_array().unwrap().as_slice() else {
        panic!("{delivery}");
    };
    assert_eq!(first["number"], 1);
    assert_eq!(
        (&first["status"], &first["result"]),
        (&json!(503), &json!("5xx"))
    );
    assert_eq!(
        (&first["response"], &first["then"]),
        (&json!("too busy"), &json!("retry"))
    );
    assert!(first["retry_at"].is_string());
    assert_eq!(
        (&second["number"], &second["then"]),
        (&json!(2), &json!("delivered"))
    );
    assert_eq!(second["response"], "taken");
    for attempt in [first, second] {
        let millis = |phase: &str| attempt[phase].as_f64().unwrap_or(-1.0);
        assert!(millis("queued_ms") >= 0.0 && millis("prepared_ms") > 0.0);
        assert!(millis("first_byte_ms") > 0.0);
        assert!(millis("took_ms") >= millis("first_byte_ms"), "{attempt}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_told_of_also_after_a_restart_and_once_it_is_gone() {
    let target = TestTarget::replying([Reply::from(400).body("no such order")]);
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&target, &quickly())).await;
    let sequence = bus.publish(&event("1")).await;
    let trace = until_state(&bus, sequence, "dead_lettered").await;
    let delivery = &trace["rules"][0]["deliveries"][0];
    assert_eq!(delivery["attempts"][0]["then"], "dead_letter");
    assert_eq!(delivery["attempts"][0]["reason"], "refused");
    assert_eq!(delivery["dead_letter"]["reason"], "refused");
    let id = delivery["dead_letter"]["id"].as_str().unwrap().to_owned();
    let letter = format!("/v1/buses/default/dead-letters/{id}");
    assert_eq!(bus.get(&letter).await.json()["sequence"], sequence);

    let bus = TestBus::builder().data(bus.drain().await).start().await;
    let trace = until_state(&bus, sequence, "dead_lettered").await;
    let delivery = &trace["rules"][0]["deliveries"][0];
    assert_eq!(delivery["attempts"], json!([]), "memory is not kept");
    assert_eq!(delivery["attempts_made"], 1, "but what the log knows is");
    assert_eq!(delivery["last_status"], 400);
    assert_eq!(delivery["last_error"], "no such order");
    assert_eq!(bus.delete(&letter).await.status, 204);
    until_state(&bus, sequence, "settled").await;
}

#[tokio::test]
async fn what_waits_says_for_what() {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let target = TestTarget::replying([503]);
    let slowly = json!({"retry": {"initial_delay": "1h", "max_delay": "1h", "jitter": false}});
    bus.put_rule("orders", &rule_to(&target, &slowly)).await;
    let sequence = bus.publish(&event("1")).await;
    let retrying = until_state(&bus, sequence, "retrying").await;
    let delivery = &retrying["rules"][0]["deliveries"][0];
    let due = clock.now().plus(Duration::from_secs(3_600)).to_string();
    assert_eq!(delivery["next_attempt"], due);
    assert_eq!(delivery["last_status"], 503);
    assert_eq!(delivery.get("held_by"), None);

    let pause = "/v1/buses/default/rules/orders/targets/billing/pause";
    bus.post(pause, &json!({})).await;
    let sequence = bus.publish(&event("2")).await;
    let held = until_state(&bus, sequence, "waiting").await;
    assert_eq!(held["rules"][0]["deliveries"][0]["held_by"], "paused");

    let mut later = event("3");
    later["deliverat"] = json!(due);
    let sequence = bus.publish(&later).await;
    let scheduled = eventually("it is put off", async || {
        let trace = trace(&bus, sequence).await;
        (trace["routed"] == "scheduled").then_some(trace)
    })
    .await;
    assert_eq!(scheduled["due"], due);
}

#[tokio::test]
async fn a_rule_says_at_which_field_it_does_not_match() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let mut large = rule_to(&target, &json!({}));
    large["pattern"] = json!({"data": {"total": [{"numeric": [">=", 100]}]}});
    bus.put_rule("large", &large).await;
    let mut order = event("1");
    order["data"] = json!({"total": 20});
    let sequence = bus.publish(&order).await;
    let asked = format!("{}?explain=large", path(sequence));
    let trace = bus.get(&asked).await.json();
    assert_eq!(trace["rules"], json!([]));
    let explain = &trace["explain"];
    assert_eq!(
        (&explain["matches"], &explain["put_since"]),
        (&json!(false), &json!(false))
    );
    let field = &explain["pattern"]["fields"][0];
    assert_eq!(field["pointer"], "/data/total");
    assert_eq!(field["seen"], json!(["20"]));
    assert_eq!(field["wanted"], r#"[{"numeric":[">=",100]}]"#);

    // The same rule, put anew: what the event met then is not claimed to be known.
    large["pattern"] = json!({"data": {"total": [{"numeric": [">=", 10]}]}});
    bus.put_rule("large", &large).await;
    let trace = bus.get(&asked).await.json();
    assert_eq!(trace["explain"]["matches"], true);
    assert_eq!(trace["explain"]["put_since"], true);
    assert_eq!(trace["rules"][0]["basis"], "put_since");
    assert_eq!(trace["rules"][0]["deliveries"][0]["state"], "unknown");

    let missing = format!("{}?explain=nobody", path(sequence));
    bus.get(&missing).await.problem(404);
    bus.get(&format!("{}?explain=", path(sequence)))
        .await
        .problem(400);
    bus.get(&path(999_999)).await.problem(404);
    bus.get(&format!("/v1/buses/nope/events/{sequence}/trace"))
        .await
        .problem(404);
}

#[tokio::test]
async fn a_delivery_outlives_its_rule() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let sequence = bus.publish(&event("1")).await;
    until_state(&bus, sequence, "delivered").await;
    let mut other = rule_to(&target, &json!({}));
    other["pattern"] = json!({"type": ["something else"]});
    bus.put_rule("orders", &other).await;
    let trace = until_state(&bus, sequence, "delivered").await;
    assert_eq!(trace["rules"][0]["basis"], "earlier");
    assert!(trace["rules"][0]["revision"].is_u64());
    bus.delete("/v1/buses/default/rules/orders").await;
    let trace = until_state(&bus, sequence, "delivered").await;
    assert_eq!(trace["rules"][0]["rule"], "orders");
    assert_eq!(trace["rules"][0]["basis"], "earlier");
    assert_eq!(trace["rules"][0]["revision"], Value::Null);
}

#[tokio::test]
async fn the_operator_says_what_is_remembered() {
    for (mode, attempts_of_success, attempts_of_failure) in
        [(TracesMode::Off, 0, 0), (TracesMode::Failures, 0, 2)]
    {
        let bus = TestBus::builder()
            .config(move |config| config.delivery.traces.mode = mode)
            .start()
            .await;
        let (well, badly) = (TestTarget::accepting(), TestTarget::replying([503, 204]));
        bus.put_rule("orders", &rule_to(&well, &quickly())).await;
        let sequence = bus.publish(&event("1")).await;
        let settled = until_state(&bus, sequence, "settled").await;
        let attempts = |trace: &Value| {
            let attempts = &trace["rules"][0]["deliveries"][0]["attempts"];
            attempts.as_array().unwrap().len()
        };
        assert_eq!(settled["remembered"]["traces"], mode.as_str());
        assert_eq!(attempts(&settled), attempts_of_success);
        bus.put_rule("orders", &rule_to(&badly, &quickly())).await;
        let sequence = bus.publish(&event("2")).await;
        badly.receives(2).await;
        let end = if attempts_of_failure > 0 {
            "delivered"
        } else {
            "settled"
        };
        let trace = until_state(&bus, sequence, end).await;
        assert_eq!(attempts(&trace), attempts_of_failure);
    }
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_attempt() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let batch = json!({"mode": "batch", "batch": {"max_events": 2, "max_wait": "1m"}});
    bus.put_rule("orders", &rule_to(&target, &batch)).await;
    let first = bus.publish(&event("1")).await;
    let second = bus.publish(&event("2")).await;
    for sequence in [first, second] {
        let trace = until_state(&bus, sequence, "delivered").await;
        let attempt = &trace["rules"][0]["deliveries"][0]["attempts"][0];
        assert_eq!(attempt["batch"], 2, "{attempt}");
    }
}
