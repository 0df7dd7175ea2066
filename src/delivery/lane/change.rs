//! Writes a lane's records, in order, and holds them while the log takes none.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Kept, Lane, OpenChunk};
use crate::clock::Timestamp;
use crate::delivery::desk::Receipt;
use crate::limits;
use crate::log::{AppendError, OrderKey, Record, Sequence, TargetId};

const REFUSED_WAIT: Duration = Duration::from_millis(20);
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(1);

/// Records that are written together, and what follows once the log has taken them.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) records: Vec<Record>,
    /// Fresh deliveries that no longer hold the checkpoint back.
    pub(super) settles: Vec<Sequence>,
    /// Deliveries that the lane lets go of, with the time when they are due again.
    pub(super) leaves: Vec<(Sequence, Option<Timestamp>)>,
    /// Lines that deliveries come to stand in, one for each of them.
    pub(super) lines: Vec<OrderKey>,
    /// Chunks that no longer stand.
    pub(super) closes: Vec<Sequence>,
    /// Deliveries that are in chunks on disk only, from now on.
    pub(super) releases: u64,
    /// Who is to be told of the last record.
    pub(super) receipts: Vec<Receipt>,
}

/// Changes that the log has not taken yet. Bounded: a full one starts no attempts.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    changes: VecDeque<Change>,
    refused_until: Option<Instant>,
    refusals: u32,
}

impl Outbox {
    /// Adds a change; what it holds is never torn apart, small ones are written together.
    pub(super) fn push(&mut self, change: Change) {
        match self.changes.back_mut() {
            Some(last) if last.records.len() < limits::BULK_RECORDS => {
                last.records.extend(change.records);
                last.settles.extend(change.settles);
                last.leaves.extend(change.leaves);
                last.lines.extend(change.lines);
                last.closes.extend(change.closes);
                last.releases += change.releases;
                last.receipts.extend(change.receipts);
            }
            _ => self.changes.push_back(change),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether so much waits that no attempt should add to it.
    pub(super) fn is_loaded(&self) -> bool {
        self.refused_until.is_some()
            && self.changes.iter().map(|c| c.records.len()).sum::<usize>() >= limits::LANE_READY
    }

    /// Whether the log refused so recently that it is not asked again yet.
    pub(super) fn is_refused(&self, now: Instant) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }

    /// When to ask a log again that refused.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.refused_until
    }

    pub(super) fn refused(&mut self, target: TargetId, error: &AppendError, now: Instant) {
        if self.refusals == 0 {
            warn!(target_key = target.0, %error, "the log takes no records; deliveries are held");
        }
        let wait = REFUSED_WAIT
            .saturating_mul(1 << self.refusals.min(10))
            .min(REFUSED_WAIT_MAX);
        self.refusals += 1;
        self.refused_until = Some(now + wait);
    }

    fn accepted(&mut self, target: TargetId) {
        if self.refusals > 0 {
            info!(target_key = target.0, "the log takes records again");
        }
        self.refusals = 0;
        self.refused_until = None;
    }
}

