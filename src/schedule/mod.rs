//! Routes events at the time that they name (`deliverat`), and fires rules on their schedules
//! (`timetable`).
//!
//! The router writes down that an event waits (`Deferred`) instead of routing it. When it is due,
//! its deliveries are parked and the wait ends in one group of records: around a crash both are on
//! disk or neither is. An event that the router may read again after a crash, one that its
//! checkpoint has not passed, is neither routed here nor cancelled yet; so the two never both route
//! one. The ADR "schedules" tells more.

mod timetable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::timetable::Timetable;
use crate::clock::{Clock, Timestamp};
use crate::delivery::{self, Delivery};
use crate::limits;
use crate::log::{AppendError, Log, LogError, Parked, Record, Sequence, TargetId};
use crate::router;
use crate::rule::Rules;
use crate::seldom::Seldom;

/// How often it is asked what is due.
const EVERY: Duration = Duration::from_millis(100);

/// How long a cancellation waits for the router's checkpoint, which is written every
/// [`limits::CHECKPOINT_EVERY`].
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// A handle of the one task that routes what is due. Clones share it.
#[derive(Clone)]
pub struct Schedule(Arc<Inner>);

struct Inner {
    log: Log,
    rules: Rules,
    delivery: Delivery,
    clock: Clock,
    /// Held while an event that waits is ended, in one way or the other.
    ending: Mutex<()>,
    stop: CancellationToken,
    task: parking_lot::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// Why an event's wait was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("the event does not wait: it was routed or cancelled, or names no time")]
    NotWaiting,
    #[error("the event is not settled far enough to be cancelled; try again")]
    NotYet,
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Schedule {
    /// Starts to route what is due.
    #[must_use]
    pub fn start(log: Log, rules: Rules, delivery: Delivery, clock: Clock) -> Schedule {
        let schedule = Schedule(Arc::new(Inner {
            log,
            rules,
            delivery,
            clock,
            ending: Mutex::new(()),
            stop: CancellationToken::new(),
            task: parking_lot::Mutex::new(None),
        }));
        let task = tokio::spawn(schedule.clone().run());
        *schedule.0.task.lock() = Some(task);
        schedule
    }

    /// Ends the wait of an event, which is then never routed. It stays in the log.
    ///
    /// # Errors
    /// [`CancelError`]; the event waits on then, or did not.
    pub async fn cancel(&self, sequence: Sequence) -> Result<(), CancelError> {
        let inner = &self.0;
        let deadline = Instant::now() + CANCEL_PATIENCE;
        while inner.log.checkpoint()? < sequence {
            if Instant::now() > deadline {
                return Err(CancelError::NotYet);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // In a task of its own: a caller who goes away must not let go of the lock half way.
        let schedule = self.clone();
        let ended = tokio::spawn(async move {
            let inner = &schedule.0;
            let _only_one = inner.ending.lock().await;
            let due = inner
                .log
                .deferred(sequence)?
                .ok_or(CancelError::NotWaiting)?;
            let done = Record::DeferredDone { sequence, due };
            inner.log.commit(&[done]).await?;
            Ok(())
        });
        ended.await.unwrap_or(Err(CancelError::NotYet))
    }

    /// Routes nothing more. Drain the delivery after this.
    pub async fn drain(&self) {
        self.0.stop.cancel();
        let task = self.0.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            error!(%error, "the schedule panicked");
        }
    }

    async fn run(self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut timetable, mut troubles) = (Timetable::default(), Seldom::default());
        let mut changes = self.0.rules.changes();
        changes.mark_changed();
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.tick(&mut timetable, &mut changes).await
                && troubles.tells()
            {
                warn!(%error, "what is scheduled must wait; trying again");
            }
        }
    }

    async fn tick(
        &self,
        timetable: &mut Timetable,
        changes: &mut watch::Receiver<u64>,
    ) -> Result<(), CancelError> {
        if changes.has_changed().unwrap_or(false) {
            changes.mark_unchanged();
            if let Err(error) = timetable.follow(self).await {
                changes.mark_changed();
                return Err(error);
            }
        }
        timetable.fire(self).await?;
        while self.route_due().await? > 0 && !self.0.stop.is_cancelled() {}
        Ok(())
    }

    /// One bounded step; how many events it routed.
    async fn route_due(&self) -> Result<usize, CancelError> {
        let inner = &self.0;
        let _only_one = inner.ending.lock().await;
        let now = inner.clock.now();
        let until = now.plus(Duration::from_millis(1));
        let settled_through = inner.log.checkpoint()?;
        let due = inner
            .log
            .deferred_between(None, until, limits::BULK_RECORDS)?;
        let rules = inner.rules.current();
        let mut records = Vec::new();
        let mut parked: BTreeMap<TargetId, u64> = BTreeMap::new();
        let mut routed = 0;
        for (due, sequence) in due {
            if sequence > settled_through {
                continue;
            }
            if records.len() >= 4 * limits::BULK_RECORDS {
                break;
            }
            match inner.log.event(sequence).await? {
                Some(event) => {
                    let targets = router::matches(&rules, &event);
                    let spans = inner.delivery.spans();
                    if spans.is_on() {
                        router::record(spans, &event, targets.len(), now, Duration::ZERO);
                    }
                    for target in targets {
                        if inner.log.is_kept(target.key, sequence)? {
                            continue;
                        }
                        *parked.entry(target.key).or_default() += 1;
                        let first = first_attempt(target.key, sequence, due);
                        records.push(Record::parked(first, delivery::line_of(&target, &event)));
                    }
                }
                None => error!(sequence, "a scheduled event is gone from the log"),
            }
            records.push(Record::DeferredDone { sequence, due });
            routed += 1;
        }
        if routed > 0 {
            inner.log.commit(&records).await?;
            for (target, deliveries) in parked {
                inner.delivery.redriven(target, deliveries);
            }
        }
        Ok(routed)
    }
}

/// A delivery that is pending from the moment that its event was due.
fn first_attempt(target: TargetId, sequence: Sequence, due: Timestamp) -> Parked {
    Parked {
        target,
        sequence,
        due,
        attempts: 0,
        since: due,
        last_status: None,
        last_error: None,
    }
}
