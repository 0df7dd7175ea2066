//! Lines: deliveries of one target that share an order key and are made one at a time.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::record::Parked;
use crate::journal::Sequence;

/// The key by which a delivery is in order with others, as a hash: it is written with many records.
/// Two keys with one hash share a line, which costs them time and breaks no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OrderKey(u64);

impl OrderKey {
    /// No key: in order with nothing.
    pub const NONE: OrderKey = OrderKey(0);

    /// The key that reads so. Nothing is no key.
    #[must_use]
    pub fn of(text: &[u8]) -> OrderKey {
        if text.is_empty() {
            return Self::NONE;
        }
        // Records outlive the process and the version: the hash has no secret, and never changes.
        let mut hasher = SipHasher13::new();
        hasher.write(text);
        OrderKey(hasher.finish().max(1))
    }

    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(super) fn hash(self) -> u64 {
        self.0
    }
}

/// Eight bytes: a hash has no small values that a shorter form would suit.
impl Serialize for OrderKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OrderKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| OrderKey(u64::from_le_bytes(bytes)))
    }
}

/// Where a parked delivery belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub key: OrderKey,
    /// It stands in its line: younger ones of the key are not due before it is settled. Otherwise
    /// it failed, and lets them pass.
    pub holds: bool,
}

/// A parked delivery, with its line if it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    pub parked: Parked,
    pub line: Option<Line>,
}

impl Queued {
    /// The key of the line that it stands in.
    #[must_use]
    pub fn holding_key(&self) -> Option<OrderKey> {
        self.line.filter(|line| line.holds).map(|line| line.key)
    }
}

/// Deliveries parked in bulk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chunk {
    /// Ascending.
    pub sequences: Vec<Sequence>,
    /// One for each sequence, or none at all.
    pub keys: Vec<OrderKey>,
}

impl Chunk {
    #[must_use]
    pub fn first(&self) -> Option<Sequence> {
        self.sequences.first().copied()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Its deliveries with their keys.
    pub fn deliveries(&self) -> impl Iterator<Item = (Sequence, OrderKey)> + '_ {
        let key = |at: usize| self.keys.get(at).copied().unwrap_or_default();
        let sequences = self.sequences.iter().enumerate();
        sequences.map(move |(at, sequence)| (*sequence, key(at)))
    }
}

impl FromIterator<(Sequence, OrderKey)> for Chunk {
    fn from_iter<I: IntoIterator<Item = (Sequence, OrderKey)>>(deliveries: I) -> Self {
        let deliveries = deliveries.into_iter();
        let mut chunk = Chunk {
            sequences: Vec::with_capacity(deliveries.size_hint().0),
            keys: Vec::new(),
        };
        for (sequence, key) in deliveries {
            if !key.is_none() || !chunk.keys.is_empty() {
                chunk.keys.resize(chunk.sequences.len(), OrderKey::NONE);
                chunk.keys.push(key);
            }
            chunk.sequences.push(sequence);
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_keeps_keys_only_where_there_are_any() {
        let key = OrderKey::of(b"order-7");
        let plain: Chunk = [(3, OrderKey::NONE), (5, OrderKey::NONE)]
            .into_iter()
            .collect();
        assert!(plain.keys.is_empty());
        let deliveries = [(3, OrderKey::NONE), (5, key), (6, OrderKey::NONE)];
        let keyed: Chunk = deliveries.into_iter().collect();
        assert_eq!(keyed.keys.len(), 3);
        assert!(keyed.deliveries().eq(deliveries));
    }

    #[test]
    fn keys_are_told_apart_and_stay_the_same_for_good() {
        assert!(OrderKey::of(b"").is_none());
        assert_ne!(OrderKey::of(b"a"), OrderKey::of(b"b"));
        // Written in journals that later versions read.
        assert_eq!(OrderKey::of(b"order-7").hash(), KNOWN);
    }

    const KNOWN: u64 = 7316114294436611852;
}
