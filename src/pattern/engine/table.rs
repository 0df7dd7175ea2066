//! The index's hash table, of which old versions stay readable: changes copy the way to what they
//! change and share the rest.
//!
//! A tree of forks over leaves. A fork takes one to four bits of the hash, from the highest down; it
//! doubles when a leaf below it is full. A leaf is one run of words with its entries in it:
//!
//! | words | what |
//! |---|---|
//! | 1 | words in use |
//! | one an entry | the lowest bits of the hash (20), where the entry begins in this run (12) |
//! | … | the entries, one behind the other |
//! | … | room up to the next size that allocators have |
//!
//! So finding an entry is a way through forks, which are few enough to stay in the cache, and then
//! words that lie beside each other. Beside its way to a leaf a fork keeps a few bits of what is in
//! it, so that most keys that nobody has put are done with before the leaf is read. Whoever owns a
//! table alone changes it in place.

use std::sync::Arc;

use super::entry::{Entry, EntryId};
use super::key::{Key, KeyHash};
use crate::pattern::ahead::ask_for;
use crate::pattern::kinds::Kind;
use crate::pattern::value::Field;

/// Entries of one leaf, at most.
const LEAF: usize = 16;

/// Words of one leaf with more than one entry, at most: a leaf is copied for each change.
const LEAF_WORDS: usize = 1 << OFFSET_BITS;

const OFFSET_BITS: u32 = 12;

const TAG_BITS: u32 = u32::BITS - OFFSET_BITS;

/// Leaves below one fork with no more entries than this together become one leaf again.
const MERGED: usize = LEAF / 2;

/// Bits of the hash that one fork takes, at most.
const FORK_BITS: u32 = 4;

#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    root: Node,
    /// How many entries there are.
    entries: usize,
    hash: KeyHash,
    /// Entries beyond what a leaf holds whose hashes are equal to the last bit: none, unless
    /// somebody knows the seed.
    equal: Vec<Arc<[u32]>>,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Leaf),
    /// A power of two of them.
    Fork(Arc<[Node]>),
}

impl Default for Node {
    fn default() -> Self {
        Node::Leaf(Leaf::default())
    }
}

#[derive(Debug, Clone, Default)]
struct Leaf {
    /// Two bits for each entry, drawn from its tag. As many bits as there is room for in a node.
    filter: [u8; FILTER_BITS as usize / 8],
    words: Arc<[u32]>,
}

const FILTER_BITS: u32 = 56;

impl Leaf {
    fn new(words: Arc<[u32]>) -> Self {
        let slots = words.get(1..=count(&words)).unwrap_or_default();
        let filter = slots
            .iter()
            .fold(0, |filter, slot| filter | marks(slot >> OFFSET_BITS));
        let mut leaf = Leaf {
            filter: [0; FILTER_BITS as usize / 8],
            words,
        };
        leaf.filter
            .copy_from_slice(&filter.to_le_bytes()[..FILTER_BITS as usize / 8]);
        leaf
    }

    /// Whether there may be an entry with this tag: of leaves that are half full, one of ten says so
    /// in vain.
    #[inline]
    fn may_hold(&self, tag: u32) -> bool {
        let mut filter = [0; 8];
        filter[..self.filter.len()].copy_from_slice(&self.filter);
        let marks = marks(tag);
        u64::from_le_bytes(filter) & marks == marks
    }
}

/// The bits of a tag in a leaf's filter.
#[inline]
fn marks(tag: u32) -> u64 {
    const HALF: u32 = TAG_BITS / 2;
    let mark = |half: u32| 1_u64 << ((half * FILTER_BITS) >> HALF);
    mark(tag >> HALF) | mark(tag & ((1 << HALF) - 1))
}

/// Where an entry may stand: a leaf, and before which of its entries it does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'t> {
    words: &'t [u32],
    from: usize,
}

/// Words of a line of the cache.
const LINE: usize = 16;

/// Entries that the processor probably has at hand, so that looking for several together gains nothing.
const SMALL: usize = 1_024;

impl Table {
    #[inline]
    pub(super) fn is_small(&self) -> bool {
        self.entries <= SMALL
    }

    pub(super) fn hash(&self, key: &Key) -> u64 {
        self.hash.of(key.field, key.kind, &key.bytes)
    }

