//! Browsing: newest first, behind a cursor, by filter, one by its sequence.

use serde_json::{Value, json};

use crate::harness::TestBus;

fn event(number: usize) -> Value {
    let kind = if number.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    json!({"specversion": "1.0", "id": number.to_string(), "source": "/n", "type": kind, "data": {"n": number}})
}

async fn with_events(count: usize) -> (TestBus, Vec<u64>) {
    let bus = TestBus::start().await;
    let mut sequences = Vec::new();
    for number in 0..count {
        sequences.push(bus.publish(&event(number)).await);
    }
    (bus, sequences)
}

fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["event"]["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest() {
    let (bus, _) = with_events(5).await;
    let first = bus.get("/v1/buses/default/events?limit=2").await.json();
    assert_eq!(ids(&first), ["4", "3"]);
    let next = first["next"].as_str().unwrap();
    let second = bus
        .get(&format!("/v1/buses/default/events?limit=2&after={next}"))
        .await
        .json();
    assert_eq!(ids(&second), ["2", "1"]);
    let next = second["next"].as_str().unwrap();
    let last = bus
        .get(&format!("/v1/buses/default/events?limit=2&after={next}"))
        .await
        .json();
    assert_eq!(ids(&last), ["0"]);
    assert!(last.get("next").is_none());
}

#[tokio::test]
async fn a_sequence_is_a_cursor_that_goes_upwards() {
    let (bus, sequences) = with_events(4).await;
    let path = format!("/v1/buses/default/events?limit=2&after={}", sequences[0]);
    let page = bus.get(&path).await.json();
    assert_eq!(ids(&page), ["1", "2"]);
    let next = page["next"].as_str().unwrap();
    let page = bus
        .get(&format!("/v1/buses/default/events?after={next}"))
        .await
        .json();
    assert_eq!(ids(&page), ["3"]);
}

#[tokio::test]
async fn filters_hold_together() {
    let (bus, _) = with_events(4).await;
    let page = bus.get("/v1/buses/default/events?type=odd").await.json();
    assert_eq!(ids(&page), ["3", "1"]);
    let page = bus
        .get("/v1/buses/default/events?type=odd&source=%2Fn&id=1")
        .await
        .json();
    assert_eq!(ids(&page), ["1"]);
    let page = bus
        .get("/v1/buses/default/events?until=2001-01-01T00:00:00Z")
        .await
        .json();
    assert_eq!(ids(&page), [""; 0]);
    let page = bus
        .get("/v1/buses/default/events?since=2001-01-01T00:00:00Z")
        .await
        .json();
    assert_eq!(ids(&page).len(), 4);
}

#[tokio::test]
async fn one_event_has_its_place_in_the_log() {
    let (bus, sequences) = with_events(1).await;
    let shown = bus
        .get(&format!("/v1/buses/default/events/{}", sequences[0]))
        .await
        .json();
    assert_eq!(shown["sequence"], json!(sequences[0]));
    assert_eq!(shown["bus"], "default");
    assert_eq!(shown["event"]["data"], json!({"n": 0}));
    assert!(shown["time"].as_str().unwrap().ends_with('Z'));
    bus.get("/v1/buses/default/events/999999")
        .await
        .problem(404);
    bus.get("/v1/buses/default/events/first").await.problem(400);
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused() {
    let (bus, _) = with_events(0).await;
    for query in [
        "limt=1",
        "limit=0",
        "limit=100000",
        "since=yesterday",
        "after=x",
    ] {
        bus.get(&format!("/v1/buses/default/events?{query}"))
            .await
            .problem(400);
    }
    let problem = bus
        .get("/v1/buses/default/events?limt=1")
        .await
        .problem(400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("The query is wrong: limt: unknown field"),
        "{detail}"
    );
    bus.get("/v1/buses/nope/events").await.problem(404);
}
