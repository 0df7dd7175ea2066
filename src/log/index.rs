//! The index of events: blocks of [`BLOCK_ENTRIES`] entries that say where each event stands and
//! what it may be found by.
//!
//! sled takes about 15 µs for an insert of any size, so one record per event would be the
//! narrowest place of the bus; one record per block is not. A block's table of buses and the hashes
//! in its entries rule most blocks and events out of a search; what they do not rule out is read
//! from the journal and compared, so a hash decides nothing.

use bytes::{Buf, BufMut};

use super::dedup::HashKey;
use super::name::BusName;
use super::record::LoggedEvent;
use crate::clock::Timestamp;
use crate::journal::{Position, Sequence};
use crate::store::{Key, VALUE_BYTES};

/// Events of a full block. A block must stay below [`VALUE_BYTES`].
pub(super) const BLOCK_ENTRIES: usize = 512;

const ENTRY_BYTES: usize = 8 + 8 + 8 + 8 + 4 + 4 + 4 + 2 + 4;

/// Bytes left for a block's table of buses.
const BUS_TABLE_BYTES: usize = VALUE_BYTES - BLOCK_ENTRIES * ENTRY_BYTES - 64;

/// Key: `b | first sequence u64`. Value: a [`Block`].
pub(super) const PREFIX: u8 = b'b';

pub(super) fn block_key(first: Sequence) -> Key {
    Key::new(PREFIX).u64(first)
}

/// Where one event stands and what it may be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let mut out = Vec::with_capacity(64 + self.entries.len() * ENTRY_BYTES);
        out.put_u16(u16::try_from(self.buses.len()).expect("a block has at most 512 buses"));
        for bus in &self.buses {
            out.put_u8(u8::try_from(bus.as_str().len()).expect("a name has at most 64 bytes"));
            out.put_slice(bus.as_str().as_bytes());
        }
        for entry in &self.entries {
            out.put_u64(entry.sequence);
            out.put_u64(entry.position.0);
            out.put_u64(entry.time.as_millis());
            out.put_u64(entry.identity);
            out.put_u32(entry.id);
            out.put_u32(entry.kind);
            out.put_u32(entry.source);
            out.put_u16(entry.bus);
            out.put_u32(entry.bytes);
        }
        out
    }

    /// Reads a block back; `None` when the bytes are none.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let buses = (0..bytes.try_get_u16().ok()?)
            .map(|_| {
                let length = usize::from(bytes.try_get_u8().ok()?);
                let (name, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                BusName::new(std::str::from_utf8(name).ok()?).ok()
            })
            .collect::<Option<Vec<_>>>()?;
        if !bytes.len().is_multiple_of(ENTRY_BYTES) {
            return None;
        }
        let entries = bytes
            .chunks_exact(ENTRY_BYTES)
            .map(|mut entry| Entry {
                sequence: entry.get_u64(),
                position: Position(entry.get_u64()),
                time: Timestamp::from_millis(entry.get_u64()),
                identity: entry.get_u64(),
                id: entry.get_u32(),
                kind: entry.get_u32(),
                source: entry.get_u32(),
                bus: entry.get_u16(),
                bytes: entry.get_u32(),
            })
            .collect::<Vec<_>>();
        let known = |entry: &Entry| usize::from(entry.bus) < buses.len();
        if !entries.iter().all(known) {
            return None;
        }
        Some(Self { buses, entries })
    }
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
    fn broken_bytes_are_no_block() {
        let bytes = block(3, 2).encode();
        for cut in 0..bytes.len() {
            if !(bytes.len() - cut).is_multiple_of(ENTRY_BYTES) {
                assert_eq!(Block::decode(&bytes[..cut]), None, "cut at {cut}");
            }
        }
    }
}
