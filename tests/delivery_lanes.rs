//! Lanes, retries, dead letters and the router over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use eventyard::clock::Clock;
use eventyard::delivery::dead_letter::{self, DeadLetterError, Which};
use eventyard::delivery::{
    self, BreakerState, Clients, Delivery, LaneStatus, TargetService, http_client,
};
use eventyard::event::Event;
use eventyard::guard::Guard;
use eventyard::limits;
use eventyard::log::{self, BusName, DeadLetterReason, Disk, Log, RuleName, TargetId};
use eventyard::router::Router;
use eventyard::rule::{IfMatch, Rules};
use eventyard::secret::Secrets;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds; a test that waits by sleeping is either slow or wrong.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until nothing is left. The patience is for each step towards it: how long thousands of
/// deliveries take in all is the machine's matter.
async fn until_gone(what: &str, mut left: impl FnMut() -> u64) {
    let mut fewest = u64::MAX;
    while fewest > 0 {
        let mut now = fewest;
        until(what, || {
            now = left();
            now < fewest
        })
        .await;
        fewest = now;
    }
}

#[derive(Clone)]
struct Reply {
    status: u16,
    after: Duration,
    retry_after: Option<&'static str>,
    body: String,
}

fn reply(status: u16) -> Reply {
    Reply {
        status,
        after: Duration::ZERO,
        retry_after: None,
        body: String::new(),
    }
}

#[derive(Debug, Clone)]
struct Request {
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

type Script = Box<dyn Fn(usize, &Request) -> Reply + Send + Sync>;

/// A receiver on a real socket that records what it gets and answers by its script.
struct TestTarget {
    url: String,
    shared: Arc<Received>,
    server: JoinHandle<()>,
}

struct Received {
    requests: Mutex<Vec<Request>>,
    script: Mutex<Script>,
}

impl TestTarget {
    async fn start(script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, script)
    }

    fn on(
        listener: TcpListener,
        script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let shared = Arc::new(Received {
            requests: Mutex::default(),
            script: Mutex::new(Box::new(script)),
        });
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            shared,
            server,
        }
    }

    /// Answers with these in turn, then 200.
    async fn replying<const N: usize>(statuses: [u16; N]) -> Self {
        Self::start(move |n, _| reply(statuses.get(n).copied().unwrap_or(200))).await
    }

    fn count(&self) -> usize {
        self.shared.requests.lock().len()
    }

    fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().clone()
    }

    /// How often each event came.
    fn times(&self) -> HashMap<String, usize> {
        let mut times = HashMap::new();
        for request in self.shared.requests.lock().iter() {
            *times.entry(request.header("ce-id").to_owned()).or_default() += 1;
        }
        times
    }
}

impl Drop for TestTarget {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(received): State<Arc<Received>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let request = Request {
        headers,
        body,
        at: Instant::now(),
    };
    let reply = {
        let mut requests = received.requests.lock();
        requests.push(request.clone());
        (received.script.lock())(requests.len() - 1, &request)
    };
    if !reply.after.is_zero() {
        tokio::time::sleep(reply.after).await;
    }
    let mut headers = HeaderMap::new();
    if let Some(value) = reply.retry_after {
        headers.insert("retry-after", HeaderValue::from_static(value));
    }
    let status = StatusCode::from_u16(reply.status).unwrap();
    (status, headers, reply.body)
}

/// Log, rules, delivery and router, without the HTTP API.
struct Bus {
    log: Log,
    rules: Rules,
    delivery: Delivery,
    router: Router,
}

fn open(dir: &Path, clock: &Clock) -> Log {
    let config = log::Config {
        dir: dir.to_owned(),
        segment_bytes: 16 * 1024 * 1024,
        cache_bytes: 16 * 1024 * 1024,
    };
    Log::open(config, Disk::real(), clock.clone()).unwrap()
}

fn name() -> BusName {
    BusName::default_bus()
}

impl Bus {
    async fn start(dir: &Path) -> Self {
        let clock = Clock::system();
        Self::on(open(dir, &clock), clock).await
    }

