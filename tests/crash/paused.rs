//! A target that is paused in the middle of a burst: killed and started again it stays paused, is
//! sent nothing, and gets every acknowledged event once it is resumed.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place, rule};

const TARGET: &str = "/v1/buses/default/rules/held/targets/held";
const KILLS: usize = 4;
/// Events that are acknowledged in each life before it ends, and before the pause.
const EVENTS: usize = 400;

type Ids = Arc<Mutex<BTreeSet<String>>>;

async fn receive(State(arrived): State<Ids>, headers: HeaderMap) -> StatusCode {
    let id = headers.get("ce-id").and_then(|id| id.to_str().ok());
    arrived.lock().extend(id.map(str::to_owned));
    StatusCode::NO_CONTENT
}

async fn receiver(arrived: Ids) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = axum::Router::new().fallback(receive).with_state(arrived);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

struct Caller {
    client: reqwest::Client,
    base: String,
}

impl Caller {
    async fn call(&self, method: Method, path: &str) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Publishes until it is told to stop or nobody answers; what was acknowledged is written down.
    async fn publish(self: Arc<Self>, who: String, acknowledged: Ids, over: Arc<AtomicBool>) {
        let mut number = 0;
        while !over.load(Ordering::Acquire) {
            number += 1;
            let id = format!("{who}-{number}");
            let event = json!({"specversion": "1.0", "id": id, "source": "/crash", "type": "held"});
            let request = self
                .client
                .post(&self.base)
                .header("content-type", "application/cloudevents+json")
                .body(event.to_string());
            match request.send().await {
                Ok(answer) if answer.status() == 202 => {
                    acknowledged.lock().insert(id);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

async fn until(what: &str, bus: &Bus, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(
            Instant::now() < deadline,
            "in vain for {what}\n{}",
            bus.log()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_paused_in_a_burst_stays_paused_over_kills_and_then_gets_everything() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::within(folder.path());
    let (arrived, acknowledged) = (Ids::default(), Ids::default());
    let receiver = receiver(Arc::clone(&arrived)).await;
    let held = rule(receiver, "held", r#"{"source": ["/crash"]}"#, "binary");
    place.put("held", &held).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    let mut before_pause = 0;
    let mut since = Value::Null;
    for life in 0..=KILLS {
        let bus = Bus::spawn(&place, receiver);
        let base = format!("http://{}", bus.address().await.unwrap());
        let caller = Arc::new(Caller {
            client: client.clone(),
            base,
        });
        until("a bus that is ready", &bus, async || {
            let ready = client.get(format!("{}/readyz", caller.base)).send().await;
            ready.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        if life > 0 {
            let health = caller.call(Method::GET, TARGET).await;
            assert_eq!(health["state"], "paused", "life {life}\n{}", bus.log());
            assert_eq!(health["state_since"], since);
        }
        if life == KILLS {
            assert_eq!(arrived.lock().len(), before_pause, "it was sent nothing");
            caller.call(Method::POST, &format!("{TARGET}/resume")).await;
            until("all that was acknowledged", &bus, async || {
                arrived.lock().is_superset(&acknowledged.lock())
            })
            .await;
            break;
        }
        let over = Arc::new(AtomicBool::new(false));
        let mut publishers = JoinSet::new();
        for publisher in 0..4 {
            let who = format!("{life}-{publisher}");
            let (caller, over) = (Arc::clone(&caller), Arc::clone(&over));
            publishers.spawn(caller.publish(who, Arc::clone(&acknowledged), over));
        }
        let goal = acknowledged.lock().len() + EVENTS;
        let enough = |goal: usize| acknowledged.lock().len() >= goal;
        if life == 0 {
            until("a burst", &bus, async || enough(goal)).await;
            let health = caller.call(Method::POST, &format!("{TARGET}/pause")).await;
            since = health["state_since"].clone();
            until("the end of what was in flight", &bus, async || {
                caller.call(Method::GET, TARGET).await["in_flight"] == 0
            })
            .await;
            before_pause = arrived.lock().len();
        }
        until("more of the burst", &bus, async || enough(goal + EVENTS)).await;
        // The publishers are at it: the kill meets requests that are under way.
        bus.kill();
        bus.ended().await.unwrap();
        over.store(true, Ordering::Release);
        publishers.join_all().await;
    }
    assert!(before_pause > 0);
    assert!(acknowledged.lock().len() > before_pause + KILLS * EVENTS / 2);
}
