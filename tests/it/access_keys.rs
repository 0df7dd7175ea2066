//! API keys: made, listed, bounded in rate and time, revoked; and no key shows anywhere.

use axum::http::Method;
use eventyard::access::Mode;
use serde_json::{Value, json};

use super::access::{ROOT, ask, check_unauthorized, clock, key_with, keyed, make};
use crate::harness::{Answer, TestBus, send};

#[tokio::test]
async fn keys_are_listed_paged_and_revoked_over_restarts_and_never_shown_again() {
    let clock = clock();
    let bus = keyed(clock.clone()).await;
    let (first, first_key) =
        make(&bus, &json!({"name": "one", "grants": [{"scope": "read"}]})).await;
    let (second, second_key) =
        make(&bus, &json!({"name": "two", "grants": [{"scope": "read"}]})).await;
    let path = "/v1/buses/a";
    assert_eq!(
        ask(&bus, Method::GET, path, Some(&first_key)).await.status,
        200
    );
    let mut prefixes = [first.clone(), second.clone()];
    prefixes.sort();
    let page = ask(&bus, Method::GET, "/v1/keys?limit=1", Some(ROOT))
        .await
        .json();
    assert_eq!(page["keys"][0]["prefix"], prefixes[0]);
    let next = format!("/v1/keys?limit=1&after={}", page["next"].as_str().unwrap());
    let page = ask(&bus, Method::GET, &next, Some(ROOT)).await.json();
    assert_eq!(page["keys"][0]["prefix"], prefixes[1]);
    assert!(page["next"].is_null());

    let one = format!("/v1/keys/{first}");
    let shown = ask(&bus, Method::GET, &one, Some(ROOT)).await;
    assert_eq!(shown.json()["name"], "one");
    assert_eq!(shown.json()["state"], "active");
    assert_eq!(shown.json()["last_used"], clock.now().to_string());
    assert!(shown.json()["key"].is_null());
    assert!(!shown.text().contains(&first_key[17..]));
    for _ in 0..2 {
        assert_eq!(
            ask(&bus, Method::DELETE, &one, Some(ROOT)).await.status,
            204
        );
    }
    check_unauthorized(
        &ask(&bus, Method::GET, path, Some(&first_key)).await,
        "invalid_token",
        "revoked",
    );
    let shown = ask(&bus, Method::GET, &one, Some(ROOT)).await.json();
    assert_eq!(shown["state"], "revoked");

    let data = bus.drain().await;
    let bus = TestBus::builder()
        .data(data)
        .clock(clock.clone())
        .config(|config| config.access.mode = Mode::Keys)
        .start()
        .await;
    check_unauthorized(
        &ask(&bus, Method::GET, path, Some(&first_key)).await,
        "invalid_token",
        "revoked",
    );
    assert_eq!(
        ask(&bus, Method::GET, path, Some(&second_key)).await.status,
        200
    );
    check_unauthorized(
        &ask(&bus, Method::GET, path, Some(ROOT)).await,
        "invalid_token",
        "no root key now",
    );
}

#[tokio::test]
async fn a_key_that_means_nothing_is_refused_with_its_place() {
    let bus = keyed(clock()).await;
    let check = async |body: Value, pointer: &str| {
        let request = bus.request(Method::POST, "/v1/keys").bearer_auth(ROOT);
        let answer = send(request.json(&body)).await;
        let problem = answer.problem(422);
        let found = problem["errors"][0]["pointer"].as_str().unwrap_or("none");
        assert_eq!(found, pointer, "{body}: {problem}");
    };
    check(json!({"name": "a", "grants": []}), "/grants").await;
    check(
        json!({"name": "a", "grants": [{"scope": "read", "buses": []}]}),
        "/grants/0/buses",
    )
    .await;
    let pattern = json!([{"scope": "read"}, {"scope": "publish", "pattern": {"type": "x"}}]);
    check(
        json!({"name": "a", "grants": pattern}),
        "/grants/1/pattern/type",
    )
    .await;
    let forever = json!({"name": "a", "grants": [{"scope": "read"}], "expires_in": "4000d"});
    check(forever, "/expires_in").await;
    let fast = json!({"name": "a", "grants": [{"scope": "read"}], "rate_limit": "fast"});
    check(fast, "/rate_limit").await;
    for bound in ["expires_in", "rate_limit"] {
        let mut unbound = json!({"name": "a", "grants": [{"scope": "read"}]});
        unbound[bound] = Value::Null;
        check(unbound, &format!("/{bound}")).await;
    }
    check(
        json!({"name": "a b", "grants": [{"scope": "read"}]}),
        "/name",
    )
    .await;
    check(
        json!({"name": "a", "grants": [{"scope": "all"}]}),
        "/grants/0/scope",
    )
    .await;
    check(
        json!({"name": "a", "grants": [{"scope": "read", "buses": ["a b"]}]}),
        "/grants/0/buses/0",
    )
    .await;
    check(json!({"name": "a", "grnats": []}), "/grnats").await;
    check(json!({"grants": []}), "").await;
    check(json!(["a", [{"scope": "read"}]]), "").await;
    let empty = json!([{"scope": "publish", "buses": ["a"], "pattern": null}]);
    check(json!({"name": "a", "grants": empty}), "/grants/0/pattern").await;
    let list = ask(&bus, Method::GET, "/v1/keys", Some(ROOT)).await.json();
    assert_eq!(list["keys"], json!([]));

    // All that is wrong is told at once.
    let grants = json!([{"scope": "read", "buses": []}, {"scope": "read"}, {"scope": "read", "targets": []}]);
    let body = json!({"name": "", "grants": grants, "expires_in": "1", "rate_limit": "1"});
    let request = bus.request(Method::POST, "/v1/keys").bearer_auth(ROOT);
    let problem = send(request.json(&body)).await.problem(422);
    let places = problem["errors"].as_array().unwrap().iter();
    let places: Vec<&str> = places
        .map(|place| place["pointer"].as_str().unwrap())
        .collect();
    let expected = [
        "/name",
        "/grants/0/buses",
        "/grants/2/targets",
        "/expires_in",
        "/rate_limit",
    ];
    assert_eq!(places, expected, "{problem}");
}

