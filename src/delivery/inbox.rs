//! Takes deliveries from the router without ever making it wait: in memory while there is room,
//! in chunks on disk beyond that.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::status::Said;
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{AppendError, OrderKey, Sequence};

/// A delivery that was just routed; only memory and the router's checkpoint know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) sequence: Sequence,
    /// The event's time: its max age counts from here.
    pub(crate) since: Timestamp,
    pub(crate) offered: Instant,
    pub(crate) key: OrderKey,
}

/// What became of an offer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Taken,
    /// The lane has ended; another is needed.
    Ended,
}

/// The side of a lane that the router touches. All its state is in order of arrival:
/// `ready`, then the chunks on disk, then `spill`.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Fresh>,
    /// Waits to become a chunk on disk.
    spill: Vec<Fresh>,
    spilling_since: Option<Instant>,
    /// Deliveries in chunks on disk that the lane has not loaded.
    unloaded: u64,
    /// Parked behind the lane's back, and not known to it yet.
    redriven: u64,
    /// What the lane said last of itself.
    said: Said,
    /// What it took since then, less what it put back: nothing pending is ever out of sight.
    moved: i64,
    /// The breaker is open: nothing may wait in memory.
    closed: bool,
    /// The length of `ready` at which the lane wants to be woken again.
    wake_at: usize,
    ended: bool,
}

/// How much waits where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) ready: usize,
    pub(crate) spilled: usize,
    pub(crate) unloaded: u64,
    /// Since when the oldest in memory is pending.
    pub(crate) oldest: Option<Timestamp>,
    /// When the oldest ready one was offered.
    pub(crate) ready_since: Option<Instant>,
    /// When the spill began to fill.
    pub(crate) spilling_since: Option<Instant>,
}

/// Writes a chunk down; after `Ok` memory may forget it.
pub(crate) trait Keep: FnMut(&[Fresh]) -> Result<(), AppendError> {}
impl<F: FnMut(&[Fresh]) -> Result<(), AppendError>> Keep for F {}

impl Inbox {
    /// An inbox of a lane that has so many deliveries parked, and `unloaded` ones in chunks on disk.
    pub(crate) fn new(parked: u64, unloaded: u64) -> Self {
        Self {
            state: Mutex::new(State {
                unloaded,
                said: Said {
                    parked,
                    ..Said::default()
                },
                ..State::default()
            }),
            wake: Notify::new(),
        }
    }

    /// Resolves when there may be something to do.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Takes a delivery; `Err` means that nothing was taken, and that it must be offered again.
    pub(crate) fn offer(&self, fresh: Fresh, mut keep: impl Keep) -> Result<Offer, AppendError> {
        let mut state = self.state.lock();
        if state.ended {
            return Ok(Offer::Ended);
        }
        if !state.spills() && state.ready.len() < limits::LANE_READY {
            state.ready.push_back(fresh);
            let length = state.ready.len();
            if length == 1 || length == state.wake_at {
                drop(state);
                self.wake.notify_one();
            }
            return Ok(Offer::Taken);
        }
        if state.spill.len() >= limits::BACKLOG_CHUNK {
            state.keep_spill(&mut keep)?;
        }
        state.spill.push(fresh);
        if state.spill.len() >= limits::BACKLOG_CHUNK {
            // A refusal is met again at the next offer, which then is not taken.
            let _ = state.keep_spill(&mut keep);
        }
        let starts = state.spilling_since.is_none();
        state.spilling_since = if state.spill.is_empty() {
            None
        } else {
            Some(state.spilling_since.unwrap_or(fresh.offered))
        };
        drop(state);
        if starts {
            self.wake.notify_one();
        }
        Ok(Offer::Taken)
    }

    /// The oldest one in memory. With the ready ones gone and no chunk left to load, the spill
    /// becomes ready instead of going to disk.
    pub(crate) fn take(&self) -> Option<Fresh> {
        let mut state = self.state.lock();
        if state.ready.is_empty() {
            state.unspill();
        }
        let taken = state.ready.pop_front();
        state.moved += i64::from(taken.is_some());
        taken
    }

