//! Targets that must agree before they are sent anything.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::delivery::{event, rule_to};
use super::pace::until_health;
use crate::harness::{Reply, TestBus, TestTarget, eventually};

fn consent(rate: &'static str) -> Reply {
    Reply::from(200)
        .header("webhook-allowed-origin", "*")
        .header("webhook-allowed-rate", rate)
}

fn methods(target: &TestTarget) -> Vec<String> {
    target.received().into_iter().map(|r| r.method).collect()
}

#[tokio::test]
async fn nothing_is_sent_and_no_attempt_spent_until_the_target_agrees() {
    let target = TestTarget::replying([405]);
    let bus = TestBus::start().await;
    let options = json!({
        "validation": {"origin": "bus.example.com"}, "rate_limit": "10/s", "query": {"a": "b"},
        "headers": {"x-key": "k"}, "retry": {"max_attempts": 1},
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    for id in ["1", "2"] {
        bus.publish(&event(id)).await;
    }
    target.receives(2).await;
    let health = until_health(&bus, "the refusal shows", |health| {
        health["validation"] == "refused" && health["pending"] == 2
    });
    let health = health.await;
    assert_eq!(health["throttled_by"], "validation");
    assert_eq!(health["breaker"], "closed");
    let reason = health["validation_error"].as_str().unwrap();
    assert!(reason.contains("405 Method Not Allowed"), "{reason}");

    target.now_replying([consent("*"), Reply::from(204)]);
    let all = eventually("both deliveries", async || {
        let all = target.received();
        let sent = all.iter().filter(|request| request.method == "POST");
        (sent.count() == 2).then_some(all)
    })
    .await;
    for request in &all {
        assert_eq!(request.header("webhook-request-origin"), "bus.example.com");
        assert_eq!(request.header("x-key"), "k");
        assert_eq!(request.path, "/?a=b");
        let asks = request.method == "OPTIONS";
        assert_eq!(request.header("webhook-request-rate") == "600", asks);
        assert_eq!(request.header("ce-id").is_empty(), asks);
    }
    let health = until_health(&bus, "all is delivered", |health| health["pending"] == 0).await;
    assert_eq!(health["validation"], "granted");
    assert_eq!(health["validation_error"], json!(null));
    assert_eq!(
        (&health["delivered"], &health["dead_lettered"]),
        (&json!(2), &json!(0))
    );
}

#[tokio::test]
async fn the_rate_that_a_target_allows_is_kept() {
    let target = TestTarget::replying([consent("120"), Reply::from(204)]);
    let bus = TestBus::start().await;
    let options = json!({"validation": "cloudevents"});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    let began = Instant::now();
    for id in ["1", "2", "3"] {
        bus.publish(&event(id)).await;
    }
    let received = target.receives(4).await;
    assert_eq!(received[0].header("webhook-request-origin"), "eventyard");
    assert_eq!(received[0].header("webhook-request-rate"), "");
    // Two a second, and a tenth of a second ahead. From before the first: when that is received is
    // the machine's matter.
    let took = received[3].at.duration_since(began);
    assert!(took >= Duration::from_millis(880), "{took:?}");
    let health = until_health(&bus, "all is delivered", |health| health["pending"] == 0).await;
    assert_eq!(health["allowed_rate"], "120/m");
}

#[tokio::test]
async fn what_waits_too_long_for_agreement_is_a_dead_letter_that_says_so() {
    let target = TestTarget::replying([200]);
    let bus = TestBus::start().await;
    let options = json!({"validation": "cloudevents", "retry": {"max_age": "1s"}});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    bus.publish(&event("1")).await;
    let letter = eventually("a dead letter", async || {
        let page = bus.get("/v1/buses/default/dead-letters").await.json();
        page["dead_letters"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(letter["reason"], "too_old");
    assert_eq!(letter["attempts"], 0);
    let error = letter["last_error"].as_str().unwrap();
    assert!(error.contains("has not agreed"), "{error}");
    assert!(
        error.contains("without `WebHook-Allowed-Origin`"),
        "{error}"
    );
    assert!(methods(&target).iter().all(|method| method == "OPTIONS"));
}

#[tokio::test]
async fn agreement_is_asked_for_once_and_again_after_a_change_or_a_restart() {
    let asks = [consent("*"), Reply::from(204)];
    let target = TestTarget::replying(asks.clone());
    let bus = TestBus::start().await;
    let mut rule = rule_to(&target, &json!({"validation": "cloudevents"}));
    bus.put_rule("orders", &rule).await;
    for id in ["1", "2"] {
        bus.publish(&event(id)).await;
    }
    target.receives(3).await;
    assert_eq!(methods(&target), ["OPTIONS", "POST", "POST"]);
    // What has nothing to do with the question keeps the answer.
    rule["targets"][0]["timeout"] = json!("9s");
    bus.put_rule("orders", &rule).await;
    bus.publish(&event("3")).await;
    target.receives(4).await;
    target.now_replying(asks.clone());
    rule["targets"][0]["url"] = json!(format!("{}other", target.url()));
    bus.put_rule("orders", &rule).await;
    bus.publish(&event("4")).await;
    target.receives(6).await;
    target.now_replying(asks);
    let data = bus.drain().await;
    let bus = TestBus::builder().data(data).start().await;
    bus.publish(&event("5")).await;
    target.receives(8).await;
    let expected = [
        "OPTIONS", "POST", "POST", "POST", "OPTIONS", "POST", "OPTIONS", "POST",
    ];
    assert_eq!(methods(&target), expected);
}