    /// The entry under a key.
    #[inline]
    pub(super) fn get(&self, field: Field, kind: Kind, bytes: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hash_of(field, kind, bytes);
        self.find(hash, |entry| entry.is(field, kind, bytes))
    }

    #[inline]
    pub(super) fn hash_of(&self, field: Field, kind: Kind, bytes: &[u8]) -> u64 {
        self.hash.of(field, kind, bytes)
    }

    /// The entry of that number, whose key has that hash.
    pub(super) fn entry(&self, hash: u64, id: EntryId) -> Option<Entry<'_>> {
        self.find(hash, |entry| entry.id() == id)
    }

    #[inline]
    fn find(&self, hash: u64, is: impl Fn(Entry<'_>) -> bool) -> Option<Entry<'_>> {
        self.find_at(self.spot(hash)?, hash, is)
    }

    /// Where an entry with this hash stands, if there is one.
    #[inline]
    fn spot(&self, hash: u64) -> Option<Spot<'_>> {
        let [spot] = self.spots([hash].into_iter());
        spot
    }

    /// The same of several hashes, which all go down the tree by one fork, then all by the next: each
    /// node is asked for, and looked at when the others have been asked for as well.
    #[inline]
    pub(super) fn spots<const N: usize>(
        &self,
        hashes: impl ExactSizeIterator<Item = u64> + Clone,
    ) -> [Option<Spot<'_>>; N] {
        let mut ways = [(&self.root, 0); N];
        let ways = &mut ways[..hashes.len()];
        for (way, hash) in ways.iter_mut().zip(hashes.clone()) {
            way.1 = hash;
        }
        let mut are_down = false;
        while !are_down {
            are_down = true;
            for (node, path) in &mut *ways {
                if let Node::Fork(nodes) = *node {
                    let bits = bits(nodes);
                    *node = &nodes[(*path >> (u64::BITS - bits)) as usize];
                    *path <<= bits;
                    ask_for(*node);
                    are_down = false;
                }
            }
        }
        let mut spots = [None; N];
        for ((spot, (node, _)), hash) in spots.iter_mut().zip(ways).zip(hashes) {
            if let Node::Leaf(leaf) = node {
                *spot = self.spot_in(leaf, hash);
            }
        }
        spots
    }

    /// Where in the leaf it stands. Its first words are asked for, but not waited for: several places
    /// looked for one after the other come from memory together.
    #[inline]
    fn spot_in<'t>(&'t self, leaf: &'t Leaf, hash: u64) -> Option<Spot<'t>> {
        if !leaf.may_hold(tag(hash)) && self.equal.is_empty() {
            return None;
        }
        let words = &*leaf.words;
        words.iter().step_by(LINE).take(2).for_each(ask_for);
        Some(Spot { words, from: 0 })
    }

    /// The first entry there whose hash begins alike, if there is one; its words are asked for.
    #[inline]
    pub(super) fn narrowed<'t>(&self, spot: Spot<'t>, hash: u64) -> Option<Spot<'t>> {
        let (words, tag) = (spot.words, tag(hash));
        let slots = words.get(1..=count(words)).unwrap_or_default();
        let from = slots.iter().position(|slot| slot >> OFFSET_BITS == tag);
        let Some(from) = from else {
            let may_be_elsewhere = !self.equal.is_empty();
            return may_be_elsewhere.then_some(spot);
        };
        let start = offset(slots[from]);
        let entry = words.get(start..).unwrap_or_default();
        entry.iter().step_by(LINE).take(2).for_each(ask_for);
        Some(Spot { words, from })
    }

    /// The entry at a place.
    #[inline]
    pub(super) fn find_at<'t>(
        &'t self,
        spot: Spot<'t>,
        hash: u64,
        is: impl Fn(Entry<'_>) -> bool,
    ) -> Option<Entry<'t>> {
        let (leaf, tag) = (spot.words, tag(hash));
        for (at, slot) in leaf
            .get(1..=count(leaf))
            .unwrap_or_default()
            .iter()
            .enumerate()
            .skip(spot.from)
        {
            if slot >> OFFSET_BITS == tag {
                let entry = Entry(entry(leaf, at));
                if is(entry) {
                    return Some(entry);
                }
            }
        }
        let mut equal = self.equal.iter().map(|words| Entry(words));
        equal.find(|entry| is(*entry))
    }

    /// Puts an entry that was not there.
    pub(super) fn insert(&mut self, hash: u64, words: &[u32]) {
        self.entries += 1;
        self.put(hash, words);
    }

    /// Puts an entry in the place of the one of the same number.
    pub(super) fn put(&mut self, hash: u64, words: &[u32]) {
        if !self.equal.is_empty() {
            let id = Entry(words).id();
            self.equal.retain(|words| Entry(words).id() != id);
        }
        if !put(&mut self.root, hash, 0, words, &self.hash) {
            self.equal.push(words.into());
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, hash: u64, id: EntryId) {
        self.entries -= 1;
        if !self.equal.is_empty() {
            self.equal.retain(|words| Entry(words).id() != id);
        }
        remove(&mut self.root, hash, 0, id);
    }
}

