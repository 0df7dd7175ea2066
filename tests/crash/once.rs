//! Publishers that send again, with the same idempotency key, what a kill left without an answer: each
//! request's events are in the log once, and what was answered is answered the same.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};

const KILLS: usize = 4;
/// Requests that are answered in each life before it ends.
const REQUESTS: usize = 300;

/// Each request by its key, with its answer once it has one.
type Requests = Arc<Mutex<BTreeMap<String, Option<Value>>>>;

#[derive(Clone)]
struct Caller {
    client: reqwest::Client,
    base: String,
}

impl Caller {
    /// Sends the two events of a request; the answer, and whether it was given before.
    async fn send(&self, key: &str) -> Option<(Value, bool)> {
        let event = |n: usize| json!({"specversion": "1.0", "id": format!("{key}-{n}"), "source": "/crash", "type": "t"});
        let request = self
            .client
            .post(&self.base)
            .header("content-type", "application/cloudevents-batch+json")
            .header("idempotency-key", format!("\"{key}\""))
            .body(json!([event(1), event(2)]).to_string());
        let answer = request.send().await.ok()?;
        let replayed = answer.headers().contains_key("idempotency-replayed");
        let status = answer.status();
        let text = answer.text().await.ok()?;
        if status != 202 {
            assert!(status == 503 || status == 409, "{status} {text}");
            return None;
        }
        Some((serde_json::from_str(&text).unwrap(), replayed))
    }

    async fn publish(self, who: String, requests: Requests, over: Arc<AtomicBool>) {
        for number in 0.. {
            if over.load(Ordering::Acquire) {
                return;
            }
            let key = format!("{who}-{number}");
            requests.lock().insert(key.clone(), None);
            if let Some((answer, replayed)) = self.send(&key).await {
                assert!(!replayed, "{key} was never sent before");
                requests.lock().insert(key, Some(answer));
            }
        }
    }

    /// Every event id with how often the log has it.
    async fn logged(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        let mut after = "0".to_owned();
        loop {
            let place = format!(
                "{}/v1/buses/default/events?limit=1000&after={after}",
                self.base
            );
            let page = self.client.get(place).send().await.unwrap();
            let page: Value = serde_json::from_str(&page.text().await.unwrap()).unwrap();
            for event in page["events"].as_array().unwrap() {
                let id = event["event"]["id"].as_str().unwrap().to_owned();
                *found.entry(id).or_default() += 1;
            }
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return found,
            }
        }
    }
}

async fn until(what: &str, bus: &Bus, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        let late = Instant::now() > deadline;
        assert!(!late, "in vain for {what}\n{}", bus.log());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_sent_again_over_kills_are_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::within(folder.path());
    // Nothing else finds what is sent twice.
    place.put("bus", r#"{"dedup_window": "0s"}"#).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let requests = Requests::default();
    for life in 0..=KILLS {
        let bus = Bus::spawn(&place, nobody);
        let caller = Caller {
            client: client.clone(),
            base: format!("http://{}", bus.address().await.unwrap()),
        };
        until("a bus that is ready", &bus, async || {
            let ready = client.get(format!("{}/readyz", caller.base)).send().await;
            ready.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        let known = requests.lock().clone();
        let mut begun_before = 0;
        for (key, before) in known {
            let (answer, replayed) = caller.send(&key).await.unwrap();
            match before {
                Some(before) => {
                    assert_eq!(answer, before, "{key} in life {life}");
                    assert!(replayed, "{key} in life {life}");
                }
                None => {
                    begun_before += usize::from(replayed);
                    requests.lock().insert(key, Some(answer));
                }
            }
        }
        println!("life {life}: {begun_before} requests were done before the kill and not answered");
        if life == KILLS {
            let logged = caller.logged().await;
            let twice: Vec<_> = logged.iter().filter(|(_, count)| **count != 1).collect();
            assert!(twice.is_empty(), "not once: {twice:?}");
            assert_eq!(logged.len(), 2 * requests.lock().len());
            break;
        }
        let over = Arc::new(AtomicBool::new(false));
        let mut publishers = JoinSet::new();
        for publisher in 0..4 {
            let who = format!("{life}-{publisher}");
            let (requests, over) = (Arc::clone(&requests), Arc::clone(&over));
            publishers.spawn(caller.clone().publish(who, requests, over));
        }
        let answered = || requests.lock().values().flatten().count();
        let goal = answered() + REQUESTS;
        until("a burst", &bus, async || answered() >= goal).await;
        // The publishers are at it: the kill meets requests that are under way.
        bus.kill();
        bus.ended().await.unwrap();
        over.store(true, Ordering::Release);
        publishers.join_all().await;
    }
    assert!(requests.lock().len() >= KILLS * REQUESTS);
}
