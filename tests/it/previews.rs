//! A preview is what is sent.

use serde_json::{Value, json};

use super::delivery::rule_to;
use crate::harness::{TestBus, TestTarget};

const PREVIEW: &str = "/v1/transforms/preview";

fn event() -> Value {
    json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created",
        "data": {"id": 7, "tenant": "acme", "note": "ü"}})
}

/// Headers that an attempt or the connection adds.
const ADDED: [&str; 7] = [
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "host",
    "accept",
    "content-length",
    "traceparent",
];

#[tokio::test]
async fn what_is_previewed_is_what_is_sent() {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    let url = target.url();
    let template = json!({"input_paths": {"id": "$.data.id"}, "template": {"order": "<id>", "of": "<eventyard.rule-name>"}});
    let options = [
        json!({}),
        json!({"mode": "structured"}),
        json!({"mode": "batch", "batch": {"max_wait": "0s"}, "query": {"a": "b"}}),
        json!({"transform": template}),
        json!({"mode": "structured", "transform": template}),
        json!({"transform": {"template": "order,<eventyard.target-id>"}, "headers": {"content-type": "text/csv"}}),
        json!({"method": "PUT", "url": format!("{url}o/{{id}}?x=1"), "path": {"id": {"path": "$.data.id"}},
            "query": {"tenant": {"path": "$.data.tenant"}}, "headers": {"x-b": {"path": "$.data.tenant"}, "x-a": "1"}}),
    ];
    for (at, options) in options.iter().enumerate() {
        let name = format!("rule-{at}");
        let rule = rule_to(&target, options);
        let question = json!({"target": rule["targets"][0], "event": event(), "rule": name});
        let preview = bus.post(PREVIEW, &question).await;
        assert_eq!(preview.status, 200, "{}", preview.text());
        let preview = preview.json();
        assert_eq!(preview["sent"], true, "{preview}");

        bus.put_rule(&name, &rule).await;
        let mut event = event();
        event["id"] = json!(at.to_string());
        bus.publish(&event).await;
        let received = target.receives(at + 1).await.pop().unwrap();
        let deleted = bus.delete(&format!("/v1/buses/default/rules/{name}")).await;
        assert!(deleted.status.is_success());

        assert_eq!(preview["method"], received.method);
        let path = preview["url"].as_str().unwrap().replace(&url, "/");
        assert_eq!(path, received.path);
        let body = preview["body"].as_str().unwrap();
        let sent = String::from_utf8(received.body.to_vec()).unwrap();
        let previewed_id = |text: &str| text.replace(&format!(r#""id":"{at}""#), r#""id":"1""#);
        assert_eq!(body, previewed_id(&sent));
        assert_eq!(preview["content_type"], received.header("content-type"));
        let mut headers: Vec<(String, String)> = received
            .headers
            .iter()
            .filter(|(name, _)| !ADDED.contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .map(|(name, value)| match name.as_str() {
                "ce-id" => (name, "1".to_owned()),
                _ => (name, value),
            })
            .collect();
        headers.sort();
        let shown = preview["headers"].as_object().unwrap().iter();
        let shown: Vec<(String, String)> = shown
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(shown, headers, "{options}");
    }
}

#[tokio::test]
async fn a_transform_alone_is_previewed() {
    let bus = TestBus::start().await;
    let question = json!({"transform": {"input_path": "$.data.id"}, "event": event()});
    let preview = bus.post(PREVIEW, &question).await.json();
    assert_eq!(preview["body"], "7");
    assert_eq!(preview["content_type"], "application/json");
    let question = json!({"transform": {"input_path": "$.data.no"}, "event": event()});
    let preview = bus.post(PREVIEW, &question).await;
    assert_eq!(preview.status, 200);
    let preview = preview.json();
    assert_eq!(preview["sent"], false);
    assert_eq!(preview["reason"], "not_transformed");
    let error = preview["error"].as_str().unwrap();
    assert!(error.contains("`$.data.no` selects nothing"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_previewed_is_refused_with_its_place() {
    let bus = TestBus::start().await;
    let transform = json!({"input_path": "$.data"});
    let target = json!({"id": "t", "url": "http://h/"});
    let no_type = json!({"specversion": "1.0", "id": "1", "source": "/s"});
    for (question, pointer) in [
        (
            json!({"transform": {"input_path": "data"}, "event": event()}),
            "/transform/input_path",
        ),
        (
            json!({"target": {"id": "t", "url": "http://h/", "timout": 1}, "event": event()}),
            "/target/timout",
        ),
        (
            json!({"target": {"id": "t", "url": "http://h/{a}"}, "event": event()}),
            "/target/url",
        ),
        (
            json!({"target": target, "transform": transform, "event": event()}),
            "",
        ),
        (json!({"event": event()}), ""),
        (
            json!({"transform": transform, "event": no_type}),
            "/event/type",
        ),
        (json!({"transform": transform, "event": 1}), "/event"),
    ] {
        let answer = bus.post(PREVIEW, &question).await;
        let problem = answer.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[tokio::test]
async fn credentials_are_previewed_without_their_values() {
    let bus = TestBus::start().await;
    let value = json!({"value": "hunter2"});
    let set = bus.put("/v1/secrets/known", &value).await;
    assert!(set.status.is_success());
    let secret = json!({"secret": "known"});
    let of = |place: &str| json!({"api_key": {"in": place, "name": "x-key", "value": secret}});
    let basic = json!({"basic": {"username": "shop", "password": secret}});
    let oauth2 = json!({"oauth2": {"token_url": "https://login.test/t", "client_id": "shop",
        "client_secret": secret}});
    let url = "http://h/?a=1";
    for (auth, header, wanted, shown_url) in [
        (basic, "authorization", "Basic <secret>", url),
        (
            json!({"bearer": secret}),
            "authorization",
            "Bearer <secret>",
            url,
        ),
        (oauth2, "authorization", "Bearer <secret>", url),
        (of("header"), "x-key", "<secret>", url),
        (of("query"), "x-key", "", "http://h/?a=1&x-key=<secret>"),
    ] {
        let target = json!({"id": "t", "url": url, "auth": auth});
        let preview = bus
            .post(PREVIEW, &json!({"target": target, "event": event()}))
            .await;
        assert!(!preview.text().contains("hunter2"));
        let preview = preview.json();
        assert_eq!(
            preview["headers"][header].as_str().unwrap_or_default(),
            wanted
        );
        assert_eq!(preview["url"], shown_url);
    }
}
