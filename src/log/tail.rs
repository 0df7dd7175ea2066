//! The newest events, in memory: what routing, first attempts and duplicates read without a disk.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use super::record::LoggedEvent;
use crate::journal::Sequence;

/// A window over the end of the log, bounded in bytes.
#[derive(Debug)]
pub(super) struct Tail {
    inner: RwLock<Inner>,
    limit_bytes: usize,
}

#[derive(Debug)]
struct Inner {
    /// Ascending; the newest may not be on disk yet.
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
    /// Every event after this one is here.
    floor: Sequence,
}

/// What an event costs in memory beside its bytes: its Arc, its place, its names.
const OVERHEAD_BYTES: usize = 128;

fn cost(logged: &LoggedEvent) -> usize {
    logged.event.stored().len() + OVERHEAD_BYTES
}

impl Tail {
    /// An empty tail behind the event `floor`.
    pub(super) fn new(floor: Sequence, limit_bytes: usize) -> Self {
        Self {
            inner: RwLock::new(Inner {
                events: VecDeque::new(),
                bytes: 0,
                floor,
            }),
            limit_bytes,
        }
    }

    /// Queues events through `submit` and adds what it gives, in log order; forgets the oldest that
    /// are on disk when there are too many. Both are one step for readers: otherwise the writer
    /// might have an event on disk before it is here, and who follows the log would pass it by.
    pub(super) fn push_submitted<T, E>(
        &self,
        submit: impl FnOnce() -> Result<(T, Vec<Arc<LoggedEvent>>), E>,
        durable_through: Sequence,
    ) -> Result<T, E> {
        let mut guard = self.inner.write();
        let (submitted, events) = submit()?;
        let inner = &mut *guard;
        for logged in events {
            inner.bytes += cost(&logged);
            inner.events.push_back(logged);
        }
        while inner.bytes > self.limit_bytes {
            match inner.events.front() {
                Some(oldest) if oldest.sequence <= durable_through => {
                    inner.bytes -= cost(oldest);
                    inner.floor = oldest.sequence;
                    inner.events.pop_front();
                }
                _ => break,
            }
        }
        Ok(submitted)
    }

    /// One event, on disk or not.
    pub(super) fn get(&self, sequence: Sequence) -> Option<Arc<LoggedEvent>> {
        let inner = self.inner.read();
        let at = inner
            .events
            .binary_search_by_key(&sequence, |logged| logged.sequence)
            .ok()?;
        Some(Arc::clone(&inner.events[at]))
    }

    /// Up to `max` events in `after < sequence <= through`, or `None` when some of them are older
    /// than the tail.
    pub(super) fn after(
        &self,
        after: Sequence,
        through: Sequence,
        max: usize,
    ) -> Option<Vec<Arc<LoggedEvent>>> {
        let inner = self.inner.read();
        if after < inner.floor {
            return None;
        }
        let from = inner
            .events
            .partition_point(|logged| logged.sequence <= after);
        Some(
            inner
                .events
                .range(from..)
                .take_while(|logged| logged.sequence <= through)
                .take(max)
                .cloned()
                .collect(),
        )
    }
}
