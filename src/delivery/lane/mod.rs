//! One lane per target: decides when its deliveries are attempted, and writes down what is late.
//!
//! A lane is one task. It holds at most a few thousand sequences: what does not fit waits in
//! chunks on disk (`Backlogged`), what has failed waits there until it is due (`Parked`). The ADR
//! "lanes and parking" tells why.

mod agreement;
mod change;
mod clear;
mod finish;
mod handle;
mod in_order;
mod open_chunk;
mod order;
mod pulled;
mod source;
mod standing;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, Sleep};

use self::change::Outbox;
use self::open_chunk::OpenChunk;
use self::order::Order;
use self::pulled::Acknowledged;
use super::attempt::{self, Tried, Wanted};
use super::breaker::{Breaker, Gate};
use super::consent::{self, Consent};
use super::in_hand::InHand;
use super::pace::{Pace, Wait};
use super::room::{InFlight, May, Room};
use super::standing::Failing;
use super::status::{Agreement, Said};
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{OrderKey, Sequence, TargetMark};
use crate::rule::{Mode, Target};

pub(crate) use self::handle::{Handle, Hub, Settings};

/// Longest sleep towards a moment on the clock: a clock may jump, and a test moves it by hand.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// How often a lane with something on disk looks at its oldest delivery.
const SURVEY_EVERY: Duration = Duration::from_secs(1);
/// Wait for views that lag behind the lane's records, at first.
const VIEW_LAG: Duration = Duration::from_millis(2);
const VIEW_LAG_MAX: Duration = Duration::from_millis(200);

/// A delivery in the lane's memory.
#[derive(Debug, Clone, Copy)]
struct Pending {
    sequence: Sequence,
    /// When it became pending; the event's time, read with the event, when `None`.
    since: Option<Timestamp>,
    /// Attempts that have ended.
    attempts: u32,
    kept: Kept,
    key: OrderKey,
}

impl Pending {
    /// Its next attempt.
    fn wanted(&self) -> Wanted {
        Wanted {
            sequence: self.sequence,
            since: self.since,
            number: self.attempts + 1,
        }
    }
}

/// What on disk proves a delivery that memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Nothing but the router's checkpoint, which it holds back.
    Fresh,
    /// The chunk that starts with this sequence.
    Chunk(Sequence),
    /// A parked record of its own.
    Parked,
}

struct Flight {
    started: Instant,
    target: Arc<Target>,
    deliveries: Vec<Pending>,
    kind: Kind,
}

impl Flight {
    /// How many of its deliveries are parked.
    fn parked(&self) -> usize {
        let parked = |pending: &&Pending| pending.kept == Kept::Parked;
        self.deliveries.iter().filter(parked).count()
    }
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    probe: bool,
    /// Of retries; else of first attempts.
    retry: bool,
}

/// The task's own side.
pub(crate) struct Lane {
    hub: Arc<Hub>,
    handle: Arc<Handle>,
    settings: Arc<Settings>,
    breaker: Breaker,
    /// How the target stands, as written down.
    mark: TargetMark,
    failing: Failing,
    pace: Pace,
    consent: Consent,
    /// Questions for the target's agreement; one at most is of use.
    questions: JoinSet<consent::Answer>,
    asked: bool,
    room: Room,
    /// Flights of retries.
    retry_flights: usize,
    /// No attempts may be made for a while, and the inbox knows it.
    closed: bool,
    draining: bool,
    ended: bool,

    /// Members of chunks that were read, oldest first.
    loaded: VecDeque<Pending>,
    chunks: HashMap<Sequence, OpenChunk>,
    /// Chunks, by their first sequence, that were settled or exchanged in a record which the views
    /// do not show yet; `None` while the log has not even taken it.
    settled_chunks: HashMap<Sequence, Option<Sequence>>,
    load_at: Option<Instant>,
    load_wait: Duration,
    /// The record that put older deliveries behind younger chunks on disk; until the views show
    /// it, they would give the younger ones first.
    load_behind: Sequence,
    /// So many deliveries are in such records that wait in the outbox.
    releasing: u64,

