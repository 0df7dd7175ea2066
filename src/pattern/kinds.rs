//! The kinds of keys that lead to rules: what each says of a value.

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
    /// A string of ASCII whatever its case, in lower case.
    Folded,
    /// A string whatever its case, folded: of patterns that are not all ASCII.
    FoldedWide,
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
pub(crate) const KINDS: usize = 18;

impl Kind {
    pub(crate) const ALL: [Kind; KINDS] = [
        Kind::String,
        Kind::Number,
        Kind::Text,
        Kind::Address,
        Kind::Prefix,
        Kind::Suffix,
        Kind::Folded,
        Kind::FoldedWide,
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
pub(super) const ENDS: [Kind; 5] = [
    Kind::Prefix,
    Kind::Suffix,
    Kind::Folded,
    Kind::FoldedPrefix,
    Kind::FoldedSuffix,
];

impl Kinds {
    pub(super) const NONE: Kinds = Kinds(0);

    pub(super) const OF_ENDS: Kinds = Kinds::of(&ENDS);

    pub(super) const OF_STRINGS: Kinds = Kinds::of(&[
        Kind::String,
        Kind::Address,
        Kind::FoldedWide,
        Kind::Network,
        Kind::Gram4,
        Kind::Gram8,
        Kind::Exists,
    ])
    .or(Kinds::OF_ENDS);

    pub(super) const OF_NUMBERS: Kinds =
        Kinds::of(&[Kind::Number, Kind::Text, Kind::Range, Kind::Exists]);

    pub(super) const OF_LITERALS: Kinds = Kinds::of(&[Kind::Text, Kind::Exists]);

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
    pub(super) fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    #[inline]
    pub(super) fn with(self, kind: Kind) -> Kinds {
        Kinds(self.0 | 1 << kind as u32)
    }

    #[inline]
    pub(super) fn without(self, kind: Kind) -> Kinds {
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
}
