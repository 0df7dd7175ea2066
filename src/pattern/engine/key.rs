//! What an entry of the index stands under, and its hash.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crate::pattern::kinds::Kind;
use crate::pattern::probes::Length;
use crate::pattern::value::Field;

/// A kind, what it says, and the field whose values it is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) field: Field,
    pub(super) kind: Kind,
    pub(super) bytes: Box<[u8]>,
}

impl Key {
    pub(super) fn new(field: Field, kind: Kind, bytes: &[u8]) -> Self {
        Self {
            field,
            kind,
            bytes: bytes.into(),
        }
    }

    /// Stands for every event.
    pub(super) fn always() -> Self {
        Self::new(0, Kind::Present, &[])
    }

    pub(super) fn present(field: Field) -> Self {
        Self::new(field, Kind::Present, &[])
    }

    pub(super) fn child(parent: u32, field: Field, atom: u32) -> Self {
        Self::new(field, Kind::Child, &pair(parent, atom))
    }

    pub(super) fn more(entry: u32, number: u32) -> Self {
        Self::new(0, Kind::More, &pair(entry, number))
    }

    /// Of the kinds that are looked up by length: this one's.
    pub(super) fn length(&self) -> Option<Length> {
        match self.kind {
            Kind::Prefix | Kind::Suffix | Kind::FoldedPrefix | Kind::FoldedSuffix => {
                Some(Length::Other(self.bytes.len() as u16))
            }
            Kind::Network if self.bytes.len() == 5 => Some(Length::V4(self.bytes[0].into())),
            Kind::Network => Some(Length::Other(self.bytes[0].into())),
            Kind::Range => {
                let free_bits = self.bytes[0];
                let block = self
                    .bytes
                    .last_chunk()
                    .map_or(0, |block| u64::from_le_bytes(*block));
                Some(Length::of_block(block << free_bits, free_bits.into()))
            }
            _ => None,
        }
    }
}

/// Two numbers as a key's bytes.
#[inline]
pub(super) fn pair(one: u32, other: u32) -> [u8; 8] {
    (u64::from(other) << 32 | u64::from(one)).to_le_bytes()
}

/// The bytes of an address.
pub(super) fn address_bytes(address: IpAddr) -> Bytes<17> {
    let mut bytes = Bytes::default();
    match address {
        IpAddr::V4(address) => bytes.extend(&address.octets()),
        IpAddr::V6(address) => bytes.extend(&address.octets()),
    }
    bytes
}

/// The bytes of a block of addresses.
pub(super) fn network_bytes(network: IpAddr, bits: u32) -> Bytes<17> {
    let mut bytes = Bytes::default();
    bytes.extend(&[bits as u8]);
    bytes.extend(&address_bytes(network));
    bytes
}

/// The bytes of the block of ranks that `rank` is in.
#[inline]
pub(super) fn range_bytes(rank: u64, free_bits: u32) -> [u8; 9] {
    let mut bytes = [free_bits as u8; 9];
    let block = rank.checked_shr(free_bits).unwrap_or(0);
    bytes[1..].copy_from_slice(&block.to_le_bytes());
    bytes
}

/// A few bytes without an allocation.
pub(super) struct Bytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Bytes<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }
}

impl<const N: usize> Bytes<N> {
    fn extend(&mut self, more: &[u8]) {
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
    }
}

impl<const N: usize> std::ops::Deref for Bytes<N> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Hashes keys, with a seed of the process's own: who sends events cannot choose what collides.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyHash(foldhash::fast::RandomState);

impl KeyHash {
    #[inline]
    pub(super) fn of(&self, field: Field, kind: Kind, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(u64::from(field) << 8 | kind as u64);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// The longest keys of prefixes and suffixes are these, so that values are cut in few lengths, and
/// with all of them together hashed about eight times over: up to 32 bytes every length, beyond it
/// eight between one power of two and the next. A longer text stands under its first (or last) bytes
/// and is compared whole when found.
pub(super) fn affix_length(length: usize) -> usize {
    if length <= 32 {
        return length;
    }
    let step = 1 << (length.ilog2() - 3);
    length / step * step
}
