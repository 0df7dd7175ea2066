//! Rules as they were at one moment, and the events that match them.

use std::cell::Cell;
use std::sync::Arc;

use super::ask::Ask;
use super::entry::{ASK, Candidate, Entry, RuleNumber};
use super::key::{address_bytes, network_bytes, pair, range_bytes};
use super::seen::Seen;
use super::table::Table;
use crate::pattern::Document;
use crate::pattern::consistency::{ClauseKind, Placing, Standing, verdict};
use crate::pattern::operator::{address_of, block, fold};
use crate::pattern::probes::{Kind, Lengths, Mark, Probes};
use crate::pattern::tree::Branch;
use crate::pattern::value::{Datum, Field, Fields, OUTSIDE, Place};
use crate::pattern::walk::{Visit, walk};

/// What a [`Matcher`](super::Matcher) held when it was asked for it; `K` names a pattern.
///
/// It never changes, so any number of threads match against it without waiting for each other or for
/// the writer. Cloning costs a few counters. Later snapshots share with it whatever did not change.
#[derive(Debug, Clone)]
pub struct Snapshot<K: Clone> {
    pub(super) root: Arc<Branch>,
    pub(super) table: Table,
    /// By the number in programs.
    pub(super) asks: imbl::Vector<Option<Arc<Ask>>>,
    /// By rule number.
    pub(super) keys: imbl::Vector<Option<K>>,
}

impl<K: Clone> Default for Snapshot<K> {
    fn default() -> Self {
        Self {
            root: Arc::default(),
            table: Table::default(),
            asks: imbl::Vector::new(),
            keys: imbl::Vector::new(),
        }
    }
}

/// Memory that one event leaves for the next on the same thread.
#[derive(Default)]
struct Scratch {
    fields: Fields<'static>,
    seen: Seen,
    found: Vec<Entry<'static>>,
    answers: Answers,
    rules: Vec<RuleNumber>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Entries that one event found that are kept room for.
const FOUND_KEPT: usize = 4_096;

impl<K: Clone + Ord> Snapshot<K> {
    /// The keys of all patterns that match, each once, in ascending order.
    #[must_use]
    pub fn matches(&self, document: &Document<'_>) -> Vec<K> {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        scratch.seen.clear();
        scratch.answers.clear();
        scratch.found.shrink_to(FOUND_KEPT);
        let fields = std::mem::take(&mut scratch.fields);
        let found = std::mem::take(&mut scratch.found);
        let Probing {
            fields,
            found,
            seen,
            ..
        } = self.probe(document, fields, &mut scratch.seen, found);
        let mut checking = Checking {
            asks: &self.asks,
            fields: &fields,
            seen,
            answers: &mut scratch.answers,
        };
        for entry in &found {
            for candidate in entry.candidates() {
                // The sub-rules of one pattern mostly come one after the other.
                if scratch.rules.last() != Some(&candidate.rule) && checking.holds(candidate) {
                    scratch.rules.push(candidate.rule);
                }
            }
        }
        let mut keys: Vec<K> = Vec::new();
        if !scratch.rules.is_empty() {
            scratch.rules.sort_unstable();
            scratch.rules.dedup();
            let found = scratch.rules.drain(..);
            keys.extend(found.filter_map(|rule| self.keys.get(rule as usize)?.clone()));
            keys.sort_unstable();
            scratch.rules.shrink_to(FOUND_KEPT);
        }
        scratch.fields = fields.recycled();
        scratch.found = recycled(found);
        SCRATCH.set(Some(scratch));
        keys
    }
}

impl<K: Clone> Snapshot<K> {
    /// How many sub-rules are looked at for a document: what matching it costs beside walking it.
    #[must_use]
    pub fn candidates(&self, document: &Document<'_>) -> usize {
        let mut seen = Seen::default();
        let probing = self.probe(document, Fields::default(), &mut seen, Vec::new());
        let found = probing.found.iter();
        found.map(|entry| entry.candidate_count()).sum()
    }

    fn probe<'s, 'a>(
        &'s self,
        document: &Document<'a>,
        fields: Fields<'static>,
        seen: &'s mut Seen,
        found: Vec<Entry<'static>>,
    ) -> Probing<'s, 'a> {
        let mut probing = Probing {
            table: &self.table,
            fields: fields.recycled(),
            seen,
            found: recycled(found),
        };
        if self.root.probes.has(Kind::Present) {
            probing.come_by(0, Kind::Present, &[]);
        }
        walk(document, &self.root, &mut probing);
        probing.follow();
        probing
    }
}

/// The vector, emptied, for entries of another life. Collects in place.
fn recycled<'b>(mut found: Vec<Entry<'_>>) -> Vec<Entry<'b>> {
    found.clear();
    found.into_iter().map(|_| unreachable!()).collect()
}

