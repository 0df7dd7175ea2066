//! Pullers of a bus that is killed again and again get every event, and none again that they were told
//! is acknowledged; in order where that is asked for, and also of events that waited for their time. They
//! sleep past their leases, give back and forget, and between two lives the view is deleted now and then.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventyard::clock::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};

const KILLS: u32 = 12;
/// Events in one life, at most.
const EVENTS: usize = 120;
const KEYS: usize = 5;
/// How far ahead scheduled events are at most, in milliseconds.
const AHEAD_MS: u64 = 400;
/// Each by its rule: those of `later` get scheduled events.
const TARGETS: [(&str, &str); 3] = [("all", "plain"), ("all", "ordered"), ("later", "later")];

/// What is known of one target.
#[derive(Debug, Default)]
struct Known {
    /// The bus has said that these are acknowledged.
    acknowledged: BTreeSet<usize>,
    /// It was asked to acknowledge these, and may have.
    perhaps: BTreeSet<usize>,
    repeats: usize,
}

struct Test {
    at: SocketAddr,
    http: reqwest::Client,
    published: Mutex<usize>,
    targets: BTreeMap<&'static str, Mutex<Known>>,
    over: AtomicBool,
}

impl Test {
    async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let request = self.http.post(format!("http://{}{path}", self.at));
        let kind = if path == "/" {
            "application/cloudevents-batch+json"
        } else {
            "application/json"
        };
        let request = request.header("content-type", kind).body(body.to_string());
        let answer = request.send().await.ok()?;
        if !answer.status().is_success() {
            // It starts or stops, or cannot say whether it kept an acknowledgement.
            assert!(
                matches!(answer.status().as_u16(), 503),
                "{}",
                answer.status()
            );
            return None;
        }
        answer.json().await.ok()
    }

    /// One after the other, each until it is accepted, so that the log has them in order; and as many
    /// that are scheduled.
    async fn publish(&self, many: usize) {
        let first = *self.published.lock();
        let now = Clock::system().now();
        let mut batch = Vec::new();
        for n in first..first + many {
            batch.push(json!({"specversion": "1.0", "id": n.to_string(), "source": "/s", "type": "t", "subject": format!("k{}", n % KEYS)}));
            let due = now.plus(Duration::from_millis(fastrand::u64(0..AHEAD_MS)));
            batch.push(json!({"specversion": "1.0", "id": n.to_string(), "source": "/later", "type": "later", "deliverat": due.to_string()}));
        }
        let batch = Value::from(batch);
        while self.post("/", &batch).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *self.published.lock() = first + many;
    }

    async fn pull_on(self: Arc<Self>, (rule, target): (&str, &'static str), seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let path = |verb| format!("/v1/buses/default/rules/{rule}/targets/{target}/{verb}");
        while !self.over.load(Ordering::Relaxed) {
            // Whatever was acknowledged before this question must not be in its answer.
            let done = self.targets[target].lock().acknowledged.clone();
            let ask = json!({"max": random.usize(1..30), "wait": "300ms", "lease": "1s"});
            let Some(answer) = self.post(&path("pull"), &ask).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let mut leased: Vec<(usize, String)> = Vec::new();
            for delivery in answer["deliveries"].as_array().unwrap() {
                let n: usize = delivery["event"]["id"].as_str().unwrap().parse().unwrap();
                assert!(
                    !done.contains(&n),
                    "{target}: {n} came again although it was acknowledged"
                );
                if target == "ordered" {
                    let known = self.targets[target].lock();
                    let older = (n % KEYS..n).step_by(KEYS);
                    let mut open = older.filter(|older| !known.perhaps.contains(older));
                    assert_eq!(open.next(), None, "{n} came before an older one of its key");
                }
                leased.push((n, delivery["token"].as_str().unwrap().to_owned()));
            }
            if leased.is_empty() {
                continue;
            }
            match random.u32(0..20) {
                // It has died.
                0 => continue,
                // It sleeps past its leases.
                1 => tokio::time::sleep(Duration::from_millis(1_300)).await,
                2..=4 => {
                    let many = random.usize(0..leased.len()) + 1;
                    let given: Vec<String> = leased.drain(..many).map(|(_, token)| token).collect();
                    self.post(&path("nack"), &json!({"tokens": given, "delay": "20ms"}))
                        .await;
                    if leased.is_empty() {
                        continue;
                    }
                }
                _ => {}
            }
            self.targets[target]
                .lock()
                .perhaps
                .extend(leased.iter().map(|(n, _)| *n));
            let tokens: Vec<&String> = leased.iter().map(|(_, token)| token).collect();
            let Some(answer) = self.post(&path("ack"), &json!({"tokens": tokens})).await else {
                continue;
            };
            let mut known = self.targets[target].lock();
            for ((n, _), result) in leased.iter().zip(answer["results"].as_array().unwrap()) {
                if result["done"] == true {
                    let is_new = known.acknowledged.insert(*n);
                    assert!(is_new, "{target}: {n} was acknowledged twice");
                } else {
                    known.repeats += 1;
                }
            }
        }
    }

    fn acknowledged(&self) -> usize {
        let all = self.targets.values();
        all.map(|known| known.lock().acknowledged.len()).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pullers_get_everything_and_nothing_twice_that_they_acknowledged() {
    let seed = super::setting("EVENTYARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = super::setting("EVENTYARD_CRASH_ROUNDS").map_or(KILLS, |rounds| rounds as u32);
    println!("seed {seed}, {kills} kills");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let place = Place::within(folder.path());
    let retry = json!({"max_attempts": 1000, "initial_delay": "10ms", "max_delay": "50ms"});
    let rule = json!({"pattern": {"type": ["t"]}, "targets": [
        {"id": "plain", "pull": {}, "retry": retry},
        {"id": "ordered", "pull": {}, "retry": retry, "ordering_key": "subject"},
    ]});
    place.put("all", &rule.to_string()).unwrap();
    let rule = json!({"pattern": {"type": ["later"]}, "targets": [
        {"id": "later", "pull": {}, "retry": retry},
    ]});
    place.put("later", &rule.to_string()).unwrap();
    // Its log may name this address, which nobody listens on.
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let mut bus = Bus::spawn(&place, nobody);
    let at = bus.address().await.unwrap();
    let test = Arc::new(Test {
        at,
        http: reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap(),
        published: Mutex::new(0),
        targets: TARGETS.map(|(_, name)| (name, Mutex::default())).into(),
        over: AtomicBool::new(false),
    });
    let mut pullers = tokio::task::JoinSet::new();
    for target in [TARGETS, TARGETS].concat() {
        pullers.spawn(Arc::clone(&test).pull_on(target, random.u64(..)));
    }
    for life in 0..kills {
        let wanted = test.acknowledged() + random.usize(1..EVENTS);
        let publishes = async {
            let many = random.usize(EVENTS / 2..EVENTS);
            for _ in 0..many / 10 {
                test.publish(10).await;
            }
        };
        let killed = async {
            let deadline = Instant::now() + PATIENCE;
            let published = || *test.published.lock() * TARGETS.len();
            while test.acknowledged() < wanted.min(published()) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            bus.kill();
            bus.ended().await.unwrap();
            if life % 3 == 2 {
                let _ = std::fs::remove_dir_all(place.view());
            }
            let next = Bus::spawn_at(&place, nobody, &at.to_string());
            next.address().await.unwrap();
            next
        };
        let ((), next) = tokio::join!(publishes, killed);
        bus = next;
        if let Some(ended) = pullers.try_join_next() {
            panic!("seed {seed}: {ended:?}");
        }
    }
    let all = *test.published.lock();
    let mut last = (Instant::now(), 0);
    while test.acknowledged() < TARGETS.len() * all {
        let now = test.acknowledged();
        if now > last.1 {
            last = (Instant::now(), now);
        }
        if let Some(ended) = pullers.try_join_next() {
            panic!("seed {seed}: {ended:?}");
        }
        let missing = TARGETS.len() * all - now;
        // What an acknowledgement settled whose answer was lost never comes.
        let perhaps: usize = test
            .targets
            .values()
            .map(|known| {
                let known = known.lock();
                known.perhaps.difference(&known.acknowledged).count()
            })
            .sum();
        if last.0.elapsed() > Duration::from_secs(8) && missing == perhaps {
            break;
        }
        assert!(
            last.0.elapsed() < PATIENCE,
            "seed {seed}: {missing} of {all} never came"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    test.over.store(true, Ordering::Relaxed);
    while let Some(ended) = pullers.join_next().await {
        ended.unwrap();
    }
    let counts: Vec<String> = test
        .targets
        .iter()
        .map(|(name, known)| {
            let known = known.lock();
            format!(
                "{name}: {} acknowledged, {} too late",
                known.acknowledged.len(),
                known.repeats
            )
        })
        .collect();
    println!("{all} events, {}", counts.join("; "));
    bus.kill();
}
