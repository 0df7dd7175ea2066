//! Empties a lane without attempts: a deleted target's deliveries, those that passed their max age
//! behind an open breaker, and whatever is in memory when the bus stops.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::change::Change;
use super::source::Loaded;
use super::{Kept, Lane, Pending, SURVEY_EVERY, VIEW_LAG, VIEW_LAG_MAX};
use crate::clock::Timestamp;
use crate::delivery::attempt::Done;
use crate::limits;
use crate::log::{Chunk, DeadLetterReason, LogError, Parked, Record, Sequence};

impl Lane {
    /// One bounded step towards dead-lettering all that is pending for a deleted target.
    pub(super) async fn clear_step(&mut self, now: Instant) {
        if self.closed {
            self.closed = false;
            self.handle.inbox.set_closed(false);
        }
        if self.load_at.is_some_and(|at| now < at) {
            return;
        }
        // Asked before the views are found to be caught up, so that they show at least these.
        let counted = self.handle.inbox.waiting().unloaded;
        if !self.outbox.is_empty() || !self.views_caught_up() {
            self.wait_for_views(now);
            return;
        }
        self.load_wait = VIEW_LAG;
        if let Err(error) = self.gather(counted, now) {
            self.view_failed(&error);
            self.load_at = Some(now + VIEW_LAG_MAX);
            return;
        }
        let mut cleared = 0;
        while cleared < limits::BULK_RECORDS
            && let Some(pending) = self.retries.pop_front().or_else(|| self.next_new())
        {
            let done = self.unattempted(pending).await;
            let clock_now = self.hub.sender.clock.now();
            let reason = DeadLetterReason::TargetRemoved;
            self.give_up(pending, &done, reason, pending.attempts, clock_now);
            cleared += 1;
        }
        self.load_at = Some(now + VIEW_LAG);
        if cleared > 0 {
            let names = &self.settings.names;
            info!(
                bus = %names.bus, rule = %names.rule, target = %names.target, cleared,
                "deliveries of a deleted target became dead letters"
            );
        } else if self.flights.is_empty() && self.chunks.is_empty() && self.handle.inbox.end() {
            self.ended = true;
        }
    }

    /// Reads whatever the target has on disk, due or not.
    fn gather(&mut self, counted: u64, now: Instant) -> Result<(), LogError> {
        if self.loaded.is_empty()
            && self.handle.inbox.waiting().ready == 0
            && self.load_chunks()? == Loaded::Nothing
            && self.chunks.is_empty()
        {
            self.handle.inbox.miscounted(counted);
        }
        if self.retries.is_empty() {
            self.look(Timestamp::from_millis(u64::MAX), now);
            if self.retries.len() < limits::RETRIES_READ {
                self.gather_lines()?;
            }
        }
        Ok(())
    }

    /// Reads those that stand behind others in their line as well.
    fn gather_lines(&mut self) -> Result<(), LogError> {
        let log = &self.hub.sender.log;
        let key = self.handle.key;
        if !log.has_line(key, None)? {
            return Ok(());
        }
        for queued in log.parked_after(key, None, limits::RETRIES_READ + self.in_hand.len())? {
            if !self.in_hand.contains(queued.parked.sequence) {
                self.in_hand.hold(queued.parked.sequence);
                self.retries.push_back(queued.into());
            }
        }
        Ok(())
    }

    fn wait_for_views(&mut self, now: Instant) {
        self.load_at = Some(now + self.load_wait);
        self.load_wait = (self.load_wait * 2).min(VIEW_LAG_MAX);
    }

    /// What a dead letter tells of a delivery that was not attempted (again).
    async fn unattempted(&self, pending: Pending) -> Done {
        let event = self.hub.sender.log.event(pending.sequence).await;
        let event = event.ok().flatten();
        let time = event.as_ref().map(|event| event.due());
        Done {
            since: pending
                .since
                .or(time)
                .unwrap_or_else(|| self.hub.sender.clock.now()),
            bus: event.map(|event| event.bus.clone()),
            outcome: None,
        }
    }

    /// Looks at the oldest deliveries on disk: how old they are, and whether some have passed
    /// their max age while attempts cannot be made. Also exchanges chunks that take long.
    pub(super) async fn survey(&mut self, now: Instant) {
        self.survey_at = now + SURVEY_EVERY;
        self.oldest_on_disk = None;
        let on_disk = self.parked > 0 || self.handle.inbox.waiting().unloaded > 0;
        if !on_disk && self.chunks.is_empty() {
            return;
        }
        if self.outbox.is_refused(now) {
            return;
        }
        let stalled = !self.lets_pass(now) || self.pace.wait(now).is_some() || self.is_unattended();
        if stalled {
            self.clear_expired_in_memory().await;
        }
        let result = match self.survey_chunks(stalled).await {
            Ok(()) => self.survey_parked(stalled).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.view_failed(&error);
        }
        let long: Vec<Sequence> = self
            .chunks
            .iter()
            .filter(|(_, chunk)| chunk.surveyed && chunk.is_stale(now))
            .map(|(first, _)| *first)
            .collect();
        for first in long {
            self.exchange_chunk(first, false);
        }
        for chunk in self.chunks.values_mut() {
            chunk.surveyed = true;
        }
    }

