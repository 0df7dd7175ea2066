//! Rules as they were at one moment, and the events that match them.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use super::ask::Ask;
use super::entry::{ASK, Candidate, Entry, RuleNumber};
use super::key::{address_bytes, network_bytes, pair, range_bytes};
use super::seen::Seen;
use super::table::Table;
use crate::pattern::Document;
use crate::pattern::consistency::{ClauseKind, Placing, Standing, verdict};
use crate::pattern::number::NumberText;
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
    wanted: Wanted,
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
        } = self.probe(
            document,
            fields,
            &mut scratch.seen,
            &mut scratch.wanted,
            found,
        );
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
            keys.reserve_exact(scratch.rules.len());
            for rule in scratch.rules.drain(..) {
                if let Some(Some(key)) = self.keys.get(rule as usize) {
                    keys.push(key.clone());
                }
            }
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
        let (mut seen, mut wanted) = (Seen::default(), Wanted::default());
        let fields = Fields::default();
        let probing = self.probe(document, fields, &mut seen, &mut wanted, Vec::new());
        let found = probing.found.iter();
        found.map(|entry| entry.candidate_count()).sum()
    }

    fn probe<'s, 'a>(
        &'s self,
        document: &Document<'a>,
        fields: Fields<'static>,
        seen: &'s mut Seen,
        wanted: &'s mut Wanted,
        found: Vec<Entry<'static>>,
    ) -> Probing<'s, 'a> {
        let mut probing = Probing {
            table: &self.table,
            fields: fields.recycled(),
            seen,
            found: recycled(found),
            wanted,
        };
        if self.root.probes.has(Kind::Present) {
            probing.come_by(0, Kind::Present, &[]);
        }
        walk(document, &self.root, &mut probing);
        probing.look_up();
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
    wanted: &'s mut Wanted,
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
        let mut asking = Asking {
            table: self.table,
            wanted: self.wanted,
            field,
            value,
        };
        if probes.has(Kind::Present) && self.fields.is_first(field, value) {
            asking.made(Kind::Present, &[]);
        }
        if probes.has(Kind::Exists) {
            asking.made(Kind::Exists, &[]);
        }
        match &self.fields.value(value).datum {
            Datum::String(text) => asking.string(probes, text),
            Datum::Number(text) => asking.number(probes, text),
            Datum::Literal(text) => {
                if probes.has(Kind::Text) {
                    asking.part(Kind::Text, text.as_bytes(), 0);
                }
            }
        }
        if self.wanted.keys.len() >= TOGETHER {
            self.look_up();
        }
    }
}

