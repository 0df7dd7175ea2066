//! What is known of targets' names: how long the last look-up took, and what it found.
//!
//! A silent name server keeps a thread for ten seconds and more, and anybody may have as many names
//! there as they like. So a name is known by how it behaved, and those that were slow share few
//! threads among themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::delivery::recent::Recent;
use crate::limits;

/// How a name's next look-up is expected to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Quick,
    /// Not looked up yet, or long ago.
    New,
    Slow,
}

#[derive(Debug)]
struct Known {
    slow: bool,
    /// The last addresses, and when they were found.
    found: Option<(Vec<SocketAddr>, Instant)>,
}

/// The names that were looked up of late.
#[derive(Debug)]
pub(super) struct Names(Mutex<Recent<String, Known>>);

impl Names {
    pub(super) fn new() -> Self {
        Names(Mutex::new(Recent::new(limits::NAMES_KNOWN)))
    }

    pub(super) fn pace(&self, name: &str) -> Pace {
        match self.0.lock().get(name) {
            None => Pace::New,
            Some(known) if known.slow => Pace::Slow,
            Some(_) => Pace::Quick,
        }
    }

    /// What the last look-up found, while that may still be used.
    pub(super) fn last(&self, name: &str, now: Instant) -> Option<Vec<SocketAddr>> {
        let mut names = self.0.lock();
        let (addresses, at) = names.get(name)?.found.as_ref()?;
        (now < *at + limits::NAME_ANSWER_KEPT).then(|| addresses.clone())
    }

    /// Learns from a look-up; `found` is `None` when it failed.
    pub(super) fn learn(
        &self,
        name: &str,
        took: Duration,
        found: Option<&Vec<SocketAddr>>,
        now: Instant,
    ) {
        let slow = took > limits::NAME_LOOKUP_QUICK;
        let mut names = self.0.lock();
        let found = match found {
            Some(addresses) => Some((addresses.clone(), now)),
            // Nobody said that the name is gone.
            None if slow => names.get(name).and_then(|known| known.found.clone()),
            None => None,
        };
        names.insert(name.to_owned(), Known { slow, found });
    }
}

/// The threads for look-ups. Quick names may use all of them, so that some are always theirs.
#[derive(Debug)]
pub(super) struct Threads {
    all: Arc<Semaphore>,
    not_quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// Room for one look-up, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Threads {
    pub(super) fn new() -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Threads {
            all: of(limits::NAME_LOOKUPS),
            not_quick: of(limits::NAME_LOOKUPS_NOT_QUICK),
            slow: of(limits::NAME_LOOKUPS_SLOW),
        }
    }

    /// Waits for its turn. Whoever waits holds only what is closer to the bottom, so nobody waits in
    /// a circle.
    pub(super) async fn room(&self, pace: Pace) -> Room {
        let wanted: &[&Arc<Semaphore>] = match pace {
            Pace::Quick => &[&self.all],
            Pace::New => &[&self.not_quick, &self.all],
            Pace::Slow => &[&self.slow, &self.not_quick, &self.all],
        };
        let mut permits = Vec::with_capacity(wanted.len());
        for semaphore in wanted {
            let permit = Arc::clone(semaphore).acquire_owned().await;
            permits.push(permit.expect("nobody closes the semaphores"));
        }
        Room { _permits: permits }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.all.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const QUICK: Duration = limits::NAME_LOOKUP_QUICK;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        vec![text.parse().unwrap()]
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_known_by_its_last_look_up() {
        let names = Names::new();
        let now = Instant::now();
        let slow = QUICK + Duration::from_millis(1);
        let (first, second) = (addresses("8.8.8.8:0"), addresses("9.9.9.9:0"));
        assert_eq!(names.pace("a.example"), Pace::New);
        let steps = [
            (QUICK, Some(&first), Pace::Quick, Some(&first)),
            // Silence says nothing about the name; a late answer does.
            (slow, None, Pace::Slow, Some(&first)),
            (slow, Some(&second), Pace::Slow, Some(&second)),
            (QUICK, Some(&first), Pace::Quick, Some(&first)),
            // It is gone.
            (QUICK, None, Pace::Quick, None),
            (slow, None, Pace::Slow, None),
        ];
        for (took, found, pace, last) in steps {
            names.learn("a.example", took, found, now);
            assert_eq!(names.pace("a.example"), pace, "{took:?} {found:?}");
            assert_eq!(names.last("a.example", now).as_ref(), last);
        }
        assert_eq!(names.pace("b.example"), Pace::New);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_used_for_ever() {
        let names = Names::new();
        let now = Instant::now();
        names.learn("a.example", QUICK, Some(&addresses("8.8.8.8:0")), now);
        let end = now + limits::NAME_ANSWER_KEPT;
        let before = end - Duration::from_millis(1);
        assert!(names.last("a.example", before).is_some());
        assert!(names.last("a.example", end).is_none());
    }

    #[test]
    fn slow_names_leave_room_to_new_ones_and_both_to_quick_ones() {
        let threads = Threads::new();
        let mut taken = Vec::new();
        let mut take_all = |pace| {
            let before = taken.len();
            while let Some(room) = threads.room(pace).now_or_never() {
                taken.push(room);
            }
            taken.len() - before
        };
        assert_eq!(take_all(Pace::Slow), limits::NAME_LOOKUPS_SLOW);
        let new = limits::NAME_LOOKUPS_NOT_QUICK - limits::NAME_LOOKUPS_SLOW;
        assert_eq!(take_all(Pace::New), new);
        let quick = limits::NAME_LOOKUPS - limits::NAME_LOOKUPS_NOT_QUICK;
        assert_eq!(take_all(Pace::Quick), quick);
        assert!(new > 0 && quick > 0);
        taken.clear();
        assert_eq!(threads.free(), limits::NAME_LOOKUPS);
    }
}
