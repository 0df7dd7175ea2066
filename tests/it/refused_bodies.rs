//! Bodies that are JSON and not what a route wants: each is told its place, and what would be right.

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{TestBus, send};

#[tokio::test]
async fn every_route_tells_the_place_of_what_does_not_fit() {
    let bus = TestBus::start().await;
    let rule = json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "pull": {}}]});
    bus.put_rule("r", &rule).await;
    const RULE: &str = "/v1/buses/default/rules/r";
    const TARGET: &str = "/v1/buses/default/rules/r/targets/t";
    const LETTERS: &str = "/v1/buses/default/dead-letters";
    let check = async |method: Method, path: &str, body: Value, pointer: &str, remedy: &str| {
        let answer = send(bus.request(method, path).json(&body)).await;
        let problem = answer.problem(422);
        let place = &problem["errors"][0];
        assert_eq!(place["pointer"], pointer, "{path} {body}: {problem}");
        let detail = place["detail"].as_str().unwrap();
        assert!(detail.contains(remedy), "{path} {body}: {detail}");
    };
    let many = [
        "/v1/keys",
        "/v1/apply",
        "/v1/patterns/test",
        "/v1/transforms/preview",
        "/v1/buses/default/backtest",
        &format!("{TARGET}/pull"),
        &format!("{TARGET}/ack"),
        &format!("{TARGET}/nack"),
        &format!("{TARGET}/extend"),
        &format!("{LETTERS}/redrive"),
        &format!("{LETTERS}/purge"),
        &format!("{TARGET}/dead-letters/redrive"),
        &format!("{TARGET}/dead-letters/purge"),
    ];
    let puts = ["/v1/log-level", "/v1/secrets/s", "/v1/buses/b", RULE];
    let posts = many.map(|path| (Method::POST, path));
    let puts = puts.map(|path| (Method::PUT, path));
    for (method, path) in posts.into_iter().chain(puts) {
        for body in [json!([]), json!("text"), json!(null), json!(1)] {
            check(method.clone(), path, body, "", "must be").await;
        }
    }
    let post = Method::POST;
    let check_field = async |path: &str, body: Value, pointer: &str, remedy: &str| {
        check(post.clone(), path, body, pointer, remedy).await;
    };
    let apply = json!({"buses": {"a b": {}}});
    check_field("/v1/apply", apply, "/buses/a b", "").await;
    let apply = json!({"buses": {"default": {"rules": []}}});
    check_field("/v1/apply", apply, "/buses/default/rules", "an object").await;
    let apply = json!({"buses": {}, "dry-run": true});
    check_field("/v1/apply", apply, "/dry-run", "`dry_run`").await;
    let test = json!({"event": {}});
    check_field("/v1/patterns/test", test, "", "add it").await;
    let preview = json!({"event": {}, "transform": {}, "bus": "a b"});
    check_field("/v1/transforms/preview", preview, "/bus", "").await;
    let purge = format!("{LETTERS}/purge");
    check_field(&purge, json!({"ids": [1]}), "/ids/0", "a string").await;
    check_field(&purge, json!({"all": "yes"}), "/all", "true or false").await;
    let filter = json!({"filter": {"reson": "refused"}});
    check_field(&purge, filter, "/filter/reson", "`reason`").await;
    check_field(&purge, json!({"to": {"rule": "r"}}), "/to", "`target`").await;
    let ack = format!("{TARGET}/ack");
    check_field(&ack, json!({"tokens": ["a", 1]}), "/tokens/1", "a string").await;
    check_field(&ack, json!({"tokens": "a"}), "/tokens", "an array").await;
    let put = Method::PUT;
    let check_put = async |path: &str, body: Value, pointer: &str, remedy: &str| {
        check(put.clone(), path, body, pointer, remedy).await;
    };
    let level = "/v1/log-level";
    check_put(level, json!({"level": 1}), "/level", "a string").await;
    let secret = "/v1/secrets/s";
    check_put(secret, json!({"value": 1}), "/value", "a string").await;
    check_put(secret, json!({"generate": "rsa"}), "/generate", "\"hmac\"").await;
    check_put(
        secret,
        json!({"generate": "hmac", "keep_old": 1}),
        "/keep_old",
        "`365d`",
    )
    .await;
    check_put(secret, json!({"vlaue": "x"}), "", "\"value\"").await;
}
