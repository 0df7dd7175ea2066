//! The lane's side of order by key: takes what may go, sends what must wait behind to its line.

use tokio::time::Instant;

use super::change::Change;
use super::order::{Next, Order, Place};
use super::{Kept, Lane, Pending};
use crate::clock::Timestamp;
use crate::delivery::room::May;
use crate::limits;
use crate::log::{Line, LogError, OrderKey, Parked, Record, Sequence};
use crate::rule::{Mode, OnFailure, Target};

impl Lane {
    /// Keeps order from now on when the target asks for it.
    pub(super) fn follow_ordering(&mut self) {
        let ordered = self
            .settings
            .target
            .as_ref()
            .is_some_and(|target| target.ordering_key.is_some());
        if ordered && self.order.is_none() {
            self.order = Some(Box::default());
        }
        if self.settings.target.is_none() {
            self.release_order();
        }
    }

    /// Whether the lane has to wait: events from before the start that the router has not offered
    /// again may be older than what is on disk.
    pub(super) fn waits_for_router(&self) -> bool {
        let recovers = self.order.as_ref().is_some_and(|order| order.recovers);
        recovers && self.hub.progress.routed_through() < self.hub.repeats_through
    }

    /// Deliveries for one attempt, when order is kept.
    pub(super) fn next_in_order(
        &mut self,
        target: &Target,
        most: usize,
        may: May,
        now: Instant,
    ) -> Vec<Pending> {
        let may = May {
            first: may.first
                && !(target.mode == Mode::Batch && self.waits_for_company(target, now)),
            ..may
        };
        let mut group: Vec<Pending> = Vec::new();
        while group.len() < most {
            let next = match self.next_that_may_go(may, &group, now) {
                Some(next) => next,
                None => break,
            };
            let key = next.key;
            let is_first_try = next.attempts == 0;
            group.push(next);
            if key.is_none() || most == 1 {
                continue;
            }
            // The rest of its key may go in the same request, in order.
            self.add_followers(key, &mut group, most);
            if group.len() < most && is_first_try && target.mode == Mode::Batch {
                self.read_line(key, group.last().map_or(0, |last| last.sequence), now);
                self.add_followers(key, &mut group, most);
            }
        }
        // Those that came while the group was made.
        let mut at = 0;
        while group.len() < most && at < group.len() {
            let key = group[at].key;
            if !key.is_none() {
                self.add_followers(key, &mut group, most);
            }
            at += 1;
        }
        group
    }

    fn add_followers(&mut self, key: OrderKey, group: &mut Vec<Pending>, most: usize) {
        while group.len() < most
            && let Some(follower) = self.order.as_mut().and_then(|order| order.next_of(key))
        {
            group.push(follower);
        }
    }

    /// One delivery before which nothing of its key is pending. Retries and others take turns.
    fn next_that_may_go(&mut self, may: May, group: &[Pending], now: Instant) -> Option<Pending> {
        if group.is_empty() {
            self.retry_turn = !self.retry_turn;
        }
        if self.retry_turn
            && let Some(retry) = self.next_retry_in_order(may, now)
        {
            return Some(retry);
        }
        let waiting = self.order.as_mut().and_then(|order| order.next_free());
        waiting
            .or_else(|| {
                if may.first {
                    self.next_new_in_order(now)
                } else {
                    None
                }
            })
            .or_else(|| self.next_retry_in_order(may, now))
    }

    fn next_retry_in_order(&mut self, may: May, now: Instant) -> Option<Pending> {
        while let Some(front) = self.retries.front()
            && (may.retry || (may.first && front.attempts == 0))
            && let Some(retry) = self.retries.pop_front()
        {
            let Some(order) = self.order.as_mut().filter(|_| !retry.key.is_none()) else {
                return Some(retry);
            };
            if order.claim(retry, now) {
                return Some(retry);
            }
        }
        None
    }

