//! Keeps deliveries of one order key one at a time: who is under way, who waits behind in memory,
//! and which lines have records that the views do not show yet.
//!
//! A key has a place here only while a delivery of it is under way or waits in memory. All others
//! stand in lines on disk, where the views know the first of each; so memory does not grow with
//! the number of keys. The ADR "order by key" tells why this is enough.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::{Kept, Pending};
use crate::limits;
use crate::log::{OrderKey, Sequence};

/// What becomes of a delivery whose turn has not been looked at before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing older of its key is pending: it is under way from now on.
    Go,
    /// It waits in memory.
    Waits,
    /// It has to stand in its line on disk.
    Stands,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    keys: HashMap<OrderKey, InMemory>,
    /// Keys of which nothing is under way and something waits.
    free: VecDeque<OrderKey>,
    waiting: usize,
    /// Lines with records that the views do not show yet.
    unseen: HashMap<OrderKey, Unseen>,
    /// In order of the records.
    unseen_order: VecDeque<(Sequence, OrderKey)>,
    /// Deliveries that were sent to the disk in this turn.
    pub(super) held_back: usize,
    /// What is on disk from before the start may be younger than what is not looked at yet.
    pub(super) recovers: bool,
    pub(super) sweep_at: Option<Instant>,
}

/// What memory has of one key: one under way, or some that wait, or both.
#[derive(Debug, Default)]
struct InMemory {
    under_way: bool,
    /// Ascending, all older than what stands on disk, unless the line begins anew.
    waiting: VecDeque<Waiting>,
    then: Then,
}

/// What follows once nothing of a key is under way any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Then {
    /// The next that waits in memory: there are no others.
    #[default]
    GoOn,
    /// The same, and behind those what stands on disk, perhaps.
    ReadOn,
    /// Whoever is first on disk, where those that wait go too: the one under way failed and holds its
    /// line, or older ones may have come there.
    BeginAnew,
}

#[derive(Debug)]
struct Waiting {
    pending: Pending,
    since: Instant,
}

#[derive(Debug)]
struct Unseen {
    /// Records that the log has not taken yet.
    queued: usize,
    /// The newest that it has.
    record: Sequence,
    /// The oldest delivery among all of them.
    lowest: Sequence,
}

/// What is to be done with a line whose delivery has ended.
#[derive(Debug)]
pub(super) enum Next {
    /// Memory has the next one, or there is none.
    Nothing,
    /// Those that waited stand in the line on disk from now on.
    Release(Vec<Pending>),
    /// The next ones may be on disk.
    Read,
}

impl Order {
    /// Where a delivery of `key` goes that comes behind all others of the key.
    pub(super) fn place(
        &mut self,
        pending: Pending,
        now: Instant,
        is_on_disk: impl FnOnce() -> bool,
    ) -> Place {
        let full = self.waiting >= limits::ORDER_WAITING;
        if let Some(line) = self.keys.get_mut(&pending.key) {
            if line.then > Then::GoOn || full {
                line.then = line.then.max(Then::ReadOn);
                return Place::Stands;
            }
            line.insert(pending, now);
            self.waiting += 1;
            self.sweep_at.get_or_insert(now + limits::LATE_AFTER);
            return Place::Waits;
        }
        if self.unseen.contains_key(&pending.key) || is_on_disk() {
            return Place::Stands;
        }
        self.begin(pending.key, Then::GoOn);
        Place::Go
    }

    /// A delivery from disk is to go. `false`: another of its key is under way, it waits. Whatever
    /// else of the line is on disk is looked for when it has ended.
    pub(super) fn claim(&mut self, pending: Pending, now: Instant) -> bool {
        let Some(line) = self.keys.get_mut(&pending.key) else {
            self.begin(pending.key, Then::ReadOn);
            return true;
        };
        line.insert(pending, now);
        self.waiting += 1;
        false
    }

    fn begin(&mut self, key: OrderKey, then: Then) {
        let line = InMemory {
            under_way: true,
            waiting: VecDeque::new(),
            then,
        };
        self.keys.insert(key, line);
    }

    /// The next delivery that waits in memory and may go; it is under way from now on.
    pub(super) fn next_free(&mut self) -> Option<Pending> {
        while let Some(key) = self.free.pop_front() {
            let Some(line) = self.keys.get_mut(&key) else {
                continue;
            };
            if line.under_way {
                continue;
            }
            if let Some(waiting) = line.waiting.pop_front() {
                line.under_way = true;
                self.waiting -= 1;
                return Some(waiting.pending);
            }
        }
        None
    }

    /// The next of a key that is under way, to go in the same request.
    pub(super) fn next_of(&mut self, key: OrderKey) -> Option<Pending> {
        let line = self.keys.get_mut(&key)?;
        let waiting = line.waiting.pop_front()?;
        self.waiting -= 1;
        Some(waiting.pending)
    }

    /// It was not sent after all: it is the next of its key.
    pub(super) fn put_back(&mut self, pending: Pending, now: Instant) {
        if let Some(line) = self.keys.get_mut(&pending.key) {
            line.insert(pending, now);
            self.waiting += 1;
        }
    }