    /// Gives up what is in memory, read back from the disk, and has passed its max age there: a slow
    /// rate may keep it for hours. (Fresh ones are written down after a second.)
    async fn clear_expired_in_memory(&mut self) {
        let Some(max_age) = self.settings.target.as_ref().map(|t| t.retry.max_age) else {
            return;
        };
        let mut expired = Vec::new();
        while expired.len() < limits::BULK_RECORDS
            && let Some(first) = self.loaded.front()
            && self.is_expired(Some(first.sequence), max_age).await
        {
            expired.extend(self.loaded.pop_front());
        }
        let now = self.hub.sender.clock.now();
        let is_late = |since: Timestamp| now > since.plus(max_age);
        self.retries.retain(|retry| {
            let late = retry.since.is_some_and(is_late);
            if late {
                expired.push(*retry);
            }
            !late
        });
        for pending in expired {
            let done = self.unattempted(pending).await;
            self.give_up(
                pending,
                &done,
                DeadLetterReason::TooOld,
                pending.attempts,
                now,
            );
        }
    }

    async fn survey_chunks(&mut self, stalled: bool) -> Result<(), LogError> {
        let key = self.handle.key;
        let limit = 1 + self.chunks.len() + self.settled_chunks.len();
        let page = self.hub.sender.log.backlog(key, 0, limit)?;
        let Some(head) = page.first().and_then(Chunk::first) else {
            return Ok(());
        };
        self.saw(self.time_of(head).await);
        let unopened = page.into_iter().find(|chunk| {
            chunk
                .first()
                .is_some_and(|first| !self.is_open_or_settled(first))
        });
        let Some((chunk, target)) = unopened.zip(self.settings.target.clone()) else {
            return Ok(());
        };
        if !stalled || !self.is_expired(chunk.first(), target.retry.max_age).await {
            return Ok(());
        }
        let Some(first) = chunk.first() else {
            return Ok(());
        };
        let clock_now = self.hub.sender.clock.now();
        let mut change = Change {
            records: vec![Record::BacklogDone { target: key, first }],
            ..Change::default()
        };
        let mut left = Vec::new();
        let size = chunk.len() as u64;
        for (sequence, key) in chunk.deliveries() {
            let pending = Pending {
                sequence,
                since: None,
                attempts: 0,
                kept: Kept::Chunk(first),
                key,
            };
            let done = self.unattempted(pending).await;
            if clock_now > done.since.plus(target.retry.max_age) {
                let reason = DeadLetterReason::TooOld;
                let record = self.dead_letter(pending, &done, reason, 0, clock_now);
                change.records.push(record);
            } else {
                left.push((sequence, key));
            }
        }
        // Counted again when the log has taken the change; until then the chunk must not be loaded.
        self.handle.inbox.loaded(size);
        self.settled_chunks.insert(first, None);
        change.closes.push(first);
        change.releases = left.len() as u64;
        self.releasing += change.releases;
        if left.is_empty() {
            // There may be many: go on as soon as the views show this one gone.
            self.survey_at = Instant::now() + VIEW_LAG * 5;
        } else {
            change.backlog(key, left);
        }
        self.outbox.push(change);
        Ok(())
    }