    /// Looks at deliveries that nobody has looked at, until one may go.
    fn next_new_in_order(&mut self, now: Instant) -> Option<Pending> {
        loop {
            if self.is_held_up() {
                return None;
            }
            let pending = self.next_new()?;
            if pending.key.is_none() {
                return Some(pending);
            }
            let (log, target) = (&self.hub.sender.log, self.handle.key);
            // Of views that cannot be asked the worst is believed: a line is never wrong.
            let is_on_disk = || log.has_line(target, Some(pending.key)).unwrap_or(true);
            match self.order.as_mut()?.place(pending, now, is_on_disk) {
                Place::Go => return Some(pending),
                Place::Waits => {}
                Place::Stands => {
                    self.order.as_mut()?.held_back += 1;
                    self.stand_in_line(pending);
                }
            }
        }
    }

    /// Whether so much was sent to lines that the views, or other work, come first.
    pub(super) fn is_held_up(&self) -> bool {
        self.order.as_ref().is_some_and(|order| {
            order.held_back >= limits::ORDER_HELD_BACK
                || order.unseen() >= limits::UNSEEN_RECORDS
                || self.outbox.is_loaded()
        })
    }

    /// Parks a delivery in its line; it leaves memory.
    fn stand_in_line(&mut self, pending: Pending) {
        if pending.kept == Kept::Parked {
            self.in_hand.put_back(pending.sequence);
            self.look_at = Some(Timestamp::from_millis(0));
            return;
        }
        let now = self.hub.sender.clock.now();
        let record = Record::ParkedInLine {
            parked: self.as_parked(pending, now),
            line: Line {
                key: pending.key,
                holds: true,
            },
        };
        self.parked += 1;
        let mut change = Change {
            records: vec![record],
            leaves: vec![(pending.sequence, Some(now))],
            ..Change::default()
        };
        if pending.kept == Kept::Fresh {
            change.settles.push(pending.sequence);
        }
        self.push_in_line(change, pending.key, pending.sequence);
        if let Kept::Chunk(first) = pending.kept {
            // The chunk goes on naming it until it is settled: a crash before that repeats it.
            self.chunk_member_ended(first, None);
        }
    }

    fn as_parked(&self, pending: Pending, due: Timestamp) -> Parked {
        Parked {
            target: self.handle.key,
            sequence: pending.sequence,
            due,
            attempts: pending.attempts,
            // Of a chunk's member only its event knows since when it is pending.
            since: pending.since.unwrap_or(Parked::SINCE_ITS_EVENT),
            last_status: None,
            last_error: None,
        }
    }

    /// Queues a change that puts a delivery into its line.
    pub(super) fn push_in_line(&mut self, mut change: Change, key: OrderKey, sequence: Sequence) {
        if let Some(order) = &mut self.order {
            order.queued(key, sequence);
            change.lines.push(key);
        }
        self.outbox.push(change);
    }

    /// The line that a delivery stands in while it is late.
    pub(super) fn line_of(&self, pending: &Pending, failed: bool) -> Option<Line> {
        let target = self.settings.target.as_ref()?;
        if pending.key.is_none() || target.ordering_key.is_none() {
            return None;
        }
        Some(Line {
            key: pending.key,
            holds: !failed || target.on_failure == OnFailure::Block,
        })
    }

    /// An attempt has ended: the next of its keys may go.
    pub(super) fn keys_ended(&mut self, ended: Vec<(OrderKey, Sequence)>, now: Instant) {
        for (key, last) in ended {
            let Some(order) = &mut self.order else {
                return;
            };
            match order.ended(key) {
                Next::Nothing => {}
                Next::Release(waiting) => {
                    self.let_retries_go(Some(key));
                    for pending in waiting {
                        self.stand_in_line(pending);
                    }
                    self.look_at = Some(Timestamp::from_millis(0));
                }
                Next::Read => {
                    self.read_line(key, last, now);
                    self.look_at = Some(Timestamp::from_millis(0));
                }
            }
        }
    }

