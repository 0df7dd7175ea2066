//! The index's hash table, of which old versions stay readable: changes copy the way to what they
//! change and share the rest.
//!
//! A tree of forks over leaves. A fork takes four bits of the hash, from the highest down; a leaf
//! holds up to sixteen entries, told apart by the lowest thirty-two bits. Leaves below one fork
//! split one bit at a time (as in extendible hashing), so they are two thirds full on average
//! instead of a quarter. Whoever owns a table alone changes it in place.

use std::sync::Arc;

use super::entry::{Entry, EntryId, Words};
use super::key::{Key, KeyHash};
use crate::pattern::probes::Kind;
use crate::pattern::value::Field;

const LEAF: usize = 16;

/// Leaves below one fork with no more entries than this together become one leaf again.
const MERGED: usize = LEAF / 2;

/// Bits of the hash that one fork takes.
const FORK_BITS: u32 = 4;

#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    root: Node,
    hash: KeyHash,
    /// Entries beyond what a leaf holds whose hashes are equal to the last bit: none, unless
    /// somebody knows the seed.
    equal: Vec<Words>,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Arc<Leaf>),
    Fork(Arc<Fork>),
}

impl Default for Node {
    fn default() -> Self {
        Node::Leaf(Arc::default())
    }
}

#[derive(Debug, Clone, Default)]
struct Leaf {
    tags: [u32; LEAF],
    len: usize,
    entries: [Option<Words>; LEAF],
}

#[derive(Debug, Clone)]
struct Fork {
    /// For each value of the four bits, which of the nodes.
    ways: [u8; 1 << FORK_BITS],
    nodes: Vec<Node>,
    /// For each node, how many of the four bits lead to it.
    bits: Vec<u8>,
}

impl Table {
    pub(super) fn hash(&self, key: &Key) -> u64 {
        self.hash.of(key.field, key.kind, &key.bytes)
    }

    /// The entry under a key.
    #[inline]
    pub(super) fn get(&self, field: Field, kind: Kind, bytes: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hash.of(field, kind, bytes);
        self.find(hash, |entry| entry.is(field, kind, bytes))
    }

