//! By which keys a clause can be found: one of them leads to every value that fulfils it.

use super::key::{Key, address_bytes, affix_length, network_bytes, range_bytes};
use crate::pattern::kinds::Kind;
use crate::pattern::operator::{Condition, IgnoreCase, Literal, Part, Wildcard};
use crate::pattern::parse::Clause;
use crate::pattern::value::Field;

/// Blocks that a range with two ends is covered by, at most. Fewer would find more numbers outside
/// of the range; more would make the index larger.
const BLOCKS: usize = 4;

/// The same of a range with one end, which needs more: its far end is very far.
const OPEN_BLOCKS: usize = 20;

/// Grams of a wildcard that are compared, at most, to take the rarest.
const GRAMS: usize = 64;

/// The key of a clause that holds exactly when a value has that key; `None` if there is no such key.
pub(super) fn atom(clause: &Clause, field: Field) -> Option<Key> {
    if clause.absent {
        return None;
    }
    let [condition] = clause.conditions.as_slice() else {
        return None;
    };
    let key = |kind, bytes: &[u8]| Some(Key::new(field, kind, bytes));
    match condition {
        Condition::Literal(_) | Condition::Cidr(_) => only_key(condition, field),
        Condition::Numeric(numeric) => {
            let number = numeric.only()?;
            key(Kind::Number, &number.key())
        }
        Condition::Prefix(prefix) if is_short(prefix.text()) => {
            key(Kind::Prefix, prefix.text().as_bytes())
        }
        Condition::Suffix(suffix) if is_short(suffix.text()) => {
            key(Kind::Suffix, suffix.text().as_bytes())
        }
        Condition::IgnoreCase(text) if text.part() == Part::Whole && text.is_ascii() => {
            ignoring_case(text, field)
        }
        Condition::Exists => key(Kind::Exists, &[]),
        _ => None,
    }
}

fn is_short(text: &str) -> bool {
    affix_length(text.len()) == text.len()
}

fn only_key(condition: &Condition, field: Field) -> Option<Key> {
    let key = |kind, bytes: &[u8]| Some(Key::new(field, kind, bytes));
    match condition {
        Condition::Literal(Literal::String(text)) => key(Kind::String, text.as_bytes()),
        Condition::Literal(Literal::Address(_, address)) => {
            key(Kind::Address, &address_bytes(*address))
        }
        Condition::Literal(Literal::Number(_, number)) => key(Kind::Number, &number.key()),
        Condition::Literal(Literal::Text(text)) => key(Kind::Text, text.as_bytes()),
        Condition::Cidr(cidr) => {
            let (network, bits) = cidr.block();
            key(Kind::Network, &network_bytes(network, bits))
        }
        _ => None,
    }
}

/// Ways to find a condition: each is a list of keys of which every value that fulfils it has one.
/// Empty when it can be found by nothing but that its field is there.
pub(super) fn ways(condition: &Condition, field: Field) -> Vec<Vec<Key>> {
    let key = |kind, bytes: &[u8]| Key::new(field, kind, bytes);
    match condition {
        Condition::Literal(_) | Condition::Cidr(_) => only_key(condition, field)
            .map(|key| vec![key])
            .into_iter()
            .collect(),
        Condition::Prefix(prefix) => vec![vec![key(Kind::Prefix, start(prefix.text()))]],
        Condition::Suffix(suffix) => vec![vec![key(Kind::Suffix, end(suffix.text()))]],
        Condition::IgnoreCase(ignore_case) => ignoring_case(ignore_case, field)
            .map(|key| vec![key])
            .into_iter()
            .collect(),
        Condition::Wildcard(wildcard) => wildcard_ways(wildcard, field),
        Condition::Numeric(numeric) => match numeric.only() {
            Some(number) => vec![vec![key(Kind::Number, &number.key())]],
            None => vec![range_keys(
                *numeric.ranks().start(),
                *numeric.ranks().end(),
                field,
            )],
        },
        Condition::Exists => vec![vec![key(Kind::Exists, &[])]],
        Condition::AnythingBut(_) => Vec::new(),
    }
}

fn start(text: &str) -> &[u8] {
    &text.as_bytes()[..affix_length(text.len())]
}

fn end(text: &str) -> &[u8] {
    &text.as_bytes()[text.len() - affix_length(text.len())..]
}

