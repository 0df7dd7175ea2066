//! No schedule of publishing, failing, parking, pausing, redriving and losing power delivers more
//! often than at-least-once must, or less.
//!
//! The disk is the journal's simulated one, whose power goes at any call, so that the log is cut at
//! any boundary between flushes; the target is in this process, and the model is what it took. What
//! a new life may send is worked out from the frames that were found on the disk, by a reading of
//! the records that shares nothing with the views: a delivery that is parked or in a chunk; one
//! behind the checkpoint that is no dead letter; and what the life itself was given. Of these each
//! is taken once a life at most, whatever it stood in before; nothing acknowledged is missing in the
//! end; and a crash costs a delivery that fails one attempt at most.
//!
//! `EVENTYARD_SEED` replays one seed, `EVENTYARD_SEEDS` sets how many are drawn (default 8).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventyard::clock::Clock;
use eventyard::delivery::dead_letter::{self, Which};
use eventyard::delivery::{Connections, TargetService};
use eventyard::event::Event;
use eventyard::journal::{self, Journal, Position, Simulation};
use eventyard::log::{self, Disk, Log, Record, RuleName, Sequence, TargetId};
use eventyard::rule::{IfMatch, Target};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::bus::{Bus, PATIENCE, name, until};

const SEGMENT_BYTES: u64 = 256 * 1024;
const SEEDS: u64 = 8;
const LIVES: u32 = 5;
const KEYS: usize = 4;
/// The target `plain` gives up after so many attempts; the others never do.
const MOST_ATTEMPTS: u32 = 4;

/// A delivery, by its target's name and its event's id.
type Delivery = (String, String);

/// What the target has seen.
struct Model {
    random: fastrand::Rng,
    life: u32,
    /// The power is gone: who asks now is never answered, as after a kill.
    over: bool,
    /// Takes everything, at once.
    is_kind: bool,
    /// Fails everything until then.
    down_until: Instant,
    requests: u64,
    /// Deliveries of events that were on disk when this life began, and that it may send.
    may: HashSet<Delivery>,
    /// What stood on disk of each when this life began.
    stood: HashMap<Delivery, String>,
    /// What came of each attempt.
    trail: HashMap<Delivery, Vec<(u32, u16)>>,
    /// Events that were on disk when this life began.
    old: BTreeSet<String>,
    /// Events of each key, in the log's order, as far as their publisher knows.
    published: BTreeMap<usize, Vec<String>>,
    acknowledged: BTreeSet<String>,
    /// With the life that took it last.
    taken: HashMap<Delivery, u32>,
    refused: HashSet<Delivery>,
    redriven: HashSet<Delivery>,
    /// Attempts since it was last redriven, and the life of the first of them.
    tried: HashMap<Delivery, (u32, u32)>,
    /// Keys of the target `ordered` that are under way.
    under_way: HashSet<String>,
    repeats: u64,
    violations: Vec<String>,
}

type Shared = Arc<Mutex<Model>>;

/// What an attempt gets: a status, after a while.
struct Answer {
    status: u16,
    after: Duration,
}

impl Answer {
    fn now(status: u16) -> Self {
        let after = Duration::ZERO;
        Self { status, after }
    }
}

fn key_of(id: &str) -> &str {
    id.split_once('-').map_or("", |(key, _)| key)
}

/// Whether it is refused for good, until it is redriven.
fn is_poisoned(id: &str) -> bool {
    let number = id
        .split_once('-')
        .and_then(|(_, n)| n.parse::<usize>().ok());
    number.is_some_and(|n| n % 9 == 7)
}

impl Model {
    fn violation(&mut self, says: String) {
        let life = self.life;
        self.violations.push(format!("life {life}: {says}"));
    }

    fn history(&self, delivery: &Delivery) -> String {
        let stood = self.stood.get(delivery);
        let stood = stood.map_or("new in this life", String::as_str);
        let trail = self.trail.get(delivery).into_iter().flatten();
        let trail: Vec<String> = trail
            .map(|(life, status)| format!("{status} in {life}"))
            .collect();
        let redriven = self.redriven.contains(delivery);
        format!(
            "{delivery:?} ({stood}; redriven: {redriven}; answered {})",
            trail.join(", ")
        )
    }

