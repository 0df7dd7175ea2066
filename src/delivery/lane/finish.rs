//! What follows an attempt: settled, tried again later, or given up; and what is late meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::change::{self, Change};
use super::{Flight, Kept, Lane, Pending};
use crate::clock::Timestamp;
use crate::delivery::attempt::{self, Done, Tried};
use crate::delivery::breaker;
use crate::delivery::next_step::{Health, NextStep, Outcome, next_step};
use crate::delivery::notices::What;
use crate::delivery::room::Load;
use crate::delivery::timing::Timing;
use crate::delivery::traces::{Attempt, Text};
use crate::log::{DeadLetter, DeadLetterReason, Line, OrderKey, Parked, Record, Sequence};
use crate::rule::RetryPolicy;

/// A delivery parked while in flight is due this long after its attempt must have ended, so that
/// only a crash ever makes it due.
const LATE_MARGIN: Duration = Duration::from_secs(5);

/// An attempt, as far as all its deliveries have it in common.
#[derive(Clone, Copy)]
struct Ended {
    now: Timestamp,
    timing: Timing,
    batch: u32,
}

impl Lane {
    /// Takes the result of an attempt.
    pub(super) fn finish(&mut self, ended: Result<(Id, Tried), JoinError>) {
        let (id, tried) = match ended {
            Ok((id, tried)) => (id, Some(tried)),
            Err(error) => {
                error!(target_key = self.handle.key.0, %error, "an attempt panicked");
                (error.id(), None)
            }
        };
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        while self
            .late_order
            .front()
            .is_some_and(|(_, id)| !self.flights.contains_key(id))
        {
            self.late_order.pop_front();
        }
        let now = self.hub.sender.clock.now();
        let (dones, timing) = tried.map_or_else(
            || {
                let panicked = |pending: &Pending| Done {
                    since: pending.since.unwrap_or(now),
                    bus: None,
                    outcome: Some(Outcome::NotRead("the attempt panicked".to_owned())),
                };
                let dones = flight.deliveries.iter().map(panicked).collect();
                (dones, Timing::default())
            },
            |tried| (tried.dones, tried.timing),
        );
        self.retry_flights -= usize::from(flight.kind.retry);
        self.parked_in_flight = self.parked_in_flight.saturating_sub(flight.parked());
        self.judge(&dones, &flight, now);
        self.follow_acceptance(&dones, &flight.target, now);
        let outcome = dones.iter().find_map(|done| done.outcome.as_ref());
        match outcome.map(Load::of) {
            Some(Load::TooMuch) => {
                self.room
                    .ended(Load::TooMuch, flight.started, Instant::now());
            }
            Some(load) => self.room.ended(load, flight.started, flight.started),
            None => {}
        }
        let class = dones.iter().find_map(|done| done.outcome.as_ref()?.class());
        if let Some(class) = class {
            let took = flight.started.elapsed();
            self.hub.measures.attempted(class, took);
        }
        if dones
            .iter()
            .any(|d| d.outcome.as_ref().is_some_and(Outcome::is_attempt))
        {
            self.handle.counters.attempts.fetch_add(1, Relaxed);
        } else {
            self.pace.give_back();
        }
        let keys = self.keys_of(&flight.deliveries);
        let ended = Ended {
            now,
            timing,
            batch: u32::try_from(flight.deliveries.len()).unwrap_or(u32::MAX),
        };
        for (pending, done) in flight.deliveries.into_iter().zip(dones) {
            self.conclude(pending, done, &flight.target.retry, ended);
        }
        self.keys_ended(keys, Instant::now());
    }

    /// The keys of an attempt, with the last delivery of each.
    fn keys_of(&self, deliveries: &[Pending]) -> Vec<(OrderKey, Sequence)> {
        let mut keys: Vec<(OrderKey, Sequence)> = Vec::new();
        if self.order.is_none() {
            return keys;
        }
        for pending in deliveries.iter().filter(|p| !p.key.is_none()) {
            match keys.iter_mut().find(|(key, _)| *key == pending.key) {
                Some((_, last)) => *last = (*last).max(pending.sequence),
                None => keys.push((pending.key, pending.sequence)),
            }
        }
        keys
    }

