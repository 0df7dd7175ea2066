//! Follows the log: finds the rules that each event matches, and offers it to their targets' lanes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::limits;
use crate::log::{AppendError, Log, LogError, LoggedEvent, Record, Sequence};
use crate::measure::{Histogram, Times};
use crate::rule::{RuleSet, Rules, Target};
use crate::span::Spans;

/// First wait after the log could not be read or took nothing; it doubles.
const WAIT: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A handle of the one task that routes. Clones share it.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    log: Log,
    cursor: Arc<AtomicU64>,
    matching: Arc<Histogram>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Router {
    /// Starts behind the last checkpoint.
    pub fn start(log: Log, rules: Rules, delivery: Delivery) -> Result<Router, LogError> {
        let cursor = log.checkpoint()?;
        let shown = Arc::new(AtomicU64::new(cursor));
        // 1 µs to 4 s: a usual event takes a few, one with a costly filter a thousand times that.
        let matching = Arc::new(Histogram::new(Duration::from_micros(1), 2, 12));
        let stop = CancellationToken::new();
        let routing = Routing {
            repeats_through: log.durable_through(),
            log: log.clone(),
            rules,
            delivery,
            cursor,
            shown: shown.clone(),
            matching: matching.clone(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(routing.run());
        Ok(Router(Arc::new(Inner {
            log,
            cursor: shown,
            matching,
            stop,
            task: Mutex::new(Some(task)),
        })))
    }

    /// Every event up to here was offered to its targets.
    #[must_use]
    pub fn routed_through(&self) -> Sequence {
        self.0.cursor.load(Ordering::Acquire)
    }

    /// How far routing is behind what is on disk, in sequences.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.0
            .log
            .durable_through()
            .saturating_sub(self.routed_through())
    }

    /// How long it took to find an event's rules.
    #[must_use]
    pub fn match_times(&self) -> Times {
        self.0.matching.times()
    }

    /// Stops routing after the event in hand. Drain the delivery after this.
    pub async fn drain(&self) {
        self.0.stop.cancel();
        let task = self.0.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            error!(%error, "the router panicked");
        }
    }
}

/// The event's targets. A panic of the matcher must not end all routing: the event then has none.
pub(crate) fn matches(rules: &RuleSet, event: &LoggedEvent) -> Vec<Arc<Target>> {
    let matched = std::panic::catch_unwind(AssertUnwindSafe(|| rules.matches(event)));
    matched.unwrap_or_else(|_| {
        error!(bus = %event.bus, sequence = event.sequence, "matching panicked: the event is not routed");
        Vec::new()
    })
}

/// Hands over the span of an event that was routed.
pub(crate) fn record(
    spans: &Spans,
    event: &LoggedEvent,
    deliveries: usize,
    ended: Timestamp,
    took: Duration,
) {
    let traced = spans.of(event.bus.as_str(), &event.event);
    if traced.is_sampled() {
        let span = traced
            .route()
            .ended(format!("route {}", event.bus), ended, took)
            .about(event.bus.as_str(), event.sequence, &event.event)
            .with("eventyard.deliveries", deliveries as u64);
        spans.record(span);
    }
}

struct Routing {
    log: Log,
    rules: Rules,
    delivery: Delivery,
    /// Everything up to here was offered.
    cursor: Sequence,
    shown: Arc<AtomicU64>,
    matching: Arc<Histogram>,
    /// Events up to here may have been routed before the start.
    repeats_through: Sequence,
    stop: CancellationToken,
}

/// The router was asked to stop.
struct Stopped;

impl Routing {
    async fn run(mut self) {
        // What was written before the start must be seen by `is_kept`.
        let seen = self.log.visible(self.repeats_through);
        if self.stop.run_until_cancelled(seen).await.is_none() {
            return;
        }
        let mut wait = WAIT;
        loop {
            if self.stop.is_cancelled() {
                return;
            }
            // Asked before reading: an empty answer then means that there is no event up to here.
            let durable = self.log.durable_through();
            match self.log.read_after(self.cursor, limits::ROUTER_READ).await {
                Ok(events) if events.is_empty() => {
                    self.routed(durable);
                    let more = self.log.wait_past(durable);
                    if self.stop.run_until_cancelled(more).await.is_none() {
                        return;
                    }
                    if self.log.durable_through() <= durable {
                        // It returned without news: the log is closed or has failed.
                        self.pause(&mut wait).await;
                        continue;
                    }
                }
                Ok(events) => {
                    if self.route(&events).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    warn!(after = self.cursor, %error, "the router cannot read the log; it tries again");
                    self.pause(&mut wait).await;
                    continue;
                }
            }
            wait = WAIT;
        }
    }

