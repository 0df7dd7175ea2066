//! What is worth looking up for the values of one field, by the keys that there are.

use std::sync::Arc;

use super::ask::Alone;
use super::filter::{Filter, Noted};
use super::kinds::{ENDS, Kind, Kinds};
use super::marks::{Ends, MARKED, Mark};
use super::value::Datum;

/// What is to be looked at for each event that has the field.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    /// Rules of one clause.
    pub(crate) alone: Box<[Alone]>,
    /// By what the values show that those rules exclude.
    pub(crate) shown_by: Kinds,
    /// An entry of the index with the others.
    pub(crate) entry: Box<[u32]>,
}

/// What to look up for the values of one field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes {
    /// Those of which there are keys.
    kinds: Kinds,
    /// Clauses are asked about the values themselves.
    asked: bool,
    /// Of the kinds with marks: those of the keys.
    marks: [u64; MARKED],
    /// What stands under [`Kind::Present`], which needs no looking up.
    present: Option<Arc<Present>>,
    lengths: Option<Arc<Lengths>>,
    grams: Option<Arc<Grams>>,
}

/// Of the kinds whose keys are parts of values: how long the keys are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lengths {
    /// In bytes, ascending.
    pub(crate) prefixes: Vec<u16>,
    pub(crate) suffixes: Vec<u16>,
    pub(crate) folded_prefixes: Vec<u16>,
    pub(crate) folded_suffixes: Vec<u16>,
    /// A bit for each length of IPv4 and IPv6 blocks.
    pub(crate) ipv4: u32,
    pub(crate) ipv6: u128,
    pub(crate) ranges: Ranges,
}

/// Which sizes the blocks of ranges have. Most ranges are narrow beside their numbers, and then the
/// size says which power of two the numbers are near: so a number is looked up by the few sizes of
/// its own power, however many powers there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranges {
    /// A bit for each size of blocks that hold more than one power of two.
    wide: u64,
    /// The others, by power, ascending: a bit for each size.
    narrow: Vec<(u16, u64)>,
}

impl Ranges {
    /// A bit for each size of blocks that the number of this rank may be in.
    #[inline]
    pub(crate) fn sizes(&self, rank: u64) -> u64 {
        let power = power(rank);
        match self.narrow.binary_search_by_key(&power, |sizes| sizes.0) {
            Ok(at) => self.wide | self.narrow[at].1,
            Err(_) => self.wide,
        }
    }

    fn set(&mut self, free_bits: u16, power: u16, present: bool) {
        let bit = 1 << free_bits;
        let with = |sizes: u64| sizes & !bit | if present { bit } else { 0 };
        if u32::from(free_bits) >= POWER_SHIFT {
            self.wide = with(self.wide);
            return;
        }
        match self.narrow.binary_search_by_key(&power, |sizes| sizes.0) {
            Ok(at) => {
                self.narrow[at].1 = with(self.narrow[at].1);
                if self.narrow[at].1 == 0 {
                    self.narrow.remove(at);
                }
            }
            Err(at) if present => self.narrow.insert(at, (power, bit)),
            Err(_) => {}
        }
    }
}

/// Bits of a rank below those that say the power of two.
const POWER_SHIFT: u32 = 52;

/// The power of two that the number of a rank is near, and its sign.
#[inline]
fn power(rank: u64) -> u16 {
    (rank >> POWER_SHIFT) as u16
}

/// Which grams may have a key, by hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grams {
    pub(crate) four: Filter,
    pub(crate) eight: Filter,
}

impl Probes {
    /// The kinds of which a value may have a key. Where a field has few keys, most values show in one
    /// bit each that they have none.
    #[inline]
    pub(crate) fn kinds_of(&self, datum: &Datum<'_>) -> Kinds {
        match datum {
            Datum::String(text) => {
                let mut kinds = self.kinds.and(Kinds::OF_STRINGS);
                self.keep_marked(&mut kinds, Kind::String, || Mark::of(text));
                let of_ends = kinds.and(Kinds::OF_ENDS);
                if !of_ends.is_empty() {
                    let ends = Ends::of(text);
                    // One after the other, so that what is done for each is known beforehand.
                    for kind in ENDS {
                        self.keep_marked(&mut kinds, kind, || ends.mark(kind));
                    }
                }
                kinds
            }
            Datum::Number(number) => {
                let mut kinds = self.kinds.and(Kinds::OF_NUMBERS);
                let leading = || Mark::of_number(number.leading());
                self.keep_marked(&mut kinds, Kind::Number, leading);
                self.keep_marked(&mut kinds, Kind::Text, || Mark::of(number.text()));
                kinds
            }
            Datum::Literal(text) => {
                let mut kinds = self.kinds.and(Kinds::OF_LITERALS);
                self.keep_marked(&mut kinds, Kind::Text, || Mark::of(text.as_bytes()));
                kinds
            }
        }
    }

