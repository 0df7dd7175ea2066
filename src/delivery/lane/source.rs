//! Where a lane's next delivery comes from: retries that are due, loaded chunks, the inbox.

use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use super::{Kept, Lane, OpenChunk, Pending, VIEW_LAG, VIEW_LAG_MAX};
use crate::clock::Timestamp;
use crate::delivery::room::May;
use crate::limits;
use crate::log::{LogError, OrderKey, Queued, Sequence};
use crate::rule::{Mode, Target};

/// Looks for due retries are this far apart at least: many retries with scattered due times are
/// read together.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Wait after the views could not be read.
const VIEW_FAILED_WAIT: Duration = Duration::from_secs(1);

/// What came of reading chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loaded {
    Some,
    /// There is none.
    Nothing,
    /// The router has not come by yet.
    TooEarly,
}

impl From<Queued> for Pending {
    fn from(queued: Queued) -> Self {
        Self {
            sequence: queued.parked.sequence,
            since: queued.parked.known_since(),
            attempts: queued.parked.attempts,
            kept: Kept::Parked,
            key: queued.line.map_or(OrderKey::NONE, |line| line.key),
        }
    }
}

impl Lane {
    /// Deliveries for one attempt, and whether they are retries. Retries and others take turns, as
    /// far as both may, so that neither starves.
    pub(super) fn next_group(
        &mut self,
        target: &Target,
        probe: bool,
        may: May,
        now: Instant,
    ) -> Option<(Vec<Pending>, bool)> {
        let most = match target.mode {
            Mode::Batch if !probe => target.batch_events.max(1),
            _ => 1,
        };
        if self.order.is_some() {
            let group = self.next_in_order(target, most, may, now);
            let retry = group.iter().any(|pending| pending.attempts > 0);
            return (!group.is_empty()).then_some((group, retry));
        }
        let retries_first = self.retry_turn;
        self.retry_turn = !retries_first;
        let may_retry = may.retry && !self.retries.is_empty();
        if retries_first && may_retry {
            return Some((self.retry_group(most), true));
        }
        let waits = !may.first || target.mode == Mode::Batch && self.waits_for_company(target, now);
        let mut group = Vec::new();
        if !waits {
            while group.len() < most
                && let Some(pending) = self.next_new()
            {
                if group.is_empty() {
                    group.reserve_exact(most.min(limits::BULK_RECORDS));
                }
                group.push(pending);
            }
        }
        if !group.is_empty() {
            Some((group, false))
        } else if may_retry {
            Some((self.retry_group(most), true))
        } else {
            None
        }
    }

    fn retry_group(&mut self, most: usize) -> Vec<Pending> {
        let most = most.min(self.retries.len());
        self.retries.drain(..most).collect()
    }

    pub(super) fn waits_for_company(&self, target: &Target, now: Instant) -> bool {
        let waiting = self.handle.inbox.waiting();
        self.loaded.is_empty()
            && waiting.ready < target.batch_events
            && waiting
                .ready_since
                .is_some_and(|since| now < since + target.batch_wait)
    }

    /// The next delivery that was not attempted yet. Chunks are loaded only when nothing is ready
    /// in the inbox, so whatever is ready there now is younger than what is loaded.
    pub(super) fn next_new(&mut self) -> Option<Pending> {
        if let Some(pending) = self.loaded.pop_front() {
            return Some(pending);
        }
        self.handle.inbox.take().map(|fresh| Pending {
            sequence: fresh.sequence,
            since: Some(fresh.since),
            attempts: 0,
            kept: Kept::Fresh,
            key: fresh.key,
        })
    }

    /// Reads parked deliveries that are due.
    pub(super) fn look_for_retries(&mut self, now: Instant) {
        let clock_now = self.hub.sender.clock.now();
        let enough = self.settings.target.as_deref().map_or(1, Self::low_mark);
        if self.look_at.is_none_or(|at| at > clock_now)
            || now < self.look_not_before
            || self.retries.len() >= enough
            || !self.lets_pass(now)
            || self.waits_for_router()
        {
            return;
        }
        self.look(clock_now, now);
    }

