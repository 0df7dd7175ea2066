//! The request beside its body: method, path, query, headers and content type from the rule and
//! the event.

use reqwest::Method;
use serde_json::{Value, json};

use super::delivery::rule_to;
use crate::harness::{TestBus, TestTarget, eventually};

fn event(data: &Value) -> Value {
    json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "data": data})
}

async fn first_letter(bus: &TestBus) -> Value {
    eventually("a dead letter", async || {
        let page = bus.get("/v1/buses/default/dead-letters").await.json();
        page["dead_letters"].as_array()?.first().cloned()
    })
    .await
}

#[tokio::test]
async fn an_event_shapes_its_request() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let options = json!({
        "method": "PUT",
        "url": format!("{}orders/{{id}}/state?fixed=1", target.url()),
        "path": {"id": {"path": "$.data.id"}},
        "query": {"tenant": {"path": "$.data.tenant", "default": null}, "type": {"path": "$.type"}},
        "headers": {"x-tenant": {"path": "$.data.tenant", "default": "-"}, "x-fixed": "$.data.id"},
        // Values come from the event as it was published, whatever the transform makes of it.
        "transform": {"input": {"state": "created"}},
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    bus.publish(&event(&json!({"id": "a b?", "tenant": "acme & co"})))
        .await;
    let received = &target.receives(1).await[0];
    assert_eq!(received.method, "PUT");
    assert_eq!(
        received.path,
        "/orders/a%20b%3F/state?fixed=1&tenant=acme%20%26%20co&type=order.created"
    );
    assert_eq!(received.header("x-tenant"), "acme & co");
    assert_eq!(
        received.header("x-fixed"),
        "$.data.id",
        "a string is itself"
    );
    assert_eq!(received.body, r#"{"state":"created"}"#);
    assert_eq!(received.header("ce-id"), "1");
}

#[tokio::test]
async fn an_event_that_does_not_fit_its_request_is_a_dead_letter() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    for (name, options, part) in [
        (
            "header",
            json!({"headers": {"x-a": {"path": "$.data.a"}}}),
            "the header `x-a`: a header's value takes visible ASCII",
        ),
        (
            "path",
            json!({"url": format!("{}o/{{a}}", target.url()), "path": {"a": {"path": "$.data.up"}}}),
            "`{a}` of the URL: holds '/'",
        ),
    ] {
        bus.put_rule(name, &rule_to(&target, &options)).await;
        let mut event = event(&json!({"a": "1\r\nx-b: 2", "up": "../admin"}));
        event["id"] = json!(name);
        bus.publish(&event).await;
        let letter = first_letter(&bus).await;
        assert_eq!(letter["reason"], "not_transformed");
        assert_eq!(letter["attempts"], 0);
        let error = letter["last_error"].as_str().unwrap();
        assert!(error.contains(part), "{error}");
        let path = format!("/v1/buses/default/rules/{name}");
        assert!(bus.delete(&path).await.status.is_success());
        let purge = json!({"all": true});
        bus.post("/v1/buses/default/dead-letters/purge", &purge)
            .await;
    }
    assert!(target.received().is_empty());
}

#[tokio::test]
async fn a_transform_may_say_what_its_text_is() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let options = json!({
        "headers": {"content-type": "text/csv; charset=utf-8"},
        "transform": {"input_paths": {"id": "$.data.id"}, "template": "order,<id>"},
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    bus.publish(&event(&json!({"id": 7}))).await;
    let received = &target.receives(1).await[0];
    assert_eq!(received.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(received.body, "order,7");
}

#[tokio::test]
async fn a_deletion_may_go_without_a_body() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let options = json!({
        "method": "DELETE",
        "url": format!("{}cache/{{id}}", target.url()),
        "path": {"id": {"path": "$.data.id"}},
        "transform": {"template": ""},
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    bus.publish(&event(&json!({"id": 7}))).await;
    let received = &target.receives(1).await[0];
    assert_eq!(
        (received.method.as_str(), received.path.as_str()),
        ("DELETE", "/cache/7")
    );
    assert!(received.body.is_empty());
}

#[tokio::test]
async fn a_batch_has_what_is_the_same_for_all() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let options = json!({
        "mode": "batch", "batch": {"max_events": 2, "max_wait": "5s"}, "method": "PATCH",
        "query": {"a": "b"}, "headers": {"x-a": "b"},
    });
    bus.put_rule("orders", &rule_to(&target, &options)).await;
    for id in ["1", "2"] {
        let mut event = event(&json!({}));
        event["id"] = json!(id);
        bus.publish(&event).await;
    }
    let received = &target.receives(1).await[0];
    assert_eq!(received.method, "PATCH");
    assert_eq!(received.path, "/?a=b");
    assert_eq!(received.header("x-a"), "b");
    assert_eq!(received.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_shape_that_cannot_work_is_refused_when_it_is_put() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    for (options, pointer) in [
        (json!({"method": "GET"}), "/method"),
        (json!({"url": "http://127.0.0.1/{id}"}), "/url"),
        (
            json!({"headers": {"x-a": {"path": "$.a[*]"}}}),
            "/headers/x-a/path",
        ),
    ] {
        let rule = rule_to(&target, &options);
        let answer = bus.put("/v1/buses/default/rules/bad", &rule).await;
        let problem = answer.problem(422);
        assert_eq!(
            problem["errors"][0]["pointer"],
            format!("/targets/0{pointer}")
        );
    }
    let rules = bus.request(Method::GET, "/v1/buses/default/rules").send();
    assert_eq!(rules.await.unwrap().status(), 200);
}
