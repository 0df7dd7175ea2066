//! Which kinds of keys lead to rules at one field: what is worth looking up for a value of it.

use std::sync::Arc;

use super::ask::Alone;
use super::number::leading_of_key;
use super::value::Datum;

/// What a key says of a value. The number is part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A string itself.
    String,
    /// A number that compares: the bits of its binary64.
    Number,
    /// `true`, `false`, `null`, and numbers that do not compare.
    Text,
    /// A string that is this IP address.
    Address,
    /// How a string begins.
    Prefix,
    /// How a string ends.
    Suffix,
    /// A string whatever its case, folded.
    Folded,
    /// How a folded string begins.
    FoldedPrefix,
    /// How a folded string ends.
    FoldedSuffix,
    /// A block of IP addresses: the number of bits, then the address.
    Network,
    /// A block of numbers by rank: how many of the last bits are free, then the rank without them.
    Range,
    /// Four bytes somewhere in a string.
    Gram4,
    /// Eight bytes somewhere in a string.
    Gram8,
    /// There is a value: found once, for rules that nothing better leads to. At the root: there is
    /// an event.
    Present,
    /// There is a value, and each is noted.
    Exists,
    /// Below another entry: its number, then the number of a literal that must be there too.
    Child,
    /// More candidates of another entry: its number, then a counter.
    More,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 17;

impl Kind {
    pub(crate) const ALL: [Kind; KINDS] = [
        Kind::String,
        Kind::Number,
        Kind::Text,
        Kind::Address,
        Kind::Prefix,
        Kind::Suffix,
        Kind::Folded,
        Kind::FoldedPrefix,
        Kind::FoldedSuffix,
        Kind::Network,
        Kind::Range,
        Kind::Gram4,
        Kind::Gram8,
        Kind::Present,
        Kind::Exists,
        Kind::Child,
        Kind::More,
    ];

    /// Of the kinds with marks: which it is.
    #[inline]
    pub(crate) fn marked(self) -> Option<usize> {
        match self {
            Kind::String => Some(0),
            Kind::Number => Some(1),
            Kind::Prefix => Some(2),
            Kind::Suffix => Some(3),
            Kind::Folded => Some(4),
            Kind::FoldedPrefix => Some(5),
            Kind::FoldedSuffix => Some(6),
            Kind::Text => Some(7),
            _ => None,
        }
    }

    /// Whether a key of this kind is looked up for the values of its field.
    pub(crate) fn is_probed(self) -> bool {
        !matches!(self, Kind::Child | Kind::More)
    }
}

/// Kinds of keys: a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u32);

/// Of the ends of strings, or of folded ones.
const ENDS: [Kind; 5] = [
    Kind::Prefix,
    Kind::Suffix,
    Kind::Folded,
    Kind::FoldedPrefix,
    Kind::FoldedSuffix,
];

impl Kinds {
    const OF_ENDS: Kinds = Kinds::of(&ENDS);

    const OF_STRINGS: Kinds = Kinds::of(&[
        Kind::String,
        Kind::Address,
        Kind::Network,
        Kind::Gram4,
        Kind::Gram8,
        Kind::Exists,
    ])
    .or(Kinds::OF_ENDS);

    const OF_NUMBERS: Kinds = Kinds::of(&[Kind::Number, Kind::Text, Kind::Range, Kind::Exists]);

    const OF_LITERALS: Kinds = Kinds::of(&[Kind::Text, Kind::Exists]);

    pub(crate) const fn of(kinds: &[Kind]) -> Kinds {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u32;
            at += 1;
        }
        Kinds(bits)
    }

    pub(crate) const fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    #[inline]
    fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    #[inline]
    fn with(self, kind: Kind) -> Kinds {
        Kinds(self.0 | 1 << kind as u32)
    }

    #[inline]
    fn without(self, kind: Kind) -> Kinds {
        Kinds(self.0 & !(1 << kind as u32))
    }

    #[inline]
    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u32 & 1 == 1
    }

    #[inline]
    pub(crate) fn has_any(self, kinds: Kinds) -> bool {
        self.0 & kinds.0 != 0
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    fn each(self) -> impl Iterator<Item = Kind> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let kind = Kind::ALL.get(bits.trailing_zeros() as usize)?;
            bits &= bits - 1;
            Some(*kind)
        })
    }
}

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

