//! Dead letters: listed with their reason, shown with their event, redriven, deleted, purged.

use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::harness::{TestBus, TestTarget, eventually};

const TARGET: &str = "/v1/buses/default/rules/orders/targets/billing/dead-letters";
const BUS: &str = "/v1/buses/default/dead-letters";

/// A bus with so many events that the target has refused for good.
async fn with_dead(count: usize) -> (TestBus, TestTarget, Vec<Value>) {
    let (bus, target) = (TestBus::start().await, TestTarget::replying([400]));
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    for number in 0..count {
        bus.publish(&event(&number.to_string())).await;
    }
    let letters = stand(&bus, count).await;
    (bus, target, letters)
}

/// Waits until so many dead letters stand.
async fn stand(bus: &TestBus, count: usize) -> Vec<Value> {
    eventually(&format!("{count} dead letters"), async || {
        let list = bus.get(TARGET).await.json();
        let letters = list["dead_letters"].as_array().unwrap().clone();
        (letters.len() == count).then_some(letters)
    })
    .await
}

#[tokio::test]
async fn a_refused_event_is_a_dead_letter_with_its_reason_and_event() {
    let (bus, _target, letters) = with_dead(1).await;
    let letter = &letters[0];
    assert_eq!(letter["reason"], "refused");
    assert_eq!(letter["last_status"], 400);
    assert_eq!(letter["attempts"], 1);
    assert_eq!(letter["rule"], "orders");
    assert_eq!(letter["target"], "billing");
    for list in [TARGET, BUS] {
        let path = format!("{list}/{}", letter["id"].as_str().unwrap());
        let shown = bus.get(&path).await.json();
        assert_eq!(shown["event"]["id"], "0", "{shown}");
    }
    let health = bus
        .get("/v1/buses/default/rules/orders/targets/billing")
        .await
        .json();
    assert_eq!(health["dead_lettered"], 1, "{health}");
}

#[tokio::test]
async fn retries_that_are_used_up_make_a_dead_letter() {
    let (bus, target) = (TestBus::start().await, TestTarget::replying([503]));
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.publish(&event("1")).await;
    let letters = stand(&bus, 1).await;
    assert_eq!(letters[0]["reason"], "attempts_exhausted");
    assert_eq!(letters[0]["attempts"], 3);
    assert_eq!(target.received().len(), 3);
}

#[tokio::test]
async fn dead_letters_are_listed_in_pages() {
    let (bus, _target, letters) = with_dead(3).await;
    for list in [TARGET, BUS] {
        let first = bus.get(&format!("{list}?limit=2")).await.json();
        assert_eq!(first["dead_letters"].as_array().unwrap()[..], letters[..2]);
        let next = first["next"].as_str().unwrap();
        let last = bus
            .get(&format!("{list}?limit=2&after={next}"))
            .await
            .json();
        assert_eq!(last["dead_letters"].as_array().unwrap()[..], letters[2..]);
        assert!(last.get("next").is_none());
    }
}

#[tokio::test]
async fn a_redriven_event_is_delivered() {
    let (bus, target, letters) = with_dead(3).await;
    target.now_replying([200]);
    let one = json!({"ids": [letters[1]["id"]]});
    let answer = bus.post(&format!("{TARGET}/redrive"), &one).await;
    assert_eq!(answer.json(), json!({"redriven": 1}), "{answer:?}");
    assert_eq!(target.receives(4).await[3].header("ce-id"), "1");
    let rest = bus
        .post(&format!("{BUS}/redrive"), &json!({"all": true}))
        .await;
    assert_eq!(rest.json(), json!({"redriven": 2}));
    target.receives(6).await;
    stand(&bus, 0).await;
}

#[tokio::test]
async fn dead_letters_are_deleted_and_purged() {
    let (bus, _target, letters) = with_dead(3).await;
    let path = format!("{TARGET}/{}", letters[0]["id"].as_str().unwrap());
    assert_eq!(bus.delete(&path).await.status, 204);
    bus.delete(&path).await.problem(404);
    bus.get(&path).await.problem(404);
    let answer = bus
        .post(&format!("{TARGET}/purge"), &json!({"all": true}))
        .await;
    assert_eq!(answer.json(), json!({"purged": 2}));
    stand(&bus, 0).await;
}

#[tokio::test]
async fn a_choice_that_says_nothing_is_refused() {
    let (bus, _target, _) = with_dead(1).await;
    for choice in [
        json!({}),
        json!({"all": false}),
        json!({"ids": ["1-1"], "all": true}),
        json!({"alle": true}),
    ] {
        bus.post(&format!("{TARGET}/purge"), &choice)
            .await
            .problem(422);
    }
    let problem = bus
        .post(&format!("{TARGET}/redrive"), &json!({"ids": ["1-1", "x"]}))
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/ids/1");
    bus.get("/v1/buses/default/rules/orders/targets/nope/dead-letters")
        .await
        .problem(404);
    bus.get("/v1/buses/nope/dead-letters").await.problem(404);
}

#[tokio::test]
async fn dead_letters_outlive_their_rule_and_cannot_be_redriven_then() {
    let (bus, _target, letters) = with_dead(1).await;
    assert_eq!(
        bus.delete("/v1/buses/default/rules/orders").await.status,
        204
    );
    assert_eq!(stand(&bus, 1).await, letters);
    bus.post(&format!("{TARGET}/redrive"), &json!({"all": true}))
        .await
        .problem(409);
    let answer = bus
        .post(&format!("{BUS}/purge"), &json!({"all": true}))
        .await;
    assert_eq!(answer.json(), json!({"purged": 1}));
}
