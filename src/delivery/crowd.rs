//! How many attempts are under way to all targets together: each is a connection, a file descriptor
//! and memory, however small the share of one target.
//!
//! A target always has room for a few, whatever the others do; beyond those its attempts start only
//! while there is room for all. So many targets that hang together can slow a busy one down, but
//! neither stop it nor take the memory of thousands of times their `concurrency`. No lane waits for
//! another here: one that finds no room has attempts of its own, and looks again when one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::limits;

/// The attempts of one bus process; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd(Arc<AtomicUsize>);

/// One attempt's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Crowd {
    /// Whether a target with so many attempts under way may start one more.
    pub(crate) fn has_room_for(&self, own: usize) -> bool {
        own < limits::ATTEMPTS_ALWAYS || self.0.load(Relaxed) < limits::ATTEMPTS
    }

    pub(crate) fn enter(&self) -> Place {
        self.0.fetch_add(1, Relaxed);
        Place(Arc::clone(&self.0))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_it_is_full_everybody_has_a_little_room_still() {
        let crowd = Crowd::default();
        let mut places: Vec<Place> = (0..limits::ATTEMPTS).map(|_| crowd.enter()).collect();
        assert!(!crowd.has_room_for(limits::ATTEMPTS_ALWAYS));
        assert!(crowd.has_room_for(limits::ATTEMPTS_ALWAYS - 1));
        places.pop();
        assert!(crowd.has_room_for(limits::ATTEMPTS_ALWAYS));
    }
}