#[tokio::test]
async fn a_key_that_is_used_too_fast_is_told_when_to_come_back() {
    let bus = keyed(clock()).await;
    let slow = json!({"name": "slow", "grants": [{"scope": "publish"}, {"scope": "read"}], "rate_limit": "1/h"});
    let publish = async |key: &str, events: usize| {
        let event = |id| json!({"specversion": "1.0", "id": format!("{key}{id}"), "source": "/s", "type": "x"});
        let events: Vec<_> = (0..events).map(event).collect();
        let request = bus
            .request(Method::POST, "/v1/buses/a/events")
            .header("content-type", "application/cloudevents-batch+json")
            .bearer_auth(key)
            .body(json!(events).to_string());
        send(request).await
    };
    let wait = |answer: &Answer| {
        let problem = answer.problem(429);
        let detail = problem["detail"].as_str().unwrap();
        let wait = answer.header("retry-after");
        let tells = detail.contains("`slow`") && detail.contains("1/h") && detail.contains(wait);
        assert!(tells, "{detail}");
        wait.parse::<u64>().unwrap()
    };
    // The less, the longer the test took.
    let (one, three) = (make(&bus, &slow).await, make(&bus, &slow).await);
    assert_eq!(publish(&one.1, 1).await.status, 202);
    let told = wait(&publish(&one.1, 1).await);
    assert!((3000..=3599).contains(&told), "{told}");
    assert_eq!(publish(&three.1, 3).await.status, 202);
    let told = wait(&publish(&three.1, 1).await);
    assert!((10_000..=10_799).contains(&told), "{told}");
    // All calls count, and other keys do not.
    wait(&ask(&bus, Method::GET, "/v1/buses/a", Some(&one.1)).await);
    assert_eq!(
        ask(&bus, Method::GET, "/healthz", Some(&one.1))
            .await
            .status,
        200
    );
    assert_eq!(
        publish(&key_with(&bus, json!([{"scope": "publish"}])).await, 1)
            .await
            .status,
        202
    );
    let shown = ask(
        &bus,
        Method::GET,
        &format!("/v1/keys/{}", one.0),
        Some(ROOT),
    )
    .await;
    assert_eq!(shown.json()["rate_limit"], "1/h");
    let metrics = ask(&bus, Method::GET, "/metrics", Some(ROOT)).await.text();
    assert!(metrics.contains("eventyard_publish_refused_total{class=\"too_fast\"} 2"));
}

#[tokio::test]
async fn a_tail_is_one_call_of_its_key_s_rate() {
    let bus = keyed(clock()).await;
    let grants = json!([{"scope": "read", "buses": ["a"]}]);
    let slow = json!({"name": "reader", "grants": grants, "rate_limit": "1/h"});
    let (_, key) = make(&bus, &slow).await;
    let request = bus.request(Method::GET, "/v1/buses/a/tail");
    let mut answer = request.bearer_auth(&key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let again = ask(&bus, Method::GET, "/v1/buses/a", Some(&key)).await;
    again.problem(429);
    let mut read = String::new();
    for id in ["first", "second", "third"] {
        let event = json!({"specversion": "1.0", "id": id, "source": "/s", "type": "x"});
        let request = bus.request(Method::POST, "/v1/buses/a/events");
        let request = request.header("content-type", "application/cloudevents+json");
        let published = send(request.bearer_auth(ROOT).body(event.to_string())).await;
        assert_eq!(published.status, 202);
        while !read.contains(id) {
            let part = tokio::time::timeout(crate::harness::PATIENCE, answer.chunk()).await;
            let part = part.expect("the event comes").unwrap();
            read += &String::from_utf8_lossy(&part.expect("it goes on"));
        }
    }
}

#[tokio::test]
async fn a_tail_ends_when_its_key_is_revoked() {
    let bus = keyed(clock()).await;
    let grants = json!([{"scope": "read", "buses": ["a"]}]);
    let (id, key) = make(&bus, &json!({"name": "reader", "grants": grants})).await;
    let request = bus
        .request(Method::GET, "/v1/buses/a/tail")
        .bearer_auth(&key);
    let mut answer = request.send().await.unwrap();
    assert!(
        answer.chunk().await.unwrap().is_some(),
        "it says where it begins"
    );
    let revoked = ask(&bus, Method::DELETE, &format!("/v1/keys/{id}"), Some(ROOT)).await;
    assert_eq!(revoked.status, 204);
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "secret.of.a"});
    let request = bus
        .request(Method::POST, "/v1/buses/a/events")
        .bearer_auth(ROOT);
    let request = request.header("content-type", "application/cloudevents+json");
    let published = request.body(event.to_string()).send().await.unwrap();
    assert_eq!(published.status(), 202);
    let rest = tokio::time::timeout(crate::harness::PATIENCE, answer.chunk()).await;
    assert_eq!(rest.expect("it ends at once").unwrap(), None);
}
