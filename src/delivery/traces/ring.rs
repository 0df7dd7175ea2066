//! Keeps what came last, within bytes and age; a reader takes whole chunks and holds nobody up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Attempt;
use crate::clock::Timestamp;
use crate::limits;
use crate::log::Sequence;

/// Attempts in the order of their end.
#[derive(Debug)]
pub(super) struct Ring {
    most_bytes: usize,
    max_age: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    chunks: VecDeque<Arc<Chunk>>,
    open: Chunk,
    /// Of the chunks, the open one aside.
    bytes: usize,
    /// When the last attempt ended that was let go.
    lost_through: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Chunk {
    attempts: Vec<Attempt>,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(most_bytes: usize, max_age: Duration) -> Self {
        Self {
            most_bytes,
            max_age,
            kept: Mutex::default(),
        }
    }

    pub(super) fn push(&self, attempt: Attempt) {
        let now = attempt.ended;
        let mut kept = self.kept.lock();
        let let_go = kept.push(attempt, self.most_bytes, now.minus(self.max_age));
        // Freed without the lock.
        drop(kept);
        drop(let_go);
    }

    /// The attempts of an event, in the order of their end.
    pub(super) fn of(&self, sequence: Sequence, now: Timestamp) -> Vec<Attempt> {
        let (chunks, mut newest) = {
            let kept = self.kept.lock();
            let chunks: Vec<Arc<Chunk>> = kept.chunks.iter().cloned().collect();
            (chunks, kept.open.of(sequence))
        };
        let mut attempts: Vec<Attempt> = chunks.iter().flat_map(|c| c.of(sequence)).collect();
        attempts.append(&mut newest);
        let since = now.minus(self.max_age);
        attempts.retain(|attempt| attempt.ended >= since);
        attempts
    }

    /// All attempts that ended after this are there; `None` when none was ever let go.
    pub(super) fn lost_through(&self) -> Option<Timestamp> {
        self.kept.lock().lost_through
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let kept = self.kept.lock();
        kept.bytes + kept.open.bytes
    }
}

impl Kept {
    /// Adds one, and gives back what has to go for it.
    fn push(&mut self, attempt: Attempt, most_bytes: usize, since: Timestamp) -> Vec<Arc<Chunk>> {
        // Chunks that are small beside the ring, so that little goes at once.
        let most_in_chunk = most_bytes / limits::TRACE_CHUNKS_MIN;
        self.open.bytes += attempt.bytes();
        if self.open.attempts.is_empty() {
            self.open.attempts.reserve_exact(limits::TRACE_CHUNK);
        }
        self.open.attempts.push(attempt);
        if self.open.attempts.len() == limits::TRACE_CHUNK || self.open.bytes >= most_in_chunk {
            let mut full = std::mem::take(&mut self.open);
            full.attempts.shrink_to_fit();
            self.bytes += full.bytes;
            self.chunks.push_back(Arc::new(full));
        }
        let mut let_go = Vec::new();
        while let Some(oldest) = self.chunks.front() {
            let ended = oldest.ended();
            let is_old = ended.is_some_and(|ended| ended < since);
            if !is_old && self.bytes + self.open.bytes <= most_bytes {
                break;
            }
            self.bytes -= oldest.bytes;
            self.lost_through = self.lost_through.max(ended);
            let_go.extend(self.chunks.pop_front());
        }
        let_go
    }
}

impl Chunk {
    fn of(&self, sequence: Sequence) -> Vec<Attempt> {
        let attempts = self.attempts.iter();
        attempts
            .filter(|attempt| attempt.sequence == sequence)
            .cloned()
            .collect()
    }

    fn ended(&self) -> Option<Timestamp> {
        self.attempts.last().map(|attempt| attempt.ended)
    }
}
