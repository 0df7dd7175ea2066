//! Delivers: every matched event to its target, with retries, a breaker and dead letters.
//!
//! The router offers deliveries to lanes, one per target (`lane`); an attempt is one HTTP request
//! (`attempt`); what follows it is decided in `next_step`.

mod attempt;
mod auth;
mod breaker;
mod clients;
mod consent;
mod crowd;
pub mod dead_letter;
mod desk;
mod draft;
mod encode;
mod in_hand;
mod inbox;
mod lane;
mod lease;
mod measures;
mod next_step;
mod notices;
mod operate;
mod pace;
mod preview;
mod progress;
mod pull;
mod recent;
mod reply;
mod retry_after;
mod room;
mod signing;
mod standing;
mod status;
mod timing;
mod trace;
mod traces;
mod transformed;
mod wire;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

pub use self::breaker::BreakerState;
pub use self::clients::{Clients, http_client};
pub use self::desk::{GiveBack, Leased, Word};
pub use self::measures::{BusFigures, Figures};
pub use self::next_step::{Class, Health, NextStep, Outcome, next_step};
pub use self::notices::NoticeCounts;
pub use self::operate::{OperateError, Trial};
pub use self::preview::{Preview, preview};
pub use self::pull::{Answered, Pull, PullError, Pulled};
pub use self::status::{LaneStatus, Names};
pub use self::timing::{Micros, Timing};
pub use self::trace::{Basis, DeliveryState, DeliveryTrace, EventTrace, Routed, RuleTrace};
pub use self::traces::{Attempt, Config as TracesConfig, Mode as TracesMode, Text};
pub use self::wire::{Connections, TargetService};

use self::attempt::Sender;
use self::auth::Credentials;
use self::crowd::Crowd;
use self::inbox::{Fresh, Offer};
use self::lane::{Handle, Hub, Lane, Settings};
use self::measures::Measures;
use self::notices::Notices;
use self::progress::Progress;
use self::standing::Standings;
use self::traces::Traces;
use crate::clock::Clock;
use crate::limits;
use crate::log::{
    AppendError, BusName, Line, Log, LogError, LoggedEvent, OrderKey, Record, RuleName, Sequence,
    TargetId, TargetName,
};
use crate::rule::{Rules, Target};
use crate::secret::Secrets;
use crate::span::Spans;

/// What the operator may say of deliveries.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether the bus publishes events about its targets: disabled ones, breakers, dead letters.
    pub own_events: bool,
    pub traces: TracesConfig,
    /// What makes spans of attempts.
    pub spans: Spans,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            own_events: true,
            traces: TracesConfig::default(),
            spans: Spans::off(),
        }
    }
}

/// All lanes. Clones share them.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    rules: Rules,
    connections: Connections,
    lanes: RwLock<HashMap<TargetId, Arc<Handle>>>,
    tasks: TaskTracker,
    /// Held while dead letters are redriven or removed.
    letters: tokio::sync::Mutex<()>,
    /// Redrives in the background.
    jobs: dead_letter::Jobs,
    /// Ends the tasks that are not lanes.
    stop: CancellationToken,
    /// Targets that are being tried.
    tests: Semaphore,
    /// The task that publishes the bus's own events; lanes that drain may still have some to tell.
    publisher: TaskTracker,
    stop_publisher: CancellationToken,
}