fn ignoring_case(ignore_case: &IgnoreCase, field: Field) -> Option<Key> {
    let folded = ignore_case.folded()?;
    let length = affix_length(folded.len());
    Some(match ignore_case.part() {
        Part::Whole if ignore_case.is_ascii() => Key::new(field, Kind::Folded, &folded),
        Part::Whole => Key::new(field, Kind::FoldedWide, &folded),
        Part::Start => Key::new(field, Kind::FoldedPrefix, &folded[..length]),
        Part::End => Key::new(field, Kind::FoldedSuffix, &folded[folded.len() - length..]),
    })
}

fn wildcard_ways(wildcard: &Wildcard, field: Field) -> Vec<Vec<Key>> {
    let one = |kind, bytes: &[u8]| vec![Key::new(field, kind, bytes)];
    let pieces = wildcard.pieces();
    let [first, middle @ .., last] = pieces else {
        return vec![one(Kind::String, pieces[0].as_bytes())];
    };
    let mut ways = Vec::new();
    if !first.is_empty() {
        ways.push(one(Kind::Prefix, start(first)));
    }
    if !last.is_empty() {
        ways.push(one(Kind::Suffix, end(last)));
    }
    let all = || std::iter::once(first).chain(middle).chain([last]);
    let longest = all().map(|piece| piece.len()).max().unwrap_or(0);
    let (kind, size) = match longest {
        8.. => (Kind::Gram8, 8),
        4.. => (Kind::Gram4, 4),
        _ => return ways,
    };
    let grams = all().flat_map(|piece| piece.as_bytes().windows(size));
    let mut grams: Vec<&[u8]> = grams.take(GRAMS).collect();
    // Of grams that nobody uses yet the first is taken: digits tell more apart than words do.
    grams.sort_by_key(|gram| gram.iter().filter(|byte| !byte.is_ascii_digit()).count());
    ways.extend(grams.into_iter().map(|gram| one(kind, gram)));
    ways
}

/// Blocks of ranks, of one size, that hold a whole range and little beside it.
fn range_keys(lowest: u64, highest: u64, field: Field) -> Vec<Key> {
    if lowest > highest {
        // No number is in it: found by a block that no number is in.
        return vec![Key::new(field, Kind::Range, &range_bytes(u64::MAX, 0))];
    }
    let open = lowest == 0 || highest == u64::MAX;
    let most = if open { OPEN_BLOCKS } else { BLOCKS };
    // The smallest blocks of which few are needed.
    (0..64)
        .find_map(|free_bits| blocks(lowest, highest, free_bits, most))
        .unwrap_or_default()
        .into_iter()
        .map(|(rank, free_bits)| Key::new(field, Kind::Range, &range_bytes(rank, free_bits)))
        .collect()
}

/// The blocks that cover a range, none smaller than `free_bits` says, each as large as it can be;
/// `None` when they are more than `most`.
fn blocks(lowest: u64, highest: u64, free_bits: u32, most: usize) -> Option<Vec<(u64, u32)>> {
    let edge = (1_u64 << free_bits) - 1;
    let (mut rank, last) = (lowest & !edge, highest | edge);
    let mut blocks = Vec::new();
    loop {
        if blocks.len() == most {
            return None;
        }
        let mut bits = rank.trailing_zeros().min(63);
        while bits > free_bits && rank + ((1_u64 << bits) - 1) > last {
            bits -= 1;
        }
        blocks.push((rank, bits));
        match rank.checked_add(1_u64 << bits) {
            Some(next) if next <= last => rank = next,
            _ => return Some(blocks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_is_covered(one in any::<u64>(), width in 0_u32..64, inside in any::<u64>()) {
            let other = one.saturating_add(inside >> (63 - width));
            for (lowest, highest) in [(one, other), (0, one), (one, u64::MAX)] {
                let keys = range_keys(lowest, highest, 1);
                prop_assert!(keys.len() <= OPEN_BLOCKS);
                for rank in [lowest, highest, lowest + (highest - lowest) / 3] {
                    let found = keys.iter().any(|key| range_bytes(rank, key.bytes[0].into())[..] == *key.bytes);
                    prop_assert!(found, "{lowest}..={highest} misses {rank}");
                }
            }
        }
    }

    #[test]
    fn a_cover_holds_little_else() {
        let covered = |lowest, highest| -> u128 {
            let keys = range_keys(lowest, highest, 1);
            keys.iter().map(|key| 1_u128 << key.bytes[0]).sum()
        };
        for (lowest, highest) in [(1_000_000, 1_000_999), ((1 << 63) - 500, (1 << 63) + 500)] {
            assert!(covered(lowest, highest) <= 2 * 1_024, "{lowest}");
        }
    }
}