/// Bits of the hash that a fork takes.
#[inline]
fn bits(nodes: &[Node]) -> u32 {
    nodes.len().trailing_zeros()
}

/// Which of a fork's nodes a hash leads to, of which `taken` bits have led to the fork.
fn way(nodes: &[Node], hash: u64, taken: u32) -> usize {
    (hash << taken >> (u64::BITS - bits(nodes))) as usize
}

#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32 & (u32::MAX >> (u32::BITS - TAG_BITS))
}

/// Entries of a leaf: the first one begins behind the slots.
#[inline]
fn count(leaf: &[u32]) -> usize {
    leaf.get(1)
        .map_or(0, |slot| offset(*slot).saturating_sub(1))
}

/// Words of a leaf in use.
fn used(leaf: &[u32]) -> usize {
    leaf.first().map_or(1, |used| *used as usize)
}

#[inline]
fn offset(slot: u32) -> usize {
    (slot & ((1 << OFFSET_BITS) - 1)) as usize
}

/// Where an entry of a leaf begins and where it ends; behind the last one nothing does.
#[inline]
fn bounds(leaf: &[u32], at: usize) -> (usize, usize) {
    let count = count(leaf);
    let start = |at: usize| {
        if at < count {
            offset(leaf[1 + at])
        } else {
            used(leaf)
        }
    };
    (start(at), start(at + 1))
}

#[inline]
fn entry(leaf: &[u32], at: usize) -> &[u32] {
    let (start, end) = bounds(leaf, at);
    &leaf[start..end]
}

/// The entries of a leaf with their tags.
fn entries(leaf: &[u32]) -> impl Iterator<Item = (u32, &[u32])> + Clone {
    (0..count(leaf)).map(|at| (leaf[1 + at] >> OFFSET_BITS, entry(leaf, at)))
}

/// Words of a leaf of which so many are in use. Allocators have four sizes between one power of two
/// and the next, or more, so that this room costs nothing.
fn rounded(used: usize) -> usize {
    const COUNTERS: usize = 4;
    let words = used + COUNTERS;
    words.next_multiple_of(1 << (words.ilog2() - 2)) - COUNTERS
}

/// A leaf of so many entries, which must fit.
fn leaf_of<'w>(entries: impl Iterator<Item = (u32, &'w [u32])> + Clone) -> Leaf {
    let first = 1 + entries.clone().count();
    if first == 1 {
        return Leaf::default();
    }
    let used = first + entries.clone().map(|(_, words)| words.len()).sum::<usize>();
    let mut leaf = Vec::with_capacity(rounded(used));
    leaf.push(used as u32);
    let mut start = first;
    for (tag, words) in entries.clone() {
        leaf.push(tag << OFFSET_BITS | start as u32);
        start += words.len();
    }
    for (_, words) in entries {
        leaf.extend_from_slice(words);
    }
    leaf.resize(rounded(used), 0);
    Leaf::new(leaf.into())
}

/// Where the entry of a number stands in a leaf.
fn position(leaf: &[u32], tag: u32, id: EntryId) -> Option<usize> {
    let slots = leaf.get(1..=count(leaf)).unwrap_or_default();
    let mut tags = slots.iter().map(|slot| slot >> OFFSET_BITS).enumerate();
    tags.find(|(at, known)| *known == tag && Entry(entry(leaf, *at)).id() == id)
        .map(|(at, _)| at)
}

/// Where an entry is to be put in a leaf: in the place of the one of its number, or behind the
/// others; `None` when it does not fit.
fn place(leaf: &[u32], tag: u32, words: &[u32]) -> Option<usize> {
    let known = position(leaf, tag, Entry(words).id());
    let at = known.unwrap_or(count(leaf));
    let more = usize::from(known.is_none());
    let (start, end) = bounds(leaf, at);
    let count = count(leaf) + more;
    let length = used(leaf) + more + words.len() - (end - start);
    (count == 1 || count <= LEAF && length <= LEAF_WORDS).then_some(at)
}