    async fn on(log: Log, clock: Clock) -> Self {
        let connections = delivery::Connections::default();
        let clients = http_client(&Guard::off(), &connections).unwrap();
        Self::over(log, clock, clients, connections).await
    }

    async fn over(
        log: Log,
        clock: Clock,
        clients: Clients,
        connections: delivery::Connections,
    ) -> Self {
        let rules = Rules::load(log.clone()).unwrap();
        if rules.bus(&name()).is_none() {
            let put = rules.put_bus(&name(), "{}", IfMatch::Always).await;
            put.unwrap();
        }
        let secrets = Secrets::in_memory(clock.clone());
        let config = delivery::Config {
            own_events: false,
            ..delivery::Config::default()
        };
        let delivery = Delivery::start(
            &config,
            log.clone(),
            rules.clone(),
            clock,
            clients,
            connections,
            secrets,
        )
        .unwrap();
        let router = Router::start(log.clone(), rules.clone(), delivery.clone()).unwrap();
        Self {
            log,
            rules,
            delivery,
            router,
        }
    }

    async fn stop(self) -> Log {
        self.router.drain().await;
        self.delivery.drain(Duration::from_secs(5)).await;
        self.log
    }

    /// Puts a rule for events of type `t.<rule>` with one target `t`, and gives its key.
    async fn rule(&self, rule: &str, url: &str, settings: Value) -> TargetId {
        let mut target = json!({"id": "t", "url": url});
        for (field, value) in settings.as_object().unwrap() {
            target[field] = value.clone();
        }
        let document = json!({"pattern": {"type": [format!("t.{rule}")]}, "targets": [target]});
        let rule = RuleName::new(rule).unwrap();
        self.rules
            .put_rule(&name(), &rule, &document.to_string(), IfMatch::Always)
            .await
            .unwrap();
        let targets = self.rules.current().targets();
        targets.iter().find(|t| t.rule == rule).unwrap().key
    }

    async fn delete_rule(&self, rule: &str) {
        let rule = RuleName::new(rule).unwrap();
        self.rules
            .delete_rule(&name(), &rule, IfMatch::Always)
            .await
            .unwrap();
    }

    /// Publishes events `from..to` of type `t.<rule>`.
    async fn publish(&self, rule: &str, range: std::ops::Range<usize>) {
        let kind = format!("t.{rule}");
        let all: Vec<usize> = range.collect();
        for some in all.chunks(500) {
            let events = some
                .iter()
                .map(|n| {
                    Event::builder(&format!("{n}"), "/test", &kind)
                        .json(format!("{{\"n\":{n}}}"))
                        .build()
                        .unwrap()
                })
                .collect();
            self.log
                .append(&name(), events, Duration::ZERO)
                .await
                .unwrap();
        }
    }

    fn status(&self, target: TargetId) -> LaneStatus {
        self.delivery.status(target).unwrap()
    }

    fn pending(&self, target: TargetId) -> u64 {
        let status = self.status(target);
        status.in_flight + status.ready + status.parked + status.backlogged
    }

    async fn until_settled(&self, target: TargetId) {
        let end = self.log.durable_through();
        until("everything is routed", || {
            self.router.routed_through() >= end
        })
        .await;
        until_gone("nothing is pending", || self.pending(target)).await;
    }

    async fn until_dead(&self, count: usize) -> Vec<log::DeadLetter> {
        let letters = || self.log.dead_letters(None, None, 100_000).unwrap();
        until("the dead letters are there", || letters().len() >= count).await;
        letters()
    }
}

fn quick_retries() -> Value {
    json!({"retry": {"initial_delay": "20ms", "max_delay": "100ms", "jitter": false}})
}

