//! Events of the bus's own about its targets: disabled, breaker opened and closed, dead letters.
//!
//! They are published on the target's bus like any other event, so that alerts are rules. Lanes
//! only put a notice into a queue; one task makes events of them. Nothing of it is needed for
//! delivery: what does not fit is counted and let go.
//!
//! So that alerts never feed on themselves, nothing is told of an event of the bus's own that
//! could not be delivered: no dead letter, no breaker that opened over it. That a target was
//! disabled is told all the same, since it happens once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Url;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::lane::Settings;
use super::status::Names;
use crate::clock::{Clock, Timestamp};
use crate::event::{self, Event};
use crate::limits;
use crate::log::{BusName, DeadLetter, DisabledFor, Log, Sequence, TargetId};
use crate::rule::Rules;

const DISABLED: &str = "eventyard.target.disabled";
const OPENED: &str = "eventyard.breaker.opened";
const CLOSED: &str = "eventyard.breaker.closed";
const DEAD: &str = "eventyard.dead_letter.created";

/// How often a target may have its dead letters told one by one again.
const REFILL_EVERY: Duration = Duration::from_secs(1);

/// The target that a notice is about.
#[derive(Debug, Clone)]
pub(crate) struct About {
    key: TargetId,
    names: Arc<Names>,
    url: Option<String>,
}

impl About {
    pub(crate) fn of(key: TargetId, settings: &Settings) -> About {
        let target = settings.target.as_ref();
        About {
            key,
            names: settings.names.clone(),
            url: target
                .filter(|target| target.pull.is_none())
                .map(|target| shown_url(&target.url)),
        }
    }
}

/// Queries hold keys and tokens.
pub(crate) fn shown_url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// What happened.
#[derive(Debug)]
pub(crate) enum What {
    Disabled {
        reason: DisabledFor,
        failing_since: Option<Timestamp>,
        last_status: Option<u16>,
    },
    Opened {
        /// The events whose attempt opened it.
        causes: Vec<Sequence>,
        failures: u32,
        probe_in: Duration,
        last_status: Option<u16>,
    },
    Closed,
    Dead(Box<DeadLetter>),
}

struct Notice {
    about: About,
    what: What,
}

/// How many were made of what was noticed, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoticeCounts {
    /// Events published.
    pub published: u64,
    /// Dead letters that were only counted, in an event for many.
    pub collapsed: u64,
    /// Notices that were let go: too many waited, or the log took none.
    pub lost: u64,
}

/// The side that lanes hold; clones share it. Does nothing when it is switched off.
#[derive(Clone)]
pub(crate) struct Notices(Option<Arc<Shared>>);

struct Shared {
    queue: mpsc::Sender<Notice>,
    budgets: Mutex<HashMap<TargetId, Budget>>,
    published: AtomicU64,
    collapsed: AtomicU64,
    lost: AtomicU64,
}

/// What may be told of one target's dead letters in this second.
#[derive(Debug)]
struct Budget {
    left: u32,
    /// In the queue.
    waiting: u32,
    /// Told: of events that are not the bus's own.
    told: u32,
    /// More than may be told one by one, by reason.
    more: BTreeMap<&'static str, u64>,
    about: About,
}

/// The task's own side.
pub(crate) struct Publisher {
    queue: mpsc::Receiver<Notice>,
    shared: Arc<Shared>,
    log: Log,
    rules: Rules,
    clock: Clock,
    /// Targets whose breaker was told to be open.
    open: HashSet<TargetId>,
}

impl Notices {
    pub(crate) fn off() -> Notices {
        Notices(None)
    }

