//! One entry of the index: its key and the sub-rules that it leads to, in one run of words.
//!
//! | words | what |
//! |---|---|
//! | 1 | field |
//! | 1 | kind (low 8 bits), bytes of the key |
//! | 1 | number of the entry |
//! | 1 | candidates (8 bits), split fields (8 bits), further entries (16 bits) |
//! | … | the key's bytes, four a word |
//! | … | split fields |
//! | … | candidates |
//!
//! A candidate is the rule's number, a word with the sub-rule's index (high 16 bits) and the length
//! of its program, and the program: a word for each clause, in the order of paths. A word is the
//! number of an entry that must have been hit, or, with the highest bit set, of a clause to be asked.
//!
//! So whoever finds an entry finds all that its candidates need in the bytes behind it. An entry is
//! never changed: a new one takes its place.

use super::key::{Key, KeyHash};
use crate::pattern::kinds::Kind;
use crate::pattern::value::Field;

pub(super) type EntryId = u32;
pub(super) type RuleNumber = u32;

/// Candidates in one entry, at most: an entry is copied for each change.
pub(super) const CANDIDATES: usize = 48;

/// Fields that one entry is split by, at most.
const SPLITS: usize = 255;

/// Further entries of one entry, at most.
pub(super) const MORE: usize = u16::MAX as usize;

/// The bit of a program's word that says it is a clause to ask.
pub(super) const ASK: u32 = 1 << 31;

const HEAD: usize = 4;

/// Words of a key that is hashed without an allocation.
const SHORT_WORDS: usize = 16;

/// An entry as it is made.
pub(super) type Words = Vec<u32>;

/// An entry as it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'e>(pub(super) &'e [u32]);

/// One sub-rule that an entry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate<'e> {
    pub(super) rule: RuleNumber,
    pub(super) sub_rule: u16,
    pub(super) program: &'e [u32],
}

impl<'e> Entry<'e> {
    #[inline]
    pub(super) fn field(self) -> Field {
        self.0[0]
    }

    pub(super) fn kind(self) -> Kind {
        Kind::ALL[(self.0[1] & 0xFF) as usize]
    }

    #[inline]
    pub(super) fn id(self) -> EntryId {
        self.0[2]
    }

    pub(super) fn candidate_count(self) -> usize {
        (self.0[3] & 0xFF) as usize
    }

    fn split_count(self) -> usize {
        (self.0[3] >> 8 & 0xFF) as usize
    }

    /// How many further entries there are, gaps included.
    #[inline]
    pub(super) fn more(self) -> u32 {
        self.0[3] >> 16
    }

    fn key_bytes(self) -> usize {
        (self.0[1] >> 8) as usize
    }

    fn key_words(self) -> usize {
        self.key_bytes().div_ceil(4)
    }

    /// Whether it stands under this key.
    #[inline]
    pub(super) fn is(self, field: Field, kind: Kind, bytes: &[u8]) -> bool {
        if self.0[0] != field || self.0[1] != (kind as u32 | (bytes.len() as u32) << 8) {
            return false;
        }
        let mut words = self.0[HEAD..].iter();
        let mut chunks = bytes.chunks_exact(4);
        let whole = (&mut chunks).zip(&mut words).all(|(chunk, word)| {
            *word == u32::from_le_bytes(chunk.try_into().expect("chunks of four"))
        });
        whole
            && (chunks.remainder().is_empty()
                || words.next() == Some(&last_word(chunks.remainder())))
    }

    pub(super) fn key(self) -> Key {
        let words = &self.0[HEAD..HEAD + self.key_words()];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.key_bytes());
        Key::new(self.field(), self.kind(), &bytes)
    }

    /// The hash of its key.
    pub(super) fn hash(self, hasher: &KeyHash) -> u64 {
        let words = &self.0[HEAD..HEAD + self.key_words()];
        let mut short = [[0; 4]; SHORT_WORDS];
        if let Some(short) = short.get_mut(..words.len()) {
            for (bytes, word) in short.iter_mut().zip(words) {
                *bytes = word.to_le_bytes();
            }
            let bytes = &short.as_flattened()[..self.key_bytes()];
            return hasher.of(self.field(), self.kind(), bytes);
        }
        hasher.of(self.field(), self.kind(), &self.key().bytes)
    }

    /// The two numbers of a key that is a pair.
    pub(super) fn pair(self) -> (u32, u32) {
        (self.0[HEAD], self.0[HEAD + 1])
    }

    /// The fields by which there are entries below this one.
    #[inline]
    pub(super) fn splits(self) -> &'e [Field] {
        let start = HEAD + self.key_words();
        &self.0[start..start + self.split_count()]
    }

    #[inline]
    pub(super) fn candidates(self) -> Candidates<'e> {
        Candidates {
            left: self.candidate_count(),
            words: &self.0[HEAD + self.key_words() + self.split_count()..],
        }
    }

    /// Whether nothing is found through it.
    pub(super) fn leads_nowhere(self) -> bool {
        self.0[3] == 0
    }
}

