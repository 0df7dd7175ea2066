//! Order by key under random failures, kills, stops, lost views and redrives, checked by a model.
//!
//! Four publishers, each with keys of its own, publish one event of a key after the other, so that
//! the log's order is known. The receiver refuses, fails and goes down for a while by lot, and says
//! of each request whether it may come: within one life of the bus the requests of a key never go
//! back to an older event, except to one that was redriven; none is taken twice; and none comes
//! before every older one of its key was taken or became a dead letter. What a life before had
//! delivered may come once more: that is at-least-once, and once a life is its bound.
//!
//! `EVENTYARD_ORDER_ROUNDS` sets the number of lives (default 8), `EVENTYARD_SEED` the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};
use super::setting;

const ROUNDS: u64 = 8;
const PUBLISHERS: usize = 4;
const KEYS_EACH: usize = 3;
/// Events of one key that may wait: the last life has to deliver them all.
const MOST_PENDING: usize = 120;
const TARGET: &str = "/v1/buses/default/rules/ordered/targets/t";

/// What one key has seen.
#[derive(Default)]
struct Key {
    published: usize,
    /// The event that came last in this life.
    last: Option<usize>,
    taken: BTreeSet<usize>,
    taken_in_this_life: BTreeSet<usize>,
    /// Answered with a status that makes it a dead letter.
    refused: BTreeSet<usize>,
    redriven: BTreeSet<usize>,
}

struct Model {
    keys: BTreeMap<String, Key>,
    random: fastrand::Rng,
    /// Until then every request is answered with 503: long enough for the breaker to open.
    down_until: Instant,
    requests: u64,
    repeats: u64,
    violations: Vec<String>,
}

type Shared = Arc<Mutex<Model>>;

impl Model {
    fn restarted(&mut self) {
        for key in self.keys.values_mut() {
            key.last = None;
            key.taken_in_this_life.clear();
        }
    }

    /// Acknowledged events of a key that have neither come nor been refused.
    fn pending(&self, name: &str) -> usize {
        let ended = |key: &Key| key.taken.union(&key.refused).count();
        let pending = |key: &Key| key.published.saturating_sub(ended(key));
        self.keys.get(name).map_or(0, pending)
    }

    /// The first of each key that was acknowledged and not taken, and how many of the key.
    fn never_came(&self) -> String {
        let mut says = Vec::new();
        for (name, key) in &self.keys {
            let missing = || (0..key.published).filter(|n| !key.taken.contains(n));
            if let Some(first) = missing().next() {
                let refused = if key.refused.contains(&first) {
                    "refused"
                } else {
                    "not refused"
                };
                let redriven = if key.redriven.contains(&first) {
                    "redriven"
                } else {
                    "not redriven"
                };
                says.push(format!(
                    "{name}-{first} ({refused}, {redriven}) and {} more",
                    missing().count() - 1
                ));
            }
        }
        says.join("; ")
    }

    /// Whether event `n` of a key is refused for good, until it is redriven.
    fn is_poisoned(n: usize) -> bool {
        n % 11 == 7
    }

    fn arrived(&mut self, name: &str, n: usize) -> StatusCode {
        self.requests += 1;
        let key = self.keys.entry(name.to_owned()).or_default();
        let is_redriven = key.redriven.contains(&n);
        if !is_redriven {
            if let Some(last) = key.last.filter(|last| *last > n) {
                let says = format!("{name}-{n} came behind {last} in one life");
                self.violations.push(says);
            }
            key.last = Some(n);
        }
        if let Some(older) = (0..n).find(|m| !key.taken.contains(m) && !key.refused.contains(m)) {
            let says = format!("{name}-{n} came before {older} had ended");
            self.violations.push(says);
        }
        if Instant::now() < self.down_until {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        match self.random.u32(0..1_000) {
            0..=1 => self.down_until = Instant::now() + Duration::from_millis(300),
            2..=100 => return StatusCode::CONFLICT,
            101..=105 => return StatusCode::SERVICE_UNAVAILABLE,
            _ => {}
        }
        if Self::is_poisoned(n) && !is_redriven {
            key.refused.insert(n);
            return StatusCode::BAD_REQUEST;
        }
        if !key.taken.insert(n) {
            self.repeats += 1;
        }
        if !key.taken_in_this_life.insert(n) {
            let says = format!("{name}-{n} was taken twice in one life");
            self.violations.push(says);
        }
        StatusCode::OK
    }
}

async fn receive(State(model): State<Shared>, headers: HeaderMap) -> StatusCode {
    let id = headers.get("ce-id").and_then(|id| id.to_str().ok());
    let parts = id.and_then(|id| id.split_once('-'));
    let event = parts.and_then(|(key, n)| Some((key, n.parse().ok()?)));
    let mut model = model.lock();
    match event {
        Some((key, n)) => model.arrived(key, n),
        None => {
            model.violations.push(format!("a delivery of {id:?}"));
            StatusCode::OK
        }
    }
}

/// One life, seen by its clients.
struct Life {
    bus: Bus,
    base: String,
    client: reqwest::Client,
    over: AtomicBool,
}

impl Life {
    async fn begin(place: &Place, receiver: SocketAddr) -> Result<Arc<Life>, String> {
        let bus = Bus::spawn(place, receiver);
        let base = format!("http://{}", bus.address().await?);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .expect("a plain client builds");
        let over = AtomicBool::new(false);
        Ok(Arc::new(Life {
            bus,
            base,
            client,
            over,
        }))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) || self.bus.has_ended()
    }