    /// Lets the breaker know how the target did.
    fn judge(&mut self, dones: &[Done], flight: &Flight, now: Timestamp) {
        let probe = flight.kind.probe;
        let mut health = Health::Unknown;
        let mut asked = None;
        let mut lack = None;
        for outcome in dones.iter().filter_map(|done| done.outcome.as_ref()) {
            if let Outcome::Answered {
                retry_after: Some(at),
                ..
            } = outcome
            {
                asked = Some(at.since(now));
                if outcome.status() == Some(429) {
                    self.pace.hold(at.since(now), Instant::now());
                }
            }
            if let Outcome::NotPrepared(why) = outcome {
                lack = Some(why);
            }
            if health == Health::Unknown {
                health = outcome.health();
            }
        }
        if let Some(why) = lack {
            self.pace.lacks(why, Instant::now());
        } else if health != Health::Unknown {
            self.pace.lacks_nothing();
        }
        let change = match health {
            Health::Up => self.breaker.succeeded(),
            Health::Down => self
                .breaker
                .failed(probe, asked, Instant::now(), fastrand::f64()),
            Health::Unknown => {
                if probe {
                    self.breaker.probe_void();
                }
                None
            }
        };
        let names = &self.settings.names;
        match change {
            Some(breaker::Change::Opened { for_, again }) => {
                warn!(
                    bus = %names.bus, rule = %names.rule, target = %names.target,
                    failures = self.breaker.failures(),
                    probe_in_ms = for_.as_millis(),
                    "the target's breaker opened: deliveries wait"
                );
                if !again {
                    let outcomes = dones.iter().filter_map(|done| done.outcome.as_ref());
                    self.tell(What::Opened {
                        causes: flight.deliveries.iter().map(|p| p.sequence).collect(),
                        failures: self.breaker.failures(),
                        probe_in: for_,
                        last_status: outcomes.filter_map(Outcome::status).next(),
                    });
                }
            }
            Some(breaker::Change::Closed) => {
                info!(
                    bus = %names.bus, rule = %names.rule, target = %names.target,
                    "the target answers again: its breaker closed"
                );
                self.tell(What::Closed);
            }
            None => {}
        }
    }

    /// Lets the bus's own events tell of it.
    pub(super) fn tell(&self, what: What) {
        self.hub.notices.tell(self.handle.key, &self.settings, what);
    }

    fn conclude(&mut self, pending: Pending, done: Done, policy: &RetryPolicy, ended: Ended) {
        let now = ended.now;
        let Some(outcome) = &done.outcome else {
            self.put_back(pending, done.since, now);
            return;
        };
        let attempts = pending.attempts + u32::from(outcome.is_attempt());
        let step = next_step(outcome, attempts, done.since, policy, now, fastrand::f64());
        if self.hub.traces.wants(step, attempts) {
            let attempt = Attempt {
                sequence: pending.sequence,
                key: self.handle.key,
                names: Arc::clone(&self.settings.names),
                number: attempts,
                counts: outcome.is_attempt(),
                batch: ended.batch,
                since: done.since,
                ended: now,
                timing: ended.timing,
                status: outcome.status(),
                result: outcome.word(),
                text: Text::of(outcome, step == NextStep::Delivered),
                step,
            };
            self.hub.traces.keep(attempt);
        }
        if step == NextStep::Delivered {
            self.handle.counters.delivered.fetch_add(1, Relaxed);
            self.handle.of_bus.delivered.fetch_add(1, Relaxed);
            if *outcome == Outcome::Acknowledged {
                self.acknowledged(pending);
            } else if attempts == 1 {
                self.hub.measures.first_try(now.since(done.since));
            }
            self.delivered(pending);
            return;
        }
        let status = outcome.status();
        let error = outcome.error();
        let names = &self.settings.names;
        debug!(
            bus = %names.bus, rule = %names.rule, target = %names.target,
            sequence = pending.sequence, attempts, status, error, ?step,
            "an attempt failed"
        );
        self.handle.counters.failed(now, status, error.clone());
        match step {
            NextStep::RetryAt(due) if self.settings.target.is_some() => {
                self.handle.counters.retried.fetch_add(1, Relaxed);
                self.handle.of_bus.retried.fetch_add(1, Relaxed);
                let parked = Parked {
                    target: self.handle.key,
                    sequence: pending.sequence,
                    due,
                    attempts,
                    since: done.since,
                    last_status: status,
                    last_error: error,
                };
                let record = Record::parked(parked, self.line_of(&pending, true));
                self.recorded(pending, record);
            }
            NextStep::RetryAt(_) | NextStep::Delivered => {
                let reason = DeadLetterReason::TargetRemoved;
                self.give_up(pending, &done, reason, attempts, now);
            }
            NextStep::DeadLetter(reason) => {
                self.give_up(pending, &done, reason, attempts, now);
            }
        }
    }