    async fn route(&mut self, events: &[Arc<LoggedEvent>]) -> Result<(), Stopped> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(());
        };
        // Rule sets replace one another in the log's order: when both ends have the same, so has
        // all between.
        let oldest = self.rules.at(first.sequence);
        let one_set = Arc::ptr_eq(&oldest, &self.rules.at(last.sequence));
        let now = Instant::now();
        let waiting = self.defer(events).await?;
        for event in events {
            if waiting.binary_search(&event.sequence).is_ok() {
                self.delivery.progress().begin(event.sequence, 0);
                continue;
            }
            let set;
            let rules: &RuleSet = if one_set {
                &oldest
            } else {
                set = self.rules.at(event.sequence);
                &set
            };
            let began = Instant::now();
            let mut targets = matches(rules, event);
            self.matching.observe(began.elapsed());
            if event.sequence <= self.repeats_through {
                self.leave_out_kept(&mut targets, event.sequence).await?;
            }
            let deliveries = u32::try_from(targets.len()).unwrap_or(u32::MAX);
            self.delivery.progress().begin(event.sequence, deliveries);
            for target in &targets {
                self.offer(target, event, now).await?;
            }
            let spans = self.delivery.spans();
            if spans.is_on() {
                let ended = self.delivery.clock().now();
                record(spans, event, targets.len(), ended, began.elapsed());
            }
        }
        self.routed(last.sequence);
        self.rules.forget_before(last.sequence);
        self.wait_for_room().await
    }

    /// Offers until the lane takes it: a delivery that could not even be parked must not be lost.
    async fn offer(
        &self,
        target: &Arc<Target>,
        event: &LoggedEvent,
        offered: Instant,
    ) -> Result<(), Stopped> {
        let mut wait = WAIT;
        loop {
            let error: AppendError = match self.delivery.offer(target, event, offered) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if wait == WAIT {
                warn!(
                    bus = %target.bus, rule = %target.rule, target = %target.id,
                    sequence = event.sequence, %error,
                    "the log takes no records: routing waits"
                );
            }
            self.pause(&mut wait).await;
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
        }
    }

    /// Whether a scheduled event is to wait. After a restart one that was written down to wait does
    /// so on, although its time may have come: it is the schedule's to route.
    async fn waits(&self, sequence: Sequence, is_ahead: bool) -> Result<bool, Stopped> {
        if is_ahead || sequence > self.repeats_through {
            return Ok(is_ahead);
        }
        let mut wait = WAIT;
        loop {
            match self.log.deferred(sequence) {
                Ok(due) => return Ok(due.is_some()),
                Err(error) => {
                    warn!(sequence, %error, "the router cannot tell what waits; it tries again");
                    self.pause(&mut wait).await;
                    if self.stop.is_cancelled() {
                        return Err(Stopped);
                    }
                }
            }
        }
    }

    /// Writes down which of the events wait, and tells them, ascending. It is done before any of
    /// them begins: from then on a checkpoint may pass those before it.
    async fn defer(&self, events: &[Arc<LoggedEvent>]) -> Result<Vec<Sequence>, Stopped> {
        let now = self.delivery.clock().now();
        let (mut waiting, mut records) = (Vec::new(), Vec::new());
        for event in events {
            let (sequence, due) = (event.sequence, event.due());
            // Asked first whether it is scheduled at all, which most events are not.
            if due > event.time && self.waits(sequence, due > now).await? {
                waiting.push(sequence);
                records.push(Record::Deferred { sequence, due });
            }
        }
        let mut wait = WAIT;
        if records.is_empty() {
            return Ok(waiting);
        }
        while let Err(error) = self.log.enqueue(&records) {
            warn!(%error, "the log takes no records: routing waits");
            self.pause(&mut wait).await;
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
        }
        Ok(waiting)
    }

    /// After a restart: what is parked, backlogged or dead already is not delivered once more.
    async fn leave_out_kept(
        &self,
        targets: &mut Vec<Arc<Target>>,
        sequence: Sequence,
    ) -> Result<(), Stopped> {
        let mut wait = WAIT;
        let mut index = 0;
        while let Some(target) = targets.get(index) {
            match self.log.is_kept(target.key, sequence) {
                Ok(true) => {
                    targets.remove(index);
                }
                Ok(false) => index += 1,
                Err(error) => {
                    warn!(sequence, %error, "the router cannot tell what is kept; it tries again");
                    self.pause(&mut wait).await;
                    if self.stop.is_cancelled() {
                        return Err(Stopped);
                    }
                }
            }
        }
        Ok(())
    }

    /// Late deliveries are parked, so the window of unsettled events is short, unless the log takes
    /// no records.
    async fn wait_for_room(&self) -> Result<(), Stopped> {
        let mut wait = WAIT;
        while self.delivery.progress().len() >= limits::ROUTED_UNSETTLED {
            self.pause(&mut wait).await;
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    fn routed(&mut self, through: Sequence) {
        self.cursor = self.cursor.max(through);
        self.shown.store(self.cursor, Ordering::Release);
        self.delivery.progress().routed(self.cursor);
    }

    async fn pause(&self, wait: &mut Duration) {
        let sleep = tokio::time::sleep(*wait);
        let _ = self.stop.run_until_cancelled(sleep).await;
        *wait = (*wait * 2).min(WAIT_MAX);
    }
}
