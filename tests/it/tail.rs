//! Following a bus: what comes, what does not, and how a reader goes on where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventyard::client::{Client, ClientError, Tail, TailMessage, TailOptions};
use eventyard::event::Event;
use eventyard::limits;
use eventyard::log::{BusName, Retention};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, TestBus, eventually};

fn event(id: &str, kind: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": kind, "data": {"n": id}})
}

fn follow(bus: &TestBus, pattern: Option<&str>, after: Option<u64>) -> Tail {
    let client = Client::new(&bus.url("")).unwrap();
    let pattern = pattern.map(str::to_owned);
    client.tail("default", TailOptions { pattern, after })
}

async fn next(tail: &mut Tail) -> Result<TailMessage, ClientError> {
    let next = tokio::time::timeout(PATIENCE, tail.next()).await;
    next.expect("the bus says something every 15 s")
}

/// The next event; its sequence, and itself with its place.
async fn next_event(tail: &mut Tail) -> (u64, Value) {
    loop {
        if let TailMessage::Event { sequence, shown } = next(tail).await.unwrap() {
            return (sequence, serde_json::from_str(shown.get()).unwrap());
        }
    }
}

/// Waits until the bus has said where it begins.
async fn begun(tail: &mut Tail) -> u64 {
    match next(tail).await.unwrap() {
        TailMessage::Position(sequence) => sequence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn events_come_as_they_are_published_and_only_those_asked_for() {
    let bus = TestBus::start().await;
    bus.publish(&event("before", "order.created")).await;
    let pattern = r#"{"type": [{"prefix": "order."}]}"#;
    let mut tail = follow(&bus, Some(pattern), None);
    begun(&mut tail).await;
    for (id, kind) in [
        ("1", "order.created"),
        ("2", "invoice.ready"),
        ("3", "order.paid"),
    ] {
        bus.publish(&event(id, kind)).await;
    }
    for id in ["1", "3"] {
        let (sequence, shown) = next_event(&mut tail).await;
        assert_eq!(shown["event"]["id"], id);
        assert_eq!(shown["sequence"], sequence);
        assert_eq!(shown["bus"], "default");
        assert_eq!(shown["event"]["data"], json!({"n": id}));
    }
}

#[tokio::test]
async fn a_bus_sees_its_own_events_only_and_not_those_of_one_of_its_name_before() {
    let bus = TestBus::start().await;
    bus.put("/v1/buses/other", &json!({})).await;
    let send = async |id: &str| {
        let request = bus.request(Method::POST, "/v1/buses/other/events");
        let body = event(id, "t").to_string();
        let request = request.header("content-type", "application/cloudevents+json");
        request.body(body).send().await.unwrap();
    };
    send("old").await;
    bus.delete("/v1/buses/other").await;
    bus.put("/v1/buses/other", &json!({})).await;
    bus.publish(&event("elsewhere", "t")).await;
    send("new").await;
    let client = Client::new(&bus.url("")).unwrap();
    let options = TailOptions {
        after: Some(0),
        ..TailOptions::default()
    };
    let mut tail = client.tail("other", options);
    let (_, shown) = next_event(&mut tail).await;
    assert_eq!(shown["event"]["id"], "new");
}

#[tokio::test]
async fn line_ends_in_data_do_not_break_the_stream() {
    let bus = TestBus::start().await;
    let body = "{\r\n  \"a\": [1,\n\n 2],\r\"b\": \"x\\ny\"}\n";
    let request = bus.request(Method::POST, "/");
    let request = request
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/s")
        .header("ce-type", "t")
        .header("content-type", "application/json");
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let (_, shown) = next_event(&mut follow(&bus, None, Some(0))).await;
    assert_eq!(shown["event"]["data"], json!({"a": [1, 2], "b": "x\ny"}));
}

#[tokio::test]
async fn a_reader_goes_on_behind_its_last_event_over_a_restart() {
    let bus = TestBus::start().await;
    let addr = bus.addr();
    let mut tail = follow(&bus, None, None);
    begun(&mut tail).await;
    bus.publish(&event("1", "t")).await;
    assert_eq!(next_event(&mut tail).await.1["event"]["id"], "1");
    // A reader does not hold the bus up.
    let data = tokio::time::timeout(Duration::from_secs(8), bus.drain()).await;
    let data = data.expect("the tail ends as soon as the bus drains");
    let gone = next(&mut tail).await.unwrap_err();
    assert!(matches!(gone, ClientError::Unreachable { .. }), "{gone}");
    let again = TestBus::builder()
        .data(data)
        .config(move |config| config.api.listen = addr);
    let bus = again.start().await;
    bus.publish(&event("2", "t")).await;
    bus.publish(&event("3", "t")).await;
    for id in ["2", "3"] {
        assert_eq!(next_event(&mut tail).await.1["event"]["id"], id);
    }
}

#[tokio::test]
async fn the_header_of_a_client_that_goes_on_wins_over_its_address() {
    let bus = TestBus::start().await;
    let mut sequences = Vec::new();
    for id in ["1", "2", "3"] {
        sequences.push(bus.publish(&event(id, "t")).await);
    }
    let request = bus.request(Method::GET, "/v1/buses/default/tail?after=0");
    let request = request.header("last-event-id", sequences[1].to_string());
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let mut text = String::new();
    while !text.contains("data: {\"sequence\":")
        || !text.ends_with("\n\n")
        || !text.contains("/shop")
    {
        let part = tokio::time::timeout(PATIENCE, answer.chunk())
            .await
            .unwrap();
        text += std::str::from_utf8(&part.unwrap().unwrap()).unwrap();
    }
    assert!(
        text.starts_with(&format!("id: {}\nevent: position\n", sequences[1])),
        "{text}"
    );
    assert!(
        text.contains(&format!("\nid: {}\ndata: {{", sequences[2])),
        "{text}"
    );
    assert_eq!(text.matches("/shop").count(), 1, "{text}");
}

#[tokio::test]
async fn what_is_gone_is_said() {
    let bus = TestBus::builder()
        .config(|config| config.log.segment_bytes = 64 << 10)
        .start()
        .await;
    let first = bus.publish(&event("first", "t")).await;
    // Less than an operator may say, so that little is enough.
    let retention = Retention {
        max_age: Duration::from_secs(1_000),
        max_bytes: 64 << 10,
    };
    let name = BusName::new("default").unwrap();
    bus.running().log().set_retention(&name, retention);
    let large = "x".repeat(20_000);
    eventually("the first event is trimmed", async || {
        bus.publish(
            &json!({"specversion": "1.0", "id": fastrand::u64(..).to_string(),
            "source": "/s", "type": "large", "data": large}),
        )
        .await;
        let log = bus.running().log().clone();
        tokio::task::spawn_blocking(move || log.trim())
            .await
            .unwrap()
            .unwrap();
        let kept = bus.running().log().first_sequence().unwrap();
        (kept > first + 2).then_some(())
    })
    .await;
    // What is in memory still can be read.
    let bus = TestBus::builder().data(bus.drain().await).start().await;
    let mut tail = follow(&bus, None, Some(first));
    assert_eq!(begun(&mut tail).await, first);
    match next(&mut tail).await.unwrap() {
        TailMessage::Gap { after, through } => {
            assert_eq!(after, first);
            assert!(through > first);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(next_event(&mut tail).await.1["event"]["type"], "large");
}

#[tokio::test]
async fn an_event_that_cannot_be_shown_ends_the_answer_behind_those_before_it() {
    let bus = TestBus::start().await;
    bus.publish(&event("1", "t")).await;
    let name = BusName::new("default").unwrap();
    let whole = Event::builder("2", "/shop", "t")
        .json(r#"{"n": "2"}"#)
        .build();
    let mut stored = whole.unwrap().stored().to_vec();
    *stored.last_mut().unwrap() = b'?';
    let broken = Event::from_stored(stored.into()).unwrap();
    let log = bus.running().log();
    log.append(&name, vec![broken], Duration::ZERO)
        .await
        .unwrap();
    bus.publish(&event("3", "t")).await;
    let mut tail = follow(&bus, None, Some(0));
    let (first, shown) = next_event(&mut tail).await;
    assert_eq!(shown["event"]["id"], "1");
    // It says so each time: nobody gets beyond what is missing.
    for _ in 0..2 {
        let ended = loop {
            match next(&mut tail).await {
                Ok(TailMessage::Position(_)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(ended) => break ended,
            }
        };
        assert!(
            matches!(ended, ClientError::Unreachable { .. }),
            "{ended:?}"
        );
        assert_eq!(tail.position(), Some(first));
    }
}

/// One thread for all: who does not yield is the only one that runs.
#[tokio::test(flavor = "current_thread")]
async fn a_tail_that_wants_nothing_of_a_long_log_leaves_time_to_others() {
    const BATCHES: usize = 60;
    let bus = TestBus::start().await;
    let before = bus.publish(&event("before", "t")).await;
    for batch in 0..BATCHES {
        let events: Vec<Value> = (0..limits::BATCH_EVENTS)
            .map(|n| json!({"specversion": "1.0", "id": format!("{batch}-{n}"), "source": "/s", "type": "t"}))
            .collect();
        let client = Client::new(&bus.url("")).unwrap();
        let body = Value::Array(events).to_string();
        client.publish_json("default", body).await.unwrap();
    }
    bus.publish(&event("wanted", "wanted")).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let others = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let mut tail = follow(&bus, Some(r#"{"type": ["wanted"]}"#), Some(before));
    assert_eq!(next_event(&mut tail).await.1["event"]["id"], "wanted");
    others.abort();
    let pages = BATCHES * limits::BATCH_EVENTS / limits::ROUTER_READ;
    let turns = turns.load(Ordering::Relaxed);
    // A turn of the runtime may hold two pages; without yielding all of them are one.
    assert!(
        turns > pages / 4,
        "{turns} turns for others in {pages} pages"
    );
}

#[tokio::test]
async fn a_cursor_of_another_log_begins_with_what_comes() {
    let bus = TestBus::start().await;
    let newest = bus.publish(&event("1", "t")).await;
    let mut tail = follow(&bus, None, Some(1 << 60));
    assert!(begun(&mut tail).await < newest + 1_000);
    bus.publish(&event("2", "t")).await;
    assert_eq!(next_event(&mut tail).await.1["event"]["id"], "2");
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_with_the_reason() {
    let bus = TestBus::start().await;
    let place = "/v1/buses/default/tail";
    let problem = bus
        .get(&format!("{place}?pattern=%7B%22type%22:%22t%22%7D"))
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/pattern/type");
    for after in ["x", "-1", ""] {
        let problem = bus
            .get(&format!("{place}?after={after}"))
            .await
            .problem(400);
        assert!(problem["detail"].as_str().unwrap().contains("after"));
    }
    bus.get(&format!("{place}?patern=1")).await.problem(400);
    bus.get("/v1/buses/none/tail").await.problem(404);
}