    /// The lane says how it stands, with all that it took.
    pub(crate) fn show(&self, said: Said) {
        let mut state = self.state.lock();
        state.said = said;
        state.moved = 0;
    }

    /// So many deliveries were parked behind the lane's back.
    pub(crate) fn redriven(&self, deliveries: u64) {
        self.state.lock().redriven += deliveries;
        self.wake();
    }

    /// Those that the lane was not told of yet.
    pub(crate) fn take_redriven(&self) -> u64 {
        let mut state = self.state.lock();
        let redriven = std::mem::take(&mut state.redriven);
        state.moved += redriven.cast_signed();
        redriven
    }

    /// The oldest one in memory, left where it is.
    pub(crate) fn first(&self) -> Option<Sequence> {
        let state = self.state.lock();
        let (ready, spilled) = (state.ready.front(), state.spill.first());
        let first = ready.into_iter().chain(spilled);
        first.map(|fresh| fresh.sequence).min()
    }

    pub(crate) fn waiting(&self) -> Waiting {
        self.state.lock().waiting()
    }

    /// What waits here, and what the lane said last, with what it took and was given since.
    pub(crate) fn shown(&self) -> (Waiting, Said) {
        let state = self.state.lock();
        let said = Said {
            held: state.said.held.saturating_add_signed(state.moved),
            parked: state.said.parked + state.redriven,
            ..state.said.clone()
        };
        (state.waiting(), said)
    }

    /// Writes the spill down as a chunk.
    pub(crate) fn keep_spill(&self, mut keep: impl Keep) -> Result<(), AppendError> {
        self.state.lock().keep_spill(&mut keep)
    }

    /// Writes all ready ones down as chunks, which come before every chunk not yet loaded.
    pub(crate) fn keep_ready(&self, mut keep: impl Keep) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        while !state.ready.is_empty() {
            let size = state.ready.len().min(limits::BACKLOG_CHUNK);
            let chunk = &state.ready.make_contiguous()[..size];
            keep(chunk)?;
            state.ready.drain(..size);
            state.unloaded += size as u64;
        }
        Ok(())
    }

    /// Says whether the breaker is open, so that offers go to disk.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.state.lock().closed = closed;
    }

    /// Asks for another wake-up when this many are ready (a batch is full).
    pub(crate) fn set_wake_at(&self, ready: usize) {
        self.state.lock().wake_at = ready;
    }

    /// The lane has loaded so many deliveries of chunks.
    pub(crate) fn loaded(&self, deliveries: u64) {
        let mut state = self.state.lock();
        state.unloaded = state.unloaded.saturating_sub(deliveries);
        state.moved += deliveries.cast_signed();
    }

    /// The lane found that so many counted in chunks are not there.
    pub(crate) fn miscounted(&self, deliveries: u64) {
        let mut state = self.state.lock();
        state.unloaded = state.unloaded.saturating_sub(deliveries);
    }

    /// The lane has put so many deliveries back into chunks.
    pub(crate) fn unloaded(&self, deliveries: u64) {
        let mut state = self.state.lock();
        state.unloaded += deliveries;
        state.moved -= deliveries.cast_signed();
    }

    /// Ends the inbox if it is empty; whether it did. Later offers answer [`Offer::Ended`].
    pub(crate) fn end(&self) -> bool {
        let mut state = self.state.lock();
        state.ended = state.ready.is_empty() && state.spill.is_empty() && state.unloaded == 0;
        state.ended
    }
}

impl State {
    fn waiting(&self) -> Waiting {
        let front = self.ready.front().or(self.spill.first());
        Waiting {
            ready: self.ready.len(),
            spilled: self.spill.len(),
            unloaded: self.unloaded,
            oldest: front.map(|fresh| fresh.since),
            ready_since: self.ready.front().map(|fresh| fresh.offered),
            spilling_since: self.spilling_since,
        }
    }