    /// What was acknowledged, and not taken.
    fn missing(&self, targets: &[Arc<Target>]) -> Vec<Delivery> {
        let all = targets.iter().flat_map(|target| {
            let of = |id: &String| (target.id.to_string(), id.clone());
            self.acknowledged.iter().map(of)
        });
        all.filter(|delivery| !self.taken.contains_key(delivery))
            .collect()
    }

    fn is_ended(&self, delivery: &Delivery) -> bool {
        self.taken.contains_key(delivery) || self.refused.contains(delivery)
    }

    /// A request with these events has come.
    fn arrived(&mut self, target: &str, ids: &[String]) -> Answer {
        self.requests += 1;
        for id in ids {
            let delivery = (target.to_owned(), id.clone());
            if self.old.contains(id) && !self.may.contains(&delivery) {
                self.violation(format!(
                    "{delivery:?} was settled on disk, and is sent again"
                ));
            }
            if self.taken.get(&delivery) == Some(&self.life) {
                let says = self.history(&delivery);
                self.violation(format!("sent after it was taken in this life: {says}"));
            }
            let life = self.life;
            let tried = self.tried.entry(delivery.clone()).or_insert((0, life));
            tried.0 += 1;
            let (attempts, most) = (tried.0, MOST_ATTEMPTS + life - tried.1);
            if target == "plain" && attempts > most {
                let says = self.history(&delivery);
                self.violation(format!("{attempts} attempts, not {most}, of {says}"));
            }
            if target == "ordered" {
                self.in_order(id);
            }
        }
        if self.is_kind {
            return Answer::now(200);
        }
        if Instant::now() < self.down_until {
            return Answer::now(503);
        }
        // Now and then one is parked while it is under way, for it takes longer than a second.
        let after = match self.random.u32(0..400) {
            0 => Duration::from_millis(1_200),
            1..100 => Duration::from_millis(self.random.u64(1..15)),
            _ => Duration::ZERO,
        };
        let refused = |id: &String| {
            is_poisoned(id) && !self.redriven.contains(&(target.to_owned(), id.clone()))
        };
        let status = match ids.iter().any(refused) {
            true => 400,
            false => match self.random.u32(0..100) {
                0..15 => 409,
                15..18 => 503,
                _ => 200,
            },
        };
        Answer { status, after }
    }

    /// Nothing of its key is under way, and all that is older has ended.
    fn in_order(&mut self, id: &str) {
        let key = key_of(id).to_owned();
        let all = key
            .parse()
            .ok()
            .and_then(|key: usize| self.published.get(&key));
        let older = all.into_iter().flatten().take_while(|other| *other != id);
        let delivery = |id: &String| ("ordered".to_owned(), id.clone());
        let open: Vec<String> = older
            .filter(|id| !self.is_ended(&delivery(id)))
            .cloned()
            .collect();
        if let Some(open) = open.first() {
            self.violation(format!("{id} is sent before {open} has ended"));
        }
        if !self.under_way.insert(key) {
            self.violation(format!("{id} is sent beside another of its key"));
        }
    }

    /// The bus has its answer.
    fn answered(&mut self, target: &str, ids: &[String], status: u16) {
        for id in ids {
            let delivery = (target.to_owned(), id.clone());
            let trail = self.trail.entry(delivery.clone()).or_default();
            trail.push((self.life, status));
            if target == "ordered" {
                self.under_way.remove(key_of(id));
            }
            match status {
                200 => {
                    let life = self.life;
                    // A repeat counts from one again.
                    self.tried.remove(&delivery);
                    self.repeats += u64::from(self.taken.insert(delivery, life).is_some());
                }
                400 => {
                    self.refused.insert(delivery);
                }
                _ => {}
            }
        }
    }