    /// Makes a delivery a dead letter.
    pub(super) fn give_up(
        &mut self,
        pending: Pending,
        done: &Done,
        reason: DeadLetterReason,
        attempts: u32,
        now: Timestamp,
    ) {
        let record = self.dead_letter(pending, done, reason, attempts, now);
        self.recorded(pending, record);
    }

    /// The record of a delivery that is given up.
    pub(super) fn dead_letter(
        &self,
        pending: Pending,
        done: &Done,
        reason: DeadLetterReason,
        attempts: u32,
        now: Timestamp,
    ) -> Record {
        self.handle.counters.dead_lettered.fetch_add(1, Relaxed);
        self.handle.of_bus.dead_lettered.fetch_add(1, Relaxed);
        let names = &self.settings.names;
        let mut status = done.outcome.as_ref().and_then(Outcome::status);
        let mut error = done.outcome.as_ref().and_then(Outcome::error);
        if status.is_none() && error.is_none() && pending.kept == Kept::Parked {
            // Nothing was sent this time: tell of the last time that something was.
            let parked = self
                .hub
                .sender
                .log
                .parked(self.handle.key, pending.sequence);
            if let Ok(Some(parked)) = parked {
                (status, error) = (parked.last_status, parked.last_error);
            }
        }
        if status.is_none() && error.is_none() && reason == DeadLetterReason::TooOld {
            error = self.why_stopped().or_else(|| self.why_not_in_time());
        }
        let letter = DeadLetter {
            target: self.handle.key,
            sequence: pending.sequence,
            bus: done.bus.clone().unwrap_or_else(|| names.bus.clone()),
            rule: names.rule.clone(),
            target_name: names.target.clone(),
            reason,
            attempts,
            since: done.since,
            dead_at: now,
            last_status: status,
            last_error: error,
        };
        self.tell(What::Dead(Box::new(letter.clone())));
        Record::DeadLettered(letter)
    }

    /// Why the deliveries of this target pass their max age without an attempt, if that is known.
    fn why_not_in_time(&self) -> Option<String> {
        if let Some(reason) = self.why_not_agreed() {
            return Some(reason);
        }
        let target = self.settings.target.as_ref()?;
        if let Some(why) = self.pace.lack() {
            return Some(why.to_owned());
        }
        if target.pull.is_some() {
            return Some("it was not pulled before it had passed its max_age".to_owned());
        }
        let rate = target.rate_limit?;
        Some(format!(
            "it was never attempted: more came than the target's rate_limit of {rate} lets go out within max_age"
        ))
    }

    /// It was accepted: what was kept of it is settled, a fresh one needs no record at all.
    fn delivered(&mut self, pending: Pending) {
        match pending.kept {
            Kept::Fresh => self.settled.push(pending.sequence),
            Kept::Parked => {
                self.parked -= 1;
                self.outbox.push(Change {
                    records: vec![Record::Settled {
                        target: self.handle.key,
                        sequence: pending.sequence,
                    }],
                    leaves: vec![(pending.sequence, None)],
                    ..Change::default()
                });
            }
            Kept::Chunk(first) => self.chunk_member_ended(first, None),
        }
    }