/// Looks up what the values of an event lead to.
struct Probing<'s, 'a> {
    table: &'s Table,
    fields: Fields<'a>,
    seen: &'s mut Seen,
    found: Vec<Entry<'s>>,
}

impl<'a> Visit<'a> for Probing<'_, 'a> {
    #[inline]
    fn fields(&mut self) -> &mut Fields<'a> {
        &mut self.fields
    }

    #[inline]
    fn visit(&mut self, branch: &Branch, place: Place, datum: Datum<'a>) {
        let (field, probes) = (branch.field, &branch.probes);
        if probes.can_pass_over(&datum) {
            return;
        }
        let value = self.fields.push(field, place, datum);
        if probes.has(Kind::Present) && self.fields.is_first(field, value) {
            self.come_by(field, Kind::Present, &[]);
        }
        if probes.has(Kind::Exists) {
            self.probe(field, Kind::Exists, &[], value);
        }
        // Taken out, so that the rest may change; it goes back unchanged.
        let datum = std::mem::replace(
            &mut self.fields.value_mut(value).datum,
            Datum::Literal("null"),
        );
        match &datum {
            Datum::String(text) => self.string(field, probes, text, value),
            Datum::Number(text) => {
                if probes.has(Kind::Number)
                    && let Some(key) = text.key()
                    && probes.may_have(Kind::Number, Mark::of_number(&key))
                {
                    self.literal(field, Kind::Number, &key, value);
                }
                // The texts of rules do not compare; one that does equals none of them.
                if probes.has(Kind::Text) {
                    self.literal(field, Kind::Text, text.text(), value);
                }
                if probes.has(Kind::Range)
                    && let (Some(lengths), Some(number)) = (probes.parts(), text.number())
                {
                    let mut sizes = lengths.ranges;
                    while sizes != 0 {
                        let key = range_bytes(number.rank(), sizes.trailing_zeros());
                        self.probe(field, Kind::Range, &key, value);
                        sizes &= sizes - 1;
                    }
                }
            }
            Datum::Literal(text) => {
                if probes.has(Kind::Text) {
                    self.literal(field, Kind::Text, text.as_bytes(), value);
                }
            }
        }
        self.fields.value_mut(value).datum = datum;
    }
}

impl<'s> Probing<'s, '_> {
    fn string(&mut self, field: Field, probes: &Probes, text: &[u8], value: u32) {
        if probes.may_have(Kind::String, Mark::of(text)) {
            self.literal(field, Kind::String, text, value);
        }
        if probes.has(Kind::Folded) {
            self.probe(field, Kind::Folded, &fold(text), value);
        }
        if let Some(lengths) = probes.parts() {
            self.parts(field, lengths, text, value);
        }
        if probes.has_any(&[Kind::Address, Kind::Network])
            && let Some(address) = address_of(text)
        {
            if probes.has(Kind::Address) {
                self.probe(field, Kind::Address, &address_bytes(address), value);
            }
            if let Some(lengths) = probes.parts() {
                let mut lengths = match address {
                    std::net::IpAddr::V4(_) => lengths.ipv4.into(),
                    std::net::IpAddr::V6(_) => lengths.ipv6,
                };
                while lengths != 0 {
                    let bits = lengths.trailing_zeros();
                    let key = network_bytes(block(address, bits), bits);
                    self.probe(field, Kind::Network, &key, value);
                    lengths &= lengths - 1;
                }
            }
        }
        if let Some(grams) = probes.grams() {
            for (kind, size, filter) in [
                (Kind::Gram4, 4, &grams.four),
                (Kind::Gram8, 8, &grams.eight),
            ] {
                if probes.has(kind) {
                    for gram in text.windows(size) {
                        if filter.may_hold(gram_hash(gram)) {
                            self.probe(field, kind, gram, value);
                        }
                    }
                }
            }
        }
    }

    #[inline]
    fn parts(&mut self, field: Field, lengths: &Lengths, text: &[u8], value: u32) {
        for length in fitting(&lengths.prefixes, text) {
            self.probe(field, Kind::Prefix, &text[..length], value);
        }
        for length in fitting(&lengths.suffixes, text) {
            self.probe(field, Kind::Suffix, &text[text.len() - length..], value);
        }
        if lengths.folded_prefixes.is_empty() && lengths.folded_suffixes.is_empty() {
            return;
        }
        let text = fold(text);
        for length in fitting(&lengths.folded_prefixes, &text) {
            self.probe(field, Kind::FoldedPrefix, &text[..length], value);
        }
        for length in fitting(&lengths.folded_suffixes, &text) {
            self.probe(
                field,
                Kind::FoldedSuffix,
                &text[text.len() - length..],
                value,
            );
        }
    }

    /// Looks a literal up; the value is known by it from now on.
    #[inline]
    fn literal(&mut self, field: Field, kind: Kind, bytes: &[u8], value: u32) {
        if let Some(id) = self.probe(field, kind, bytes, value) {
            self.fields.value_mut(value).atom = id;
        }
    }

    #[inline]
    fn probe(&mut self, field: Field, kind: Kind, bytes: &[u8], value: u32) -> Option<u32> {
        let entry = self.table.get(field, kind, bytes)?;
        let outside = self.fields.value(value).place == OUTSIDE;
        if self.seen.hit(entry.id(), value, outside) && !entry.leads_nowhere() {
            self.found.push(entry);
        }
        Some(entry.id())
    }

    /// Finds an entry that no single value leads to.
    fn come_by(&mut self, field: Field, kind: Kind, bytes: &[u8]) {
        if let Some(entry) = self.table.get(field, kind, bytes)
            && self.seen.mark(entry.id())
        {
            self.found.push(entry);
        }
    }

    /// Finds what stands below and behind the entries found.
    fn follow(&mut self) {
        let mut at = 0;
        while let Some(entry) = self.found.get(at).copied() {
            at += 1;
            for number in 0..entry.more() {
                self.come_by(0, Kind::More, &pair(entry.id(), number));
            }
            for field in entry.splits() {
                let atoms = self.fields.values(*field).map(|value| value.atom);
                let atoms = atoms.filter(|atom| *atom != 0);
                for atom in atoms {
                    if let Some(entry) =
                        self.table.get(*field, Kind::Child, &pair(entry.id(), atom))
                        && self.seen.mark(entry.id())
                    {
                        self.found.push(entry);
                    }
                }
            }
        }
    }
}

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

