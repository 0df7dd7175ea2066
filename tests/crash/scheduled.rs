//! Scheduled events and rules on a schedule around kills: nothing is lost, nothing comes too early,
//! and a moment has one event however often the bus died while it passed.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use eventyard::clock::{Clock, Timestamp};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};
use super::setting;

const LIVES: u64 = 6;
/// Scheduled events that each life publishes, and how far ahead they are at most.
const EVENTS: usize = 120;
const AHEAD: Duration = Duration::from_millis(2_500);
/// What came so long before a kill is known to be delivered.
const SETTLED_MS: u64 = 500;

/// When each event of a source came, by the wall clock, in milliseconds.
type Arrivals = Arc<Mutex<BTreeMap<(String, String), Vec<u64>>>>;

fn now() -> u64 {
    Clock::system().now().as_millis()
}

async fn receive(State(arrivals): State<Arrivals>, headers: HeaderMap) -> StatusCode {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let event = (text("ce-source"), text("ce-id"));
    arrivals.lock().entry(event).or_default().push(now());
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_scheduled_outlives_kills_and_keeps_its_time() {
    let seed = setting("EVENTYARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let place = Place::within(folder.path());
    let arrivals = Arrivals::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = listener.local_addr().unwrap();
    let routes = axum::Router::new()
        .fallback(receive)
        .with_state(Arc::clone(&arrivals));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let target = json!({"id": "t", "url": format!("http://{receiver}/")});
    let later = json!({"pattern": {"source": ["/later"]}, "targets": [target]});
    let ticks = json!({"schedule": {"rate": "1 second"}, "targets": [target]});
    place.put("later", &later.to_string()).unwrap();
    place.put("ticks", &ticks.to_string()).unwrap();

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // When each acknowledged event is due.
    let mut due: BTreeMap<String, u64> = BTreeMap::new();
    let mut kills: Vec<u64> = Vec::new();
    for life in 0..LIVES {
        let bus = Bus::spawn(&place, receiver);
        let base = format!("http://{}", bus.address().await.unwrap());
        let events: Vec<(String, u64)> = (0..EVENTS)
            .map(|n| {
                let ahead = random.u64(0..u64::try_from(AHEAD.as_millis()).unwrap());
                (format!("{life}-{n}"), now() + ahead)
            })
            .collect();
        for some in events.chunks(20) {
            let batch: Vec<Value> = some
                .iter()
                .map(|(id, due)| {
                    let deliverat = Timestamp::from_millis(*due).to_string();
                    json!({
                        "specversion": "1.0", "id": id, "source": "/later", "type": "t",
                        "deliverat": deliverat,
                    })
                })
                .collect();
            let request = client
                .request(Method::POST, format!("{base}/"))
                .header("content-type", "application/cloudevents-batch+json")
                .body(Value::from(batch).to_string());
            assert_eq!(request.send().await.unwrap().status(), 202);
            due.extend(some.iter().cloned());
        }
        // The kill comes with some arrival, while others of this life are still to come.
        let goal = arrivals.lock().len() + random.usize(1..EVENTS / 2);
        let deadline = Instant::now() + PATIENCE;
        while arrivals.lock().len() < goal {
            assert!(Instant::now() < deadline, "seed {seed}:\n{}", bus.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        kills.push(now());
        bus.kill();
        bus.ended().await.unwrap();
    }
    let bus = Bus::spawn(&place, receiver);
    let base = format!("http://{}", bus.address().await.unwrap());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let arrived: BTreeSet<String> = arrivals
            .lock()
            .keys()
            .filter(|(source, _)| source == "/later")
            .map(|(_, id)| id.clone())
            .collect();
        let missing = due.keys().filter(|id| !arrived.contains(*id)).count();
        if missing == 0 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "seed {seed}: {missing} never came\n{}",
            bus.log()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = client
        .get(format!("{base}/v1/buses/default/scheduled"))
        .send()
        .await
        .unwrap();
    let waiting: Value = serde_json::from_str(&waiting.text().await.unwrap()).unwrap();
    assert_eq!(waiting["scheduled"], json!([]), "nothing waits any more");

    let arrivals = arrivals.lock();
    let lives = usize::try_from(LIVES).unwrap() + 1;
    let mut repeats = 0;
    for (id, due) in &due {
        let came = &arrivals[&("/later".to_owned(), id.clone())];
        assert!(came[0] >= *due, "{id} came {} ms early", due - came[0]);
        assert!(came.len() <= lives, "{id} came {} times", came.len());
        for first in &came[..came.len() - 1] {
            // The kill is a moment later than its time was taken.
            let near = first.saturating_sub(SETTLED_MS)..first + SETTLED_MS;
            let is_excused = kills.iter().any(|kill| near.contains(kill));
            assert!(
                is_excused,
                "{id} came again although no kill was near: {came:?}, {kills:?}"
            );
        }
        repeats += came.len() - 1;
    }
    // Each tick is for a whole second of the schedule: one id for one moment, and none early.
    let ticks: Vec<&String> = arrivals
        .keys()
        .filter(|(source, _)| source.ends_with("/rules/ticks"))
        .map(|(_, id)| id)
        .collect();
    assert!(ticks.len() >= 2, "the schedule fires: {ticks:?}");
    let moments: Vec<u64> = ticks
        .iter()
        .map(|id| id.parse::<jiff::Timestamp>().unwrap().as_millisecond())
        .map(|moment| u64::try_from(moment).unwrap())
        .collect();
    for (moment, id) in moments.iter().zip(&ticks) {
        assert_eq!(
            moment % 1_000,
            moments[0] % 1_000,
            "{id} is no moment of the rate"
        );
        let source = "/v1/buses/default/rules/ticks".to_owned();
        let came = &arrivals[&(source, (*id).clone())];
        assert!(came[0] >= *moment, "{id} came early");
        repeats += came.len() - 1;
    }
    println!(
        "{} events, {} ticks, {repeats} repeats",
        due.len(),
        ticks.len()
    );
}