    /// The delivery under way failed, and stands in its line again.
    pub(super) fn block(&mut self, key: OrderKey) {
        if let Some(line) = self.keys.get_mut(&key) {
            line.then = Then::BeginAnew;
        }
    }

    /// Nothing of `key` is under way any more.
    pub(super) fn ended(&mut self, key: OrderKey) -> Next {
        let Some(line) = self.keys.get_mut(&key) else {
            return Next::Nothing;
        };
        line.under_way = false;
        match line.then {
            Then::BeginAnew => Next::Release(self.forget(key)),
            Then::GoOn | Then::ReadOn if !line.waiting.is_empty() => {
                self.free.push_back(key);
                Next::Nothing
            }
            Then::ReadOn => Next::Read,
            Then::GoOn => {
                self.forget(key);
                Next::Nothing
            }
        }
    }

    /// These, read from disk behind the one that ended, are next; `more`: others may follow them.
    pub(super) fn refill(&mut self, key: OrderKey, read: Vec<Pending>, more: bool, now: Instant) {
        let Some(line) = self.keys.get_mut(&key) else {
            return;
        };
        if line.then < Then::BeginAnew {
            line.then = if more { Then::ReadOn } else { Then::GoOn };
        }
        self.waiting += read.len();
        for pending in read {
            line.insert(pending, now);
        }
        if line.under_way {
            return;
        }
        if line.waiting.is_empty() {
            // What may still come of it is found when the views show it.
            self.forget(key);
        } else {
            self.free.push_back(key);
        }
    }

    /// Takes a key out of memory, with what waits.
    fn forget(&mut self, key: OrderKey) -> Vec<Pending> {
        let waiting = self.keys.remove(&key).unwrap_or_default().waiting;
        self.waiting -= waiting.len();
        waiting.into_iter().map(|w| w.pending).collect()
    }

    /// Takes all that waits out of memory: what comes next of each key is the first on disk.
    pub(super) fn release(&mut self) -> Vec<Pending> {
        let mut released = Vec::with_capacity(self.waiting);
        self.keys.retain(|_, line| {
            released.extend(line.waiting.drain(..).map(|w| w.pending));
            line.then = Then::BeginAnew;
            line.under_way
        });
        self.free.clear();
        self.waiting = 0;
        released
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Room for those read back from disk.
    pub(super) fn room(&self) -> usize {
        limits::ORDER_WAITING.saturating_sub(self.waiting)
    }

    pub(super) fn each_waiting(&mut self) -> impl Iterator<Item = &mut Pending> {
        let lines = self.keys.values_mut();
        lines.flat_map(|line| line.waiting.iter_mut().map(|w| &mut w.pending))
    }

    /// Fresh ones that wait for too long; whoever asks writes them down where they wait.
    pub(super) fn late(&mut self, now: Instant) -> Vec<&mut Pending> {
        if self.sweep_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.sweep_at = (self.waiting > 0).then(|| now + limits::LATE_AFTER / 4);
        let waiting = self.keys.values_mut().flat_map(|line| &mut line.waiting);
        waiting
            .filter(|w| w.pending.kept == Kept::Fresh && now >= w.since + limits::LATE_AFTER)
            .map(|w| &mut w.pending)
            .collect()
    }

    // ---- what the views do not show yet

    /// A record that puts `sequence` into the line waits for the log.
    pub(super) fn queued(&mut self, key: OrderKey, sequence: Sequence) {
        let unseen = self.unseen.entry(key).or_insert(Unseen {
            queued: 0,
            record: 0,
            lowest: sequence,
        });
        unseen.queued += 1;
        unseen.lowest = unseen.lowest.min(sequence);
    }

    /// The log has taken it as `record`.
    pub(super) fn taken(&mut self, key: OrderKey, record: Sequence) {
        if let Some(unseen) = self.unseen.get_mut(&key) {
            unseen.queued = unseen.queued.saturating_sub(1);
            unseen.record = record;
            self.unseen_order.push_back((record, key));
        }
    }

    /// Forgets what the views show by now.
    pub(super) fn forget_through(&mut self, visible: Sequence) {
        while let Some((record, key)) = self.unseen_order.front().copied()
            && record <= visible
        {
            self.unseen_order.pop_front();
            if let Some(unseen) = self.unseen.get(&key)
                && unseen.queued == 0
                && unseen.record <= visible
            {
                self.unseen.remove(&key);
            }
        }
    }

    /// Whether the views may show somebody as the first of the line who is not.
    pub(super) fn hides_older(&self, key: OrderKey, sequence: Sequence) -> bool {
        self.unseen
            .get(&key)
            .is_some_and(|unseen| unseen.lowest < sequence)
    }

    pub(super) fn is_unseen(&self, key: OrderKey) -> bool {
        self.unseen.contains_key(&key)
    }

    pub(super) fn unseen(&self) -> usize {
        self.unseen_order.len()
    }
}

impl InMemory {
    /// By sequence: what comes from disk again may be older than what waits.
    fn insert(&mut self, pending: Pending, since: Instant) {
        let at = self
            .waiting
            .partition_point(|w| w.pending.sequence <= pending.sequence);
        self.waiting.insert(at, Waiting { pending, since });
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