    /// Parked deliveries that are due.
    retries: VecDeque<Pending>,
    in_hand: InHand,
    /// When to look for due ones again; never later than the earliest due time.
    look_at: Option<Timestamp>,
    look_not_before: Instant,
    /// Parked deliveries, those in memory included. Below zero while the lane has found ones on disk
    /// that it was not told of yet.
    parked: i64,
    /// Those of them that are in flight.
    parked_in_flight: usize,
    retry_turn: bool,

    /// Only where the target has, or once had, an ordering key.
    order: Option<Box<Order>>,

    attempts: JoinSet<Tried>,
    flights: HashMap<Id, Flight>,
    /// Flights with a fresh delivery, and when that is parked, in order of their start.
    late_order: VecDeque<(Instant, Id)>,

    outbox: Outbox,
    /// Fresh deliveries that ended well in this turn.
    settled: Vec<Sequence>,
    /// What pullers have done with in this turn.
    acknowledged: Acknowledged,
    survey_at: Instant,
    /// Since when the oldest delivery on disk is pending, as last surveyed.
    oldest_on_disk: Option<Timestamp>,
}

impl Lane {
    /// A lane with `parked` parked deliveries on disk.
    pub(crate) fn new(hub: Arc<Hub>, handle: Arc<Handle>, parked: u64) -> Self {
        let settings = handle.settings();
        let target = settings.target.as_ref();
        let rate = target.and_then(|target| target.rate_limit);
        let ceiling = target.map_or(1, |target| target.concurrency);
        let mark = hub.standings.known(handle.key, target.map(Arc::as_ref));
        let consent = Consent::of(target.map(Arc::as_ref));
        let mut pace = Pace::new(rate, Instant::now());
        let needs = matches!(consent, Consent::Wanted { .. });
        pace.await_consent(needs.then(Instant::now));
        let is_behind = hub.progress.routed_through() < hub.repeats_through;
        let recovers = is_behind || parked > 0 || handle.inbox.waiting().unloaded > 0;
        let order = Self::opening_order(settings.target.as_deref(), recovers);
        Self {
            failing: Failing::known(&mark),
            mark,
            settings,
            breaker: Breaker::new(),
            pace,
            consent,
            questions: JoinSet::new(),
            asked: false,
            room: Room::new(ceiling),
            retry_flights: 0,
            closed: false,
            draining: false,
            ended: false,
            loaded: VecDeque::new(),
            chunks: HashMap::new(),
            settled_chunks: HashMap::new(),
            load_at: None,
            load_wait: VIEW_LAG,
            load_behind: 0,
            releasing: 0,
            retries: VecDeque::new(),
            in_hand: InHand::default(),
            look_at: (parked > 0).then(|| Timestamp::from_millis(0)),
            look_not_before: Instant::now(),
            parked: parked.cast_signed(),
            parked_in_flight: 0,
            retry_turn: false,
            order,
            attempts: JoinSet::new(),
            flights: HashMap::new(),
            late_order: VecDeque::new(),
            outbox: Outbox::default(),
            settled: Vec::new(),
            acknowledged: Acknowledged::default(),
            survey_at: Instant::now(),
            oldest_on_disk: None,
            hub,
            handle,
        }
    }

    /// Runs until the lane is drained, or its deleted target has nothing pending any more.
    pub(crate) async fn run(mut self) {
        let handle = self.handle.clone();
        self.tell_batch_size();
        let mut timer: Pin<Box<Sleep>> = Box::pin(tokio::time::sleep(Duration::ZERO));
        // `None`: the timer is set further ahead than anything could wait.
        let mut armed = Some(Instant::now());
        loop {
            self.turn().await;
            if self.ended {
                return;
            }
            let wake_at = self.wake_at();
            // A timer that fires early costs one idle turn; setting it anew each turn costs more.
            if let Some(wake_at) = wake_at
                && armed.is_none_or(|armed| wake_at < armed || armed <= Instant::now())
            {
                timer.as_mut().reset(wake_at);
                armed = Some(wake_at);
            }
            tokio::select! {
                Some(ended) = self.attempts.join_next_with_id() => self.finish(ended),
                Some(answer) = self.questions.join_next() => {
                    // One that was called off answers nothing.
                    if !answer.as_ref().is_err_and(tokio::task::JoinError::is_cancelled) {
                        self.answered(answer.ok());
                    }
                }
                () = handle.inbox.woken() => {}
                () = timer.as_mut(), if armed.is_some() => armed = None,
            }
            while let Some(ended) = self.attempts.try_join_next_with_id() {
                self.finish(ended);
            }
        }
    }