/// Puts an entry in the place of one that stands in a leaf, or behind all of them, or takes one out.
fn change(leaf: &mut Leaf, at: usize, with: Option<(u32, &[u32])>) {
    let old: &[u32] = if leaf.words.is_empty() {
        &[1]
    } else {
        &leaf.words
    };
    let count = count(old);
    let (start, end) = bounds(old, at);
    let next = (at + 1).min(count);
    let words = with.map_or(&[][..], |(_, words)| words);
    let slots = usize::from(with.is_some()).wrapping_sub(next - at);
    let used = used(old).wrapping_add(slots) + words.len() - (end - start);
    let mut new = Vec::with_capacity(rounded(used));
    new.push(used as u32);
    // Places move by so many words, in wrapping arithmetic: the tags above them stay.
    let before = slots as u32;
    let behind = before
        .wrapping_add(words.len() as u32)
        .wrapping_sub((end - start) as u32);
    new.extend(old[1..=at].iter().map(|slot| slot.wrapping_add(before)));
    if let Some((tag, _)) = with {
        new.push(tag << OFFSET_BITS | (start as u32).wrapping_add(before));
    }
    new.extend(
        old[1 + next..=count]
            .iter()
            .map(|slot| slot.wrapping_add(behind)),
    );
    new.extend_from_slice(&old[1 + count..start]);
    new.extend_from_slice(words);
    new.extend_from_slice(&old[end..self::used(old)]);
    new.resize(rounded(used), 0);
    let words = match Arc::get_mut(&mut leaf.words) {
        Some(words) if words.len() == new.len() => {
            words.copy_from_slice(&new);
            std::mem::take(&mut leaf.words)
        }
        _ => new.into(),
    };
    *leaf = Leaf::new(words);
}

/// Puts an entry below a node that `taken` bits of the hash lead to; false when there is no bit left
/// to tell it from the others.
fn put(node: &mut Node, hash: u64, taken: u32, words: &[u32], hasher: &KeyHash) -> bool {
    match node {
        Node::Leaf(leaf) => {
            let tag = tag(hash);
            if let Some(at) = place(&leaf.words, tag, words) {
                change(leaf, at, Some((tag, words)));
                return true;
            }
            if taken == u64::BITS {
                return false;
            }
            *node = Node::Fork(halves(node, taken, hasher).into());
        }
        Node::Fork(nodes) => {
            let bits = bits(nodes);
            let way = way(nodes, hash, taken);
            let full = match &nodes[way] {
                Node::Leaf(leaf) => place(&leaf.words, tag(hash), words).is_none(),
                Node::Fork(_) => false,
            };
            if !full || bits == FORK_BITS || taken + bits == u64::BITS {
                let nodes = Arc::make_mut(nodes);
                return put(&mut nodes[way], hash, taken + bits, words, hasher);
            }
            let halves = nodes
                .iter()
                .flat_map(|node| halves(node, taken + bits, hasher));
            *nodes = halves.collect();
        }
    }
    put(node, hash, taken, words, hasher)
}

/// A node divided by the next bit of the hash; `taken` bits lead to it.
fn halves(node: &Node, taken: u32, hasher: &KeyHash) -> [Node; 2] {
    match node {
        Node::Leaf(leaf) => [0, 1].map(|half| {
            let entries = entries(&leaf.words)
                .filter(|(_, words)| Entry(words).hash(hasher) << taken >> (u64::BITS - 1) == half);
            Node::Leaf(leaf_of(entries))
        }),
        Node::Fork(nodes) => {
            let (lower, upper) = nodes.split_at(nodes.len() / 2);
            [lower, upper].map(|half| match half {
                [one] => one.clone(),
                more => Node::Fork(more.into()),
            })
        }
    }
}

