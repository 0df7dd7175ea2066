//! Remembers which events the log has seen, so that one sent twice is stored once.
//!
//! A map from the keyed hash of (bus, source, id) to the event's sequence, in two generations: when
//! the younger is full it becomes the older, and the older is forgotten. So memory is bounded, and
//! at least the last [`GENERATION`] events are remembered. A hit is only a candidate: whoever asks
//! compares the stored event itself, so that a collision never costs an event.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use siphasher::sip::SipHasher13;

use super::name::BusName;
use crate::journal::Sequence;

/// Events per generation: 17 MiB of memory for both at their fullest.
pub(super) const GENERATION: usize = 400_000;

/// The secret of the hash: without it nobody can make events that collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HashKey(pub(super) [u8; 16]);

impl HashKey {
    /// A fresh secret.
    pub(super) fn random() -> Self {
        // `RandomState` is seeded by the operating system.
        let seed = RandomState::new();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.hash_one(1u64).to_be_bytes());
        bytes[8..].copy_from_slice(&seed.hash_one(2u64).to_be_bytes());
        Self(bytes)
    }

    /// Hashes what makes an event the same event: CloudEvents spec, "source" + "id", per bus.
    pub(super) fn identity(&self, bus: &BusName, source: &str, id: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        for part in [bus.as_str(), source, id] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xFF); // in no UTF-8 text, so parts never run together
        }
        hasher.finish()
    }

    /// Hashes one attribute's value for the index.
    pub(super) fn value(&self, text: &str) -> u32 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(text.as_bytes());
        u32::try_from(hasher.finish() >> 32).expect("32 bits are left")
    }
}

/// The key is a hash already.
#[derive(Debug, Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "only u64 keys are hashed");
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type Generation = HashMap<u64, Sequence, BuildHasherDefault<Identity>>;

/// The memory itself.
#[derive(Debug, Default)]
pub(super) struct Dedup {
    younger: Generation,
    older: Generation,
}

impl Dedup {
    /// The last event remembered under this hash.
    pub(super) fn candidate(&self, hash: u64) -> Option<Sequence> {
        self.younger
            .get(&hash)
            .or_else(|| self.older.get(&hash))
            .copied()
    }

    /// Remembers an event.
    pub(super) fn insert(&mut self, hash: u64, sequence: Sequence) {
        if self.younger.len() >= GENERATION {
            // The older map's memory serves again; nothing is allocated from here on.
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(hash, sequence);
    }

    /// Remembers an event older than all others, at start.
    pub(super) fn insert_oldest(&mut self, hash: u64, sequence: Sequence) -> bool {
        if self.older.len() >= GENERATION {
            return false;
        }
        self.older.entry(hash).or_insert(sequence);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_a_generation_is_remembered_and_at_most_two() {
        let mut dedup = Dedup::default();
        let total = GENERATION * 3;
        for n in 0..total as u64 {
            dedup.insert(n, n);
        }
        assert!(dedup.younger.len() + dedup.older.len() <= 2 * GENERATION);
        for n in (total - GENERATION) as u64..total as u64 {
            assert_eq!(dedup.candidate(n), Some(n));
        }
    }

    #[test]
    fn the_hash_tells_parts_apart() {
        let key = HashKey([1; 16]);
        let bus = BusName::default_bus();
        assert_ne!(key.identity(&bus, "ab", "c"), key.identity(&bus, "a", "bc"));
        assert_eq!(key.identity(&bus, "ab", "c"), key.identity(&bus, "ab", "c"));
    }
}