    /// It was not: `record` (parked or dead-lettered) takes the place of what was kept of it.
    fn recorded(&mut self, pending: Pending, record: Record) {
        let due = match &record {
            Record::Parked(parked) | Record::ParkedInLine { parked, .. } => Some(parked.due),
            _ => None,
        };
        self.parked += i64::from(due.is_some());
        let lines: Vec<OrderKey> = change::holding_key(&record).into_iter().collect();
        if let (Some(order), Some(key)) = (&mut self.order, lines.first()) {
            order.queued(*key, pending.sequence);
            order.block(*key);
        }
        match pending.kept {
            Kept::Fresh => self.outbox.push(Change {
                records: vec![record],
                lines,
                settles: vec![pending.sequence],
                leaves: due
                    .map(|due| (pending.sequence, Some(due)))
                    .into_iter()
                    .collect(),
                ..Change::default()
            }),
            Kept::Parked => {
                self.parked -= 1;
                self.outbox.push(Change {
                    records: vec![record],
                    lines,
                    leaves: vec![(pending.sequence, due)],
                    ..Change::default()
                });
            }
            Kept::Chunk(first) => self.chunk_member_ended(first, Some(record)),
        }
    }

    pub(super) fn chunk_member_ended(&mut self, first: u64, record: Option<Record>) {
        let Some(chunk) = self.chunks.get_mut(&first) else {
            return;
        };
        chunk.ended(record, Instant::now());
        if chunk.unfinished == 0 {
            // Nobody is left: the exchange settles it whole.
            self.exchange_chunk(first, false);
        }
    }

    /// It did not fit into its batch: the next one takes it first.
    fn put_back(&mut self, mut pending: Pending, since: Timestamp, now: Timestamp) {
        pending.since = Some(since);
        if let Some(order) = self.order.as_mut().filter(|_| !pending.key.is_none()) {
            order.put_back(pending, Instant::now());
            return;
        }
        match pending.kept {
            Kept::Chunk(_) => self.loaded.push_front(pending),
            Kept::Parked => self.retries.push_front(pending),
            // Back into the inbox would be a second way in; this is rare enough for a record.
            Kept::Fresh => {
                let record = Record::Parked(Parked {
                    target: self.handle.key,
                    sequence: pending.sequence,
                    due: now,
                    attempts: pending.attempts,
                    since,
                    last_status: None,
                    last_error: None,
                });
                self.recorded(pending, record);
            }
        }
    }

    /// Parks fresh deliveries that have been in flight for too long; they stay in flight.
    pub(super) fn park_late(&mut self, now: Instant) {
        while let Some((late_at, id)) = self.late_order.front().copied()
            && now >= late_at
        {
            self.late_order.pop_front();
            let ends = self
                .flights
                .get(&id)
                .map(|flight| flight.started + attempt::longest(&flight.target));
            let left = ends.map_or(Duration::ZERO, |ends| ends.saturating_duration_since(now));
            self.park_in_flight(id, left + LATE_MARGIN);
        }
    }

    /// Parks what is fresh in a flight, due after `wait`.
    pub(super) fn park_in_flight(&mut self, id: Id, wait: Duration) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        let is_ordered = flight.target.ordering_key.is_some();
        let clock_now = self.hub.sender.clock.now();
        let mut change = Change::default();
        for pending in &mut flight.deliveries {
            if pending.kept != Kept::Fresh {
                continue;
            }
            pending.kept = Kept::Parked;
            self.parked += 1;
            self.parked_in_flight += 1;
            self.in_hand.hold(pending.sequence);
            change.settles.push(pending.sequence);
            let parked = Parked {
                target: self.handle.key,
                sequence: pending.sequence,
                due: clock_now.plus(wait),
                // The one in flight counts: a crash loop must not try without end.
                attempts: pending.attempts + 1,
                since: pending.since.unwrap_or(clock_now),
                last_status: None,
                last_error: None,
            };
            let line = (is_ordered && !pending.key.is_none()).then_some(Line {
                key: pending.key,
                holds: true,
            });
            if let (Some(order), Some(line)) = (&mut self.order, line) {
                order.queued(line.key, pending.sequence);
                change.lines.push(line.key);
            }
            change.records.push(Record::parked(parked, line));
        }
        if !change.records.is_empty() {
            self.outbox.push(change);
        }
    }
}
