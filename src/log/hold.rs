//! Keeps the journal's files in place while they are copied.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::shared::Shared;
use crate::limits;

/// While this is there, no segment is trimmed, for [`limits::BACKUP_TIME`] at most: a copy that is
/// not fetched must not fill the disk.
pub struct Held {
    shared: Arc<Shared>,
    until: Instant,
    files: Vec<(PathBuf, u64)>,
}

impl Held {
    /// `None` while another one holds. Waits for a trim under way: blocking.
    pub(super) fn new(shared: &Arc<Shared>) -> Option<Held> {
        let _no_trim = shared.trimming.lock();
        let mut held = shared.held_until.lock();
        let now = Instant::now();
        if held.is_some_and(|until| now < until) {
            return None;
        }
        let until = now + limits::BACKUP_TIME;
        *held = Some(until);
        drop(held);
        Some(Held {
            files: shared.journal.files(),
            shared: Arc::clone(shared),
            until,
        })
    }

    /// The files with all that was on disk when this began, the oldest first; of each so many bytes.
    #[must_use]
    pub fn files(&self) -> &[(PathBuf, u64)] {
        &self.files
    }

    /// Whether what was read from the files until now is what they held.
    #[must_use]
    pub fn still_holds(&self) -> bool {
        *self.shared.held_until.lock() == Some(self.until) && Instant::now() < self.until
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.shared.held_until.lock();
        held.take_if(|until| *until == self.until);
    }
}

impl Shared {
    pub(super) fn is_held(&self) -> bool {
        let held = self.held_until.lock();
        held.is_some_and(|until| Instant::now() < until)
    }
}
