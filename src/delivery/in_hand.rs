//! Remembers parked deliveries that the lane already holds or has just settled: the views show them
//! as waiting until they have caught up, and reading them back would deliver them twice.

use std::collections::{HashMap, VecDeque};

use crate::clock::Timestamp;
use crate::log::Sequence;

/// Deliveries of one lane that must not be read from the views.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    holds: HashMap<Sequence, Hold>,
    /// In order of their records.
    leaving: VecDeque<Leaving>,
}

#[derive(Debug, PartialEq, Eq)]
enum Hold {
    /// Queued or in flight.
    InMemory,
    /// Until the views show this record.
    Until(Sequence),
}

#[derive(Debug)]
struct Leaving {
    record: Sequence,
    sequence: Sequence,
    due: Option<Timestamp>,
}

impl InHand {
    /// The lane holds it in memory.
    pub(crate) fn hold(&mut self, sequence: Sequence) {
        self.holds.insert(sequence, Hold::InMemory);
    }

    /// The lane lets go of it unchanged: the views are right about it.
    pub(crate) fn put_back(&mut self, sequence: Sequence) {
        self.holds.remove(&sequence);
    }

    /// `record` says what became of it (`due`: when it is to be tried again), unless the lane
    /// still holds it (it was parked while in flight).
    pub(crate) fn leave(&mut self, sequence: Sequence, record: Sequence, due: Option<Timestamp>) {
        self.holds.insert(sequence, Hold::Until(record));
        self.leaving.push_back(Leaving {
            record,
            sequence,
            due,
        });
    }

    pub(crate) fn contains(&self, sequence: Sequence) -> bool {
        self.holds.contains_key(&sequence)
    }

    /// Forgets what the views show by now.
    pub(crate) fn forget_through(&mut self, visible: Sequence) {
        while let Some(first) = self.leaving.front()
            && first.record <= visible
        {
            if self.holds.get(&first.sequence) == Some(&Hold::Until(first.record)) {
                self.holds.remove(&first.sequence);
            }
            self.leaving.pop_front();
        }
    }

    /// The earliest due time among those that the views do not show yet.
    pub(crate) fn earliest_due(&self) -> Option<Timestamp> {
        self.leaving.iter().filter_map(|leaving| leaving.due).min()
    }

    /// Deliveries remembered.
    pub(crate) fn len(&self) -> usize {
        self.holds.len()
    }

    /// Records that the views do not show yet.
    pub(crate) fn unseen(&self) -> usize {
        self.leaving.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_forgotten_once_its_record_is_visible() {
        let mut in_hand = InHand::default();
        in_hand.hold(7);
        in_hand.leave(7, 100, Some(Timestamp::from_millis(5)));
        in_hand.leave(8, 101, None);
        in_hand.forget_through(99);
        assert!(in_hand.contains(7) && in_hand.contains(8));
        assert_eq!(in_hand.earliest_due(), Some(Timestamp::from_millis(5)));
        in_hand.forget_through(100);
        assert!(!in_hand.contains(7) && in_hand.contains(8));
        assert_eq!((in_hand.len(), in_hand.unseen()), (1, 1));
    }

    #[test]
    fn one_taken_up_again_stays_until_its_newest_record() {
        let mut in_hand = InHand::default();
        in_hand.leave(7, 100, None);
        in_hand.hold(7);
        in_hand.forget_through(100);
        assert!(in_hand.contains(7));
        in_hand.leave(7, 105, None);
        in_hand.forget_through(104);
        assert!(in_hand.contains(7));
        in_hand.put_back(7);
        assert!(!in_hand.contains(7));
    }
}
