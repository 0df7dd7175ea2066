//! How far the journal is: announces what is on disk, and wakes those who wait for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, watch};

use super::frame::{Position, Sequence};
use super::status::{AppendError, State};
use crate::limits;

pub(super) struct Progress {
    durable: AtomicU64,
    end: AtomicU64,
    state: watch::Sender<State>,
    any_lost: AtomicBool,
    lost: Mutex<LostRanges>,
    turnstile: Mutex<Turnstile>,
    past: watch::Sender<Sequence>,
    blocked: Mutex<()>,
    blocked_wake: Condvar,
}

/// Those who wait for one sequence, apart by the write that will bring it: a commit wakes the
/// waiters of its own batch and leaves the next batch's asleep.
struct Turnstile {
    in_flight_through: Sequence,
    in_flight: Arc<Notify>,
    queued: Arc<Notify>,
}

impl Progress {
    pub(super) fn new(durable: Sequence, end: Position) -> Self {
        Self {
            durable: AtomicU64::new(durable),
            end: AtomicU64::new(end.0),
            state: watch::Sender::new(State::Writable),
            any_lost: AtomicBool::new(false),
            lost: Mutex::default(),
            turnstile: Mutex::new(Turnstile {
                in_flight_through: durable,
                in_flight: Arc::default(),
                queued: Arc::default(),
            }),
            past: watch::Sender::new(durable),
            blocked: Mutex::default(),
            blocked_wake: Condvar::new(),
        }
    }

    pub(super) fn durable(&self) -> Sequence {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(super) fn is_lost(&self, sequence: Sequence) -> bool {
        self.any_lost.load(Ordering::Acquire) && self.lost.lock().find(sequence).is_some()
    }

    // ---- the writer's side

    /// All up to `through` are now being written.
    pub(super) fn begin_batch(&self, through: Sequence) {
        let mut turnstile = self.turnstile.lock();
        turnstile.in_flight_through = through;
        turnstile.in_flight = std::mem::take(&mut turnstile.queued);
    }

    /// All up to `through`, which ends at `end`, are on disk.
    pub(super) fn announce(&self, through: Sequence, end: Position) {
        // The end first: who sees the sequence may read up to it.
        self.end.store(end.0, Ordering::Release);
        self.durable.store(through, Ordering::Release);
        let in_flight = Arc::clone(&self.turnstile.lock().in_flight);
        in_flight.notify_waiters();
        self.past.send_replace(through);
        self.wake_blocked();
    }

    /// These numbers will never be on disk. To be called before any later one is announced.
    pub(super) fn announce_lost(&self, first: Sequence, last: Sequence, reason: &str) {
        self.lost.lock().add(first, last, reason);
        self.any_lost.store(true, Ordering::Release);
        self.wake_all();
    }

    pub(super) fn announce_state(&self, state: State) {
        self.state.send_if_modified(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
        self.wake_all();
    }

    /// Nobody asks any more about lost numbers below `first`.
    pub(super) fn forget_lost_below(&self, first: Sequence) {
        if self.any_lost.load(Ordering::Acquire) {
            self.lost.lock().forget_below(first);
        }
    }

    fn wake_all(&self) {
        let (in_flight, queued) = {
            let turnstile = self.turnstile.lock();
            (
                Arc::clone(&turnstile.in_flight),
                Arc::clone(&turnstile.queued),
            )
        };
        in_flight.notify_waiters();
        queued.notify_waiters();
        // Not a new value, but the waiters look at the state as well.
        self.past.send_modify(|_| {});
        self.wake_blocked();
    }

    fn wake_blocked(&self) {
        // Taken so that nobody is between looking and waiting.
        drop(self.blocked.lock());
        self.blocked_wake.notify_all();
    }

    // ---- the waiters' side

    pub(super) async fn wait_durable(&self, sequence: Sequence) -> Result<(), AppendError> {
        loop {
            if let Some(verdict) = self.verdict(sequence) {
                return verdict;
            }
            let notify = {
                let turnstile = self.turnstile.lock();
                if sequence <= turnstile.in_flight_through {
                    Arc::clone(&turnstile.in_flight)
                } else {
                    Arc::clone(&turnstile.queued)
                }
            };
            let woken = notify.notified();
            // Announced after the first look but before `woken` counted as a waiter?
            if let Some(verdict) = self.verdict(sequence) {
                return verdict;
            }
            woken.await;
        }
    }

    fn verdict(&self, sequence: Sequence) -> Option<Result<(), AppendError>> {
        // In this order: a number is announced lost before any later one is announced durable, and
        // the last batch is announced durable before the state is announced over.
        let over = match &*self.state.borrow() {
            State::Failed(text) => Some(AppendError::Failed(text.clone())),
            State::Closed => Some(AppendError::Closed),
            State::Writable | State::Full(_) => None,
        };
        let durable = self.durable() >= sequence;
        if self.any_lost.load(Ordering::Acquire)
            && let Some(reason) = self.lost.lock().find(sequence)
        {
            return Some(Err(AppendError::Full(reason.to_string())));
        }
        if durable {
            return Some(Ok(()));
        }
        over.map(Err)
    }

    pub(super) async fn wait_past(&self, after: Sequence) -> Sequence {
        let mut past = self.past.subscribe();
        loop {
            if self.durable() > after || self.is_over() {
                return self.durable();
            }
            if past.changed().await.is_err() {
                return self.durable();
            }
        }
    }

    pub(super) fn blocking_wait_past(&self, after: Sequence, timeout: Duration) -> Sequence {
        let deadline = Instant::now() + timeout;
        let mut guard = self.blocked.lock();
        while self.durable() <= after && !self.is_over() {
            if self
                .blocked_wake
                .wait_until(&mut guard, deadline)
                .timed_out()
            {
                break;
            }
        }
        self.durable()
    }

    pub(super) async fn state_changed(&self, seen: &State) -> State {
        let mut states = self.state.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        match states.wait_for(|state| state != seen).await {
            Ok(state) => state.clone(),
            Err(_) => self.state(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed(_) | State::Closed)
    }
}

/// Numbers that were given out and never written, in ascending ranges that do not touch.
#[derive(Default)]
struct LostRanges(VecDeque<LostRange>);

struct LostRange {
    first: Sequence,
    last: Sequence,
    reason: Arc<str>,
}

impl LostRanges {
    fn add(&mut self, first: Sequence, last: Sequence, reason: &str) {
        if let Some(previous) = self.0.back_mut()
            && previous.last + 1 == first
        {
            previous.last = last;
            return;
        }
        if self.0.len() == limits::JOURNAL_LOST_RANGES {
            self.0.pop_front();
        }
        self.0.push_back(LostRange {
            first,
            last,
            reason: reason.into(),
        });
    }

    fn find(&self, sequence: Sequence) -> Option<&Arc<str>> {
        let after = self.0.partition_point(|range| range.first <= sequence);
        let range = self.0.get(after.checked_sub(1)?)?;
        (sequence <= range.last).then_some(&range.reason)
    }

    fn forget_below(&mut self, first: Sequence) {
        while self.0.front().is_some_and(|range| range.last < first) {
            self.0.pop_front();
        }
    }
}