    /// Whether an offer has to queue up behind chunks, or must not wait in memory.
    fn spills(&self) -> bool {
        self.closed || self.unloaded > 0 || !self.spill.is_empty()
    }

    fn unspill(&mut self) {
        if self.unloaded == 0 && !self.closed && !self.spill.is_empty() {
            self.ready.extend(self.spill.drain(..));
            self.spilling_since = None;
        }
    }

    fn keep_spill(&mut self, keep: &mut impl Keep) -> Result<(), AppendError> {
        if !self.spill.is_empty() {
            keep(&self.spill)?;
            self.unloaded += self.spill.len() as u64;
            self.spill.clear();
        }
        self.spilling_since = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh(sequence: Sequence) -> Fresh {
        Fresh {
            sequence,
            since: Timestamp::from_millis(sequence),
            offered: Instant::now(),
            key: OrderKey::NONE,
        }
    }

    /// A disk for chunks that can refuse.
    #[derive(Default)]
    struct Disk {
        chunks: Vec<Vec<Sequence>>,
        full: bool,
    }

    impl Disk {
        fn keep(&mut self) -> impl Keep {
            |chunk| {
                if self.full {
                    return Err(AppendError::Busy);
                }
                self.chunks
                    .push(chunk.iter().map(|fresh| fresh.sequence).collect());
                self.chunks.sort();
                Ok(())
            }
        }
    }

    fn offer_all(inbox: &Inbox, disk: &mut Disk, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            assert_eq!(inbox.offer(fresh(sequence), disk.keep()), Ok(Offer::Taken));
        }
    }

    #[test]
    fn what_does_not_fit_goes_to_disk_in_whole_chunks() {
        let (inbox, mut disk) = (Inbox::new(0, 0), Disk::default());
        let (ready, chunk) = (limits::LANE_READY as u64, limits::BACKLOG_CHUNK as u64);
        offer_all(&inbox, &mut disk, 0..ready + 2 * chunk + 3);
        assert_eq!(disk.chunks.len(), 2);
        assert!(disk.chunks.iter().all(|c| c.len() == limits::BACKLOG_CHUNK));
        let waiting = inbox.waiting();
        assert_eq!(
            (waiting.ready, waiting.spilled, waiting.unloaded),
            (limits::LANE_READY, 3, 2 * chunk)
        );
        assert!(waiting.spilling_since.is_some());
    }

    #[test]
    fn fresh_ones_queue_up_behind_chunks_until_all_are_loaded() {
        let (inbox, mut disk) = (Inbox::new(0, 1), Disk::default());
        offer_all(&inbox, &mut disk, 0..2);
        assert_eq!(inbox.take(), None);
        inbox.loaded(1);
        assert_eq!(inbox.take().map(|f| f.sequence), Some(0));
        offer_all(&inbox, &mut disk, 2..3);
        assert_eq!(inbox.waiting().ready, 2);
    }

    #[test]
    fn a_refused_chunk_is_not_taken_and_nothing_is_lost() {
        let inbox = Inbox::new(0, 1);
        let mut disk = Disk {
            full: true,
            ..Disk::default()
        };
        let chunk = limits::BACKLOG_CHUNK as u64;
        offer_all(&inbox, &mut disk, 0..chunk);
        for _ in 0..3 {
            let refused = inbox.offer(fresh(chunk), disk.keep());
            assert_eq!(refused, Err(AppendError::Busy));
        }
        disk.full = false;
        assert_eq!(inbox.offer(fresh(chunk), disk.keep()), Ok(Offer::Taken));
        assert_eq!(disk.chunks, [(0..chunk).collect::<Vec<_>>()]);
        assert_eq!(inbox.waiting().spilled, 1);
    }