    /// Does all that can be done now.
    async fn turn(&mut self) {
        let now = Instant::now();
        self.take_news();
        self.park_late(now);
        self.park_late_waiting(now);
        if let Some(drain_by) = self.hub.drain_by.get().copied() {
            self.drain(drain_by, now).await;
        } else if self.settings.target.is_some() {
            self.follow_breaker(now);
            self.follow_consent(now);
            self.keep_waiting(now);
            self.look_for_retries(now);
            self.load_backlog(now);
            self.start_attempts(now);
            if now >= self.survey_at {
                self.survey(now).await;
            }
        } else {
            self.keep_waiting(now);
            self.clear_step(now).await;
        }
        self.hub.progress.settle_all(self.settled.drain(..));
        self.write_acknowledgements();
        self.flush(now);
        self.show(now);
    }

    /// Takes over changed settings, redriven dead letters, and what the views show by now.
    fn take_news(&mut self) {
        let settings = self.handle.settings.load();
        if !Arc::ptr_eq(&settings, &self.settings) {
            let url = |of: &Settings| of.target.as_ref().map(|target| target.url.clone());
            let moved = url(&settings) != url(&self.settings);
            let before = std::mem::replace(&mut self.settings, settings.clone());
            self.take_standing(moved);
            self.renew_consent(before.target.as_deref());
            self.tell_batch_size();
            self.follow_ordering();
            if let Some(target) = &settings.target {
                self.pace.let_go();
                self.room.set_ceiling(target.concurrency);
            }
            self.follow_rate(Instant::now());
        }
        if self.handle.secrets_changed.swap(false, Ordering::AcqRel) {
            self.pace.lacks_nothing();
        }
        if self.handle.standing_changed.swap(false, Ordering::AcqRel) {
            self.take_standing(true);
        }
        let redriven = self.handle.inbox.take_redriven();
        if redriven > 0 {
            self.parked += redriven.cast_signed();
            self.look_at = Some(Timestamp::from_millis(0));
            // They may be older than what waits in memory: from now on the disk tells the order.
            self.release_order();
        }
        let visible = self.hub.sender.log.visible_through();
        self.in_hand.forget_through(visible);
        if let Some(order) = &mut self.order {
            order.forget_through(visible);
            order.held_back = 0;
        }
        self.settled_chunks
            .retain(|_, record| record.is_none_or(|record| record > visible));
    }

    /// The inbox wakes a waiting lane again once a batch is full.
    fn tell_batch_size(&self) {
        let batch = match &self.settings.target {
            Some(target) if target.mode == Mode::Batch => target.batch_events,
            _ => 0,
        };
        self.handle.inbox.set_wake_at(batch);
    }

    /// Tells the inbox when no attempts may be made for a while, or may be again.
    fn follow_breaker(&mut self, now: Instant) {
        let closed = matches!(self.gate(now), Gate::Closed { .. } | Gate::Stopped);
        if closed != self.closed {
            self.closed = closed;
            self.handle.inbox.set_closed(closed);
            if closed {
                self.release_memory();
            }
        }
    }

    /// Gives what is on disk anyway back to the disk: while the breaker is open it may wait for
    /// hours, and pass its max age there.
    fn release_memory(&mut self) {
        for retry in self.retries.drain(..) {
            self.in_hand.put_back(retry.sequence);
            self.look_at = Some(Timestamp::from_millis(0));
        }
        self.release_order();
        let firsts: Vec<Sequence> = self.chunks.keys().copied().collect();
        for first in firsts {
            self.exchange_chunk(first, true);
        }
    }

    /// Writes down what must not wait in memory any longer.
    fn keep_waiting(&mut self, now: Instant) {
        let waiting = self.handle.inbox.waiting();
        let ready_late = waiting
            .ready_since
            .is_some_and(|since| self.closed || now >= since + self.ready_limit());
        let spill_late = waiting
            .spilling_since
            .is_some_and(|since| now >= since + self.spill_limit(now));
        if (!ready_late && !spill_late) || self.outbox.is_refused(now) {
            return;
        }
        let inbox = &self.handle.inbox;
        let mut result = Ok(());
        if ready_late {
            result = inbox.keep_ready(self.handle.keep(&self.hub));
            self.load_behind = self.handle.last_record.load(Ordering::Acquire);
        }
        if spill_late && result.is_ok() {
            result = inbox.keep_spill(self.handle.keep(&self.hub));
        }
        if let Err(error) = result {
            self.outbox.refused(self.handle.key, &error, now);
        }
    }

