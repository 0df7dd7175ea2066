//! Log, rules, delivery and router, without the HTTP API, and how tests wait for them.

use std::path::Path;
use std::time::{Duration, Instant};

use eventyard::clock::Clock;
use eventyard::delivery::{self, Clients, Delivery, LaneStatus, http_client};
use eventyard::event::Event;
use eventyard::guard::Guard;
use eventyard::log::{self, BusName, Disk, Log, RuleName, TargetId};
use eventyard::router::Router;
use eventyard::rule::{IfMatch, Rules};
use eventyard::secret::Secrets;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds; a test that waits by sleeping is either slow or wrong.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until nothing is left. The patience is for each step towards it: how long thousands of
/// deliveries take in all is the machine's matter.
pub(crate) async fn until_gone(what: &str, mut left: impl FnMut() -> u64) {
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

pub(crate) struct Bus {
    pub(crate) log: Log,
    pub(crate) rules: Rules,
    pub(crate) delivery: Delivery,
    pub(crate) router: Router,
}

pub(crate) fn open(dir: &Path, clock: &Clock) -> Log {
    let config = log::Config {
        dir: dir.to_owned(),
        segment_bytes: 16 * 1024 * 1024,
        cache_bytes: 16 * 1024 * 1024,
    };
    Log::open(config, Disk::real(), clock.clone()).unwrap()
}

pub(crate) fn name() -> BusName {
    BusName::default_bus()
}

impl Bus {
    pub(crate) async fn start(dir: &Path) -> Self {
        let clock = Clock::system();
        Self::on(open(dir, &clock), clock).await
    }

    pub(crate) async fn on(log: Log, clock: Clock) -> Self {
        let connections = delivery::Connections::default();
        let clients = http_client(&Guard::off(), &connections).unwrap();
        Self::over(log, clock, clients, connections).await
    }

    pub(crate) async fn over(
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

    pub(crate) async fn stop(self) -> Log {
        self.router.drain().await;
        self.delivery.drain(Duration::from_secs(5)).await;
        self.log
    }

    /// Puts a rule for events of type `t.<rule>` with one target `t`, and gives its key.
    pub(crate) async fn rule(&self, rule: &str, url: &str, settings: Value) -> TargetId {
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

    pub(crate) async fn delete_rule(&self, rule: &str) {
        let rule = RuleName::new(rule).unwrap();
        self.rules
            .delete_rule(&name(), &rule, IfMatch::Always)
            .await
            .unwrap();
    }

    /// Publishes events `from..to` of type `t.<rule>`.
    pub(crate) async fn publish(&self, rule: &str, range: std::ops::Range<usize>) {
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

    pub(crate) fn status(&self, target: TargetId) -> LaneStatus {
        self.delivery.status(target).unwrap()
    }

    pub(crate) fn pending(&self, target: TargetId) -> u64 {
        let status = self.status(target);
        status.in_flight + status.ready + status.parked + status.backlogged
    }

    pub(crate) async fn until_settled(&self, target: TargetId) {
        let end = self.log.durable_through();
        until("everything is routed", || {
            self.router.routed_through() >= end
        })
        .await;
        let mut fewest = u64::MAX;
        let mut deadline = Instant::now() + PATIENCE;
        while fewest > 0 {
            let now = self.pending(target);
            if now < fewest {
                (fewest, deadline) = (now, Instant::now() + PATIENCE);
            }
            let status = self.status(target);
            assert!(Instant::now() < deadline, "it is still pending: {status:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn until_dead(&self, count: usize) -> Vec<log::DeadLetter> {
        let letters = || self.log.dead_letters(None, None, 100_000).unwrap();
        until("the dead letters are there", || letters().len() >= count).await;
        letters()
    }
}

pub(crate) fn quick_retries() -> Value {
    json!({"retry": {"initial_delay": "20ms", "max_delay": "100ms", "jitter": false}})
}

/// A URL where nobody listens.
pub(crate) async fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}