    /// A new life: what it finds on the disk, and what of it may be sent.
    fn begin(&mut self, life: u32, found: &Found) {
        self.life = life;
        self.over = false;
        self.under_way.clear();
        self.old = found.events.values().cloned().collect();
        self.may.clear();
        self.stood.clear();
        for (name, target) in &found.targets {
            for (sequence, id) in &found.events {
                let stood = found.fold.says(*target, *sequence);
                self.stood.insert((name.clone(), id.clone()), stood);
                if found.fold.may_send(*target, *sequence) {
                    self.may.insert((name.clone(), id.clone()));
                }
            }
        }
        // What was never acknowledged and is not there was never published.
        let old = &self.old;
        for ids in self.published.values_mut() {
            ids.retain(|id| old.contains(id));
        }
        let lost: Vec<&String> = self.acknowledged.difference(old).collect();
        if !lost.is_empty() {
            let says = format!(
                "{} were acknowledged and are lost, as {}",
                lost.len(),
                lost[0]
            );
            self.violation(says);
        }
    }
}

/// What the records on a disk say of deliveries, read anew for each life.
#[derive(Default)]
struct Fold {
    parked: HashSet<(TargetId, Sequence)>,
    chunks: HashMap<(TargetId, Sequence), Vec<Sequence>>,
    dead: HashSet<(TargetId, Sequence)>,
    checkpoint: Sequence,
}

impl Fold {
    fn take(&mut self, record: Record) {
        match record {
            Record::Parked(parked) | Record::ParkedInLine { parked, .. } => {
                self.parked.insert((parked.target, parked.sequence));
            }
            Record::Settled { target, sequence } => {
                self.parked.remove(&(target, sequence));
            }
            Record::Backlogged { target, sequences } => {
                self.chunk(target, sequences);
            }
            Record::BackloggedInOrder { target, deliveries } => {
                self.chunk(
                    target,
                    deliveries
                        .into_iter()
                        .map(|(sequence, _)| sequence)
                        .collect(),
                );
            }
            Record::BacklogDone { target, first } => {
                self.chunks.remove(&(target, first));
            }
            Record::DeadLettered(letter) => {
                self.parked.remove(&(letter.target, letter.sequence));
                self.dead.insert((letter.target, letter.sequence));
            }
            Record::DeadLetterRemoved { target, sequence } => {
                self.dead.remove(&(target, sequence));
            }
            Record::Checkpoint { routed_through } => self.checkpoint = routed_through,
            _ => {}
        }
    }

    fn chunk(&mut self, target: TargetId, sequences: Vec<Sequence>) {
        if let Some(first) = sequences.first() {
            self.chunks.insert((target, *first), sequences);
        }
    }

    /// Where a delivery stands.
    fn says(&self, target: TargetId, sequence: Sequence) -> String {
        let chunks = self.chunks.iter();
        let chunks = chunks.filter(|((of, _), in_it)| *of == target && in_it.contains(&sequence));
        let chunks: Vec<Sequence> = chunks.map(|((_, first), _)| *first).collect();
        let delivery = (target, sequence);
        format!(
            "{sequence}: parked {}, in chunks {chunks:?}, dead {}, checkpoint {}",
            self.parked.contains(&delivery),
            self.dead.contains(&delivery),
            self.checkpoint,
        )
    }

    fn may_send(&self, target: TargetId, sequence: Sequence) -> bool {
        let delivery = (target, sequence);
        let in_chunk = || {
            let mut chunks = self.chunks.iter().filter(|((of, _), _)| *of == target);
            chunks.any(|(_, sequences)| sequences.contains(&sequence))
        };
        self.parked.contains(&delivery)
            || in_chunk()
            || sequence > self.checkpoint && !self.dead.contains(&delivery)
    }
}

/// What a life finds.
struct Found {
    events: BTreeMap<Sequence, String>,
    targets: Vec<(String, TargetId)>,
    fold: Fold,
}

