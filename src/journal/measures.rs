//! What the journal counts and times of itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::shared::Shared;
use crate::measure::{Histogram, Times};

/// Written by the writer thread alone.
#[derive(Debug)]
pub(super) struct Measures {
    written_bytes: AtomicU64,
    flush: Histogram,
}

/// How the journal does, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Bytes of frames written and flushed since the start.
    pub written_bytes: u64,
    /// How long the flushes took, one for each group commit.
    pub flush: Times,
    /// Segments on disk, without those that wait to be written again.
    pub segments: u64,
    /// Bytes of frames in them.
    pub stored_bytes: u64,
    /// Groups that wait for the writer, and what they take on disk.
    pub queued_groups: u64,
    pub queued_bytes: u64,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            written_bytes: AtomicU64::new(0),
            // 50 µs, as memory does it, to 1.6 s, as a disk in trouble does.
            flush: Histogram::new(Duration::from_micros(50), 1, 16),
        }
    }
}

impl Measures {
    pub(super) fn flushed(&self, bytes: usize, took: Duration) {
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
        self.flush.observe(took);
    }
}

pub(super) fn figures(shared: &Shared) -> Figures {
    let segments = shared
        .table
        .infos(shared.progress.durable(), shared.progress.end());
    let (queued_groups, queued_bytes) = {
        let desk = shared.desk.lock();
        (desk.queue.len() as u64, desk.queued_bytes as u64)
    };
    Figures {
        written_bytes: shared.measures.written_bytes.load(Relaxed),
        flush: shared.measures.flush.times(),
        segments: segments.len() as u64,
        stored_bytes: segments.iter().map(|segment| segment.used_bytes).sum(),
        queued_groups,
        queued_bytes,
    }
}