fn remove(node: &mut Node, hash: u64, taken: u32, id: EntryId) {
    match node {
        Node::Leaf(leaf) => {
            if let Some(gone) = position(&leaf.words, tag(hash), id) {
                change(leaf, gone, None);
            }
        }
        Node::Fork(nodes) => {
            let way = way(nodes, hash, taken);
            let taken = taken + bits(nodes);
            let children = Arc::make_mut(nodes);
            remove(&mut children[way], hash, taken, id);
            // Looking at the other leaves only where there is hope costs less.
            let few =
                matches!(&children[way], Node::Leaf(leaf) if count(&leaf.words) <= MERGED / 4);
            if few && let Some(leaf) = merged(children) {
                *node = Node::Leaf(leaf);
            }
        }
    }
}

/// One leaf for all, when they are few.
fn merged(nodes: &[Node]) -> Option<Leaf> {
    let (mut together, mut length) = (0, 0);
    for node in nodes {
        match node {
            Node::Leaf(leaf) => {
                together += count(&leaf.words);
                length += used(&leaf.words);
            }
            Node::Fork(_) => return None,
        }
    }
    if together > MERGED || length > LEAF_WORDS / 2 {
        return None;
    }
    let leaves = nodes.iter().filter_map(|node| match node {
        Node::Leaf(leaf) => Some(&leaf.words),
        Node::Fork(_) => None,
    });
    Some(leaf_of(leaves.flat_map(|leaf| entries(leaf))))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::entry::{Candidate, empty, with_candidate};
    use super::*;

    /// Puts, replaces and takes out entries of all sizes, also with hashes that are alike, and holds
    /// each version against a map.
    #[test]
    fn every_version_holds_what_was_put_until_then() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut table = Table::default();
        let mut known: HashMap<u32, (Key, Vec<u32>)> = HashMap::new();
        let mut versions = Vec::new();
        let key = |id: u32| {
            let length =
                [3, 9, 40, 9_000][(id % 97 % 4 * u32::from(id.is_multiple_of(7))) as usize];
            let bytes: Vec<u8> = id.to_le_bytes().into_iter().cycle().take(length).collect();
            Key::new(id % 3, Kind::String, &bytes[..])
        };
        for step in 0..6_000 {
            let growing = step % 3_000 < 1_800;
            let id = random.u32(1..1_500);
            if random.u32(..10) < if growing { 8 } else { 2 } {
                let key = key(id);
                let mut words = empty(&key, id);
                for rule in 0..random.u32(..4) * random.u32(..12) {
                    let candidate = Candidate {
                        rule,
                        sub_rule: 0,
                        program: &[1, 2, 3],
                    };
                    words = with_candidate(Entry(&words), candidate).unwrap();
                }
                let hash = table.hash(&key);
                match known.insert(id, (key, words.clone())) {
                    Some(_) => table.put(hash, &words),
                    None => table.insert(hash, &words),
                }
                assert_eq!(table.entries, known.len());
            } else if let Some((key, _)) = known.remove(&id) {
                table.remove(table.hash(&key), id);
            }
            if step % 500 == 0 {
                versions.push((table.clone(), known.clone()));
            }
        }
        for (id, (key, _)) in known.drain() {
            table.remove(table.hash(&key), id);
        }
        let left = matches!(&table.root, Node::Leaf(leaf) if count(&leaf.words) == 0);
        assert!(left, "{:?}", table.root);
        for (table, known) in &versions {
            for id in 1..1_500 {
                let key = key(id);
                let found = table.get(key.field, key.kind, &key.bytes);
                let expected = known.get(&id).map(|(_, words)| &words[..]);
                assert_eq!(found.map(|entry| entry.0), expected, "{id}");
                let by_number = table.entry(table.hash(&key), id);
                assert_eq!(by_number.map(|entry| entry.0), expected, "{id}");
            }
        }
    }

    #[test]
    fn entries_that_no_bit_tells_apart_are_found_all_the_same() {
        let mut table = Table::default();
        let hasher = KeyHash::default();
        let entries: Vec<Vec<u32>> = (1..60)
            .map(|id| empty(&Key::new(1, Kind::String, b"the same"), id))
            .collect();
        let hash = hasher.of(1, Kind::String, b"the same");
        table.hash = hasher;
        entries.iter().for_each(|words| table.insert(hash, words));
        assert!(!table.equal.is_empty());
        for words in &entries {
            let id = Entry(words).id();
            assert_eq!(table.entry(hash, id).map(|entry| entry.0), Some(&words[..]));
        }
        for words in &entries {
            table.remove(hash, Entry(words).id());
            assert!(table.entry(hash, Entry(words).id()).is_none());
        }
        assert!(table.equal.is_empty());
    }
}