impl Delivery {
    /// Starts with lanes for all targets that the log still holds deliveries of; others get theirs
    /// with their first delivery. `clients` are where requests go: [`http_client`], or a stand-in.
    pub fn start(
        config: &Config,
        log: Log,
        rules: Rules,
        clock: Clock,
        clients: Clients,
        connections: Connections,
        secrets: Secrets,
    ) -> Result<Delivery, LogError> {
        let checkpoint = log.checkpoint()?;
        let targets = log.targets_with_state()?;
        let standings = Standings::load(log.clone(), &rules)?;
        let (publisher, stop_publisher) = (TaskTracker::new(), CancellationToken::new());
        let notices = if config.own_events {
            let (notices, task) = Notices::new(log.clone(), rules.clone(), clock.clone());
            publisher.spawn(task.run(stop_publisher.clone()));
            notices
        } else {
            Notices::off()
        };
        let repeats_through = log.durable_through();
        let traces = Traces::new(&config.traces, clock.now());
        let sender = Sender {
            log,
            rules: rules.clone(),
            clients: clients.clone(),
            credentials: Arc::new(Credentials::new(secrets.clone(), clients, clock.clone())),
            secrets,
            clock,
            signer: Arc::default(),
            spans: config.spans.clone(),
        };
        let delivery = Delivery(Arc::new(Inner {
            hub: Arc::new(Hub {
                sender,
                progress: Progress::new(checkpoint),
                standings,
                notices,
                measures: Measures::default(),
                traces,
                crowd: Crowd::default(),
                drain_by: OnceLock::new(),
                repeats_through,
            }),
            rules,
            connections,
            lanes: RwLock::new(HashMap::new()),
            tasks: TaskTracker::new(),
            letters: tokio::sync::Mutex::new(()),
            jobs: dead_letter::Jobs::default(),
            stop: CancellationToken::new(),
            tests: Semaphore::new(limits::TARGET_TESTS),
            publisher,
            stop_publisher,
        }));
        for target in targets {
            // Dead letters alone need no lane.
            if delivery.log().pending_counts(target)? != (0, 0) {
                let names = delivery.names_of_left_over(target)?;
                delivery.open_lane(target, names);
            }
        }
        let tasks = &delivery.0.tasks;
        tasks.spawn(delivery.clone().follow_rules());
        tasks.spawn(delivery.clone().follow_secrets());
        tasks.spawn(delivery.clone().write_checkpoints(checkpoint));
        tasks.spawn(delivery.clone().expire_letters());
        tasks.spawn(delivery.clone().push_letters());
        Ok(delivery)
    }

    /// Takes a matched event for a target; never waits. `Err`: the log takes nothing just now, and
    /// the event must be offered again.
    pub(crate) fn offer(
        &self,
        target: &Arc<Target>,
        event: &LoggedEvent,
        offered: Instant,
    ) -> Result<(), AppendError> {
        let fresh = Fresh {
            sequence: event.sequence,
            since: event.due(),
            offered,
            key: order_key(target, event),
        };
        loop {
            let lane = self.0.lanes.read().get(&target.key).cloned();
            let lane = lane.unwrap_or_else(|| self.open_lane(target.key, names(target)));
            match lane.offer(&self.0.hub, fresh)? {
                Offer::Taken => return Ok(()),
                Offer::Ended => self.forget_lane(&lane),
            }
        }
    }

    /// How a target stands; `None` when there is no such target.
    #[must_use]
    pub fn status(&self, target: TargetId) -> Option<LaneStatus> {
        let lane = self.0.lanes.read().get(&target).cloned();
        let known = self.0.rules.current().target(target);
        let mut status = match (&lane, &known) {
            (Some(lane), _) => lane.status(),
            (None, Some(known)) => LaneStatus {
                pulling: known.pull.as_ref().map(|_| 0),
                ..LaneStatus::idle(known.key, names(known))
            },
            (None, None) => return None,
        };
        if let Some(known) = &known {
            self.0.hub.standings.show(known, &mut status);
        }
        Some(status)
    }

    /// How all targets stand that something was delivered to since the start, that something is
    /// pending for, or that are paused or disabled.
    #[must_use]
    pub fn statuses(&self) -> Vec<LaneStatus> {
        let mut targets: Vec<TargetId> = self.0.lanes.read().keys().copied().collect();
        targets.extend(self.0.hub.standings.stopped());
        targets.sort_unstable();
        targets.dedup();
        let statuses = targets.into_iter().filter_map(|target| self.status(target));
        statuses.collect()
    }