/// Kind of a frame with a record, and of one with a copy of a record.
const FRAME_STATE: u8 = 3;
const FRAME_CARRIED_STATE: u8 = 4;

/// Reads the records on a disk, and nothing but them.
fn fold(dir: &Path, disk: &Disk) -> Fold {
    let config = journal::Config {
        dir: dir.join("journal"),
        segment_bytes: SEGMENT_BYTES,
    };
    let journal = Journal::open(config, disk.clone(), Clock::system(), Position(0)).unwrap();
    let mut reader = journal.reader(Position(0));
    let mut fold = Fold::default();
    while let Some(frame) = reader.next().unwrap() {
        let record = match frame.kind {
            FRAME_STATE => &frame.payload[..],
            FRAME_CARRIED_STATE => &frame.payload[8..],
            _ => continue,
        };
        fold.take(postcard::from_bytes(record).unwrap());
    }
    journal.close();
    fold
}

fn service(model: &Shared) -> TargetService {
    let model = Arc::clone(model);
    TargetService::new(tower::service_fn(move |request: reqwest::Request| {
        let model = Arc::clone(&model);
        async move {
            let target = request.url().path().trim_start_matches('/').to_owned();
            let ids: Vec<String> = if target == "batch" {
                let body = request.body().and_then(reqwest::Body::as_bytes).unwrap();
                let events: Vec<Value> = serde_json::from_slice(body).unwrap();
                events
                    .iter()
                    .map(|event| event["id"].as_str().unwrap().to_owned())
                    .collect()
            } else {
                vec![request.headers()["ce-id"].to_str().unwrap().to_owned()]
            };
            let (life, answer) = {
                let mut model = model.lock();
                match model.over {
                    true => (model.life, None),
                    false => (model.life, Some(model.arrived(&target, &ids))),
                }
            };
            let Some(answer) = answer else {
                return std::future::pending().await;
            };
            if !answer.after.is_zero() {
                tokio::time::sleep(answer.after).await;
            }
            let is_over = {
                let mut model = model.lock();
                let is_over = model.over || model.life != life;
                if !is_over {
                    model.answered(&target, &ids, answer.status);
                }
                is_over
            };
            if is_over {
                return std::future::pending().await;
            }
            let response = axum::http::Response::builder().status(answer.status);
            Ok(response.body("").unwrap().into())
        }
    }))
}

/// One schedule of several lives on one disk.
struct Test {
    dir: tempfile::TempDir,
    random: fastrand::Rng,
    model: Shared,
    next: usize,
}

impl Test {
    async fn open(&self, disk: &Disk, life: u32) -> Bus {
        let fold = fold(self.dir.path(), disk);
        let config = log::Config {
            dir: self.dir.path().to_owned(),
            segment_bytes: SEGMENT_BYTES,
            cache_bytes: 1 << 20,
        };
        let clock = Clock::system();
        let log = Log::open(config, disk.clone(), clock.clone()).unwrap();
        let mut events = BTreeMap::new();
        loop {
            let after = events.keys().next_back().copied().unwrap_or(0);
            let page = log.read_after(after, 1_000).await.unwrap();
            if page.is_empty() {
                break;
            }
            let page = page.iter();
            events.extend(page.map(|event| (event.sequence, event.event.id().to_owned())));
        }
        let mut found = Found {
            events,
            targets: Vec::new(),
            fold,
        };
        let rules = eventyard::rule::Rules::load(log.clone()).unwrap();
        for target in rules.current().targets() {
            found.targets.push((target.id.to_string(), target.key));
        }
        drop(rules);
        self.model.lock().begin(life, &found);
        let clients = service(&self.model).into();
        Bus::over(log, clock, clients, Connections::default()).await
    }

