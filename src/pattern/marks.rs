//! Marks: one bit that shows of most values that they have no key of a kind, without looking it up.

use super::kinds::{Kind, Kinds};
use super::number::leading_of_key;
use super::value::Datum;

/// How many kinds have marks.
pub(crate) const MARKED: usize = 8;

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
        kinds: Kinds::NONE,
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
