//! From a publisher to a target: the three modes, retries, isolation.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Reply, TestBus, TestTarget, eventually};

pub(crate) fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.created", "data": {"total": 1.50}})
}

pub(crate) fn rule_to(target: &TestTarget, options: &Value) -> Value {
    let mut to = json!({
        "id": "billing",
        "url": target.url(),
        "retry": {"max_attempts": 3, "initial_delay": "10ms", "max_delay": "20ms"}
    });
    for (name, value) in options.as_object().unwrap() {
        to[name] = value.clone();
    }
    json!({"pattern": {"type": [{"prefix": "order."}]}, "targets": [to]})
}

#[tokio::test]
async fn an_event_arrives_in_binary_mode() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.publish(&event("1")).await;
    let received = &target.receives(1).await[0];
    assert_eq!(received.method, "POST");
    assert_eq!(received.header("ce-specversion"), "1.0");
    assert_eq!(received.header("ce-id"), "1");
    assert_eq!(received.header("ce-type"), "order.created");
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.header("user-agent").starts_with("Eventyard/"));
    assert!(!received.header("webhook-id").is_empty());
    assert!(received.header("webhook-timestamp").parse::<u64>().is_ok());
    assert_eq!(received.body, r#"{"total":1.5}"#);
}

#[tokio::test]
async fn an_event_without_data_arrives_with_the_length_of_its_body() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let rule = rule_to(&target, &json!({"method": method}));
        bus.put_rule(&method.to_lowercase(), &rule).await;
    }
    let mut event = event("1");
    event.as_object_mut().unwrap().remove("data");
    bus.publish(&event).await;
    for received in target.receives(4).await {
        assert!(received.body.is_empty());
        assert_eq!(received.header("content-length"), "0", "{received:?}");
    }
}

#[tokio::test]
async fn an_event_arrives_in_structured_mode_with_its_data_as_sent() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    bus.put_rule("orders", &rule_to(&target, &json!({"mode": "structured"})))
        .await;
    let sent = r#"{"specversion":"1.0","id":"1","source":"/s","type":"order.x","data":{"b":1.50,"a":1e3}}"#;
    let request = bus.request(reqwest::Method::POST, "/").body(sent);
    let request = request.header("content-type", "application/cloudevents+json");
    assert_eq!(request.send().await.unwrap().status(), 202);
    let received = &target.receives(1).await[0];
    assert!(
        received
            .header("content-type")
            .starts_with("application/cloudevents+json")
    );
    let body = String::from_utf8(received.body.to_vec()).unwrap();
    assert!(body.contains(r#"{"b":1.50,"a":1e3}"#), "{body}");
}

#[tokio::test]
async fn events_arrive_in_batches() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let options = json!({"mode": "batch", "batch": {"max_events": 3, "max_wait": "5s"}});
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    for id in ["1", "2", "3"] {
        bus.publish(&event(id)).await;
    }
    let received = &target.receives(1).await[0];
    assert!(
        received
            .header("content-type")
            .starts_with("application/cloudevents-batch+json")
    );
    assert_eq!(received.json().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_with_the_same_id() {
    let (bus, target) = (
        TestBus::start().await,
        TestTarget::replying([503, 500, 200]),
    );
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.publish(&event("1")).await;
    let received = target.receives(3).await;
    let id = received[0].header("webhook-id");
    assert!(
        received
            .iter()
            .all(|request| request.header("webhook-id") == id)
    );
    let path = "/v1/buses/default/rules/orders/targets/billing";
    eventually("the target has nothing pending", async || {
        let health = bus.get(path).await.json();
        (health["pending"] == 0 && health["delivered"] == 1).then_some(())
    })
    .await;
    assert_eq!(target.received().len(), 3);
}

#[tokio::test]
async fn an_event_that_no_rule_matches_goes_nowhere() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let other = json!({"specversion": "1.0", "id": "0", "source": "/s", "type": "payment"});
    bus.publish(&other).await;
    bus.publish(&event("1")).await;
    let received = target.receives(1).await;
    assert_eq!(received[0].header("ce-id"), "1");
}

#[tokio::test]
async fn a_hanging_target_delays_no_other() {
    let bus = TestBus::start().await;
    let hanging = TestTarget::replying([Reply::from(200).after(Duration::from_secs(60))]);
    let healthy = TestTarget::accepting();
    bus.put_rule("slow", &rule_to(&hanging, &json!({"concurrency": 1})))
        .await;
    bus.put_rule("well", &rule_to(&healthy, &json!({}))).await;
    for id in 0..20 {
        bus.publish(&event(&id.to_string())).await;
    }
    healthy.receives(20).await;
}

#[tokio::test]
async fn what_is_pending_survives_a_restart() {
    let (bus, target) = (TestBus::start().await, TestTarget::replying([503]));
    let patient =
        json!({"retry": {"max_attempts": 100, "initial_delay": "50ms", "max_delay": "100ms"}});
    bus.put_rule("orders", &rule_to(&target, &patient)).await;
    bus.publish(&event("1")).await;
    target.receives(1).await;
    let data = bus.drain().await;
    target.now_replying([200]);
    let before = target.received().len();
    let _bus = TestBus::builder().data(data).start().await;
    let received = target.receives(before + 1).await;
    assert_eq!(received[before].header("ce-id"), "1");
    assert_eq!(
        received[before].header("webhook-id"),
        received[0].header("webhook-id")
    );
}
