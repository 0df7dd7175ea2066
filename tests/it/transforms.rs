//! What a target receives when its rule transforms the event.

use reqwest::Method;
use serde_json::{Value, json};

use super::delivery::rule_to;
use crate::harness::{TestBus, TestTarget, eventually};

fn event(id: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.created",
        "dataschema": "https://example.com/order", "data": data})
}

fn names() -> Value {
    json!({"input_paths": {"id": "$.data.id", "o": "$.data.o"}, "template": "{\"order\": \"#<id>\", \"by\": <aws.events.rule-name>}"})
}

#[tokio::test]
async fn the_result_is_the_body_and_the_event_stays_itself() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let rule = rule_to(&target, &json!({"transform": names()}));
    bus.put_rule("orders", &rule).await;
    bus.publish(&event("1", &json!({"id": "a\"b"}))).await;
    let received = &target.receives(1).await[0];
    assert_eq!(received.body, r##"{"order": "#a\"b", "by": "orders"}"##);
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("ce-id"), "1");
    assert!(!received.headers.contains_key("ce-dataschema"));
}

#[tokio::test]
async fn in_structured_mode_the_result_is_the_data() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    for (rule, transform) in [
        ("json", names()),
        ("text", json!({"template": "Bus <eventyard.bus-name>"})),
    ] {
        let rule_document = rule_to(
            &target,
            &json!({"mode": "structured", "transform": transform}),
        );
        bus.put_rule(rule, &rule_document).await;
    }
    bus.publish(&event("1", &json!({"id": 7}))).await;
    let mut data: Vec<Value> = target
        .receives(2)
        .await
        .iter()
        .map(|received| serde_json::from_slice::<Value>(&received.body).unwrap()["data"].clone())
        .collect();
    data.sort_by_key(Value::is_string);
    assert_eq!(
        data,
        [json!({"order": "#7", "by": "json"}), json!("Bus default")]
    );
}

#[tokio::test]
async fn an_event_that_does_not_fit_is_a_dead_letter_and_its_batch_goes_on() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let transform = json!({"input_paths": {"o": "$.data.o"}, "template": "{\"o\": \"<o>\"}"});
    let rule = rule_to(
        &target,
        &json!({"mode": "batch", "batch": {"max_wait": "50ms"}, "transform": transform}),
    );
    bus.put_rule("orders", &rule).await;
    bus.publish(&event("bad", &json!({"o": {}}))).await;
    bus.publish(&event("good", &json!({"o": 1}))).await;
    let received = &target.receives(1).await[0];
    let batch: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(batch[0]["id"], "good");
    assert_eq!(batch[0]["data"], json!({"o": "1"}));
    let letters = eventually("a dead letter", async || {
        let response = bus
            .request(Method::GET, "/v1/buses/default/dead-letters")
            .send()
            .await
            .unwrap();
        let page: Value = response.json().await.unwrap();
        let letters = page["dead_letters"].as_array().cloned().unwrap_or_default();
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters[0]["reason"], "not_transformed");
    assert_eq!(letters[0]["attempts"], 0);
    let error = letters[0]["last_error"].as_str().unwrap();
    assert!(error.contains("`o` is an object or array"), "{error}");
}

#[tokio::test]
async fn a_transform_that_cannot_work_is_refused_when_it_is_put() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    for (transform, pointer, part) in [
        (json!({"input": 1, "input_path": "$.a"}), "", "only one of"),
        (
            json!({"template": "<ide>", "input_paths": {"id": "$.id"}}),
            "/template",
            "did you mean `id`",
        ),
        (
            json!({"template": "{\"a\": <aws.events.event>"}),
            "/template",
            "must be JSON",
        ),
        (
            json!({"template": "x", "input_paths": {"id": "data.id"}}),
            "/input_paths/id",
            "no JSONPath",
        ),
        (
            json!({"template": "x", "inputs": {}}),
            "/inputs",
            "no `inputs`",
        ),
        (
            json!({"form": "TEMPLATE", "value": "{\"a\": \"$.\"}", "template": "x"}),
            "/value",
            "no JSONPath",
        ),
    ] {
        let rule = rule_to(&target, &json!({"transform": transform}));
        let response = bus
            .request(Method::PUT, "/v1/buses/default/rules/bad")
            .json(&rule)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 422, "{transform}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(
            problem["errors"][0]["pointer"],
            format!("/targets/0/transform{pointer}"),
            "{problem}"
        );
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail}");
    }
}