    /// How long a fresh delivery may wait in memory. A batch that waits for company is not late.
    fn ready_limit(&self) -> Duration {
        match &self.settings.target {
            Some(target) if target.mode == Mode::Batch => limits::LATE_AFTER + target.batch_wait,
            _ => limits::LATE_AFTER,
        }
    }

    /// How long a delivery that found its lane full may wait for company. Of a lane that is paced,
    /// most may be such: fewer, fuller chunks spare the log.
    fn spill_limit(&self, now: Instant) -> Duration {
        if self.pace.is_bound(now) {
            limits::LATE_AFTER
        } else {
            limits::SPILL_AFTER
        }
    }

    /// What deliveries that are in memory wait for, the breaker aside.
    fn paced(&self, now: Instant) -> Option<Wait> {
        self.pace.wait(now).filter(|_| {
            !self.loaded.is_empty()
                || !self.retries.is_empty()
                || self.handle.inbox.waiting().ready > 0
        })
    }

    fn start_attempts(&mut self, now: Instant) {
        let Some(target) = self.settings.target.clone() else {
            return;
        };
        if self.waits_for_router() {
            return;
        }
        if target.pull.is_none() {
            self.start_while_possible(&target, now);
        } else if self.handle.desk.wants() {
            self.handle.desk.begin_round();
            self.start_while_possible(&target, now);
            self.handle.desk.end_round();
        }
    }

    fn start_while_possible(&mut self, target: &Arc<Target>, now: Instant) {
        while self.flights.len() < self.room.limit() && !self.outbox.is_loaded() {
            let probe = match self.gate(now) {
                Gate::Pass => false,
                Gate::Probe => true,
                Gate::Probing | Gate::Closed { .. } | Gate::Stopped => return,
            };
            if self.pace.wait(now).is_some() {
                return;
            }
            let promise = match target.pull {
                Some(_) => match self.handle.desk.promise() {
                    Some(promise) => Some(promise),
                    None => return,
                },
                None => None,
            };
            let may = self.may(target);
            if may == May::default() {
                return;
            }
            let Some((deliveries, retry)) = self.next_group(target, probe, may, now) else {
                return;
            };
            if probe {
                self.breaker.probe_started();
            }
            self.pace.took(now);
            let kind = Kind { probe, retry };
            let target = Arc::clone(target);
            match promise {
                Some(promise) => self.start_lease(target, deliveries, promise, kind, now),
                None => self.start(target, deliveries, kind, now),
            }
        }
    }

    /// Which kinds may start an attempt now, by the target's own room and everybody's. A lease is
    /// no attempt of ours: it takes no place of the others'.
    fn may(&self, target: &Target) -> May {
        if target.pull.is_none() && !self.hub.crowd.has_room_for(self.flights.len()) {
            return May::default();
        }
        let in_flight = InFlight {
            all: self.flights.len(),
            retries: self.retry_flights,
        };
        self.room.may(in_flight, !self.retries.is_empty())
    }

    fn start(&mut self, target: Arc<Target>, deliveries: Vec<Pending>, kind: Kind, now: Instant) {
        let wanted: Vec<Wanted> = deliveries.iter().map(Pending::wanted).collect();
        let hub = self.hub.clone();
        let to = target.clone();
        let place = self.hub.crowd.enter();
        let attempt = async move {
            let _place = place;
            hub.sender.attempt(&to, &wanted).await
        };
        let flight = Flight {
            started: now,
            target,
            deliveries,
            kind,
        };
        self.take_off(attempt, flight);
    }

    fn take_off(&mut self, attempt: impl Future<Output = Tried> + Send + 'static, flight: Flight) {
        // Boxed: a task moves its future about, and its result in the future's place.
        let id = self.attempts.spawn(Box::pin(attempt)).id();
        self.retry_flights += usize::from(flight.kind.retry);
        self.parked_in_flight += flight.parked();
        if flight.deliveries.iter().any(|p| p.kept == Kept::Fresh) {
            let late_at = flight.started + attempt::late_after(&flight.target);
            self.late_order.push_back((late_at, id));
        }
        self.flights.insert(id, flight);
    }