    /// The entry of that number, whose key has that hash.
    pub(super) fn entry(&self, hash: u64, id: EntryId) -> Option<Entry<'_>> {
        self.find(hash, |entry| entry.id() == id)
    }

    #[inline]
    fn find(&self, hash: u64, is: impl Fn(Entry<'_>) -> bool) -> Option<Entry<'_>> {
        let mut node = &self.root;
        let mut path = hash;
        loop {
            match node {
                Node::Fork(fork) => {
                    let way = (path >> (64 - FORK_BITS)) as usize;
                    path <<= FORK_BITS;
                    node = &fork.nodes[usize::from(fork.ways[way])];
                }
                Node::Leaf(leaf) => {
                    let mut found = leaf.tagged(hash as u32);
                    while found != 0 {
                        let at = found.trailing_zeros() as usize;
                        if let Some(words) = &leaf.entries[at]
                            && is(Entry(words))
                        {
                            return Some(Entry(words));
                        }
                        found &= found - 1;
                    }
                    break;
                }
            }
        }
        let mut equal = self.equal.iter().map(|words| Entry(words));
        equal.find(|entry| is(*entry))
    }

    /// Puts an entry, in the place of the one of the same number.
    pub(super) fn put(&mut self, hash: u64, words: Words) {
        let id = Entry(&words).id();
        if let Err(words) = put(&mut self.root, hash, 0, words, &self.hash) {
            self.equal.retain(|words| Entry(words).id() != id);
            self.equal.push(words);
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, hash: u64, id: EntryId) {
        if !self.equal.is_empty() {
            self.equal.retain(|words| Entry(words).id() != id);
        }
        remove(&mut self.root, hash, hash, id);
    }
}

/// Puts an entry below a node that `taken` bits of the hash lead to; gives it back when there is no
/// bit left to tell it from the others.
fn put(
    node: &mut Node,
    hash: u64,
    taken: u32,
    words: Words,
    hasher: &KeyHash,
) -> Result<(), Words> {
    let (tag, id) = (hash as u32, Entry(&words).id());
    if let Node::Leaf(leaf) = node {
        if leaf.has_room_for(tag, id) {
            Arc::make_mut(leaf).put(tag, words);
            return Ok(());
        }
        if taken == u64::BITS {
            return Err(words);
        }
        let leaf = Arc::clone(leaf);
        *node = Node::Fork(Arc::new(Fork {
            ways: [0; 1 << FORK_BITS],
            nodes: vec![Node::Leaf(leaf)],
            bits: vec![0],
        }));
    }
    let Node::Fork(fork) = node else {
        return Err(words);
    };
    let fork = Arc::make_mut(fork);
    let way = (hash << taken >> (u64::BITS - FORK_BITS)) as usize;
    let mut at = usize::from(fork.ways[way]);
    while fork.must_split(at, tag, id) && u32::from(fork.bits[at]) < FORK_BITS {
        fork.split(at, taken, hasher);
        at = usize::from(fork.ways[way]);
    }
    put(&mut fork.nodes[at], hash, taken + FORK_BITS, words, hasher)
}

fn remove(node: &mut Node, hash: u64, path: u64, id: EntryId) {
    match node {
        Node::Leaf(leaf) => {
            if leaf.position(hash as u32, id).is_some() {
                Arc::make_mut(leaf).remove(hash as u32, id);
            }
        }
        Node::Fork(fork) => {
            let fork = Arc::make_mut(fork);
            let way = (path >> (64 - FORK_BITS)) as usize;
            let at = usize::from(fork.ways[way]);
            remove(&mut fork.nodes[at], hash, path << FORK_BITS, id);
            if let Some(leaf) = fork.merged() {
                *node = Node::Leaf(Arc::new(leaf));
            }
        }
    }
}

impl Leaf {
    /// A bit for each entry with the tag.
    #[inline]
    fn tagged(&self, tag: u32) -> u32 {
        let mut found = 0;
        for (at, known) in self.tags.iter().enumerate() {
            found |= u32::from(*known == tag) << at;
        }
        found & ((1 << self.len) - 1)
    }

    fn position(&self, tag: u32, id: EntryId) -> Option<usize> {
        let entries = self.entries[..self.len].iter().flatten();
        let mut tagged = self.tags.iter().zip(entries);
        tagged.position(|(known, words)| *known == tag && Entry(words).id() == id)
    }

    fn has_room_for(&self, tag: u32, id: EntryId) -> bool {
        self.len < LEAF || self.position(tag, id).is_some()
    }

    fn put(&mut self, tag: u32, words: Words) {
        let at = self.position(tag, Entry(&words).id()).unwrap_or(self.len);
        self.len = self.len.max(at + 1);
        self.tags[at] = tag;
        self.entries[at] = Some(words);
    }

    fn remove(&mut self, tag: u32, id: EntryId) {
        if let Some(at) = self.position(tag, id) {
            self.len -= 1;
            self.tags.swap(at, self.len);
            self.entries.swap(at, self.len);
            self.entries[self.len] = None;
        }
    }
}

impl Fork {
    fn must_split(&self, at: usize, tag: u32, id: EntryId) -> bool {
        match &self.nodes[at] {
            Node::Leaf(leaf) => !leaf.has_room_for(tag, id),
            Node::Fork(_) => false,
        }
    }

    /// Divides a leaf by the next bit of the four; `taken` bits of the hash lead to this fork.
    fn split(&mut self, at: usize, taken: u32, hash: &KeyHash) {
        let Node::Leaf(leaf) = &self.nodes[at] else {
            return;
        };
        let depth = u32::from(self.bits[at]);
        let mut halves = [Leaf::default(), Leaf::default()];
        for words in leaf.entries.iter().flatten() {
            let key = Entry(words).key();
            let hash = hash.of(key.field, key.kind, &key.bytes);
            let upper = hash << (taken + depth) >> 63;
            halves[upper as usize].put(hash as u32, Arc::clone(words));
        }
        let [lower, upper] = halves.map(|half| Node::Leaf(Arc::new(half)));
        self.nodes[at] = lower;
        let new = self.nodes.len();
        self.nodes.push(upper);
        self.bits[at] += 1;
        self.bits.push(self.bits[at]);
        let bit = FORK_BITS - 1 - depth;
        for (way, node) in self.ways.iter_mut().enumerate() {
            if usize::from(*node) == at && way >> bit & 1 == 1 {
                *node = new as u8;
            }
        }
    }

    /// One leaf for all, when they are few.
    fn merged(&self) -> Option<Leaf> {
        let mut len = 0;
        for node in &self.nodes {
            match node {
                Node::Leaf(leaf) => len += leaf.len,
                Node::Fork(_) => return None,
            }
        }
        if len > MERGED {
            return None;
        }
        let mut merged = Leaf::default();
        for node in &self.nodes {
            if let Node::Leaf(leaf) = node {
                let tagged = leaf.tags.iter().zip(leaf.entries.iter().flatten());
                tagged.for_each(|(tag, words)| merged.put(*tag, Arc::clone(words)));
            }
        }
        Some(merged)
    }
}