impl Lane {
    /// Writes what the log takes.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.outbox.is_refused(now) {
            return;
        }
        while let Some(change) = self.outbox.changes.front() {
            match self.hub.sender.log.enqueue(&change.records) {
                Ok(record) => {
                    self.outbox.accepted(self.handle.key);
                    if let Some(change) = self.outbox.changes.pop_front() {
                        self.taken(change, record);
                    }
                }
                Err(error) => {
                    self.outbox.refused(self.handle.key, &error, now);
                    return;
                }
            }
        }
        // The refusal was one of the inbox's chunks.
        if self.outbox.retry_at().is_some_and(|at| now >= at) {
            self.outbox.refused_until = None;
        }
    }

    /// The log has taken a change; `record` is its last record.
    fn taken(&mut self, change: Change, record: Sequence) {
        use std::sync::atomic::Ordering::AcqRel;
        self.handle.last_record.fetch_max(record, AcqRel);
        self.hub.progress.settle_all(change.settles);
        let in_order = self.order.is_some();
        for (sequence, due) in change.leaves {
            self.in_hand.leave(sequence, record, due);
            // Where it stood first in its line, the next one of the line is due from now on.
            if let Some(due) = due.or(in_order.then_some(Timestamp::from_millis(0))) {
                self.look_at = Some(self.look_at.map_or(due, |at| at.min(due)));
            }
        }
        if let Some(order) = &mut self.order {
            for key in change.lines {
                order.taken(key, record);
            }
        }
        for first in change.closes {
            self.settled_chunks.insert(first, Some(record));
        }
        for receipt in change.receipts {
            // Who has gone away is told nothing.
            let _ = receipt.send(record);
        }
        if change.releases > 0 {
            self.handle.inbox.unloaded(change.releases);
            self.load_behind = record;
            self.releasing = self.releasing.saturating_sub(change.releases);
        }
    }

    /// Exchanges an open chunk for records of what came of it and a chunk of what is left, so that
    /// a restart does not repeat all of it. With `release` what waits in memory is let go.
    pub(super) fn exchange_chunk(&mut self, first: Sequence, release: bool) {
        let Some(chunk) = self.chunks.remove(&first) else {
            return;
        };
        let mut change = Change {
            records: vec![Record::BacklogDone {
                target: self.handle.key,
                first,
            }],
            ..Change::default()
        };
        change.add_parked(chunk.records);
        let is_member = |kept: Kept| kept == Kept::Chunk(first);
        let mut waiting: Vec<(Sequence, OrderKey)> = Vec::new();
        let mut left: Vec<(Sequence, OrderKey)> = Vec::new();
        for pending in &self.loaded {
            if is_member(pending.kept) {
                waiting.push((pending.sequence, pending.key));
            }
        }
        for flight in self.flights.values() {
            for pending in flight.deliveries.iter().filter(|p| is_member(p.kept)) {
                left.push((pending.sequence, pending.key));
            }
        }
        let in_order = self.order.iter_mut().flat_map(|order| order.each_waiting());
        for pending in in_order.filter(|p| is_member(p.kept)) {
            left.push((pending.sequence, pending.key));
        }
        if release {
            self.loaded.retain(|pending| !is_member(pending.kept));
            waiting.sort_unstable();
            change.releases = waiting.len() as u64;
            self.releasing += change.releases;
            change.backlog(self.handle.key, waiting);
        } else {
            left.append(&mut waiting);
        }
        left.sort_unstable();
        let new_first = left.first().map(|(first, _)| *first);
        if let Some(new_first) = new_first {
            self.chunks.insert(
                new_first,
                OpenChunk {
                    unfinished: left.len(),
                    ..OpenChunk::default()
                },
            );
            let flying = self.flights.values_mut().flat_map(|f| &mut f.deliveries);
            let in_order = self.order.iter_mut().flat_map(|order| order.each_waiting());
            for pending in self.loaded.iter_mut().chain(flying).chain(in_order) {
                if is_member(pending.kept) {
                    pending.kept = Kept::Chunk(new_first);
                }
            }
            change.backlog(self.handle.key, left);
        }
        if new_first != Some(first) {
            self.settled_chunks.insert(first, None);
            change.closes.push(first);
        }
        self.outbox.push(change);
    }
}

/// The key of the line in which a record makes its delivery stand.
pub(super) fn holding_key(record: &Record) -> Option<OrderKey> {
    match record {
        Record::ParkedInLine { line, .. } if line.holds => Some(line.key),
        _ => None,
    }
}

impl Change {
    /// Adds records of deliveries that leave memory; parked ones are looked for when due.
    pub(super) fn add_parked(&mut self, records: Vec<Record>) {
        for record in records {
            if let Record::Parked(parked) | Record::ParkedInLine { parked, .. } = &record {
                self.leaves.push((parked.sequence, Some(parked.due)));
            }
            self.lines.extend(holding_key(&record));
            self.records.push(record);
        }
    }

    pub(super) fn backlog(&mut self, target: TargetId, deliveries: Vec<(Sequence, OrderKey)>) {
        if !deliveries.is_empty() {
            let chunk = deliveries.into_iter().collect();
            self.records.push(Record::chunk(target, chunk));
        }
    }
}