    /// Status and JSON body of an answer; `None` when none came.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Publishes the next event of each of these keys, in one batch, until the life is over. Only
    /// what was acknowledged is counted: the rest is published again, in the same place.
    async fn publish(
        self: Arc<Self>,
        model: Shared,
        names: Vec<String>,
        mut random: fastrand::Rng,
    ) {
        while !self.is_over() {
            if names
                .iter()
                .any(|name| model.lock().pending(name) > MOST_PENDING)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let many = if random.u32(0..10) == 0 { 60 } else { 1 };
            let mut events = Vec::new();
            for name in &names {
                let next = model.lock().keys.entry(name.clone()).or_default().published;
                events.extend((next..next + many).map(|n| {
                    json!({
                        "specversion": "1.0", "id": format!("{name}-{n}"), "source": "/order",
                        "type": "t", "datacontenttype": "application/json", "data": {"k": name},
                    })
                }));
            }
            let request = self.client.post(format!("{}/", self.base));
            let request = request
                .header("content-type", "application/cloudevents-batch+json")
                .body(Value::from(events).to_string());
            match request.send().await.map(|answer| answer.status().as_u16()) {
                Ok(202) => {
                    let mut model = model.lock();
                    for name in &names {
                        model.keys.entry(name.clone()).or_default().published += many;
                    }
                }
                Ok(503 | 429) | Err(_) => tokio::task::yield_now().await,
                Ok(other) => {
                    let says = format!("a batch was answered with {other}");
                    model.lock().violations.push(says);
                    return;
                }
            }
        }
    }

    /// What the bus says of the target, and its log: for when it stands still.
    async fn state(&self) -> String {
        let mut says = String::new();
        for path in [TARGET.to_owned(), format!("{TARGET}/dead-letters?limit=1")] {
            match self.call(Method::GET, &path, None).await {
                Some((status, body)) => says += &format!("GET {path}: {status} {body}\n"),
                None => says += &format!("GET {path}: no answer\n"),
            }
        }
        says + &self.bus.log()
    }