/// How many kinds have marks.
pub(crate) const MARKED: usize = 8;

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
                    for kind in of_ends.each() {
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

/// One bit of sixty-four, drawn from what a key's bytes are; all of them where that says nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(pub(crate) u64);

impl Mark {
    const ANY: Mark = Mark(u64::MAX);

    /// Of a key of a kind that has marks.
    pub(crate) fn of_key(kind: Kind, bytes: &[u8]) -> Mark {
        match kind {
            Kind::String | Kind::Text => Mark::of(bytes),
            Kind::Number => Mark::of_number(leading_of_key(bytes)),
            _ => Ends::of(bytes).mark(kind),
        }
    }

    /// Of two neighbours.
    #[inline]
    fn of_pair(pair: [u8; 2]) -> Mark {
        let [one, other] = pair.map(u32::from);
        Mark(1 << ((one * 13 + other * 37) & 63))
    }

    /// Of two neighbours in a folded text. Beyond ASCII folding is not byte by byte.
    #[inline]
    fn of_folded(pair: [u8; 2]) -> Mark {
        if pair.is_ascii() {
            Mark::of_pair(pair.map(|byte| byte.to_ascii_lowercase()))
        } else {
            Mark::ANY
        }
    }

    /// Of a value's text: its length, its last byte and one in the middle.
    #[inline]
    pub(crate) fn of(bytes: &[u8]) -> Mark {
        let last = bytes.last().copied().unwrap_or(0);
        let middle = bytes.get(bytes.len() / 2).copied().unwrap_or(0);
        let mixed = bytes.len() as u32 * 7 + u32::from(last) * 13 + u32::from(middle) * 37;
        Mark(1 << (mixed & 63))
    }

    /// Of a number: its leading digits.
    #[inline]
    pub(crate) fn of_number(leading: u64) -> Mark {
        Mark(1 << (leading.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58))
    }
}

/// The first and the last two bytes of a text that has as many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends(Option<[[u8; 2]; 2]>);

impl Ends {
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Ends {
        Ends(match (text.first_chunk(), text.last_chunk()) {
            (Some(first), Some(last)) => Some([*first, *last]),
            _ => None,
        })
    }

    /// The mark of keys of a kind that texts with such ends may have.
    #[inline]
    pub(crate) fn mark(self, kind: Kind) -> Mark {
        let Some([first, last]) = self.0 else {
            return Mark::ANY;
        };
        let pair = match kind {
            Kind::Prefix | Kind::Folded | Kind::FoldedPrefix => first,
            Kind::Suffix | Kind::FoldedSuffix => last,
            _ => return Mark::ANY,
        };
        match kind {
            Kind::Prefix | Kind::Suffix => Mark::of_pair(pair),
            _ => Mark::of_folded(pair),
        }
    }
}

/// The marks that a value has, of each kind that has marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks([u64; MARKED + 1]);

impl Marks {
    /// Those that are asked for.
    #[inline]
    pub(crate) fn of(datum: &Datum<'_>, wanted: Kinds) -> Marks {
        let mut marks = [0; MARKED + 1];
        marks[MARKED] = u64::MAX;
        let Datum::String(text) = datum else {
            return Marks(marks);
        };
        let mut note = |kind: Kind, mark: Mark| {
            if let Some(at) = kind.marked() {
                marks[at] = mark.0;
            }
        };
        if wanted.has(Kind::String) {
            note(Kind::String, Mark::of(text));
        }
        if wanted.has_any(Kinds::OF_ENDS) {
            let ends = Ends::of(text);
            for kind in Named::ENDS {
                if wanted.has(kind) {
                    note(kind, ends.mark(kind));
                }
            }
        }
        Marks(marks)
    }
}

/// Strings that a clause names, as far as shows in marks: each has a key of one kind, with one of
/// these marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    marks: u64,
    /// Which of [`Marks`].
    at: u8,
    kinds: Kinds,
}

impl Named {
    /// By which ends strings are named.
    const ENDS: [Kind; 3] = [Kind::Prefix, Kind::Suffix, Kind::Folded];

    /// Nothing is known of them, and they may be no strings.
    pub(crate) const UNKNOWN: Named = Named {
        marks: u64::MAX,
        at: MARKED as u8,
        kinds: Kinds(0),
    };

    /// Those that have one of these keys.
    pub(crate) fn by<'k>(kind: Kind, keys: impl Iterator<Item = &'k [u8]>) -> Named {
        let marks = keys.fold(0, |marks, key| marks | Mark::of_key(kind, key).0);
        kind.marked().map_or(Named::UNKNOWN, |at| Named {
            marks,
            at: at as u8,
            kinds: Kinds::of(&[kind]),
        })
    }

    /// The kind by which they show.
    pub(crate) fn kinds(self) -> Kinds {
        self.kinds
    }

    /// Whether a value with these marks may be one of them.
    #[inline]
    pub(crate) fn may_be(self, marks: &Marks) -> bool {
        let value = marks.0.get(usize::from(self.at));
        value.is_none_or(|value| value & self.marks != 0)
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

/// Whether a filter could take another gram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    Yes,
    /// It is too full and must be made anew, larger.
    TooFull,
}

/// A set that may say yes too often: two bits a member, at least sixteen bits of room for each.
/// Members are never taken out one by one; it is made anew when it outgrows itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Pages are shared with earlier filters until they change.
    pages: Vec<Arc<[u64; PAGE]>>,
}

const PAGE: usize = 64;

impl Filter {
    fn of(hashes: impl Iterator<Item = u64> + Clone) -> Self {
        let bits = (hashes.clone().count() * 32).next_power_of_two();
        let pages = bits.div_ceil(64 * PAGE).next_power_of_two();
        let mut filter = Filter {
            // All the one empty page, until each changes.
            pages: std::iter::repeat_n(Arc::new([0; PAGE]), pages).collect(),
        };
        for hash in hashes {
            filter.set(hash);
        }
        filter
    }

    fn add(&mut self, hash: u64, count: usize) -> Noted {
        if count * 16 > self.pages.len() * 64 * PAGE {
            return Noted::TooFull;
        }
        self.set(hash);
        Noted::Yes
    }

    fn set(&mut self, hash: u64) {
        for (page, word, bit) in self.bits(hash) {
            Arc::make_mut(&mut self.pages[page])[word] |= 1 << bit;
        }
    }

    fn bits(&self, hash: u64) -> [(usize, usize, u32); 2] {
        [hash >> 32, hash].map(|hash| {
            let hash = hash as u32;
            let page = (hash >> 12) as usize & (self.pages.len() - 1);
            (page, hash as usize >> 6 & (PAGE - 1), hash & 63)
        })
    }

    #[inline]
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        !self.pages.is_empty()
            && self
                .bits(hash)
                .iter()
                .all(|(page, word, bit)| self.pages[*page][*word] >> bit & 1 == 1)
    }
}
