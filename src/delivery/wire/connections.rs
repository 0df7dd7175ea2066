//! Counts the connections that are opened to targets, and the requests that go over them: how well
//! connections are used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of one bus; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    requests: AtomicU64,
}

impl Connections {
    /// Connections opened since the start, TLS included.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Relaxed)
    }

    /// Requests that the guard let pass.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Relaxed)
    }

    pub(super) fn request(&self) {
        self.0.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn open(&self) {
        self.0.opened.fetch_add(1, Relaxed);
    }
}
