//! Order by key: one delivery of a key at a time, in the log's order, over retries and restarts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Answer, Reply, TestBus, TestTarget, eventually, send};

/// A rule whose target is in order by `$.data.k`, with more settings from `more`.
fn ordered(target: &TestTarget, more: Value) -> Value {
    let mut settings = json!({
        "id": "t",
        "url": target.url(),
        "ordering_key": "$.data.k",
        "retry": {"initial_delay": "20ms", "max_delay": "50ms", "jitter": false, "max_attempts": 1000},
    });
    for (field, value) in more.as_object().unwrap() {
        settings[field] = value.clone();
    }
    json!({"pattern": {"source": ["/test"]}, "targets": [settings]})
}

/// Publishes events `n` of a range, in order, with the key that `key` gives.
async fn publish(bus: &TestBus, range: std::ops::Range<usize>, key: impl Fn(usize) -> String) {
    let all: Vec<usize> = range.collect();
    for some in all.chunks(500) {
        let events: Vec<Value> = some
            .iter()
            .map(|n| {
                json!({
                    "specversion": "1.0", "id": n.to_string(), "source": "/test", "type": "t",
                    "datacontenttype": "application/json", "data": {"k": key(*n), "n": n},
                })
            })
            .collect();
        let request = bus
            .request(reqwest::Method::POST, "/")
            .header("content-type", "application/cloudevents-batch+json")
            .body(serde_json::to_vec(&events).unwrap());
        let answer = send(request).await;
        assert_eq!(answer.status.as_u16(), 202, "{}", answer.text());
    }
}

async fn status(bus: &TestBus) -> Value {
    let answer: Answer = bus.get("/v1/buses/default/rules/r/targets/t").await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    answer.json()
}

/// Waits until so many deliveries were made since the start, and nothing is pending. The patience is
/// for each step towards it: how long thousands take one after the other is the machine's matter.
async fn settled(bus: &TestBus, delivered: u64) {
    let mut before = (u64::MAX, u64::MAX);
    while before != (delivered, 0) {
        before = eventually(&format!("{delivered} deliveries"), async || {
            let status = status(bus).await;
            let pending = ["in_flight", "ready", "parked", "backlogged"];
            let pending: u64 = pending.iter().map(|p| status[p].as_u64().unwrap()).sum();
            let now = (status["delivered"].as_u64().unwrap(), pending);
            (now != before).then_some(now)
        })
        .await;
    }
}

