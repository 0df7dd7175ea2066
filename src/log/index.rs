//! The index of events: blocks of [`BLOCK_ENTRIES`] entries that say where each event stands and
//! what it may be found by.
//!
//! sled takes about 15 µs for an insert of any size, so one record per event would be the
//! narrowest place of the bus; one record per block is not. A block's table of buses and the hashes
//! in its entries rule most blocks and events out of a search; what they do not rule out is read
//! from the journal and compared, so a hash decides nothing.

use serde::{Deserialize, Serialize};

use super::dedup::HashKey;
use super::name::BusName;
use super::record::LoggedEvent;
use crate::clock::Timestamp;
use crate::journal::{Position, Sequence};
use crate::store::{Key, VALUE_BYTES};

/// Events of a full block. A block must stay below [`VALUE_BYTES`].
pub(super) const BLOCK_ENTRIES: usize = 512;

/// The most that one entry takes. Most take 27: numbers that ascend are written as their distance
/// from the entry before, since what the index weighs, sled keeps in memory.
const ENTRY_BYTES: usize = 6 + 6 + 6 + 20 + 3 + 5;

/// Bytes left for a block's table of buses.
const BUS_TABLE_BYTES: usize = VALUE_BYTES - BLOCK_ENTRIES * ENTRY_BYTES - 64;

/// Key: `b | first sequence u64`. Value: a [`Block`].
pub(super) const PREFIX: u8 = b'b';

pub(super) fn block_key(first: Sequence) -> Key {
    Key::new(PREFIX).u64(first)
}

/// Where one event stands and what it may be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    pub(super) sequence: Sequence,
    pub(super) position: Position,
    pub(super) time: Timestamp,
    /// Hash of (bus, source, id).
    pub(super) identity: u64,
    pub(super) id: u32,
    pub(super) kind: u32,
    pub(super) source: u32,
    /// Place in the block's table of buses.
    pub(super) bus: u16,
    /// Bytes of the stored event.
    pub(super) bytes: u32,
}

/// Consecutive events of all buses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) buses: Vec<BusName>,
    pub(super) entries: Vec<Entry>,
}

impl Block {
    /// Adds an event; false when the block is full and a new one must begin.
    pub(super) fn push(&mut self, logged: &LoggedEvent, position: Position, key: &HashKey) -> bool {
        if self.entries.len() >= BLOCK_ENTRIES {
            return false;
        }
        let bus = match self.buses.iter().position(|bus| *bus == logged.bus) {
            Some(bus) => bus,
            None => {
                let table: usize = self.buses.iter().map(|bus| bus.as_str().len() + 1).sum();
                if table + logged.bus.as_str().len() + 1 > BUS_TABLE_BYTES {
                    return false;
                }
                self.buses.push(logged.bus.clone());
                self.buses.len() - 1
            }
        };
        let event = &logged.event;
        self.entries.push(Entry {
            sequence: logged.sequence,
            position,
            time: logged.time,
            identity: key.identity(&logged.bus, event.source(), event.id()),
            id: key.value(event.id()),
            kind: key.value(event.kind()),
            source: key.value(event.source()),
            bus: u16::try_from(bus).expect("a block has at most 512 buses"),
            bytes: u32::try_from(event.stored().len()).unwrap_or(u32::MAX),
        });
        true
    }