    /// When there is something to do although nothing happens; `None` is never.
    fn wake_at(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let waiting = self.handle.inbox.waiting();
        let mut wake = Earliest(None);
        wake.at(self.late_order.front().map(|(at, _)| *at));
        wake.at(self.outbox.retry_at());
        wake.at(self.order.as_ref().and_then(|order| order.sweep_at));
        let keep_at = [
            waiting.ready_since.map(|since| since + self.ready_limit()),
            waiting.spilling_since.map(|at| at + self.spill_limit(now)),
        ];
        for at in keep_at.into_iter().flatten() {
            wake.at(Some(
                self.outbox.retry_at().map_or(at, |retry| at.max(retry)),
            ));
        }
        if self.draining {
            wake.at(self.hub.drain_by.get().copied());
        } else if let Some(target) = self.settings.target.clone() {
            if self.parked > 0 || waiting.unloaded > 0 || !self.chunks.is_empty() {
                wake.at(Some(self.survey_at));
            }
            match self.gate(now) {
                Gate::Closed { until } => wake.at(Some(until)),
                Gate::Probing | Gate::Stopped => {}
                Gate::Pass | Gate::Probe => {
                    let paced = self.paced(now).map(Wait::until);
                    wake.at(paced);
                    if self.waits_for_router() || self.is_held_up() {
                        wake.at(Some(now + VIEW_LAG));
                    }
                    if self.retries.len() < Self::low_mark(&target) {
                        wake.at(self.look_at.map(|due| {
                            let wait = due.since(self.hub.sender.clock.now());
                            (now + wait.min(CLOCK_STEP)).max(self.look_not_before)
                        }));
                    }
                    if waiting.unloaded > 0 && waiting.ready == 0 && self.loaded.is_empty() {
                        wake.at(Some(self.load_at.unwrap_or(now)));
                    }
                    if target.mode == Mode::Batch && self.may(&target).first {
                        let full_at = waiting.ready_since.map(|since| since + target.batch_wait);
                        wake.at(full_at.map(|at| paced.map_or(at, |paced| at.max(paced))));
                    }
                }
            }
        } else {
            wake.at(Some(self.load_at.unwrap_or(now + VIEW_LAG)));
        }
        // Whatever went wrong above, a lane never spins.
        wake.0.map(|at| at.max(now + Duration::from_millis(1)))
    }

    /// Memory's low mark: below it more is read from disk.
    fn low_mark(target: &Target) -> usize {
        let wanted = match target.mode {
            Mode::Batch => target.concurrency.saturating_mul(target.batch_events),
            Mode::Binary | Mode::Structured => target.concurrency,
        };
        wanted.clamp(1, limits::RETRIES_READ)
    }

    /// Updates what `status` shows.
    fn show(&self, now: Instant) {
        let waiting = self.order.as_ref().map_or(0, |order| order.waiting());
        let held = self.loaded.len() + self.retries.len() + waiting;
        // Each counts once: those in memory wait there, or are in flight.
        let in_memory = (self.retries.len() + self.parked_in_flight) as u64;
        let parked = u64::try_from(self.parked).unwrap_or(0);
        self.handle.inbox.show(Said {
            in_flight: self.flights.len() as u64,
            held: held as u64 + self.releasing,
            parked: parked.saturating_sub(in_memory),
            oldest: self.oldest_on_disk,
            removed: self.settings.target.is_none(),
            breaker: self.breaker.state(),
            failures: u64::from(self.breaker.failures()),
            concurrency: self.room.limit() as u64,
            waits: self.paced(now),
            agreement: Agreement::from(&self.consent),
        });
    }

    /// Whether the views show every record that was written for this lane.
    fn views_caught_up(&self) -> bool {
        self.hub.sender.log.visible_through() >= self.handle.last_record.load(Ordering::Acquire)
    }
}

/// The earliest of several moments.
struct Earliest(Option<Instant>);

impl Earliest {
    fn at(&mut self, moment: Option<Instant>) {
        self.0 = match (self.0, moment) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}