/// A URL where nobody listens.
async fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_its_target_as_it_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([]).await;
    let key = bus
        .rule("r", &target.url, json!({"headers": {"x-tenant": "acme"}}))
        .await;
    bus.publish("r", 0..1).await;
    bus.publish("other", 1..2).await;
    bus.until_settled(key).await;
    let requests = target.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.header("ce-id"), "0");
    assert_eq!(request.header("ce-type"), "t.r");
    assert_eq!(request.header("x-tenant"), "acme");
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.header("user-agent").starts_with("Eventyard/"));
    assert!(
        request
            .header("webhook-id")
            .starts_with(&format!("{}-", key.0))
    );
    assert!(!request.header("webhook-id").contains('.'));
    assert!(request.header("webhook-timestamp").parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(&request.body[..], b"{\"n\":0}");
    assert_eq!(bus.status(key).delivered, 1);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_delivery_is_tried_again_with_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([503, 404, 500]).await;
    let key = bus.rule("r", &target.url, quick_retries()).await;
    bus.publish("r", 0..1).await;
    until("it was delivered", || bus.status(key).delivered == 1).await;
    bus.until_settled(key).await;
    let requests = target.requests();
    assert_eq!(requests.len(), 4);
    let id = requests[0].header("webhook-id");
    assert!(requests.iter().all(|r| r.header("webhook-id") == id));
    let waits = requests
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect::<Vec<_>>();
    for (wait, least) in waits.iter().zip([20, 40, 80]) {
        assert!(*wait >= Duration::from_millis(least - 1), "{waits:?}");
    }
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::start(|n, _| Reply {
        retry_after: Some("1"),
        ..reply(if n == 0 { 429 } else { 200 })
    })
    .await;
    let key = bus.rule("r", &target.url, quick_retries()).await;
    bus.publish("r", 0..1).await;
    until("it was delivered", || bus.status(key).delivered == 1).await;
    let requests = target.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(990));
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_becomes_a_dead_letter_that_can_be_redriven() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::start(|_, request| match request.header("ce-id") {
        "0" => Reply {
            body: "no such order".to_owned(),
            ..reply(422)
        },
        "1" => reply(302),
        "2" => reply(500),
        _ => reply(410),
    })
    .await;
    let mut settings = quick_retries();
    settings["retry"]["max_attempts"] = json!(2);
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..3).await;
    bus.until_dead(3).await;
    bus.publish("r", 3..4).await;
    let letters = bus.until_dead(4).await;
    let told: Vec<_> = letters
        .iter()
        .map(|l| (l.reason, l.last_status, l.attempts))
        .collect();
    assert_eq!(
        told,
        [
            (DeadLetterReason::Refused, Some(422), 1),
            (DeadLetterReason::Refused, Some(302), 1),
            (DeadLetterReason::AttemptsExhausted, Some(500), 2),
            (DeadLetterReason::Gone, Some(410), 1),
        ]
    );
    assert_eq!(letters[0].last_error.as_deref(), Some("no such order"));
    bus.until_settled(key).await;

    assert_eq!(bus.status(key).state, "disabled");
    bus.delivery.resume(key).await.unwrap();
    *target.shared.script.lock() = Box::new(|_, _| reply(200));
    let before = target.count();
    let id = (key, letters[1].sequence);
    dead_letter::delete(&bus.delivery, id.0, id.1)
        .await
        .unwrap();
    let again = dead_letter::delete(&bus.delivery, id.0, id.1).await;
    assert!(matches!(again, Err(DeadLetterError::NotFound)));
    let ids = [(key, letters[0].sequence), (key, letters[0].sequence), id];
    let redriven = dead_letter::redrive(&bus.delivery, Which::Ids(&ids)).await;
    assert_eq!(redriven.unwrap(), 1);
    let redriven = dead_letter::redrive(&bus.delivery, Which::Targets(&[key])).await;
    assert_eq!(redriven.unwrap(), 2);
    until("they were delivered", || bus.status(key).delivered == 3).await;
    bus.until_settled(key).await;
    assert_eq!(target.count(), before + 3);
    assert!(bus.log.dead_letters(None, None, 10).unwrap().is_empty());
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_for_a_slow_target_arrives_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([]).await;
    let key = bus.rule("r", &target.url, json!({"concurrency": 1})).await;
    bus.publish("r", 0..6_000).await;
    until("some are on disk", || {
        let status = bus.status(key);
        assert!(status.ready <= (limits::LANE_READY + 2 * limits::BACKLOG_CHUNK) as u64);
        status.backlogged > 1_000
    })
    .await;
    bus.until_settled(key).await;
    let ids: Vec<usize> = target
        .requests()
        .iter()
        .map(|r| r.header("ce-id").parse().unwrap())
        .collect();
    let first_wrong = ids.iter().enumerate().find(|(at, id)| at != *id);
    assert_eq!((ids.len(), first_wrong), (6_000, None));
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_target_delays_nobody_and_gets_everything_once_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dead = bus
        .rule("dead", &format!("http://{address}/"), quick_retries())
        .await;
    let target = TestTarget::replying([]).await;
    let well = bus.rule("well", &target.url, json!({})).await;
    bus.publish("dead", 0..5_000).await;
    bus.publish("well", 0..500).await;
    bus.until_settled(well).await;
    assert_eq!(target.count(), 500);
    until("its breaker opened", || {
        bus.status(dead).breaker == BreakerState::Open
    })
    .await;
    let status = bus.status(dead);
    let error = status.last_error.clone().unwrap();
    assert!(error.contains("connection refused"), "{error}");
    until("it waits on disk", || bus.status(dead).backlogged > 4_900).await;
    let attempts = bus.status(dead).attempts;
    assert!(
        attempts < 200,
        "an open breaker spends no attempts: {attempts}"
    );

    let revived = TestTarget::on(TcpListener::bind(address).await.unwrap(), |_, _| reply(200));
    until_gone("all were delivered", || 5_000 - bus.status(dead).delivered).await;
    bus.until_settled(dead).await;
    let times = revived.times();
    assert_eq!(times.len(), 5_000);
    assert!(times.values().all(|times| *times == 1));
    assert_eq!(bus.status(dead).breaker, BreakerState::Closed);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_target_does_not_hold_the_checkpoint_back() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let hanging = TestTarget::start(|n, _| Reply {
        after: Duration::from_secs(if n < 2 { 600 } else { 0 }),
        ..reply(200)
    })
    .await;
    let key = bus
        .rule(
            "r",
            &hanging.url,
            json!({"timeout": "3s", "concurrency": 2}),
        )
        .await;
    bus.publish("r", 0..5).await;
    let end = bus.log.durable_through();
    until("the checkpoint passes them", || {
        bus.log.checkpoint().unwrap() >= end
    })
    .await;
    assert_eq!(bus.status(key).in_flight, 2);
    assert_eq!(
        bus.pending(key),
        5,
        "each counts once, parked in flight or not"
    );
    until("all were delivered", || bus.status(key).delivered == 5).await;
    bus.until_settled(key).await;
    assert_eq!(hanging.count(), 7);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_ends_with_the_timeout() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            .await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let settings = json!({"timeout": "300ms", "retry": {"max_attempts": 1}});
    bus.rule("r", &url, settings).await;
    bus.publish("r", 0..1).await;
    let letters = bus.until_dead(1).await;
    let error = letters[0].last_error.clone().unwrap();
    assert!(error.contains("did not end within 300ms"), "{error}");
    server.abort();
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_answer_is_cut_off_and_the_start_of_an_error_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::start(|n, _| Reply {
        body: "x".repeat(10 * 1024 * 1024),
        ..reply(if n == 0 { 200 } else { 400 })
    })
    .await;
    let key = bus.rule("r", &target.url, json!({})).await;
    bus.publish("r", 0..1).await;
    until("it was delivered", || bus.status(key).delivered == 1).await;
    bus.publish("r", 1..2).await;
    let letters = bus.until_dead(1).await;
    assert_eq!(
        letters[0].last_error.as_ref().unwrap().len(),
        limits::RESPONSE_KEPT_BYTES
    );
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_target_gets_events_together() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([503]).await;
    let mut settings = quick_retries();
    settings["mode"] = json!("batch");
    settings["batch"] = json!({"max_events": 50, "max_wait": "50ms"});
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..120).await;
    until("all were delivered", || bus.status(key).delivered == 120).await;
    bus.until_settled(key).await;
    let mut ids = Vec::new();
    let requests = target.requests();
    for request in &requests {
        assert!(
            request
                .header("content-type")
                .starts_with("application/cloudevents-batch+json")
        );
        let batch: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
        assert!(batch.len() <= 50);
        ids.extend(batch.iter().map(|e| e["id"].as_str().unwrap().to_owned()));
    }
    assert!(requests.len() <= 6, "{} requests", requests.len());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 120);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_keeps_to_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([]).await;
    let settings = json!({
        "mode": "batch", "concurrency": 2,
        "batch": {"max_events": 50, "max_bytes": "1KiB", "max_wait": "20ms"},
    });
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..100).await;
    until("all were delivered", || bus.status(key).delivered == 100).await;
    bus.until_settled(key).await;
    let requests = target.requests();
    assert!(requests.iter().all(|r| r.body.len() <= 1024));
    let events: usize = requests
        .iter()
        .map(|r| serde_json::from_slice::<Vec<Value>>(&r.body).unwrap().len())
        .sum();
    assert_eq!(events, 100);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_rule_makes_what_is_pending_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let key = bus.rule("r", &dead_url().await, quick_retries()).await;
    bus.publish("r", 0..3_000).await;
    until("they wait", || {
        bus.delivery
            .status(key)
            .is_some_and(|s| s.backlogged > 2_000)
    })
    .await;
    bus.delete_rule("r").await;
    let letters = bus.until_dead(3_000).await;
    assert_eq!(letters.len(), 3_000);
    assert!(
        letters
            .iter()
            .all(|l| l.reason == DeadLetterReason::TargetRemoved && l.rule.as_str() == "r")
    );
    until("the lane ended", || bus.delivery.status(key).is_none()).await;
    let ids = [(key, letters[0].sequence)];
    let redriven = dead_letter::redrive(&bus.delivery, Which::Ids(&ids)).await;
    assert!(matches!(redriven, Err(DeadLetterError::TargetGone(..))));
    let purged = dead_letter::purge(&bus.delivery, Which::Targets(&[key])).await;
    assert_eq!(purged.unwrap(), 3_000);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_target_gets_what_was_pending() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let key = bus.rule("r", &dead_url().await, quick_retries()).await;
    bus.publish("r", 0..100).await;
    until("its breaker opened", || {
        bus.delivery
            .status(key)
            .is_some_and(|s| s.breaker == BreakerState::Open)
    })
    .await;
    let target = TestTarget::replying([]).await;
    assert_eq!(bus.rule("r", &target.url, quick_retries()).await, key);
    until("all were delivered", || bus.status(key).delivered == 100).await;
    assert_eq!(target.times().len(), 100);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_a_dead_target_dies_of_age_without_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let mut settings = quick_retries();
    settings["retry"]["max_age"] = json!("2s");
    let key = bus.rule("r", &dead_url().await, settings).await;
    bus.publish("r", 0..2_000).await;
    let letters = bus.until_dead(2_000).await;
    assert!(
        letters.iter().all(|l| l.reason == DeadLetterReason::TooOld
            || l.reason == DeadLetterReason::AttemptsExhausted)
    );
    bus.until_settled(key).await;
    assert!(bus.status(key).attempts < 200);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_restart_repeats_nothing_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = TestTarget::start(|n, _| Reply {
        after: Duration::from_millis(1),
        ..reply(if n % 7 == 0 { 500 } else { 200 })
    })
    .await;
    let accepted = |target: &TestTarget| {
        let mut times: HashMap<String, usize> = HashMap::new();
        for (n, request) in target.requests().iter().enumerate() {
            if n % 7 != 0 {
                *times.entry(request.header("ce-id").to_owned()).or_default() += 1;
            }
        }
        times
    };
    let bus = Bus::start(dir.path()).await;
    let mut settings = quick_retries();
    settings["concurrency"] = json!(4);
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..4_000).await;
    until_gone("some were delivered", || {
        700u64.saturating_sub(bus.status(key).delivered)
    })
    .await;
    let log = bus.stop().await;
    let so_far = accepted(&target).len();
    assert!(so_far < 4_000, "the test stops in the middle");
    log.close();
    drop(log);

    let bus = Bus::start(dir.path()).await;
    let rest = (4_000 - so_far) as u64;
    until_gone("the rest was delivered", || {
        let status = bus.delivery.status(key);
        rest.saturating_sub(status.map_or(0, |status| status.delivered))
    })
    .await;
    bus.until_settled(key).await;
    let accepted = accepted(&target);
    assert_eq!(accepted.len(), 4_000);
    assert!(accepted.values().all(|times| *times == 1));
    bus.stop().await;
}

