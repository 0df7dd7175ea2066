//! What a request is called: in its answer, and in what the bus says of it.

use reqwest::Method;
use serde_json::json;

use crate::harness::{TestBus, send};

#[tokio::test]
async fn a_request_keeps_the_name_that_its_caller_gave() {
    let bus = TestBus::start().await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for (method, path, status) in [
        (Method::POST, "/", 202),
        (Method::POST, "/v1/buses/none/events", 404),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/nothing/here", 404),
        (Method::PUT, "/healthz", 405),
        (Method::HEAD, "/v1/buses/none", 404),
        (Method::OPTIONS, "/", 200),
    ] {
        let request = bus.request(method.clone(), path);
        let request = request.header("x-request-id", "shop/17");
        let request = request.header("content-type", "application/cloudevents+json");
        let answer = send(request.body(event.to_string())).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("x-request-id"), "shop/17", "{method} {path}");
        if status >= 400 && method != Method::HEAD {
            assert_eq!(answer.problem(status)["request_id"], "shop/17");
        }
    }
}

#[tokio::test]
async fn a_name_that_could_mislead_is_replaced() {
    let bus = TestBus::start().await;
    for given in ["two words", "", &"x".repeat(129), "caf\u{e9}"] {
        let request = bus.request(Method::GET, "/v1/buses/none");
        let answer = send(request.header("x-request-id", given)).await;
        let id = answer.header("x-request-id");
        assert!(id.len() == 32 && id != given, "{given:?}: {id}");
        assert_eq!(answer.problem(404)["request_id"], id);
    }
}