    pub(crate) fn new(log: Log, rules: Rules, clock: Clock) -> (Notices, Publisher) {
        let (to, queue) = mpsc::channel(limits::NOTICES_WAITING);
        let shared = Arc::new(Shared {
            queue: to,
            budgets: Mutex::default(),
            published: AtomicU64::new(0),
            collapsed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let publisher = Publisher {
            queue,
            shared: Arc::clone(&shared),
            log,
            rules,
            clock,
            open: HashSet::new(),
        };
        (Notices(Some(shared)), publisher)
    }

    /// `what` happened to the target. Never waits.
    pub(crate) fn tell(&self, key: TargetId, settings: &Settings, what: What) {
        let Some(shared) = &self.0 else { return };
        let about = About::of(key, settings);
        if let What::Dead(letter) = &what
            && !shared.may_tell(&about, letter)
        {
            return;
        }
        let is_letter = matches!(what, What::Dead(_));
        if shared.queue.try_send(Notice { about, what }).is_err() {
            shared.lost.fetch_add(1, Relaxed);
            if is_letter && let Some(budget) = shared.budgets.lock().get_mut(&key) {
                budget.waiting = budget.waiting.saturating_sub(1);
            }
        }
    }

    pub(crate) fn counts(&self) -> NoticeCounts {
        let Some(shared) = &self.0 else {
            return NoticeCounts::default();
        };
        NoticeCounts {
            published: shared.published.load(Relaxed),
            collapsed: shared.collapsed.load(Relaxed),
            lost: shared.lost.load(Relaxed),
        }
    }
}

impl Shared {
    /// Whether this letter is told by itself; else it is counted.
    fn may_tell(&self, about: &About, letter: &DeadLetter) -> bool {
        let mut budgets = self.budgets.lock();
        let budget = budgets.entry(about.key).or_insert_with(|| Budget {
            left: limits::NOTICES_PER_TARGET,
            waiting: 0,
            told: 0,
            more: BTreeMap::new(),
            about: about.clone(),
        });
        if budget.left == 0 {
            *budget.more.entry(letter.reason.as_str()).or_default() += 1;
            self.collapsed.fetch_add(1, Relaxed);
            return false;
        }
        budget.left -= 1;
        budget.waiting += 1;
        true
    }

    fn looked_at(&self, key: TargetId, told: bool) {
        if let Some(budget) = self.budgets.lock().get_mut(&key) {
            budget.waiting = budget.waiting.saturating_sub(1);
            budget.told += u32::from(told);
        }
    }

    /// Ends a second: the targets with more than was told, each with how much.
    fn refill(&self) -> Vec<(About, BTreeMap<&'static str, u64>)> {
        let mut more = Vec::new();
        self.budgets.lock().retain(|_, budget| {
            if budget.waiting > 0 {
                return true;
            }
            let counts = std::mem::take(&mut budget.more);
            // With nothing told, the first ones were all the bus's own: so are these, or nearly.
            if !counts.is_empty() && budget.told > 0 {
                more.push((budget.about.clone(), counts));
            }
            false
        });
        more
    }
}

impl Publisher {
    /// Publishes until `stop`, and then what waits.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REFILL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut notices = Vec::new();
        loop {
            // In this order: what waits is looked at before its second ends.
            tokio::select! {
                biased;
                _ = self.queue.recv_many(&mut notices, limits::BULK_RECORDS) => {
                    let events = self.events(std::mem::take(&mut notices)).await;
                    self.publish(events).await;
                }
                _ = ticks.tick() => self.end_second().await,
                () = stop.cancelled() => {
                    self.end_second().await;
                    return;
                }
            }
        }
    }

    async fn end_second(&mut self) {
        let rules = self.rules.current();
        self.open.retain(|target| rules.target(*target).is_some());
        let more = self.shared.refill();
        let now = self.clock.now();
        let events = more.into_iter().filter_map(|(about, reasons)| {
            let count: u64 = reasons.values().sum();
            let id = format!("{}-more-{}", about.key, now.as_millis());
            let data = json!({ "count": count, "reasons": reasons });
            event(DEAD, &id, &about, now, data)
        });
        let events = events.collect();
        self.publish(events).await;
    }

    async fn events(&mut self, notices: Vec<Notice>) -> Vec<(BusName, Event)> {
        let mut events = Vec::with_capacity(notices.len());
        for Notice { about, what } in notices {
            events.extend(self.event(&about, what).await);
        }
        events
    }

    /// The event that tells of it, if any is to.
    async fn event(&mut self, about: &About, what: What) -> Option<(BusName, Event)> {
        let now = self.clock.now();
        let id = format!("{}-{}", about.key, now.as_millis());
        match what {
            What::Disabled {
                reason,
                failing_since,
                last_status,
            } => {
                let data = json!({
                    "reason": reason.as_str(),
                    "failing_since": failing_since.map(|since| since.to_string()),
                    "last_status": last_status,
                });
                event(DISABLED, &id, about, now, data)
            }
            What::Opened {
                causes,
                failures,
                probe_in,
                last_status,
            } => {
                let mut all_own = true;
                for cause in causes {
                    all_own = all_own && self.own_event(cause).await;
                }
                if all_own {
                    return None;
                }
                self.open.insert(about.key);
                let data = json!({
                    "failures": failures,
                    "last_status": last_status,
                    "probe_in_ms": u64::try_from(probe_in.as_millis()).unwrap_or(u64::MAX),
                });
                event(OPENED, &id, about, now, data)
            }
            What::Closed if self.open.remove(&about.key) => {
                event(CLOSED, &id, about, now, json!({}))
            }
            What::Closed => None,
            What::Dead(letter) => {
                let logged = self.log.event(letter.sequence).await.ok().flatten();
                let told = !logged
                    .as_ref()
                    .is_some_and(|logged| event::is_reserved(logged.event.kind()));
                self.shared.looked_at(about.key, told);
                if !told {
                    return None;
                }
                let id = format!(
                    "{}-{}-{}",
                    about.key,
                    letter.sequence,
                    letter.dead_at.as_millis()
                );
                let data = json!({
                    "count": 1,
                    "reason": letter.reason.as_str(),
                    "attempts": letter.attempts,
                    "last_status": letter.last_status,
                    "since": letter.since.to_string(),
                    "dead_letter": format!("{}-{}", letter.target, letter.sequence),
                    "event": {
                        "sequence": letter.sequence,
                        "id": logged.as_ref().map(|logged| logged.event.id()),
                        "source": logged.as_ref().map(|logged| logged.event.source()),
                        "type": logged.as_ref().map(|logged| logged.event.kind()),
                    },
                });
                event(DEAD, &id, about, now, data)
            }
        }
    }

    /// Whether it is an event of the bus's own. One that cannot be read is not.
    async fn own_event(&self, sequence: Sequence) -> bool {
        let logged = self.log.event(sequence).await.ok().flatten();
        logged.is_some_and(|logged| event::is_reserved(logged.event.kind()))
    }

    async fn publish(&self, events: Vec<(BusName, Event)>) {
        let mut by_bus: BTreeMap<BusName, Vec<Event>> = BTreeMap::new();
        for (bus, event) in events {
            by_bus.entry(bus).or_default().push(event);
        }
        for (bus, events) in by_bus {
            // A bus that was deleted has nobody to tell.
            let Some(window) = self.rules.window(&bus) else {
                continue;
            };
            let count = events.len() as u64;
            match self.log.append(&bus, events, window).await {
                Ok(_) => self.shared.published.fetch_add(count, Relaxed),
                Err(error) => {
                    warn!(%bus, count, %error, "events about targets could not be published");
                    self.shared.lost.fetch_add(count, Relaxed)
                }
            };
        }
    }
}

/// The source of events that the bus publishes about itself.
pub(crate) fn source(bus: &BusName) -> String {
    format!("/eventyard/buses/{bus}")
}

/// An event about a target; the data get the target's names beside what they say.
fn event(
    kind: &str,
    id: &str,
    about: &About,
    now: Timestamp,
    data: Value,
) -> Option<(BusName, Event)> {
    let Names { bus, rule, target } = &*about.names;
    let mut members = Map::new();
    members.insert("rule".to_owned(), rule.as_str().into());
    members.insert("target".to_owned(), target.as_str().into());
    members.insert("url".to_owned(), about.url.clone().into());
    if let Value::Object(data) = data {
        members.extend(data);
    }
    // Source and id are what duplicates are told by: the id says the kind as well.
    let id = format!("{}-{id}", kind.trim_start_matches("eventyard."));
    let built = Event::builder(&id, &source(bus), kind)
        .attribute("subject", format!("{rule}/{target}").as_str())
        .attribute("time", now.to_string().as_str())
        .json(Value::Object(members).to_string())
        .build();
    match built {
        Ok(event) => Some((bus.clone(), event)),
        Err(error) => {
            warn!(kind, %error, "an event of the bus's own is not valid");
            None
        }
    }
}
