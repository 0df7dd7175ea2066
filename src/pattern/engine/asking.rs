//! What one value is to be looked up by: its keys, of every kind that stands at its field.

use std::net::IpAddr;

use super::key::{address_bytes, network_bytes, range_bytes};
use super::table::Table;
use super::wanted::{Wanted, WantedKey};
use crate::pattern::kinds::{Kind, Kinds};
use crate::pattern::number::NumberText;
use crate::pattern::operator::{address_of, block, fold};
use crate::pattern::probes::{Lengths, Probes};
use crate::pattern::value::Field;

/// Finds out what one value is to be looked up by.
pub(super) struct Asking<'p> {
    pub(super) table: &'p Table,
    pub(super) wanted: &'p mut Wanted,
    pub(super) field: Field,
    pub(super) value: u32,
}

impl Asking<'_> {
    /// By a part of its text, which begins at an offset.
    #[inline]
    pub(super) fn part(&mut self, kind: Kind, part: &[u8], from: usize) {
        let hash = self.table.hash_of(self.field, kind, part);
        self.want(kind, hash, from, part.len(), false);
    }

    /// By bytes made of it.
    #[inline]
    pub(super) fn made(&mut self, kind: Kind, bytes: &[u8]) {
        let from = self.wanted.made.len();
        self.wanted.made.extend_from_slice(bytes);
        let hash = self.table.hash_of(self.field, kind, bytes);
        self.want(kind, hash, from, bytes.len(), true);
    }

    #[inline]
    fn want(&mut self, kind: Kind, hash: u64, from: usize, length: usize, is_made: bool) {
        self.wanted.keys.push(WantedKey {
            hash,
            field: self.field,
            value: self.value,
            from: from as u32,
            to: (from + length) as u32,
            is_made,
            kind,
        });
    }

    #[inline]
    pub(super) fn number(&mut self, kinds: Kinds, probes: &Probes, text: &NumberText<'_>) {
        if kinds.has(Kind::Number)
            && let Some(key) = text.key()
        {
            self.made(Kind::Number, &key);
        }
        // The texts of rules do not compare; one that does equals none of them.
        if kinds.has(Kind::Text) {
            self.part(Kind::Text, text.text(), 0);
        }
        if kinds.has(Kind::Range)
            && let (Some(lengths), Some(number)) = (probes.parts(), text.number())
        {
            let mut sizes = lengths.ranges.sizes(number.rank());
            while sizes != 0 {
                let key = range_bytes(number.rank(), sizes.trailing_zeros());
                self.made(Kind::Range, &key);
                sizes &= sizes - 1;
            }
        }
    }

    #[inline]
    pub(super) fn string(&mut self, kinds: Kinds, probes: &Probes, text: &[u8]) {
        if kinds.has(Kind::String) {
            self.part(Kind::String, text, 0);
        }
        if kinds != Kinds::of(&[Kind::String]) {
            self.parts(kinds, probes, text);
        }
    }

    /// What a string is found by beside what it is.
    fn parts(&mut self, kinds: Kinds, probes: &Probes, text: &[u8]) {
        if let Some(lengths) = probes.parts() {
            self.affixes(kinds, lengths, text);
        }
        if kinds.has_any(Kinds::of(&FOLDED)) {
            self.folded(kinds, probes, text);
        }
        if kinds.has_any(Kinds::of(&[Kind::Address, Kind::Network]))
            && let Some(address) = address_of(text)
        {
            self.address(kinds, probes, address);
        }
        if let Some(grams) = probes.grams() {
            for (kind, size, filter) in [
                (Kind::Gram4, 4, &grams.four),
                (Kind::Gram8, 8, &grams.eight),
            ] {
                if kinds.has(kind) {
                    for (at, gram) in text.windows(size).enumerate() {
                        if filter.may_hold(gram_hash(gram)) {
                            self.part(kind, gram, at);
                        }
                    }
                }
            }
        }
    }

    fn address(&mut self, kinds: Kinds, probes: &Probes, address: IpAddr) {
        if kinds.has(Kind::Address) {
            self.made(Kind::Address, &address_bytes(address));
        }
        if let Some(lengths) = probes.parts() {
            let mut lengths = match address {
                IpAddr::V4(_) => lengths.ipv4.into(),
                IpAddr::V6(_) => lengths.ipv6,
            };
            while lengths != 0 {
                let bits = lengths.trailing_zeros();
                let key = network_bytes(block(address, bits), bits);
                self.made(Kind::Network, &key);
                lengths &= lengths - 1;
            }
        }
    }

    #[inline]
    fn affixes(&mut self, kinds: Kinds, lengths: &Lengths, text: &[u8]) {
        if kinds.has(Kind::Prefix) {
            for length in fitting(&lengths.prefixes, text) {
                self.part(Kind::Prefix, &text[..length], 0);
            }
        }
        if kinds.has(Kind::Suffix) {
            for length in fitting(&lengths.suffixes, text) {
                let from = text.len() - length;
                self.part(Kind::Suffix, &text[from..], from);
            }
        }
    }

    fn folded(&mut self, kinds: Kinds, probes: &Probes, text: &[u8]) {
        if kinds.has(Kind::Folded) && text.is_ascii() {
            let from = self.wanted.made.len();
            self.wanted.made.extend_from_slice(text);
            let lower = &mut self.wanted.made[from..];
            lower.make_ascii_lowercase();
            let hash = self.table.hash_of(self.field, Kind::Folded, lower);
            self.want(Kind::Folded, hash, from, text.len(), true);
        }
        if kinds.has_any(Kinds::of(&FOLDED_BY_CHARACTER)) {
            self.folded_by_character(kinds, probes, text);
        }
    }

    fn folded_by_character(&mut self, kinds: Kinds, probes: &Probes, text: &[u8]) {
        let text = fold(text);
        if kinds.has(Kind::FoldedWide) {
            self.made(Kind::FoldedWide, &text);
        }
        let Some(lengths) = probes.parts() else {
            return;
        };
        if kinds.has(Kind::FoldedPrefix) {
            for length in fitting(&lengths.folded_prefixes, &text) {
                self.made(Kind::FoldedPrefix, &text[..length]);
            }
        }
        if kinds.has(Kind::FoldedSuffix) {
            for length in fitting(&lengths.folded_suffixes, &text) {
                self.made(Kind::FoldedSuffix, &text[text.len() - length..]);
            }
        }
    }
}

/// The kinds whose keys are of folded strings.
const FOLDED: [Kind; 4] = [
    Kind::Folded,
    Kind::FoldedWide,
    Kind::FoldedPrefix,
    Kind::FoldedSuffix,
];

/// Those of them that values beyond ASCII may have too.
const FOLDED_BY_CHARACTER: [Kind; 3] = [Kind::FoldedWide, Kind::FoldedPrefix, Kind::FoldedSuffix];

/// Of a gram, for the filter.
#[inline]
pub(super) fn gram_hash(gram: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..gram.len()].copy_from_slice(gram);
    u64::from_le_bytes(word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Of ascending lengths, those that the text has.
#[inline]
fn fitting(lengths: &[u16], text: &[u8]) -> impl Iterator<Item = usize> {
    let most = text.len();
    let lengths = lengths.iter().map(|length| usize::from(*length));
    lengths.take_while(move |length| *length <= most)
}