    #[test]
    fn an_open_breaker_lets_nothing_wait_in_memory() {
        let (inbox, mut disk) = (Inbox::new(0, 0), Disk::default());
        offer_all(&inbox, &mut disk, 0..600);
        inbox.set_closed(true);
        inbox.keep_ready(disk.keep()).unwrap();
        offer_all(&inbox, &mut disk, 600..603);
        inbox.keep_spill(disk.keep()).unwrap();
        assert_eq!(inbox.take(), None);
        let lengths: Vec<_> = disk.chunks.iter().map(Vec::len).collect();
        assert_eq!(lengths, [512, 88, 3]);
        assert_eq!(inbox.waiting().unloaded, 603);
    }

    #[test]
    fn an_inbox_ends_only_when_empty() {
        let (inbox, mut disk) = (Inbox::new(0, 0), Disk::default());
        offer_all(&inbox, &mut disk, 0..1);
        assert!(!inbox.end());
        inbox.take();
        assert!(inbox.end());
        assert_eq!(inbox.offer(fresh(1), disk.keep()), Ok(Offer::Ended));
    }

    /// Of a status that is asked for between two steps of the lane.
    #[test]
    fn nothing_pending_is_out_of_sight_while_the_lane_takes_it() {
        let pending = |inbox: &Inbox| {
            let (here, said) = inbox.shown();
            (here.ready + here.spilled) as u64 + here.unloaded + said.held + said.parked
        };
        let (inbox, mut disk) = (Inbox::new(2, 5), Disk::default());
        assert_eq!(pending(&inbox), 7);
        offer_all(&inbox, &mut disk, 0..1);
        inbox.loaded(5);
        assert_eq!(pending(&inbox), 8);
        assert!(inbox.take().is_some() && inbox.take().is_none());
        assert_eq!(pending(&inbox), 8);
        inbox.redriven(3);
        assert_eq!(pending(&inbox), 11);
        assert_eq!(inbox.take_redriven(), 3);
        assert_eq!(pending(&inbox), 11);
        inbox.redriven(1);
        inbox.show(Said {
            in_flight: 1,
            held: 5,
            parked: 5,
            ..Said::default()
        });
        assert_eq!(pending(&inbox), 11);
        inbox.unloaded(4);
        assert_eq!((pending(&inbox), inbox.shown().1.held), (11, 1));
    }

    proptest! {
        /// However offers, takes, flushes, openings and loads interleave, deliveries come out once
        /// each and in order.
        #[test]
        fn deliveries_keep_their_order(steps in prop::collection::vec((0u8..7, 1u64..900), 1..60)) {
            let (inbox, mut disk) = (Inbox::new(0, 0), Disk::default());
            let (mut offered, mut out) = (0, Vec::new());
            let load = |disk: &mut Disk, out: &mut Vec<Sequence>| {
                if inbox.waiting().ready == 0 && !disk.chunks.is_empty() {
                    let chunk = disk.chunks.remove(0);
                    inbox.loaded(chunk.len() as u64);
                    out.extend(chunk);
                }
            };
            for (step, many) in steps {
                match step {
                    0 | 1 => {
                        offer_all(&inbox, &mut disk, offered..offered + many);
                        offered += many;
                    }
                    2 => {
                        for _ in 0..many {
                            out.extend(inbox.take().map(|fresh| fresh.sequence));
                        }
                    }
                    3 => inbox.keep_spill(disk.keep()).unwrap(),
                    4 => {
                        inbox.set_closed(true);
                        inbox.keep_ready(disk.keep()).unwrap();
                    }
                    5 => inbox.set_closed(false),
                    _ => load(&mut disk, &mut out),
                }
            }
            inbox.set_closed(false);
            while out.len() < offered as usize {
                load(&mut disk, &mut out);
                while let Some(fresh) = inbox.take() {
                    out.push(fresh.sequence);
                }
                inbox.keep_spill(disk.keep()).unwrap();
            }
            prop_assert_eq!(out, (0..offered).collect::<Vec<_>>());
        }
    }
}