    /// Redrives the dead letters that there are, a few at a time.
    async fn redrive(&self, model: &Shared, most: usize) -> Option<usize> {
        let place = format!("{TARGET}/dead-letters");
        let (status, letters) = self
            .call(Method::GET, &format!("{place}?limit={most}"), None)
            .await?;
        if status != 200 {
            return Some(0);
        }
        let mut ids = Vec::new();
        for letter in letters["dead_letters"].as_array()? {
            let event = letter["event_id"].as_str().map(str::to_owned);
            let id = letter["id"].as_str()?.to_owned();
            let event = match event {
                Some(event) => event,
                None => {
                    let (_, shown) = self
                        .call(Method::GET, &format!("{place}/{id}"), None)
                        .await?;
                    shown["event"]["id"].as_str()?.to_owned()
                }
            };
            let (name, n) = event.split_once('-')?;
            let n: usize = n.parse().ok()?;
            // Before it is asked for: it may come before the answer does.
            let mut model = model.lock();
            model.keys.get_mut(name)?.redriven.insert(n);
            ids.push(id);
        }
        if ids.is_empty() {
            return Some(0);
        }
        let body = json!({ "ids": ids });
        let (status, _) = self
            .call(Method::POST, &format!("{place}/redrive"), Some(body))
            .await?;
        Some(if status == 200 { ids.len() } else { 0 })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_stays_in_order_however_the_bus_dies() {
    let seed = setting("EVENTYARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds = setting("EVENTYARD_ORDER_ROUNDS").unwrap_or(ROUNDS);
    println!("seed {seed}, {rounds} lives");
    let folder = tempfile::tempdir().expect("a folder for the bus");
    let place = Place::within(folder.path());
    let random = fastrand::Rng::with_seed(seed);
    let model: Shared = Arc::new(Mutex::new(Model {
        keys: BTreeMap::new(),
        random: fastrand::Rng::with_seed(seed ^ 1),
        down_until: Instant::now(),
        requests: 0,
        repeats: 0,
        violations: Vec::new(),
    }));
    if let Err(error) = run(&place, &model, random, rounds).await {
        let kept = folder.keep();
        panic!(
            "seed {seed}: {error}\nthe folder is kept: {}",
            kept.display()
        );
    }
    let model = model.lock();
    let published: usize = model.keys.values().map(|key| key.published).sum();
    let redriven: usize = model.keys.values().map(|key| key.redriven.len()).sum();
    println!(
        "{published} events of {} keys, {} requests, {} repeats, {redriven} redriven",
        model.keys.len(),
        model.requests,
        model.repeats,
    );
}

async fn run(
    place: &Place,
    model: &Shared,
    mut random: fastrand::Rng,
    rounds: u64,
) -> Result<(), String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|error| error.to_string())?;
    let receiver = listener.local_addr().map_err(|error| error.to_string())?;
    let routes = axum::Router::new()
        .route("/", post(receive))
        .with_state(Arc::clone(model));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let rule = json!({
        "pattern": {"source": ["/order"]},
        "targets": [{
            "id": "t", "url": format!("http://{receiver}/"), "ordering_key": "$.data.k",
            "retry": {"max_attempts": 1000, "max_age": "24h", "initial_delay": "30ms", "max_delay": "200ms"},
        }],
    });
    place
        .put("ordered", &rule.to_string())
        .map_err(|error| error.to_string())?;
    for round in 0..rounds {
        model.lock().restarted();
        let life = Life::begin(place, receiver).await?;
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let names = (0..KEYS_EACH).map(|key| format!("k{publisher}x{key}"));
                let publish =
                    Arc::clone(&life).publish(Arc::clone(model), names.collect(), random.fork());
                tokio::spawn(publish)
            })
            .collect();
        // A life lasts for so many requests.
        let begun = model.lock().requests;
        let length = random.u64(20..1_000);
        let redrive_at = begun + random.u64(0..length);
        let mut redriven = false;
        let mut moved = (begun, Instant::now());
        loop {
            let requests = model.lock().requests;
            if requests > moved.0 {
                moved = (requests, Instant::now());
            }
            if requests >= begun + length || life.bus.has_ended() {
                break;
            }
            if moved.1.elapsed() > PATIENCE {
                let state = life.state().await;
                return Err(format!("life {round}: nothing is sent any more\n{state}"));
            }
            if !redriven && requests >= redrive_at {
                redriven = true;
                let most = random.usize(1..20);
                life.redrive(model, most).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match random.u32(0..5) {
            0 => life.bus.terminate(),
            _ => life.bus.kill(),
        }
        life.over.store(true, Ordering::Release);
        life.bus.ended().await?;
        for publisher in publishers {
            publisher.await.map_err(|error| error.to_string())?;
        }
        let violations = std::mem::take(&mut model.lock().violations);
        if !violations.is_empty() {
            let some = violations[..violations.len().min(10)].join("\n");
            return Err(format!("life {round}:\n{some}\n{}", life.bus.log()));
        }
        if random.u32(0..4) == 0 {
            std::fs::remove_dir_all(place.view()).map_err(|error| error.to_string())?;
        }
    }
    last_life(place, model, receiver).await
}

/// All that was acknowledged comes, the dead letters are redriven, and nothing is left.
async fn last_life(place: &Place, model: &Shared, receiver: SocketAddr) -> Result<(), String> {
    model.lock().restarted();
    let life = Life::begin(place, receiver).await?;
    let mut moved = (0, Instant::now());
    loop {
        life.redrive(model, 100).await;
        let (requests, left) = {
            let model = model.lock();
            let left: usize = model
                .keys
                .values()
                .map(|key| {
                    (0..key.published)
                        .filter(|n| !key.taken.contains(n))
                        .count()
                })
                .sum();
            (model.requests, left)
        };
        if left == 0 {
            break;
        }
        if requests > moved.0 {
            moved = (requests, Instant::now());
        }
        if moved.1.elapsed() > PATIENCE {
            let which = model.lock().never_came();
            let state = life.state().await;
            return Err(format!("{left} events never came: {which}\n{state}"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let model = model.lock();
    match model.violations.first() {
        Some(violation) => Err(format!("the last life: {violation}")),
        None => Ok(()),
    }
}
