//! What each bus holds in each segment of the journal: what retention is decided by.
//!
//! Key: `s | segment u32 | bus 0`. Value: [`BusUse`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fold, Segment, Table, View, decode, encode};
use crate::clock::Timestamp;
use crate::journal::{Position, Sequence};
use crate::log::name::BusName;
use crate::log::record::LoggedEvent;
use crate::store::{Batch, Key, Store, StoreError};

const SEGMENT: u8 = Table::Segment as u8;

/// A bus's events in one segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::log) struct BusUse {
    pub(in crate::log) bytes: u64,
    pub(in crate::log) last_sequence: Sequence,
    pub(in crate::log) last_time: Timestamp,
}

fn key(segment: u32, bus: &BusName) -> Key {
    Key::new(SEGMENT).u32(segment).text(bus.as_str())
}

pub(super) fn load(store: &Store) -> Result<BTreeMap<u32, Segment>, StoreError> {
    let damaged = || StoreError::Damaged("a segment's key does not read back".to_owned());
    let all = Key::new(SEGMENT);
    let mut segments = BTreeMap::<u32, Segment>::new();
    for (key, value) in store.range(all.clone(), all.end(), usize::MAX)? {
        let id = key.get(1..5).and_then(|id| <[u8; 4]>::try_from(id).ok());
        let name = key.get(5..key.len() - 1).ok_or_else(damaged)?;
        let name = std::str::from_utf8(name).map_err(|_| damaged())?;
        let bus = BusName::new(name).map_err(|_| damaged())?;
        segments
            .entry(u32::from_be_bytes(id.ok_or_else(damaged)?))
            .or_default()
            .insert(bus, decode(&value)?);
    }
    Ok(segments)
}

impl View {
    pub(super) fn fold_use(&self, logged: &LoggedEvent, position: Position, fold: &mut Fold) {
        let segment = position.segment();
        let mut segments = self.segments.lock();
        let buses = segments.entry(segment).or_default();
        // Most events are on the bus of the one before: no clone of the name for them.
        let bus_use = match buses.get_mut(&logged.bus) {
            Some(bus_use) => bus_use,
            None => buses.entry(logged.bus.clone()).or_default(),
        };
        // An event folded again after a restart is counted already.
        if logged.sequence > bus_use.last_sequence {
            bus_use.bytes += logged.event.stored().len() as u64;
            bus_use.last_sequence = logged.sequence;
            bus_use.last_time = logged.time;
            fold.changed_segments.insert(segment);
        }
    }

    pub(super) fn write_segments(&self, fold: &mut Fold) {
        let segments = self.segments.lock();
        for segment in std::mem::take(&mut fold.changed_segments) {
            for (bus, bus_use) in segments.get(&segment).into_iter().flatten() {
                fold.batch.put(key(segment, bus), encode(bus_use));
            }
        }
    }

    /// What each bus holds, by segment.
    pub(in crate::log) fn uses(&self) -> BTreeMap<u32, BTreeMap<BusName, BusUse>> {
        self.segments.lock().clone()
    }

    /// Forgets segments that are trimmed.
    pub(in crate::log) fn tidy_segments(&self, through: u32) -> Result<(), StoreError> {
        let mut segments = self.segments.lock();
        let kept = segments.split_off(&(through + 1));
        let gone = std::mem::replace(&mut *segments, kept);
        drop(segments);
        let mut batch = Batch::default();
        for (segment, buses) in gone {
            for bus in buses.keys() {
                batch.remove(key(segment, bus));
            }
        }
        self.tidy(batch)
    }
}
