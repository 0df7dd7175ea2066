//! `POST /v1/patterns/test`: a pattern on any JSON object.

use reqwest::Method;
use serde_json::json;

use crate::harness::{TestBus, send};

const PATH: &str = "/v1/patterns/test";

#[tokio::test]
async fn a_pattern_is_tried_and_explained() {
    let bus = TestBus::start().await;
    let pattern = json!({"detail": {"total": [{"numeric": [">=", 100]}]}});
    for (total, matches) in [(120, true), (99, false)] {
        let question = json!({"pattern": pattern, "event": {"detail": {"total": total}}});
        let verdict = bus.post(PATH, &question).await.json();
        assert_eq!(verdict["matches"], json!(matches), "{verdict}");
        let field = &verdict["explanation"][0];
        assert_eq!(field["pointer"], "/detail/total", "{verdict}");
        assert_eq!(field["matches"], json!(matches));
    }
}

#[tokio::test]
async fn an_invalid_pattern_is_pointed_at() {
    let bus = TestBus::start().await;
    let question = json!({"pattern": {"a": {"b": "c"}}, "event": {}});
    let problem = bus.post(PATH, &question).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/pattern/a/b", "{problem}");
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let bus = TestBus::start().await;
    for question in [
        json!({"pattern": {"a": [1]}}),
        json!({"pattern": {"a": [1]}, "event": [1]}),
        json!({"pattern": {"a": [1]}, "event": {}, "bus": "default"}),
    ] {
        bus.post(PATH, &question).await.problem(422);
    }
    send(bus.request(Method::POST, PATH).body("{"))
        .await
        .problem(400);
    let deep = "[".repeat(200) + &"]".repeat(200);
    let body = format!(r#"{{"pattern":{{"a":[1]}},"event":{{"a":{deep}}}}}"#);
    send(bus.request(Method::POST, PATH).body(body))
        .await
        .problem(422);
}