    /// The entry of one event.
    pub(super) fn find(&self, sequence: Sequence) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by_key(&sequence, |entry| entry.sequence)
            .ok()?;
        self.entries.get(at)
    }

    pub(super) fn first(&self) -> Option<Sequence> {
        self.entries.first().map(|entry| entry.sequence)
    }

    pub(super) fn last(&self) -> Option<Sequence> {
        self.entries.last().map(|entry| entry.sequence)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut before = Entry::default();
        let entries = self.entries.iter().map(|entry| {
            let stored = StoredEntry {
                sequence: entry.sequence.wrapping_sub(before.sequence),
                position: entry.position.0.wrapping_sub(before.position.0),
                time: entry.time.as_millis().wrapping_sub(before.time.as_millis()),
                identity: entry.identity.to_be_bytes(),
                id: entry.id.to_be_bytes(),
                kind: entry.kind.to_be_bytes(),
                source: entry.source.to_be_bytes(),
                bus: entry.bus,
                bytes: entry.bytes,
            };
            before = *entry;
            stored
        });
        let stored = StoredBlock {
            buses: self.buses.clone(),
            entries: entries.collect(),
        };
        postcard::to_stdvec(&stored).expect("a block holds nothing postcard refuses")
    }

    /// Reads a block back; `None` when the bytes are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (stored, rest) = postcard::take_from_bytes::<StoredBlock>(bytes).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut before = Entry::default();
        let entries = stored.entries.into_iter().map(|stored| {
            let time = before.time.as_millis().wrapping_add(stored.time);
            before = Entry {
                sequence: before.sequence.wrapping_add(stored.sequence),
                position: Position(before.position.0.wrapping_add(stored.position)),
                time: Timestamp::from_millis(time),
                identity: u64::from_be_bytes(stored.identity),
                id: u32::from_be_bytes(stored.id),
                kind: u32::from_be_bytes(stored.kind),
                source: u32::from_be_bytes(stored.source),
                bus: stored.bus,
                bytes: stored.bytes,
            };
            before
        });
        let entries: Vec<Entry> = entries.collect();
        let known = |entry: &Entry| usize::from(entry.bus) < stored.buses.len();
        if !entries.iter().all(known) {
            return None;
        }
        Some(Self {
            buses: stored.buses,
            entries,
        })
    }
}

/// A [`Block`] as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredBlock {
    buses: Vec<BusName>,
    entries: Vec<StoredEntry>,
}

/// An [`Entry`] as it is stored. The first three count from the entry before. Hashes are as long as
/// they are: as numbers of varying length they would mostly be longer.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    sequence: u64,
    position: u64,
    time: u64,
    identity: [u8; 8],
    id: [u8; 4],
    kind: [u8; 4],
    source: [u8; 4],
    bus: u16,
    bytes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(entries: usize, buses: usize) -> Block {
        Block {
            buses: (0..buses)
                .map(|n| BusName::new(&format!("bus-{n}")).unwrap())
                .collect(),
            entries: (0..entries)
                .map(|n| Entry {
                    sequence: n as u64 * 3,
                    position: Position(n as u64),
                    time: Timestamp::from_millis(n as u64),
                    identity: !(n as u64),
                    id: 3,
                    kind: 1,
                    source: 2,
                    bus: (n % buses.max(1)) as u16,
                    bytes: 1024,
                })
                .collect(),
        }
    }

    #[test]
    fn a_full_block_reads_back_and_fits_a_value() {
        let full = block(BLOCK_ENTRIES, 40);
        let bytes = full.encode();
        assert!(bytes.len() <= VALUE_BYTES, "{}", bytes.len());
        assert_eq!(Block::decode(&bytes), Some(full.clone()));
        assert_eq!(full.find(33).unwrap().sequence, 33);
        assert_eq!(full.find(34), None);
    }

    #[test]
    fn an_entry_takes_no_more_than_it_may() {
        let mut wide = block(BLOCK_ENTRIES, 40);
        for (n, entry) in wide.entries.iter_mut().enumerate() {
            let n = n as u64;
            entry.sequence = n << 40;
            entry.position = Position(n << 40);
            entry.time = Timestamp::from_millis(n << 40);
            entry.bytes = u32::MAX;
        }
        let bytes = wide.encode();
        assert!(bytes.len() <= VALUE_BYTES, "{}", bytes.len());
        assert_eq!(Block::decode(&bytes), Some(wide));
        let usual = block(BLOCK_ENTRIES, 1).encode();
        assert!(usual.len() < 28 * BLOCK_ENTRIES, "{}", usual.len());
    }

    #[test]
    fn broken_bytes_are_no_block() {
        let mut bytes = block(3, 2).encode();
        for cut in 0..bytes.len() {
            assert_eq!(Block::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        bytes.push(0);
        assert_eq!(Block::decode(&bytes), None);
    }
}