    async fn survey_parked(&mut self, stalled: bool) -> Result<(), LogError> {
        if self.parked <= 0 {
            return Ok(());
        }
        let clock_now = self.hub.sender.clock.now();
        let key = self.handle.key;
        let log = &self.hub.sender.log;
        // Asked before reading, so that "nothing there" is certain.
        let nothing_elsewhere =
            self.in_hand.len() == 0 && self.outbox.is_empty() && self.views_caught_up();
        let first = log.parked_due(key, Timestamp::from_millis(u64::MAX), 1)?;
        let Some(first) = first.into_iter().next() else {
            if nothing_elsewhere {
                // One that was redriven while the lane opened was counted, and told of as well.
                self.parked = 0;
            }
            return Ok(());
        };
        let Some(target) = self.settings.target.clone().filter(|_| stalled) else {
            let since = self.since_of(&first.parked).await;
            self.saw(since);
            return Ok(());
        };
        let mut due = log.parked_due(key, clock_now, limits::LANE_READY)?;
        if self.order.is_some() {
            // Only the first of a line is due; those behind it grow old as well.
            due.extend(log.parked_after(key, None, limits::LANE_READY)?);
            due.retain(|queued| queued.parked.due <= clock_now);
            due.sort_by_key(|queued| queued.parked.sequence);
            due.dedup_by_key(|queued| queued.parked.sequence);
        }
        let known = due.iter().filter_map(|queued| queued.parked.known_since());
        self.saw(known.min());
        let mut cleared = 0;
        // Events are in order of their time: once one is young enough, no later one is asked for.
        let mut events_are_young = false;
        for queued in due {
            let parked = &queued.parked;
            if cleared >= limits::BULK_RECORDS {
                self.survey_at = Instant::now() + VIEW_LAG * 5;
                break;
            }
            let is_known = parked.known_since().is_some();
            if self.in_hand.contains(parked.sequence) || (!is_known && events_are_young) {
                continue;
            }
            let Some(since) = self.since_of(parked).await else {
                continue;
            };
            self.saw(Some(since));
            if clock_now <= since.plus(target.retry.max_age) {
                events_are_young |= !is_known;
                continue;
            }
            cleared += 1;
            self.parked -= 1;
            let done = Done {
                since,
                bus: Some(self.settings.names.bus.clone()),
                outcome: None,
            };
            let sequence = parked.sequence;
            let attempts = parked.attempts;
            let reason = DeadLetterReason::TooOld;
            let record = self.dead_letter(queued.into(), &done, reason, attempts, clock_now);
            self.in_hand.hold(sequence);
            self.outbox.push(Change {
                records: vec![record],
                leaves: vec![(sequence, None)],
                ..Change::default()
            });
        }
        Ok(())
    }

    async fn is_expired(&self, sequence: Option<Sequence>, max_age: Duration) -> bool {
        let Some(sequence) = sequence else {
            return false;
        };
        let now = self.hub.sender.clock.now();
        let time = self.time_of(sequence).await;
        time.is_some_and(|time| now > time.plus(max_age))
    }

    async fn since_of(&self, parked: &Parked) -> Option<Timestamp> {
        match parked.known_since() {
            Some(since) => Some(since),
            None => self.time_of(parked.sequence).await,
        }
    }

    async fn time_of(&self, sequence: Sequence) -> Option<Timestamp> {
        let event = self.hub.sender.log.event(sequence).await;
        event.ok().flatten().map(|event| event.due())
    }

    fn saw(&mut self, since: Option<Timestamp>) {
        self.oldest_on_disk = match (self.oldest_on_disk, since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// Starts nothing; waits for flights until `drain_by`, then writes down what memory holds.
    pub(super) async fn drain(&mut self, drain_by: Instant, now: Instant) {
        if !self.draining {
            self.draining = true;
            self.handle.inbox.set_closed(true);
            // Who holds leases cannot reach a bus that stops.
            self.handle.desk.set_open(false);
            self.release_memory();
        }
        if !self.flights.is_empty() && now < drain_by {
            self.keep_memory(now);
            return;
        }
        if !self.flights.is_empty() {
            self.attempts.abort_all();
            // An attempt may have ended in the meantime.
            while let Some(ended) = self.attempts.join_next_with_id().await {
                match ended {
                    Err(error) if error.is_cancelled() => {}
                    ended => self.finish(ended),
                }
            }
            let ids: Vec<_> = self.flights.keys().copied().collect();
            for id in ids {
                self.park_in_flight(id, Duration::ZERO);
            }
            let firsts: Vec<Sequence> = self.chunks.keys().copied().collect();
            for first in firsts {
                self.exchange_chunk(first, false);
            }
            self.flights.clear();
            self.parked_in_flight = 0;
        }
        self.keep_memory(now);
        self.hub.progress.settle_all(self.settled.drain(..));
        self.flush(now);
        let waiting = self.handle.inbox.waiting();
        let kept = self.outbox.is_empty() && waiting.ready == 0 && waiting.spilled == 0;
        // What could not be written is still proven by the checkpoint, or by what is on disk.
        self.ended = kept || now >= drain_by;
    }

    fn keep_memory(&mut self, now: Instant) {
        let inbox = &self.handle.inbox;
        let result = inbox
            .keep_ready(self.handle.keep(&self.hub))
            .and_then(|()| inbox.keep_spill(self.handle.keep(&self.hub)));
        if let Err(error) = result {
            self.outbox.refused(self.handle.key, &error, now);
        }
    }
}
