//! Follows which routed events still have deliveries that only memory knows.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::log::Sequence;

/// State records after which a checkpoint is written although no event was routed: a start reads
/// over them.
const RECORDS_PER_CHECKPOINT: u64 = 16 * 1024;

/// The window of routed events from the oldest unsettled one on. The router begins, lanes settle.
#[derive(Debug)]
pub(crate) struct Progress {
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    /// Ascending; the first one always has something unsettled.
    entries: VecDeque<Entry>,
    routed_through: Sequence,
    last_event: Sequence,
}

#[derive(Debug)]
struct Entry {
    sequence: Sequence,
    unsettled: u32,
}

impl Progress {
    /// Everything up to `checkpoint` is settled.
    pub(crate) fn new(checkpoint: Sequence) -> Self {
        Self {
            window: Mutex::new(Window {
                entries: VecDeque::new(),
                routed_through: checkpoint,
                last_event: checkpoint,
            }),
        }
    }

    /// `deliveries` of this event are about to be offered. Sequences must ascend.
    pub(crate) fn begin(&self, sequence: Sequence, deliveries: u32) {
        let mut window = self.window.lock();
        debug_assert!(
            window.last_event < sequence,
            "the router follows the log in order"
        );
        window.last_event = sequence;
        if deliveries == 0 {
            return;
        }
        window.entries.push_back(Entry {
            sequence,
            unsettled: deliveries,
        });
    }

    /// Everything up to here has been offered.
    pub(crate) fn routed(&self, through: Sequence) {
        let mut window = self.window.lock();
        window.routed_through = window.routed_through.max(through);
    }

    /// How far events have been offered.
    pub(crate) fn routed_through(&self) -> Sequence {
        self.window.lock().routed_through
    }

    /// One delivery of each of these events no longer depends on memory.
    pub(crate) fn settle_all(&self, sequences: impl IntoIterator<Item = Sequence>) {
        let mut window = self.window.lock();
        for sequence in sequences {
            window.settle(sequence);
        }
    }

    /// The highest sequence up to which everything is routed and settled.
    pub(crate) fn low_water(&self) -> Sequence {
        let window = self.window.lock();
        match window.entries.front() {
            Some(oldest) => oldest.sequence - 1,
            None => window.routed_through,
        }
    }

    /// The low water mark, when it is worth writing down after `last`: not for a few state records
    /// that went by, since the checkpoint is a state record itself.
    pub(crate) fn checkpoint_after(&self, last: Sequence) -> Option<Sequence> {
        let low_water = self.low_water();
        let last_event = self.window.lock().last_event;
        let moved = low_water.min(last_event) > last || low_water > last + RECORDS_PER_CHECKPOINT;
        moved.then_some(low_water)
    }

    /// How many deliveries of an event only memory knows.
    pub(crate) fn unsettled(&self, sequence: Sequence) -> u32 {
        let window = self.window.lock();
        let entry = window.find(sequence).map(|index| &window.entries[index]);
        entry.map_or(0, |entry| entry.unsettled)
    }

    /// Events in the window.
    pub(crate) fn len(&self) -> usize {
        self.window.lock().entries.len()
    }
}

impl Window {
    fn settle(&mut self, sequence: Sequence) {
        let Some(index) = self.find(sequence) else {
            debug_assert!(false, "sequence {sequence} was settled once too often");
            return;
        };
        self.entries[index].unsettled -= 1;
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.unsettled == 0)
        {
            self.entries.pop_front();
        }
    }

    /// Sequences are nearly dense, so an entry stands at, or a little before, its distance from
    /// the first: gallop back from there.
    fn find(&self, sequence: Sequence) -> Option<usize> {
        let first = self.entries.front()?.sequence;
        let distance = usize::try_from(sequence.checked_sub(first)?).ok()?;
        let mut high = distance.min(self.entries.len() - 1);
        let mut low = high;
        let mut step = 1;
        while low > 0 && self.entries[low].sequence > sequence {
            high = low;
            low = low.saturating_sub(step);
            step *= 2;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.entries[middle].sequence < sequence {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let entry = &self.entries[low];
        (entry.sequence == sequence && entry.unsettled > 0).then_some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_oldest_unsettled_event_holds_the_low_water_mark() {
        let progress = Progress::new(4);
        assert_eq!(progress.low_water(), 4);
        progress.begin(7, 2);
        progress.begin(9, 1);
        progress.routed(9);
        assert_eq!(progress.low_water(), 6);
        progress.settle_all([9]);
        progress.settle_all([7]);
        assert_eq!(progress.low_water(), 6);
        progress.settle_all([7]);
        assert_eq!(progress.low_water(), 9);
        progress.begin(12, 0);
        progress.routed(12);
        assert_eq!(progress.low_water(), 12);
    }

    #[test]
    fn a_checkpoint_does_not_call_for_the_next() {
        let progress = Progress::new(0);
        progress.begin(5, 0);
        progress.routed(5);
        assert_eq!(progress.checkpoint_after(0), Some(5));
        progress.routed(6);
        assert_eq!(progress.checkpoint_after(5), None);
        progress.routed(5 + RECORDS_PER_CHECKPOINT + 1);
        assert!(progress.checkpoint_after(5).is_some());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_naive_model(steps in prop::collection::vec((0u32..3, 1u64..5, 0usize..64), 1..400)) {
            let progress = Progress::new(0);
            let mut model: BTreeMap<Sequence, u32> = BTreeMap::new();
            let mut last = 0;
            for (deliveries, gap, pick) in steps {
                if gap < 3 {
                    last += gap;
                    progress.begin(last, deliveries);
                    progress.routed(last);
                    if deliveries > 0 {
                        model.insert(last, deliveries);
                    }
                } else if !model.is_empty() {
                    let sequence = *model.keys().nth(pick % model.len()).expect("not empty");
                    progress.settle_all([sequence]);
                    let left = model.get_mut(&sequence).expect("picked");
                    *left -= 1;
                    if *left == 0 {
                        model.remove(&sequence);
                    }
                }
                let expected = model.keys().next().map_or(last, |oldest| oldest - 1);
                prop_assert_eq!(progress.low_water(), expected);
            }
        }
    }
}