fn numbers(target: &TestTarget) -> Vec<usize> {
    let received = target.received();
    let number = |id: &str| id.parse().unwrap();
    received.iter().map(|r| number(r.header("ce-id"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_comes_in_order_over_retries_and_the_others_go_on() {
    const KEYS: usize = 40;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // How often each event is refused before it is taken.
    let mut refusals: Vec<usize> = (0..600).map(|_| random.usize(0..3)).collect();
    let script = refusals.clone();
    let target = {
        let mut left = script;
        TestTarget::answering(move |request| {
            let n: usize = request.header("ce-id").parse().unwrap();
            let refused = left[n] > 0;
            left[n] = left[n].saturating_sub(1);
            Reply::from(if refused { 409 } else { 200 })
        })
    };
    let bus = TestBus::start().await;
    bus.put_rule("r", &ordered(&target, json!({}))).await;
    publish(&bus, 0..600, |n| (n % KEYS).to_string()).await;
    settled(&bus, 600).await;
    // Each request must be for the oldest event of its key that was not taken yet.
    let mut oldest: HashMap<usize, usize> = HashMap::new();
    for n in numbers(&target) {
        let next = oldest.entry(n % KEYS).or_insert(n % KEYS);
        assert_eq!(n, *next, "key {}", n % KEYS);
        match refusals[n] {
            0 => *next += KEYS,
            _ => refusals[n] -= 1,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_key_with_a_long_backlog_neither_stops_others_nor_is_overtaken() {
    const ALL: usize = 6_000;
    let is_hot = |n: usize| n % 100 != 99;
    let mended = Arc::new(AtomicBool::new(false));
    let works = Arc::clone(&mended);
    let target = TestTarget::answering(move |request| {
        let n: usize = request.header("ce-id").parse().unwrap();
        let taken = !is_hot(n) || works.load(Ordering::Relaxed);
        Reply::from(if taken { 200 } else { 409 })
    });
    let bus = TestBus::start().await;
    bus.put_rule("r", &ordered(&target, json!({}))).await;
    publish(&bus, 0..ALL, |n| {
        if is_hot(n) {
            "hot".to_owned()
        } else {
            n.to_string()
        }
    })
    .await;
    let others = ALL as u64 / 100;
    eventually("all other keys' deliveries", async || {
        (status(&bus).await["delivered"] == others).then_some(())
    })
    .await;
    mended.store(true, Ordering::Relaxed);
    settled(&bus, ALL as u64).await;
    let mut hot: Vec<usize> = numbers(&target)
        .into_iter()
        .filter(|n| is_hot(*n))
        .collect();
    assert!(hot.is_sorted(), "the hot key is in order");
    hot.dedup();
    assert_eq!(hot.len(), ALL - ALL / 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_skip_the_younger_pass_a_failed_one() {
    let target = TestTarget::answering(|request| {
        Reply::from(if request.header("ce-id") == "0" {
            409
        } else {
            200
        })
    });
    let bus = TestBus::start().await;
    bus.put_rule("r", &ordered(&target, json!({"on_failure": "skip"})))
        .await;
    publish(&bus, 0..20, |_| "one".to_owned()).await;
    eventually("the younger ones", async || {
        (status(&bus).await["delivered"] == 19).then_some(())
    })
    .await;
    let passed: Vec<usize> = numbers(&target).into_iter().filter(|n| *n != 0).collect();
    assert!(passed.is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_over_a_stop_and_a_start() {
    const KEYS: usize = 5;
    let bus = TestBus::start().await;
    let target = TestTarget::replying([409]);
    bus.put_rule("r", &ordered(&target, json!({}))).await;
    publish(&bus, 0..200, |n| (n % KEYS).to_string()).await;
    target.receives(20).await;
    let data = bus.drain().await;
    let before = target.received().len();
    target.now_replying([200]);
    let bus = TestBus::builder().data(data).start().await;
    settled(&bus, 200).await;
    let mut next: HashMap<usize, usize> = HashMap::new();
    for n in numbers(&target).into_iter().skip(before) {
        let expected = next.entry(n % KEYS).or_insert(n % KEYS);
        assert_eq!(n, *expected);
        *expected += KEYS;
    }
    assert!(next.values().all(|n| *n >= 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_lets_its_key_go_on_and_is_redriven_before_what_is_younger() {
    // 0 refuses for good; of the rest only what the test allows is taken.
    let state = Arc::new(Mutex::new((400, 200)));
    let script = Arc::clone(&state);
    let target = TestTarget::answering(move |request| {
        let (first, others) = *script.lock();
        Reply::from(if request.header("ce-id") == "0" {
            first
        } else {
            others
        })
    });
    let bus = TestBus::start().await;
    bus.put_rule("r", &ordered(&target, json!({}))).await;
    publish(&bus, 0..10, |_| "one".to_owned()).await;
    settled(&bus, 9).await;
    assert_eq!(numbers(&target), (0..10).collect::<Vec<_>>());
    // Now the younger ones block their key, and the dead one comes back.
    *state.lock() = (200, 409);
    publish(&bus, 10..20, |_| "one".to_owned()).await;
    eventually("the first younger one is tried", async || {
        numbers(&target).contains(&10).then_some(())
    })
    .await;
    let place = "/v1/buses/default/rules/r/targets/t/dead-letters";
    let letters = bus.get(place).await.json();
    let id = letters["dead_letters"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let answer = bus
        .post(&format!("{place}/redrive"), &json!({"ids": [id]}))
        .await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    eventually(
        "the redriven one comes, though its key is blocked",
        async || (numbers(&target).iter().filter(|n| **n == 0).count() == 2).then_some(()),
    )
    .await;
    *state.lock() = (200, 200);
    settled(&bus, 20).await;
    let mut after: Vec<usize> = numbers(&target).split_off(10);
    after.retain(|n| *n != 0);
    after.dedup();
    assert_eq!(after, (10..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_carries_what_follows_in_order_and_fails_as_one() {
    let refusals = Arc::new(Mutex::new(5));
    let left = Arc::clone(&refusals);
    let target = TestTarget::answering(move |_| {
        let mut left = left.lock();
        let refused = *left > 0;
        *left -= i32::from(refused);
        Reply::from(if refused { 409 } else { 200 })
    });
    let bus = TestBus::start().await;
    let batch = json!({"mode": "batch", "batch": {"max_events": 7, "max_wait": "10ms"}});
    bus.put_rule("r", &ordered(&target, batch)).await;
    publish(&bus, 0..300, |n| (n % 3).to_string()).await;
    settled(&bus, 300).await;
    let mut taken: HashMap<usize, Vec<usize>> = HashMap::new();
    for request in target.received().into_iter().skip(5) {
        let events = request.json();
        let events = events.as_array().unwrap();
        assert!(events.len() <= 7);
        for event in events {
            let n: usize = event["id"].as_str().unwrap().parse().unwrap();
            taken.entry(n % 3).or_default().push(n);
        }
    }
    for (key, taken) in taken {
        assert_eq!(
            taken,
            (key..300).step_by(3).collect::<Vec<_>>(),
            "key {key}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_goes_on_when_another_is_redriven_while_its_retry_is_under_way() {
    // 0 is refused for good at first; 1 fails once, and its retry takes its time.
    let mut seen: HashMap<String, usize> = HashMap::new();
    let target = TestTarget::answering(move |request| {
        let id = request.header("ce-id").to_owned();
        let before = seen.entry(id.clone()).or_default();
        *before += 1;
        match (id.as_str(), *before) {
            ("0", 1) => Reply::from(400),
            ("1", 1) => Reply::from(409),
            ("1", _) => Reply::from(200).after(Duration::from_millis(400)),
            _ => Reply::from(200),
        }
    });
    let bus = TestBus::start().await;
    bus.put_rule("r", &ordered(&target, json!({}))).await;
    publish(&bus, 0..3, |n| (n.min(1)).to_string()).await;
    let times = |n: usize| numbers(&target).iter().filter(|seen| **seen == n).count();
    let place = "/v1/buses/default/rules/r/targets/t/dead-letters";
    let id = eventually("the dead letter, and the retry under way", async || {
        let letters = bus.get(place).await.json();
        let id = letters["dead_letters"][0]["id"].as_str()?.to_owned();
        (times(1) == 2).then_some(id)
    })
    .await;
    let answer = bus
        .post(&format!("{place}/redrive"), &json!({"ids": [id]}))
        .await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    settled(&bus, 3).await;
    assert_eq!((times(0), times(1), times(2)), (2, 2, 1));
}