    /// Reads parked deliveries that are due by `due_by`, and sets when to look again.
    pub(super) fn look(&mut self, due_by: Timestamp, now: Instant) {
        self.look_not_before = now + LOOK_EVERY;
        if self.in_hand.unseen() >= limits::UNSEEN_RECORDS {
            return;
        }
        let behind = match self.must_wait_behind() {
            Ok(behind) => behind,
            Err(error) => {
                self.view_failed(&error);
                self.look_not_before = now + VIEW_FAILED_WAIT;
                return;
            }
        };
        // Those in hand stand among the first, so they must not fill the page. Later ones are read
        // as well: the first of them says when to look again.
        let limit = limits::RETRIES_READ + self.in_hand.len();
        let log = &self.hub.sender.log;
        let page = match log.parked_due(self.handle.key, Timestamp::from_millis(u64::MAX), limit) {
            Ok(page) => page,
            Err(error) => {
                self.view_failed(&error);
                self.look_not_before = now + VIEW_FAILED_WAIT;
                return;
            }
        };
        let full = page.len() >= limit;
        let mut next = self.in_hand.earliest_due();
        if self.lines_lag() {
            // Who leaves a line makes the next of it due: that one is found once the views show it.
            next = Some(Timestamp::from_millis(0));
        }
        let mut all_due = true;
        let mut taken = 0;
        for queued in page {
            let (sequence, due) = (queued.parked.sequence, queued.parked.due);
            if self.in_hand.contains(sequence) {
                continue;
            }
            if due <= due_by && self.comes_by_again(sequence) {
                next = Some(Timestamp::from_millis(0));
                continue;
            }
            if due > due_by {
                next = Some(next.map_or(due, |next| next.min(due)));
                all_due = false;
                break;
            }
            if let Some(order) = &self.order
                && let Some(key) = queued.holding_key()
                && (order.hides_older(key, sequence)
                    || behind.is_some_and(|behind| {
                        sequence > behind && sequence <= self.hub.repeats_through
                    }))
            {
                // Somebody older comes to this line, or may still come.
                next = Some(Timestamp::from_millis(0));
                continue;
            }
            taken += 1;
            self.in_hand.hold(sequence);
            self.retries.push_back(queued.into());
        }
        if full && all_due {
            next = Some(Timestamp::from_millis(0));
            if taken > 0 {
                self.look_not_before = now;
            }
        }
        self.look_at = next;
    }

    /// Whether the router has still to come by this event, which it may have routed before the start.
    /// It leaves out what it finds on disk: that must be there still, or it is offered once more.
    fn comes_by_again(&self, sequence: Sequence) -> bool {
        sequence <= self.hub.repeats_through
            && sequence > self.hub.progress.routed_through()
            && self.settings.target.is_some()
    }

    /// Whether order is kept, and some change to who stands where is not shown by the views yet, or
    /// not even taken by the log.
    fn lines_lag(&self) -> bool {
        let Some(order) = &self.order else {
            return false;
        };
        order.unseen() > 0 || self.in_hand.unseen() > 0 || !self.outbox.is_empty()
    }

    /// What stands on disk since before the start waits for what is older and not looked at yet.
    fn must_wait_behind(&mut self) -> Result<Option<Sequence>, LogError> {
        match &self.order {
            Some(order) if order.recovers && self.settings.target.is_some() => self.not_looked_at(),
            _ => Ok(None),
        }
    }