    /// Leaves a kind out if no key of it has this mark.
    #[inline(always)]
    fn keep_marked(&self, kinds: &mut Kinds, kind: Kind, mark: impl FnOnce() -> Mark) {
        let marks = kind.marked().map_or(u64::MAX, |at| self.marks[at]);
        if kinds.has(kind) && marks & mark().0 == 0 {
            *kinds = kinds.without(kind);
        }
    }

    /// Whether values are kept that have no key: clauses are asked about them.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.asked
    }

    /// What needs nothing but that the field is there.
    #[inline]
    pub(crate) fn present(&self) -> Option<&Present> {
        self.present.as_deref()
    }

    pub(crate) fn set_present(&mut self, present: Option<Arc<Present>>) {
        self.present = present;
    }

    pub(crate) fn set_asked(&mut self, asked: bool) {
        self.asked = asked;
    }

    /// Notes the marks of all keys of a kind.
    pub(crate) fn set_marks(&mut self, kind: Kind, marks: u64) {
        if let Some(at) = kind.marked() {
            self.marks[at] = marks;
        }
    }

    /// Whether strings of this field may be found by more than what they are.
    #[inline]
    pub(crate) fn parts(&self) -> Option<&Lengths> {
        self.lengths.as_deref()
    }

    #[inline]
    pub(crate) fn grams(&self) -> Option<&Grams> {
        self.grams.as_deref()
    }

    pub(crate) fn set(&mut self, kind: Kind, present: bool) {
        self.kinds = if present {
            self.kinds.with(kind)
        } else {
            self.kinds.without(kind)
        };
        if !self.kinds.has_any(Kinds::of(&[Kind::Gram4, Kind::Gram8])) {
            self.grams = None;
        }
    }

    /// Notes that keys of a kind have this length (for ranges: this size), or have it no more.
    pub(crate) fn set_length(&mut self, kind: Kind, length: Length, present: bool) {
        let lengths = Arc::make_mut(self.lengths.get_or_insert_default());
        let list = match (kind, length) {
            (Kind::Prefix, _) => &mut lengths.prefixes,
            (Kind::Suffix, _) => &mut lengths.suffixes,
            (Kind::FoldedPrefix, _) => &mut lengths.folded_prefixes,
            (Kind::FoldedSuffix, _) => &mut lengths.folded_suffixes,
            (Kind::Network, Length::V4(bits)) => {
                let bit = 1 << bits;
                lengths.ipv4 = lengths.ipv4 & !bit | if present { bit } else { 0 };
                return;
            }
            (Kind::Network, Length::Other(bits)) => {
                let bit = 1 << bits;
                lengths.ipv6 = lengths.ipv6 & !bit | if present { bit } else { 0 };
                return;
            }
            (Kind::Range, Length::Block { free_bits, power }) => {
                lengths.ranges.set(free_bits, power, present);
                return;
            }
            _ => return,
        };
        let Length::Other(length) = length else {
            return;
        };
        match (list.binary_search(&length), present) {
            (Err(at), true) => list.insert(at, length),
            (Ok(at), false) => {
                list.remove(at);
            }
            _ => {}
        }
    }

    /// Notes the key of a gram by its hash; `count` is how many there are, this one included.
    pub(crate) fn add_gram(&mut self, kind: Kind, hash: u64, count: usize) -> Noted {
        let grams = Arc::make_mut(self.grams.get_or_insert_default());
        let filter = if kind == Kind::Gram4 {
            &mut grams.four
        } else {
            &mut grams.eight
        };
        filter.add(hash, count)
    }

    pub(crate) fn replace_grams(&mut self, kind: Kind, hashes: impl Iterator<Item = u64> + Clone) {
        let grams = Arc::make_mut(self.grams.get_or_insert_default());
        let filter = Filter::of(hashes);
        if kind == Kind::Gram4 {
            grams.four = filter;
        } else {
            grams.eight = filter;
        }
    }
}

/// The length of a key as far as looking it up needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Length {
    /// Bits of an IPv4 block.
    V4(u16),
    /// Bits that are free in a block of ranks, and the power of two that it lies in, if in one.
    Block { free_bits: u16, power: u16 },
    /// Bytes, bits of an IPv6 block.
    Other(u16),
}

impl Length {
    /// Of the block of ranks that begins with `rank`.
    pub(crate) fn of_block(rank: u64, free_bits: u16) -> Length {
        let narrow = u32::from(free_bits) < POWER_SHIFT;
        Length::Block {
            free_bits,
            power: if narrow { power(rank) } else { 0 },
        }
    }
}
