//! A chunk of deliveries that was read into memory: what of it has ended, and when that is worth a
//! record.

use tokio::time::Instant;

use crate::limits;
use crate::log::Record;

/// A chunk whose deliveries are in memory; it is settled whole, or exchanged for what is left.
#[derive(Debug, Default)]
pub(super) struct OpenChunk {
    pub(super) unfinished: usize,
    /// Those that have ended since it was loaded or exchanged, and when the first of them did.
    pub(super) ended: usize,
    pub(super) ended_since: Option<Instant>,
    /// A survey has met it.
    pub(super) surveyed: bool,
    /// What became of those that were not delivered.
    pub(super) records: Vec<Record>,
}

impl OpenChunk {
    /// One more has ended.
    pub(super) fn ended(&mut self, record: Option<Record>, now: Instant) {
        self.unfinished -= 1;
        self.ended += 1;
        self.ended_since.get_or_insert(now);
        self.records.extend(record);
    }

    /// Whether it should be exchanged before its end. That writes all that is left of it, so it is
    /// not worth it for a few deliveries that a crash would repeat; but one that failed is tried
    /// again only once its own record is written.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        let many = self.ended * limits::CHUNK_SHARE_ENDED >= self.ended + self.unfinished;
        let long = self
            .ended_since
            .is_some_and(|since| now >= since + limits::CHUNK_EXCHANGED_AFTER);
        !self.records.is_empty() || self.ended > 0 && many || long
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::log::TargetId;

    #[test]
    fn a_chunk_is_written_anew_when_that_says_enough() {
        let start = Instant::now();
        let failed = || {
            Some(Record::BacklogDone {
                target: TargetId(1),
                first: 1,
            })
        };
        // Of 512: so many delivered, so many failed, seconds later.
        for (delivered, failures, seconds, is_stale) in [
            (0, 0, 100, false),
            (1, 0, 0, false),
            (1, 0, 9, false),
            (1, 0, 10, true),
            (63, 0, 1, false),
            (64, 0, 1, true),
            (0, 1, 0, true),
        ] {
            let mut chunk = OpenChunk {
                unfinished: limits::BACKLOG_CHUNK,
                ..OpenChunk::default()
            };
            for _ in 0..delivered {
                chunk.ended(None, start);
            }
            for _ in 0..failures {
                chunk.ended(failed(), start);
            }
            let now = start + Duration::from_secs(seconds);
            let case = (delivered, failures, seconds);
            assert_eq!(chunk.is_stale(now), is_stale, "{case:?}");
        }
    }
}
