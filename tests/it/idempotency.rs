//! Requests that are sent again with their `Idempotency-Key`: done once, answered the same.

use std::collections::BTreeSet;
use std::time::Duration;

use eventyard::client::Client;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Reply, TestBus, TestTarget, send};

const EVENTS: &str = "/v1/buses/plain/events";

/// A bus that looks for no duplicates: what is done twice shows.
async fn plain(bus: &TestBus) {
    let document = json!({"dedup_window": "0s"});
    assert_eq!(bus.put("/v1/buses/plain", &document).await.status, 201);
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t"})
}

async fn publish(bus: &TestBus, key: &str, events: &Value) -> Answer {
    let request = bus
        .request(Method::POST, EVENTS)
        .header("idempotency-key", key)
        .header("content-type", "application/cloudevents-batch+json");
    send(request.body(events.to_string())).await
}

async fn ids(bus: &TestBus) -> Vec<String> {
    let events = bus.get(&format!("{EVENTS}?after=0")).await.json();
    let events = events["events"].as_array().unwrap().iter();
    events
        .map(|one| one["event"]["id"].as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn check_replayed(first: &Answer, again: &Answer) {
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(first.header("location"), again.header("location"));
}

#[tokio::test]
async fn a_publish_is_done_once_over_restarts_too() {
    let bus = TestBus::start().await;
    plain(&bus).await;
    let batch = json!([event("1"), event("2"), event("1")]);
    let first = publish(&bus, "\"k\"", &batch).await;
    assert_eq!(first.status, 202, "{}", first.text());
    check_replayed(&first, &publish(&bus, "\"k\"", &batch).await);
    check_replayed(&first, &publish(&bus, "k", &batch).await);
    // However it is written: the events are the same.
    let spaced = serde_json::to_string_pretty(&batch).unwrap();
    let request = bus
        .request(Method::POST, EVENTS)
        .header("idempotency-key", "k")
        .header("content-type", "application/cloudevents-batch+json");
    check_replayed(&first, &send(request.body(spaced)).await);
    let other = publish(&bus, "k", &json!([event("1")])).await;
    other.problem(422);
    // Another bus is another place, and another key another request.
    let elsewhere = bus
        .request(Method::POST, "/")
        .header("idempotency-key", "k");
    let elsewhere = elsewhere.header("content-type", "application/cloudevents+json");
    let elsewhere = send(elsewhere.body(event("1").to_string())).await;
    assert_eq!(elsewhere.header("idempotency-replayed"), "");
    assert_eq!(elsewhere.status, 202);
    publish(&bus, "other", &json!([event("3")])).await;
    assert_eq!(ids(&bus).await, ["1", "2", "1", "3"]);

    let bus = TestBus::builder().data(bus.drain().await).start().await;
    check_replayed(&first, &publish(&bus, "k", &batch).await);
    publish(&bus, "k", &json!([event("1")])).await.problem(422);
    assert_eq!(ids(&bus).await, ["1", "2", "1", "3"]);
}

#[tokio::test]
async fn duplicates_are_answered_as_they_were() {
    let bus = TestBus::start().await;
    bus.put("/v1/buses/plain", &json!({"dedup_window": "1h"}))
        .await;
    publish(&bus, "one", &json!([event("1")])).await;
    let batch = json!([event("1"), event("2"), event("2")]);
    let first = publish(&bus, "two", &batch).await;
    let shown = first.json();
    assert_eq!(shown["accepted"][0]["duplicate"], true);
    assert!(shown["accepted"][1].get("duplicate").is_none());
    assert_eq!(shown["accepted"][2]["duplicate"], true);
    check_replayed(&first, &publish(&bus, "two", &batch).await);
}

#[tokio::test]
async fn what_was_refused_may_be_sent_again() {
    let bus = TestBus::start().await;
    let batch = json!([event("1")]);
    publish(&bus, "k", &batch).await.problem(404);
    plain(&bus).await;
    let answer = publish(&bus, "k", &batch).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("idempotency-replayed"), "");
    for bad in ["\"\"", "\"a", "a b", "a, b"] {
        let problem = publish(&bus, bad, &batch).await.problem(400);
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("Idempotency-Key")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_done() {
    let bus = TestBus::start().await;
    plain(&bus).await;
    for round in 0..20 {
        let key = format!("k{round}");
        let batch = json!([event(&key)]);
        let answers = (0..8).map(|_| publish(&bus, &key, &batch));
        let answers = futures_util::future::join_all(answers).await;
        let mut bodies = BTreeSet::new();
        let mut first = 0;
        for answer in answers {
            match answer.status.as_u16() {
                202 => {
                    first += usize::from(answer.header("idempotency-replayed").is_empty());
                    bodies.insert(answer.body);
                }
                409 => {
                    answer.problem(409);
                    assert_eq!(answer.header("retry-after"), "1");
                }
                other => panic!("{other}: {}", answer.text()),
            }
        }
        assert_eq!((first, bodies.len()), (1, 1), "{key}");
    }
    assert_eq!(ids(&bus).await.len(), 20);
}

#[tokio::test]
async fn what_is_created_is_created_once() {
    let bus = TestBus::start().await;
    let post = async |path: &str, key: &str, body: &Value| {
        let request = bus.request(Method::POST, path);
        send(request.header("idempotency-key", key).json(body)).await
    };
    let key = json!({"name": "shop", "grants": [{"scope": "read"}]});
    let first = post("/v1/keys", "k", &key).await;
    assert_eq!(first.status, 201);
    let again = post("/v1/keys", "k", &key).await;
    check_replayed(&first, &again);
    assert_eq!(again.header("cache-control"), "no-store");
    let mut other = key.clone();
    other["name"] = "another".into();
    post("/v1/keys", "k", &other).await.problem(422);
    // It came to nothing, so that the key is free.
    post("/v1/keys", "bad", &json!({"name": ""}))
        .await
        .problem(422);
    assert_eq!(post("/v1/keys", "bad", &other).await.status, 201);
    let keys = bus.get("/v1/keys").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let redrive = json!({"all": true, "rate": "1/s"});
    let path = "/v1/buses/default/dead-letters/redrive";
    let first = post(path, "k", &redrive).await;
    assert_eq!(first.status, 202);
    check_replayed(&first, &post(path, "k", &redrive).await);
    let redrives = bus.get("/v1/buses/default/dead-letters/redrives").await;
    assert_eq!(redrives.json()["redrives"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_retries_sends_the_same_key() {
    let accepted = r#"{"accepted": [{"id": "1", "source": "/s", "sequence": 7}]}"#;
    let failing = TestTarget::replying([
        Reply::from(503).header("retry-after", "0"),
        Reply::from(502),
        Reply::from(202).body(accepted),
    ]);
    let client = Client::new(&failing.url()).unwrap();
    let client = client.retrying(2, Duration::from_millis(1));
    let taken = client.publish_json("default", event("1").to_string()).await;
    assert_eq!(taken.unwrap()[0].sequence, 7);
    let another = client.publish_json("default", event("2").to_string()).await;
    another.unwrap();
    let keys: Vec<String> = failing
        .received()
        .iter()
        .map(|one| one.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(keys.len(), 4);
    assert!(keys[0].starts_with('"') && keys[0].len() == 34, "{keys:?}");
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3]);
    // What a retry does not mend is not tried again.
    failing.now_replying([400]);
    client.publish_json("default", "{}").await.unwrap_err();
    assert_eq!(failing.received().len(), 5);
}