/// Counts the requests that are under way, and the most there were.
#[derive(Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl UnderWay {
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        struct Leaves<'a>(&'a AtomicUsize);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        let _leaves = Leaves(&self.now);
        self.most.fetch_max(now, Ordering::SeqCst);
        work.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_targets_that_hang_have_a_bound_together_and_leave_room_to_the_others() {
    const RULES: usize = 7;
    const EVENTS: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let under_way = Arc::new(UnderWay::default());
    let (let_go, hanging) = tokio::sync::watch::channel(false);
    let hangs = under_way.clone();
    let service = TargetService::new(tower::service_fn(move |request: reqwest::Request| {
        let (hangs, mut hanging) = (hangs.clone(), hanging.clone());
        async move {
            if request.url().path() == "/hangs" {
                hangs.during(hanging.wait_for(|let_go| *let_go)).await?;
            }
            Ok(axum::http::Response::new("").into())
        }
    }));
    let clock = Clock::system();
    let connections = delivery::Connections::default();
    let log = open(dir.path(), &clock);
    let bus = Bus::over(log, clock, service.into(), connections).await;
    let targets: Vec<Value> = (0..limits::TARGETS_PER_RULE)
        .map(|n| json!({"id": format!("t{n}"), "url": "http://t.example/hangs", "timeout": "2m"}))
        .collect();
    for rule in 0..RULES {
        let bus_name = name();
        let document = json!({"pattern": {"type": ["t.hanging"]}, "targets": targets});
        let rule = RuleName::new(&format!("hanging-{rule}")).unwrap();
        let document = document.to_string();
        let put = bus
            .rules
            .put_rule(&bus_name, &rule, &document, IfMatch::Always);
        put.await.unwrap();
    }
    let lanes = bus.rules.current().targets();
    let per_lane = EVENTS.min(limits::TARGET_CONCURRENCY);
    assert!(
        lanes.len() * per_lane > limits::ATTEMPTS,
        "enough to fill it"
    );
    bus.publish("hanging", 0..EVENTS).await;
    until("there is no more room", || {
        under_way.now.load(Ordering::SeqCst) >= limits::ATTEMPTS
    })
    .await;

    // Others are served meanwhile, old and new.
    let healthy = bus.rule("healthy", "http://t.example/", json!({})).await;
    bus.publish("healthy", 0..500).await;
    bus.until_settled(healthy).await;
    assert_eq!(bus.status(healthy).delivered, 500);
    for lane in &lanes {
        until("each has a little room", || {
            bus.status(lane.key).in_flight >= limits::ATTEMPTS_ALWAYS as u64
        })
        .await;
    }
    // Beyond the bound, each lane's few.
    let most = limits::ATTEMPTS + lanes.len() * limits::ATTEMPTS_ALWAYS;
    assert!(under_way.most.load(Ordering::SeqCst) <= most);

    let_go.send(true).unwrap();
    for lane in &lanes {
        bus.until_settled(lane.key).await;
        assert_eq!(bus.status(lane.key).delivered, EVENTS as u64);
    }
    bus.stop().await;
}