    /// Reads chunks when memory runs low, oldest first.
    pub(super) fn load_backlog(&mut self, now: Instant) {
        let enough = self.settings.target.as_deref().map_or(1, Self::low_mark);
        let waiting = self.handle.inbox.waiting();
        if waiting.unloaded == 0
            || waiting.ready > 0
            || self.loaded.len() >= enough
            || self.load_at.is_some_and(|at| now < at)
            || !self.lets_pass(now)
            || self.waits_for_router()
        {
            return;
        }
        if self.releasing > 0
            || self.hub.sender.log.visible_through() < self.load_behind
            || self.settled_chunks.len() >= limits::UNSEEN_RECORDS
        {
            self.load_later(now);
            return;
        }
        // Asked before reading, so that "caught up and nothing there" is certain.
        let caught_up = self.views_caught_up() && self.outbox.is_empty();
        match self.load_chunks() {
            Ok(Loaded::Nothing) if caught_up && self.chunks.is_empty() => {
                error!(
                    target_key = self.handle.key.0,
                    missing = waiting.unloaded,
                    "the views hold no chunks where some were counted"
                );
                self.handle.inbox.miscounted(waiting.unloaded);
            }
            Ok(Loaded::Nothing | Loaded::TooEarly) => self.load_later(now),
            Ok(Loaded::Some) => {
                self.load_at = None;
                self.load_wait = VIEW_LAG;
            }
            Err(error) => {
                self.view_failed(&error);
                self.load_at = Some(now + VIEW_FAILED_WAIT);
            }
        }
    }

    fn load_later(&mut self, now: Instant) {
        self.load_at = Some(now + self.load_wait);
        self.load_wait = (self.load_wait * 2).min(VIEW_LAG_MAX);
    }

    /// Loads chunks until one chunk's worth is in memory.
    pub(super) fn load_chunks(&mut self) -> Result<Loaded, LogError> {
        let key = self.handle.key;
        let mut after = 0;
        let mut loaded = Loaded::Nothing;
        loop {
            let limit = 2 + self.chunks.len() + self.settled_chunks.len();
            let page = self.hub.sender.log.backlog(key, after, limit)?;
            let full = page.len() >= limit;
            for chunk in page {
                let Some(first) = chunk.first() else {
                    continue;
                };
                after = first;
                if self.is_open_or_settled(first) {
                    continue;
                }
                if self.loaded.len() >= limits::BACKLOG_CHUNK && !self.reaches_over(first) {
                    return Ok(loaded);
                }
                if chunk
                    .sequences
                    .iter()
                    .any(|of_it| self.comes_by_again(*of_it))
                {
                    return Ok(match loaded {
                        Loaded::Some => Loaded::Some,
                        Loaded::Nothing | Loaded::TooEarly => Loaded::TooEarly,
                    });
                }
                self.handle.inbox.loaded(chunk.len() as u64);
                loaded = Loaded::Some;
                self.chunks.insert(
                    first,
                    OpenChunk {
                        unfinished: chunk.len(),
                        ..OpenChunk::default()
                    },
                );
                self.loaded
                    .extend(chunk.deliveries().map(|(sequence, key)| Pending {
                        sequence,
                        since: None,
                        attempts: 0,
                        kept: Kept::Chunk(first),
                        key,
                    }));
                if self.order.is_some() {
                    // Two chunks that were one may reach over each other.
                    self.loaded.make_contiguous().sort_by_key(|p| p.sequence);
                }
            }
            if !full {
                return Ok(loaded);
            }
        }
    }

    /// Whether some loaded delivery is younger than the chunk that starts here, and order is kept:
    /// then the chunk has to be loaded before that delivery goes.
    fn reaches_over(&self, first: Sequence) -> bool {
        let last = self.loaded.back().map_or(0, |pending| pending.sequence);
        self.order.is_some() && first < last
    }

    /// Whether the views must not be believed about this chunk.
    pub(super) fn is_open_or_settled(&self, first: Sequence) -> bool {
        self.chunks.contains_key(&first) || self.settled_chunks.contains_key(&first)
    }

    pub(super) fn view_failed(&self, error: &LogError) {
        error!(
            target_key = self.handle.key.0,
            %error,
            "the lane cannot read its deliveries; it tries again"
        );
    }
}