#[inline]
fn last_word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(word)
}

/// The candidates of one entry.
pub(super) struct Candidates<'e> {
    left: usize,
    words: &'e [u32],
}

impl<'e> Iterator for Candidates<'e> {
    type Item = Candidate<'e>;

    #[inline]
    fn next(&mut self) -> Option<Candidate<'e>> {
        self.left = self.left.checked_sub(1)?;
        let [rule, head, rest @ ..] = self.words else {
            return None;
        };
        let (program, rest) = rest.split_at_checked((head & 0xFFFF) as usize)?;
        self.words = rest;
        Some(Candidate {
            rule: *rule,
            sub_rule: (head >> 16) as u16,
            program,
        })
    }
}

/// A new entry without candidates.
pub(super) fn empty(key: &Key, id: EntryId) -> Words {
    let mut words = vec![
        key.field,
        key.kind as u32 | (key.bytes.len() as u32) << 8,
        id,
        0,
    ];
    words.extend(key.bytes.chunks(4).map(last_word));
    words
}

/// The entry with one candidate more; `None` when it is full.
pub(super) fn with_candidate(entry: Entry<'_>, candidate: Candidate<'_>) -> Option<Words> {
    if entry.candidate_count() == CANDIDATES {
        return None;
    }
    let mut words = Vec::with_capacity(entry.0.len() + 2 + candidate.program.len());
    words.extend_from_slice(entry.0);
    words[3] += 1;
    push(&mut words, candidate);
    Some(words)
}

fn push(words: &mut Vec<u32>, candidate: Candidate<'_>) {
    words.push(candidate.rule);
    words.push(u32::from(candidate.sub_rule) << 16 | candidate.program.len() as u32);
    words.extend_from_slice(candidate.program);
}

/// The entry without a candidate, and that candidate's program.
pub(super) fn without_candidate(
    entry: Entry<'_>,
    rule: RuleNumber,
    sub_rule: u16,
) -> Option<(Words, Vec<u32>)> {
    let is_it =
        |candidate: &Candidate<'_>| (candidate.rule, candidate.sub_rule) == (rule, sub_rule);
    let program = entry.candidates().find(is_it)?.program.to_vec();
    let words = with_candidates_that(entry, |candidate| !is_it(candidate));
    Some((words, program))
}

/// The entry with those of its candidates alone that pass.
pub(super) fn with_candidates_that(
    entry: Entry<'_>,
    pass: impl Fn(&Candidate<'_>) -> bool,
) -> Words {
    let start = entry.0.len() - entry.candidates().words.len();
    let mut words = entry.0[..start].to_vec();
    for candidate in entry.candidates() {
        if pass(&candidate) {
            push(&mut words, candidate);
        } else {
            words[3] -= 1;
        }
    }
    words
}

/// The entry split by one field more, or by one less; `None` when it is split by too many.
pub(super) fn with_split(entry: Entry<'_>, field: Field, present: bool) -> Option<Words> {
    if present && entry.split_count() == SPLITS {
        return None;
    }
    let start = HEAD + entry.key_words();
    let mut words = entry.0.to_vec();
    if present {
        words.insert(start, field);
        words[3] += 1 << 8;
    } else if let Some(at) = entry.splits().iter().position(|split| *split == field) {
        words.remove(start + at);
        words[3] -= 1 << 8;
    }
    Some(words)
}

/// The entry with another number of further entries.
pub(super) fn with_more(entry: Entry<'_>, more: usize) -> Words {
    let mut words = entry.0.to_vec();
    words[3] = words[3] & 0xFFFF | (more as u32) << 16;
    words
}