/// Decides whether a candidate's clauses hold.
struct Checking<'s, 'f, 'a> {
    asks: &'s imbl::Vector<Option<Arc<Ask>>>,
    fields: &'f Fields<'a>,
    seen: &'s Seen,
    answers: &'s mut Answers,
}

impl Checking<'_, '_, '_> {
    #[inline]
    fn holds(&mut self, candidate: Candidate<'_>) -> bool {
        // What is known already rejects most candidates; asking may take several misses of the cache.
        let known = candidate.program.iter().filter(|word| **word & ASK == 0);
        for atom in known {
            if self.seen.standing(*atom) == Standing::Fails {
                return false;
            }
        }
        let mut standings = candidate.program.iter();
        let standings = std::iter::from_fn(|| {
            let word = *standings.next()?;
            Some(if word & ASK == 0 {
                self.seen.standing(word)
            } else {
                self.answer(word & !ASK)
            })
        });
        match verdict(standings) {
            Some(verdict) => verdict,
            None => self.can_be_placed(candidate),
        }
    }

    fn answer(&mut self, number: u32) -> Standing {
        let (seen, fields) = (self.asks, self.fields);
        self.answers
            .get(number, || match seen.get(number as usize) {
                Some(Some(ask)) => ask.standing(fields),
                _ => Standing::Fails,
            })
    }

    fn can_be_placed(&self, candidate: Candidate<'_>) -> bool {
        let mut placing = Placing::new(self.fields);
        for word in candidate.program {
            if word & ASK == 0 {
                let values = self.seen.values(*word);
                placing.add(
                    ClauseKind::Value,
                    values.map(|value| (self.fields.value(value).place, true)),
                );
            } else if let Some(Some(ask)) = self.asks.get((word & !ASK) as usize) {
                let values = self.fields.values(ask.field);
                placing.add(
                    ask.kind(),
                    values.map(|value| (value.place, ask.accepts(value))),
                );
            }
        }
        placing.possible()
    }
}

/// Remembers, for one event, what clauses have answered.
#[derive(Debug)]
struct Answers {
    slots: Box<[Answer; ANSWERS]>,
    event: u32,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    event: u32,
    number: u32,
    standing: Standing,
}

/// As many clauses as are remembered; more push each other out.
const ANSWERS: usize = 256;

impl Default for Answers {
    fn default() -> Self {
        let none = Answer {
            event: 0,
            number: 0,
            standing: Standing::Fails,
        };
        Self {
            slots: Box::new([none; ANSWERS]),
            event: 0,
        }
    }
}

impl Answers {
    fn clear(&mut self) {
        self.event = self.event.wrapping_add(1);
        if self.event == 0 {
            *self = Self::default();
            self.event = 1;
        }
    }

    #[inline]
    fn get(&mut self, number: u32, ask: impl FnOnce() -> Standing) -> Standing {
        let slot = &mut self.slots[number as usize % ANSWERS];
        if (slot.event, slot.number) != (self.event, number) {
            *slot = Answer {
                event: self.event,
                number,
                standing: ask(),
            };
        }
        slot.standing
    }
}
