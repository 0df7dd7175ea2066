//! Replies: a target's answer that is a CloudEvent is published before its delivery is done.

use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::harness::{Reply, TestBus, TestTarget, eventually};

const DEAD: &str = "/v1/buses/default/dead-letters";

fn structured(id: &str, kind: &str) -> Reply {
    let reply = json!({"specversion": "1.0", "id": id, "source": "/billing", "type": kind, "data": {"n": 1}});
    Reply::from(200)
        .header("content-type", "application/cloudevents+json")
        .body(reply.to_string())
}

fn replying_rule(target: &TestTarget, kind: &str) -> Value {
    let mut rule = rule_to(target, &json!({"reply": true}));
    rule["pattern"] = json!({"type": [kind]});
    rule
}

async fn events_of(bus: &TestBus, kind: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} events of type {kind}"), async || {
        let page = bus
            .get(&format!("/v1/buses/default/events?type={kind}"))
            .await
            .json();
        let events = page["events"].as_array().unwrap().clone();
        (events.len() >= count).then_some(events)
    })
    .await
}

#[tokio::test]
async fn a_reply_is_published_with_what_caused_it() {
    let bus = TestBus::start().await;
    let billing = TestTarget::replying([structured("r1", "invoice.sent")]);
    let mail = TestTarget::accepting();
    bus.put_rule("billing", &replying_rule(&billing, "order.placed"))
        .await;
    let mut rule = rule_to(&mail, &json!({}));
    rule["pattern"] = json!({"type": ["invoice.sent"]});
    bus.put_rule("mail", &rule).await;
    let mut cause = event("o1");
    cause["type"] = json!("order.placed");
    let sequence = bus.publish(&cause).await;
    let got = &mail.receives(1).await[0];
    assert_eq!(got.header("ce-id"), "r1");
    assert_eq!(got.header("ce-eventyardhops"), "1");
    assert_eq!(
        got.header("ce-eventyardcause"),
        format!("default/{sequence}")
    );
    assert_eq!(got.header("ce-eventyardvia"), "billing/billing");
    assert_eq!(got.header("ce-causationid"), "o1");
    assert_eq!(got.header("ce-correlationid"), "o1");
    assert_eq!(got.json(), json!({"n": 1}));
}

#[tokio::test]
async fn a_binary_reply_without_an_id_gets_one_and_other_answers_are_no_replies() {
    let bus = TestBus::start().await;
    let target = TestTarget::replying([
        Reply::from(200)
            .header("ce-specversion", "1.0")
            .header("ce-source", "/billing")
            .header("ce-type", "invoice.sent")
            .header("content-type", "application/json")
            .body("{\"n\":2}"),
        Reply::from(200)
            .header("content-type", "application/json")
            .body("{\"type\":\"plain\"}"),
        structured("late", "invoice.accepted"),
    ]);
    bus.put_rule("billing", &replying_rule(&target, "order.placed"))
        .await;
    let mut cause = event("o1");
    cause["type"] = json!("order.placed");
    bus.publish(&cause).await;
    let reply = &events_of(&bus, "invoice.sent", 1).await[0]["event"];
    let id = target.receives(1).await[0].header("webhook-id").to_owned();
    assert_eq!(reply["id"], format!("reply-{id}"));
    for id in ["o2", "o3"] {
        cause["id"] = json!(id);
        bus.publish(&cause).await;
    }
    target.receives(3).await;
    eventually("all settled", async || {
        let health = bus
            .get("/v1/buses/default/rules/billing/targets/billing")
            .await
            .json();
        (health["delivered"] == 3).then_some(())
    })
    .await;
    let page = bus.get("/v1/buses/default/events?limit=100").await.json();
    // The third answered 200 as well, so its event is one more.
    assert_eq!(page["events"].as_array().unwrap().len(), 5, "{page}");
}

#[tokio::test]
async fn targets_that_answer_each_other_end_in_a_dead_letter() {
    let bus = TestBus::start().await;
    // A new id each time: nothing is a duplicate.
    let answer = || {
        Reply::from(200)
            .header("ce-specversion", "1.0")
            .header("ce-source", "/echo")
            .header("ce-type", "ping")
    };
    let echo = TestTarget::replying([answer()]);
    bus.put_rule("echo", &replying_rule(&echo, "ping")).await;
    let mut cause = event("o1");
    cause["type"] = json!("ping");
    bus.publish(&cause).await;
    let letter = eventually("the dead letter", async || {
        let list = bus.get(DEAD).await.json();
        list["dead_letters"].get(0).cloned()
    })
    .await;
    assert_eq!(letter["reason"], "reply_loop");
    assert_eq!(echo.received().len(), 17);
    assert_eq!(events_of(&bus, "ping", 17).await.len(), 17);
}

#[tokio::test]
async fn a_reply_that_cannot_be_published_fails_the_attempt() {
    let bus = TestBus::start().await;
    let target = TestTarget::replying([Reply::from(200)
        .header("content-type", "application/cloudevents+json")
        .body("{\"specversion\":\"1.0\"}")]);
    let mut rule = replying_rule(&target, "order.placed");
    rule["targets"][0]["reply"] = json!({"bus": "replies"});
    bus.put_rule("billing", &rule).await;
    let mut cause = event("o1");
    cause["type"] = json!("order.placed");
    bus.publish(&cause).await;
    let letter = eventually("the dead letter", async || {
        let list = bus.get(DEAD).await.json();
        list["dead_letters"].get(0).cloned()
    })
    .await;
    assert_eq!(letter["attempts"], 3);
    let error = letter["last_error"].as_str().unwrap();
    assert!(error.contains("there is no bus `replies`"), "{error}");
    assert_eq!(bus.put("/v1/buses/replies", &json!({})).await.status, 201);
    let redrive = json!({"all": true});
    bus.post(&format!("{DEAD}/redrive"), &redrive).await;
    let letter = eventually("the next dead letter", async || {
        let list = bus.get(DEAD).await.json();
        let letter = list["dead_letters"].get(0).cloned()?;
        letter["last_error"]
            .as_str()?
            .contains("`/id`")
            .then_some(letter)
    })
    .await;
    assert_eq!(letter["reason"], "attempts_exhausted");
    target.now_replying([structured("r1", "invoice.sent")]);
    bus.post(&format!("{DEAD}/redrive"), &redrive).await;
    eventually("the reply on the other bus", async || {
        let page = bus.get("/v1/buses/replies/events").await.json();
        (page["events"][0]["event"]["id"] == "r1").then_some(())
    })
    .await;
}