impl<'s> Probing<'s, '_> {
    /// Looks all keys up that are wanted by now: first where each may stand, then what stands there,
    /// so that what is far away in memory comes together.
    fn look_up(&mut self) {
        match self.wanted.keys.len() {
            0 => {}
            1..=FEW => self.look_up_by::<FEW>(),
            _ => self.look_up_by::<TOGETHER>(),
        }
    }

    /// Looks them up by so many at once.
    fn look_up_by<const N: usize>(&mut self) {
        let table = self.table;
        let wanted = std::mem::take(self.wanted);
        for keys in wanted.keys.chunks(N) {
            let mut spots = [None; N];
            for (spot, key) in spots.iter_mut().zip(keys) {
                *spot = table.spot(key.hash);
            }
            for (spot, key) in spots.iter_mut().zip(keys) {
                *spot = spot.and_then(|spot| table.narrowed(spot, key.hash));
            }
            for (spot, key) in spots.into_iter().zip(keys) {
                let Some(spot) = spot else { continue };
                let value = self.fields.value(key.value);
                let (from, to) = (key.from as usize, key.to as usize);
                let bytes = match &value.datum {
                    _ if key.is_made => &wanted.made[from..to],
                    Datum::String(text) => &text[from..to],
                    Datum::Number(text) => &text.text()[from..to],
                    Datum::Literal(text) => &text.as_bytes()[from..to],
                };
                let is = |entry: Entry<'_>| entry.is(key.field, key.kind, bytes);
                let Some(entry) = table.find_at(spot, key.hash, is) else {
                    continue;
                };
                let outside = value.place == OUTSIDE;
                if self.seen.hit(entry.id(), key.value, outside) && !entry.leads_nowhere() {
                    self.found.push(entry);
                }
                if matches!(key.kind, Kind::String | Kind::Number | Kind::Text) {
                    // The value is known by it from now on.
                    self.fields.value_mut(key.value).atom = entry.id();
                }
            }
        }
        *self.wanted = wanted;
        self.wanted.clear();
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

/// Keys that are looked up together, at most.
const TOGETHER: usize = 32;

/// Keys that nothing is prepared for.
const FEW: usize = 4;

/// Keys that are to be looked up.
#[derive(Debug, Default)]
struct Wanted {
    keys: Vec<WantedKey>,
    /// The bytes of those that are no part of their value.
    made: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct WantedKey {
    hash: u64,
    field: Field,
    value: u32,
    /// Where its bytes stand: in what was made, or in the value.
    from: u32,
    to: u32,
    is_made: bool,
    kind: Kind,
}

impl Wanted {
    fn clear(&mut self) {
        self.keys.clear();
        self.made.clear();
    }
}

/// Finds out what one value is to be looked up by.
struct Asking<'p> {
    table: &'p Table,
    wanted: &'p mut Wanted,
    field: Field,
    value: u32,
}

impl Asking<'_> {
    /// By a part of its text, which begins at an offset.
    #[inline]
    fn part(&mut self, kind: Kind, part: &[u8], from: usize) {
        self.wanted.keys.push(WantedKey {
            hash: self.table.hash_of(self.field, kind, part),
            field: self.field,
            value: self.value,
            from: from as u32,
            to: (from + part.len()) as u32,
            is_made: false,
            kind,
        });
    }

    /// By bytes made of it.
    #[inline]
    fn made(&mut self, kind: Kind, bytes: &[u8]) {
        let from = self.wanted.made.len();
        self.wanted.made.extend_from_slice(bytes);
        self.part(kind, bytes, from);
        if let Some(key) = self.wanted.keys.last_mut() {
            key.is_made = true;
        }
    }

    #[inline]
    fn number(&mut self, probes: &Probes, text: &NumberText<'_>) {
        if probes.may_have(Kind::Number, Mark::of_number(text.leading()))
            && let Some(key) = text.key()
        {
            self.made(Kind::Number, &key);
        }
        // The texts of rules do not compare; one that does equals none of them.
        if probes.has(Kind::Text) {
            self.part(Kind::Text, text.text(), 0);
        }
        if probes.has(Kind::Range)
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

    fn string(&mut self, probes: &Probes, text: &[u8]) {
        if probes.may_have(Kind::String, Mark::of(text)) {
            self.part(Kind::String, text, 0);
        }
        if probes.has(Kind::Folded) {
            self.made(Kind::Folded, &fold(text));
        }
        if let Some(lengths) = probes.parts() {
            self.affixes(lengths, text);
        }
        if probes.has_any(&[Kind::Address, Kind::Network])
            && let Some(address) = address_of(text)
        {
            self.address(probes, address);
        }
        if let Some(grams) = probes.grams() {
            for (kind, size, filter) in [
                (Kind::Gram4, 4, &grams.four),
                (Kind::Gram8, 8, &grams.eight),
            ] {
                if probes.has(kind) {
                    for (at, gram) in text.windows(size).enumerate() {
                        if filter.may_hold(gram_hash(gram)) {
                            self.part(kind, gram, at);
                        }
                    }
                }
            }
        }
    }

    fn address(&mut self, probes: &Probes, address: IpAddr) {
        if probes.has(Kind::Address) {
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
    fn affixes(&mut self, lengths: &Lengths, text: &[u8]) {
        for length in fitting(&lengths.prefixes, text) {
            self.part(Kind::Prefix, &text[..length], 0);
        }
        for length in fitting(&lengths.suffixes, text) {
            let from = text.len() - length;
            self.part(Kind::Suffix, &text[from..], from);
        }
        if lengths.folded_prefixes.is_empty() && lengths.folded_suffixes.is_empty() {
            return;
        }
        let text = fold(text);
        for length in fitting(&lengths.folded_prefixes, &text) {
            self.made(Kind::FoldedPrefix, &text[..length]);
        }
        for length in fitting(&lengths.folded_suffixes, &text) {
            self.made(Kind::FoldedSuffix, &text[text.len() - length..]);
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