    /// Publishes a few events of one key or of several; `false` when the log takes none any more.
    async fn publish(&mut self, bus: &Bus) -> bool {
        let many = [1, 3, 20, 80][self.random.usize(0..4)];
        let mut events = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..many {
            let key = self.random.usize(0..KEYS);
            let id = format!("{key}-{}", self.next);
            self.next += 1;
            let event = Event::builder(&id, "/test", "t").json(format!(r#"{{"k":"{key}"}}"#));
            events.push(event.build().unwrap());
            self.model
                .lock()
                .published
                .entry(key)
                .or_default()
                .push(id.clone());
            ids.push(id);
        }
        let appended = bus.log.append(&name(), events, Duration::ZERO).await;
        let is_taken = appended.is_ok();
        if is_taken {
            self.model.lock().acknowledged.extend(ids);
        }
        is_taken
    }

    /// Redrives some dead letters; what is asked for may come before the answer does.
    async fn redrive(&self, bus: &Bus, most: usize) {
        let letters = bus.log.dead_letters(None, None, most).unwrap();
        let mut ids = Vec::new();
        for letter in letters {
            let event = bus.log.event(letter.sequence).await;
            if let Ok(Some(event)) = event {
                let delivery = (letter.target_name.to_string(), event.event.id().to_owned());
                let mut model = self.model.lock();
                model.tried.remove(&delivery);
                model.may.insert(delivery.clone());
                model.redriven.insert(delivery);
                ids.push((letter.target, letter.sequence));
            }
        }
        // A log whose power is gone redrives nothing, or who knows what of it.
        let _ = dead_letter::redrive(&bus.delivery, Which::Ids(&ids)).await;
    }

    /// Lets so many requests come, or a moment pass.
    async fn wait(&mut self) {
        let enough = self.model.lock().requests + self.random.u64(0..60);
        let most = Instant::now() + Duration::from_millis(self.random.u64(1..60));
        while self.model.lock().requests < enough && Instant::now() < most {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn act(&mut self, bus: &Bus) -> bool {
        let targets = bus.rules.current().targets();
        let target = targets[self.random.usize(0..targets.len())].key;
        match self.random.u32(0..20) {
            0..9 => return self.publish(bus).await,
            9..11 => {
                let most = self.random.usize(1..20);
                self.redrive(bus, most).await;
            }
            11 => {
                let _ = bus.delivery.pause(target).await;
            }
            12 => {
                let _ = bus.delivery.resume(target).await;
            }
            13 => {
                let while_ = Duration::from_millis(self.random.u64(5..150));
                self.model.lock().down_until = Instant::now() + while_;
            }
            _ => self.wait().await,
        }
        true
    }

    /// A life that ends with the power, or is stopped.
    async fn live(&mut self, disk: Disk, simulation: Simulation, life: u32) -> (Disk, Simulation) {
        let bus = self.open(&disk, life).await;
        if life == 0 {
            put_rule(&bus).await;
        }
        if self.random.bool() {
            simulation.cut_power_after(self.random.u64(1..400));
        }
        for _ in 0..self.random.usize(3..40) {
            if !self.act(&bus).await {
                break;
            }
        }
        if self.random.u32(0..6) == 0 && !simulation.is_off() {
            self.stop(bus).await;
            return simulation.after_power_cut(self.random.u64(..));
        }
        self.model.lock().over = true;
        let after = simulation.after_power_cut(self.random.u64(..));
        bus.router.drain().await;
        bus.delivery.drain(Duration::ZERO).await;
        bus.log.close();
        if self.random.u32(0..4) == 0 {
            drop(bus);
            std::fs::remove_dir_all(self.dir.path().join("view")).unwrap();
        }
        after
    }

    async fn stop(&mut self, bus: Bus) {
        let log = bus.stop().await;
        log.close();
        self.model.lock().over = true;
    }

    /// All comes that is not dead, and what is redriven; then nothing is left for another life.
    async fn last_lives(&mut self, disk: &Disk) {
        self.model.lock().is_kind = true;
        let bus = self.open(disk, LIVES).await;
        let targets = bus.rules.current().targets();
        for target in &targets {
            bus.delivery.resume(target.key).await.unwrap();
        }
        let missing = || self.model.lock().missing(&targets);
        let mut fewest = usize::MAX;
        let mut deadline = Instant::now() + PATIENCE;
        while fewest > 0 && Instant::now() < deadline {
            self.redrive(&bus, usize::MAX).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = missing().len();
            if now < fewest {
                fewest = now;
                deadline = Instant::now() + PATIENCE;
            }
        }
        for delivery in missing() {
            self.model
                .lock()
                .violation(format!("{delivery:?} never came"));
        }
        for target in &targets {
            bus.until_settled(target.key).await;
        }
        self.stop(bus).await;
        let requests = self.model.lock().requests;
        let bus = self.open(disk, LIVES + 1).await;
        let end = bus.log.durable_through();
        until("all is routed", || bus.router.routed_through() >= end).await;
        for target in &targets {
            bus.until_settled(target.key).await;
        }
        self.stop(bus).await;
        let mut model = self.model.lock();
        if model.requests > requests {
            let again = model.requests - requests;
            model.violation(format!(
                "{again} requests after a stop with nothing pending"
            ));
        }
    }
}

async fn put_rule(bus: &Bus) {
    let target = |id: &str, settings: Value| {
        let mut target = json!({
            "id": id, "url": format!("http://t.example/{id}"), "concurrency": 4,
            "retry": {"initial_delay": "5ms", "max_delay": "20ms", "max_attempts": 1000},
        });
        for (field, value) in settings.as_object().unwrap() {
            target[field] = value.clone();
        }
        target
    };
    let plain = json!({"retry": {
        "initial_delay": "5ms", "max_delay": "20ms", "max_attempts": MOST_ATTEMPTS,
    }});
    let batch = json!({"mode": "batch", "batch": {"max_events": 5, "max_wait": "5ms"}});
    let rule = json!({
        "pattern": {"source": ["/test"]},
        "targets": [
            target("plain", plain),
            target("ordered", json!({"ordering_key": "$.data.k"})),
            target("batch", batch),
        ],
    });
    let rule_name = RuleName::new("r").unwrap();
    let (bus_name, rule) = (name(), rule.to_string());
    let put = bus
        .rules
        .put_rule(&bus_name, &rule_name, &rule, IfMatch::Always);
    put.await.unwrap();
}

async fn run(seed: u64) -> (u64, u64, Vec<String>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let model = Arc::new(Mutex::new(Model {
        random: random.fork(),
        life: 0,
        over: false,
        is_kind: false,
        down_until: Instant::now(),
        requests: 0,
        may: HashSet::new(),
        stood: HashMap::new(),
        trail: HashMap::new(),
        old: BTreeSet::new(),
        published: BTreeMap::new(),
        acknowledged: BTreeSet::new(),
        taken: HashMap::new(),
        refused: HashSet::new(),
        redriven: HashSet::new(),
        tried: HashMap::new(),
        under_way: HashSet::new(),
        repeats: 0,
        violations: Vec::new(),
    }));
    let mut test = Test {
        dir: tempfile::tempdir().unwrap(),
        random,
        model: Arc::clone(&model),
        next: 0,
    };
    let (mut disk, mut simulation) = Disk::simulated();
    for life in 0..LIVES {
        (disk, simulation) = test.live(disk, simulation, life).await;
    }
    test.last_lives(&disk).await;
    let model = model.lock();
    let violations = model.violations.clone();
    (model.requests, model.repeats, violations)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_taken_once_a_life_whatever_the_power_cuts() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds: Vec<u64> = match number("EVENTYARD_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("EVENTYARD_SEEDS").unwrap_or(SEEDS))
            .map(|_| fastrand::u64(..))
            .collect(),
    };
    for seed in seeds {
        println!("seed {seed}");
        let (requests, repeats, violations) = run(seed).await;
        println!("{requests} requests, {repeats} of them repeats of what was taken before");
        assert!(
            violations.is_empty(),
            "seed {seed}: {} violations\n{}",
            violations.len(),
            violations[..violations.len().min(10)].join("\n")
        );
    }
}