    /// Reads what stands in a line behind `after`, as far as there is room.
    fn read_line(&mut self, key: OrderKey, after: Sequence, now: Instant) {
        let Some(order) = &self.order else { return };
        let most = limits::LINE_READ.min(order.room());
        let recovers = order.recovers;
        let mut read = Vec::new();
        let mut more = true;
        if most > 0 && !recovers {
            let log = &self.hub.sender.log;
            match log.line_after(self.handle.key, key, after, most) {
                Ok(page) => {
                    let clock_now = self.hub.sender.clock.now();
                    more = page.len() >= most || order.is_unseen(key);
                    for queued in page {
                        let sequence = queued.parked.sequence;
                        // Behind one that the views show too early, wrongly or not yet, none is
                        // next: the line is found again when that one is due.
                        if order.hides_older(key, sequence)
                            || self.in_hand.contains(sequence)
                            || queued.parked.due > clock_now
                        {
                            more = true;
                            break;
                        }
                        self.in_hand.hold(sequence);
                        read.push(Pending::from(queued));
                    }
                }
                Err(error) => self.view_failed(&error),
            }
        }
        if let Some(order) = &mut self.order {
            order.refill(key, read, more, now);
        }
    }

    /// Gives retries of this key, or of every one, back to the disk: who was first of a line is so no
    /// longer when an older one has come to stand in it.
    fn let_retries_go(&mut self, key: Option<OrderKey>) {
        let in_hand = &mut self.in_hand;
        self.retries.retain(|retry| {
            let goes = !retry.key.is_none() && key.is_none_or(|key| key == retry.key);
            if goes {
                in_hand.put_back(retry.sequence);
            }
            !goes
        });
    }

    /// Sends all that waits to its lines.
    pub(super) fn release_order(&mut self) {
        self.let_retries_go(None);
        let released = self.order.as_mut().map(|order| order.release());
        for pending in released.unwrap_or_default() {
            self.stand_in_line(pending);
        }
    }

    /// Writes down what has waited for too long; it goes on waiting.
    pub(super) fn park_late_waiting(&mut self, now: Instant) {
        let Some(mut order) = self.order.take() else {
            return;
        };
        let due = self.hub.sender.clock.now();
        let mut late: Vec<Pending> = Vec::new();
        for pending in order.late(now) {
            late.push(*pending);
            pending.kept = Kept::Parked;
        }
        self.order = Some(order);
        for pending in late {
            self.parked += 1;
            self.in_hand.hold(pending.sequence);
            let line = Line {
                key: pending.key,
                holds: true,
            };
            let parked = self.as_parked(pending, due);
            let change = Change {
                records: vec![Record::ParkedInLine { parked, line }],
                settles: vec![pending.sequence],
                ..Change::default()
            };
            self.push_in_line(change, pending.key, pending.sequence);
        }
    }

    /// The oldest delivery that nobody has looked at, as far as it is from before the start. While
    /// there is one, what stands on disk behind it must wait for it.
    pub(super) fn not_looked_at(&mut self) -> Result<Option<Sequence>, LogError> {
        let old = self.hub.repeats_through;
        if !self.views_caught_up() || !self.outbox.is_empty() {
            return Ok(Some(0));
        }
        let mut oldest = self.handle.inbox.first();
        let mut saw = |sequence: Option<Sequence>| {
            oldest = match (oldest, sequence) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        };
        saw(self.loaded.iter().map(|pending| pending.sequence).min());
        let limit = 1 + self.chunks.len() + self.settled_chunks.len();
        let page = self.hub.sender.log.backlog(self.handle.key, 0, limit)?;
        let firsts = page.iter().filter_map(|chunk| chunk.first());
        saw(firsts
            .filter(|first| !self.is_open_or_settled(*first))
            .min());
        let oldest = oldest.filter(|sequence| *sequence <= old);
        if oldest.is_none()
            && let Some(order) = &mut self.order
        {
            order.recovers = false;
        }
        Ok(oldest)
    }

    /// Order of a lane that opens with so much on disk.
    pub(super) fn opening_order(target: Option<&Target>, recovers: bool) -> Option<Box<Order>> {
        target?.ordering_key.as_ref()?;
        let mut order = Order::default();
        order.recovers = recovers;
        Some(Box::new(order))
    }
}