    /// What became of the events that the bus publishes about its targets.
    #[must_use]
    pub fn notice_counts(&self) -> NoticeCounts {
        self.0.hub.notices.counts()
    }

    /// What was attempted, what came of it, and how long it took.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.hub.measures.figures(self.progress().len() as u64)
    }

    /// Figures show the bus from now on.
    pub fn knows_bus(&self, bus: &BusName) {
        self.0.hub.measures.of_bus(bus);
    }

    /// The connections to targets.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Stops starting attempts, lets those in flight finish within `grace`, and writes down what
    /// is left and how far everything is settled: a start after this repeats no delivery that came
    /// to its end. The router must have been drained before, and the log must still take records.
    pub async fn drain(&self, grace: Duration) {
        let inner = &self.0;
        let _ = inner.hub.drain_by.set(Instant::now() + grace);
        inner.stop.cancel();
        for lane in inner.lanes.read().values() {
            lane.wake();
        }
        inner.tasks.close();
        inner.tasks.wait().await;
        inner.stop_publisher.cancel();
        inner.publisher.close();
        inner.publisher.wait().await;
        let through = inner.hub.progress.low_water();
        let last = inner.hub.sender.log.checkpoint();
        if last.is_ok_and(|last| last >= through) {
            return;
        }
        let checkpoint = Record::Checkpoint {
            routed_through: through,
        };
        if let Err(error) = self.log().commit(&[checkpoint]).await {
            warn!(%error, "the last checkpoint was not written: some deliveries will be repeated");
        }
    }

    /// What makes spans.
    pub(crate) fn spans(&self) -> &Spans {
        &self.0.hub.sender.spans
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.0.hub.progress
    }

    fn log(&self) -> &Log {
        &self.0.hub.sender.log
    }

    /// The time by the clock that deliveries go by.
    #[must_use]
    pub fn now(&self) -> crate::clock::Timestamp {
        self.clock().now()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.hub.sender.clock
    }

    fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// The line in which a delivery stands that is parked behind its lane's back.
    async fn line_of(
        &self,
        target: TargetId,
        sequence: Sequence,
    ) -> Result<Option<Line>, LogError> {
        let target = self.0.rules.current().target(target);
        let Some(target) = target.filter(|target| target.ordering_key.is_some()) else {
            return Ok(None);
        };
        let event = self.log().event(sequence).await?;
        Ok(event.and_then(|event| line_of(&target, &event)))
    }

    /// So many deliveries of this target were parked behind its lane's back: dead letters anew, or
    /// first ones of scheduled events.
    pub(crate) fn redriven(&self, target: TargetId, deliveries: u64) {
        let lane = self.0.lanes.read().get(&target).cloned();
        match (lane, self.0.rules.current().target(target)) {
            (Some(lane), _) => lane.redriven(deliveries),
            (None, Some(known)) => {
                self.open_lane(target, names(&known));
            }
            // Deleted meanwhile: its lane is opened at the next start, and makes them dead again.
            (None, None) => {}
        }
    }

    /// Opens a lane unless there is one.
    fn open_lane(&self, key: TargetId, names: Names) -> Arc<Handle> {
        let inner = &self.0;
        let (parked, backlogged) = self.log().pending_counts(key).unwrap_or_else(|error| {
            warn!(target_key = key.0, %error, "what is on disk for a target waits for a restart");
            (0, 0)
        });
        let handle = {
            let mut lanes = inner.lanes.write();
            if let Some(lane) = lanes.get(&key) {
                return lane.clone();
            }
            let settings = Settings {
                names: Arc::new(names),
                target: None,
            };
            let of_bus = inner.hub.measures.of_bus(&settings.names.bus);
            let handle = Arc::new(Handle::new(key, settings, (parked, backlogged), of_bus));
            lanes.insert(key, handle.clone());
            handle
        };
        // Asked after the lane can be found: a change in between finds it as well.
        self.refresh(&handle);
        let lane = Lane::new(inner.hub.clone(), handle.clone(), parked);
        let delivery = self.clone();
        let ended = handle.clone();
        inner.tasks.spawn(async move {
            if AssertUnwindSafe(lane.run()).catch_unwind().await.is_err() {
                error!(
                    target_key = key.0,
                    "a lane panicked; what it held in memory is delivered after a restart"
                );
            }
            delivery.forget_lane(&ended);
        });
        handle
    }

    fn forget_lane(&self, lane: &Arc<Handle>) {
        let mut lanes = self.0.lanes.write();
        if lanes
            .get(&lane.key)
            .is_some_and(|known| Arc::ptr_eq(known, lane))
        {
            lanes.remove(&lane.key);
        }
    }

    /// Gives a lane its target as the newest rule set has it.
    fn refresh(&self, lane: &Handle) {
        let known = lane.settings();
        let target = self.0.rules.current().target(lane.key);
        let same = match (&known.target, &target) {
            (Some(known), Some(target)) => Arc::ptr_eq(known, target) || known == target,
            (None, None) => true,
            _ => false,
        };
        if !same {
            let names = target.as_deref().map(|target| Arc::new(names(target)));
            let names = names.unwrap_or_else(|| known.names.clone());
            lane.set(Settings { names, target });
        }
    }

    async fn follow_rules(self) {
        let mut changes = self.0.rules.changes();
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let lanes: Vec<Arc<Handle>> = self.0.lanes.read().values().cloned().collect();
            for lane in lanes {
                self.refresh(&lane);
            }
            self.0.hub.standings.forget_stale(&self.0.rules);
        }
    }

    /// Deliveries that wait for a secret are tried again once one is set.
    async fn follow_secrets(self) {
        let mut changes = self.0.hub.sender.secrets.changes();
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            self.0.hub.sender.credentials.secrets_changed();
            for lane in self.0.lanes.read().values() {
                lane.secrets_changed();
            }
        }
    }

    /// Writes the low water mark now and then. A crash makes the router start from there.
    async fn write_checkpoints(self, mut last: Sequence) {
        let mut ticks = tokio::time::interval(limits::CHECKPOINT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Some(through) = self.progress().checkpoint_after(last) {
                let checkpoint = Record::Checkpoint {
                    routed_through: through,
                };
                // A log that takes none is asked again at the next tick; the log tells why.
                if self.log().enqueue(&[checkpoint]).is_ok() {
                    last = through;
                }
            }
        }
    }

    /// Names for a lane whose target may be deleted, the bus having stopped before its deliveries
    /// were dead-lettered.
    fn names_of_left_over(&self, key: TargetId) -> Result<Names, LogError> {
        if let Some(target) = self.0.rules.current().target(key) {
            return Ok(names(&target));
        }
        if let Some(letter) = self.log().dead_letters(Some(key), None, 1)?.pop()
            && letter.target == key
        {
            return Ok(Names {
                bus: letter.bus,
                rule: letter.rule,
                target: letter.target_name,
            });
        }
        Ok(Names {
            bus: BusName::default_bus(),
            rule: RuleName::new("deleted").expect("a valid name"),
            target: TargetName::new(&format!("deleted-{}", key.0)).expect("a valid name"),
        })
    }
}

/// By what a delivery is in order with others.
fn order_key(target: &Target, event: &LoggedEvent) -> OrderKey {
    let key = target.ordering_key.as_ref();
    key.map_or(OrderKey::NONE, |key| key.of(&event.event))
}

/// The line in which a delivery stands that is parked before it was attempted.
pub(crate) fn line_of(target: &Target, event: &LoggedEvent) -> Option<Line> {
    let key = order_key(target, event);
    (!key.is_none()).then_some(Line { key, holds: true })
}

fn names(target: &Target) -> Names {
    Names {
        bus: target.bus.clone(),
        rule: target.rule.clone(),
        target: target.id.clone(),
    }
}
