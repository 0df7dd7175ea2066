//! Rules as they were at one moment, and the events that match them.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use super::entry::{ASK, Candidate, Entry, RuleNumber};
use super::key::{address_bytes, network_bytes, pair, range_bytes};
use super::seen::Seen;
use super::table::Table;
use crate::pattern::Document;
use crate::pattern::ask::{Alone, Ask};
use crate::pattern::consistency::{ClauseKind, Placing, Standing, verdict};
use crate::pattern::number::NumberText;
use crate::pattern::operator::{address_of, block, fold};
use crate::pattern::probes::{Kind, Kinds, Lengths, Present, Probes};
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
    found: Found<'static>,
    wanted: Wanted,
    answers: Answers,
    rules: Matched,
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
        let Probing {
            fields,
            found,
            seen,
            ..
        } = self.probe(
            document,
            scratch.fields,
            &mut scratch.seen,
            &mut scratch.wanted,
            scratch.found,
        );
        let mut checking = Checking {
            asks: &self.asks,
            numbered: None,
            fields: &fields,
            seen,
            answers: &mut scratch.answers,
        };
        for alone in &found.alone {
            alone.each_that_holds(&fields, |rule| scratch.rules.add(rule));
        }
        for entry in &found.entries {
            for candidate in entry.candidates() {
                if !scratch.rules.has_just_got(candidate.rule) && checking.holds(*entry, candidate)
                {
                    scratch.rules.add(candidate.rule);
                }
            }
        }
        let mut keys: Vec<K> = Vec::new();
        let most = scratch.rules.at_most();
        if most > 0 {
            keys.reserve_exact(most);
            let mut all = Numbered::new(&self.keys);
            scratch.rules.drain(|rule| {
                if let Some(key) = all.get(rule) {
                    keys.push(key.clone());
                }
            });
            if !keys.is_sorted() {
                keys.sort_unstable();
            }
        }
        scratch.fields = fields.recycled();
        scratch.found = found.recycled();
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
        let probing = self.probe(document, fields, &mut seen, &mut wanted, Found::default());
        let entries = probing.found.entries.iter();
        let alone = probing.found.alone.iter();
        entries.map(|entry| entry.candidate_count()).sum::<usize>()
            + alone.map(|alone| alone.rules.len()).sum::<usize>()
    }

    fn probe<'s, 'a>(
        &'s self,
        document: &Document<'a>,
        fields: Fields<'a>,
        seen: &'s mut Seen,
        wanted: &'s mut Wanted,
        found: Found<'s>,
    ) -> Probing<'s, 'a> {
        let mut probing = Probing {
            table: &self.table,
            fields,
            seen,
            found,
            wanted,
        };
        if let Some(present) = self.root.probes.present() {
            probing.found.add(0, present);
        }
        walk(document, &self.root, &mut probing);
        probing.look_up();
        probing.follow();
        probing
    }
}

/// What an event has found.
#[derive(Debug, Default)]
struct Found<'s> {
    entries: Vec<Entry<'s>>,
    alone: Vec<OneClause<'s>>,
}

/// Rules that one clause about a field decides.
#[derive(Debug, Clone, Copy)]
struct OneClause<'s> {
    field: Field,
    rules: &'s [Alone],
}

impl OneClause<'_> {
    #[inline]
    fn each_that_holds(&self, fields: &Fields<'_>, mut rule: impl FnMut(RuleNumber)) {
        match fields.only(self.field) {
            Some(value) => {
                for alone in self.rules.iter().filter(|alone| alone.ask.accepts(value)) {
                    rule(alone.rule);
                }
            }
            None => {
                let fails = |alone: &Alone| alone.ask.standing(fields) == Standing::Fails;
                for alone in self.rules.iter().filter(|alone| !fails(alone)) {
                    rule(alone.rule);
                }
            }
        }
    }
}

impl<'s> Found<'s> {
    /// Adds what stands at a field that is there.
    #[inline]
    fn add(&mut self, field: Field, present: &'s Present) {
        let rules = &*present.alone;
        if !rules.is_empty() {
            self.alone.push(OneClause { field, rules });
        }
        let entry = Entry(&present.entry);
        if !entry.leads_nowhere() {
            self.entries.push(entry);
        }
    }

    /// Emptied, for an event of another life; the memory is kept.
    fn recycled<'b>(mut self) -> Found<'b> {
        self.entries.clear();
        self.entries.shrink_to(FOUND_KEPT);
        self.alone.clear();
        self.alone.shrink_to(FOUND_KEPT);
        // Collected in place.
        Found {
            entries: self.entries.into_iter().map(|_| unreachable!()).collect(),
            alone: self.alone.into_iter().map(|_| unreachable!()).collect(),
        }
    }
}

/// Looks up what the values of an event lead to.
struct Probing<'s, 'a> {
    table: &'s Table,
    fields: Fields<'a>,
    seen: &'s mut Seen,
    found: Found<'s>,
    wanted: &'s mut Wanted,
}

impl<'s, 'a> Visit<'s, 'a> for Probing<'s, 'a> {
    #[inline]
    fn fields(&mut self) -> &mut Fields<'a> {
        &mut self.fields
    }

    #[inline]
    fn visit(&mut self, branch: &'s Branch, place: Place, datum: Datum<'a>) {
        let (field, probes) = (branch.field, &branch.probes);
        let kinds = probes.kinds_of(&datum);
        if kinds.is_empty() && !probes.is_asked() {
            return;
        }
        let value = self.fields.push(field, place, datum);
        if let Some(present) = probes.present()
            && self.fields.is_first(field, value)
        {
            self.found.add(field, present);
        }
        if kinds.is_empty() {
            return;
        }
        let mut asking = Asking {
            table: self.table,
            wanted: self.wanted,
            field,
            value,
        };
        if kinds.has(Kind::Exists) {
            asking.made(Kind::Exists, &[]);
        }
        match &self.fields.value(value).datum {
            Datum::String(text) => asking.string(kinds, probes, text),
            Datum::Number(text) => asking.number(kinds, probes, text),
            Datum::Literal(text) => {
                if kinds.has(Kind::Text) {
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
            _ if self.table.is_small() => self.look_up_by::<1>(),
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
                    self.found.entries.push(entry);
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
            self.found.entries.push(entry);
        }
    }

    /// Finds what stands below and behind the entries found.
    fn follow(&mut self) {
        let mut at = 0;
        while let Some(entry) = self.found.entries.get(at).copied() {
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
                        self.found.entries.push(entry);
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
    fn number(&mut self, kinds: Kinds, probes: &Probes, text: &NumberText<'_>) {
        if kinds.has(Kind::Number)
            && let Some(key) = text.key()
        {
            self.made(Kind::Number, &key);
        }
        // The texts of rules do not compare; one that does equals none of them.
        if kinds.has(Kind::Text) {
            self.part(Kind::Text, text.text(), 0);
        }
        if kinds.has(Kind::Range)
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

    #[inline]
    fn string(&mut self, kinds: Kinds, probes: &Probes, text: &[u8]) {
        if kinds.has(Kind::String) {
            self.part(Kind::String, text, 0);
        }
        if kinds != Kinds::of(&[Kind::String]) {
            self.parts(kinds, probes, text);
        }
    }

    /// What a string is found by beside what it is.
    fn parts(&mut self, kinds: Kinds, probes: &Probes, text: &[u8]) {
        if let Some(lengths) = probes.parts() {
            self.affixes(kinds, lengths, text);
        }
        if kinds.has_any(Kinds::of(&FOLDED)) {
            self.folded(kinds, probes, text);
        }
        if kinds.has_any(Kinds::of(&[Kind::Address, Kind::Network]))
            && let Some(address) = address_of(text)
        {
            self.address(kinds, probes, address);
        }
        if let Some(grams) = probes.grams() {
            for (kind, size, filter) in [
                (Kind::Gram4, 4, &grams.four),
                (Kind::Gram8, 8, &grams.eight),
            ] {
                if kinds.has(kind) {
                    for (at, gram) in text.windows(size).enumerate() {
                        if filter.may_hold(gram_hash(gram)) {
                            self.part(kind, gram, at);
                        }
                    }
                }
            }
        }
    }

    fn address(&mut self, kinds: Kinds, probes: &Probes, address: IpAddr) {
        if kinds.has(Kind::Address) {
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
    fn affixes(&mut self, kinds: Kinds, lengths: &Lengths, text: &[u8]) {
        if kinds.has(Kind::Prefix) {
            for length in fitting(&lengths.prefixes, text) {
                self.part(Kind::Prefix, &text[..length], 0);
            }
        }
        if kinds.has(Kind::Suffix) {
            for length in fitting(&lengths.suffixes, text) {
                let from = text.len() - length;
                self.part(Kind::Suffix, &text[from..], from);
            }
        }
    }

    fn folded(&mut self, kinds: Kinds, probes: &Probes, text: &[u8]) {
        let text = fold(text);
        if kinds.has(Kind::Folded) {
            self.made(Kind::Folded, &text);
        }
        let Some(lengths) = probes.parts() else {
            return;
        };
        if kinds.has(Kind::FoldedPrefix) {
            for length in fitting(&lengths.folded_prefixes, &text) {
                self.made(Kind::FoldedPrefix, &text[..length]);
            }
        }
        if kinds.has(Kind::FoldedSuffix) {
            for length in fitting(&lengths.folded_suffixes, &text) {
                self.made(Kind::FoldedSuffix, &text[text.len() - length..]);
            }
        }
    }
}

/// The kinds whose keys are of folded strings.
const FOLDED: [Kind; 3] = [Kind::Folded, Kind::FoldedPrefix, Kind::FoldedSuffix];

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

/// A list in which several numbers are looked up one after the other.
enum Numbered<'s, T: Clone> {
    /// Of a short one the neighbourhood of a number is remembered, and the next one is there.
    Short(imbl::vector::Focus<'s, Option<T>, imbl::shared_ptr::DefaultSharedPtr>),
    Long(&'s imbl::Vector<Option<T>>),
}

impl<'s, T: Clone> Numbered<'s, T> {
    fn new(all: &'s imbl::Vector<Option<T>>) -> Self {
        const SHORT: usize = 1_024;
        if all.len() <= SHORT {
            Numbered::Short(all.focus())
        } else {
            Numbered::Long(all)
        }
    }

    #[inline]
    fn get(&mut self, number: u32) -> Option<&T> {
        match self {
            Numbered::Short(near) => near.get(number as usize)?.as_ref(),
            Numbered::Long(all) => all.get(number as usize)?.as_ref(),
        }
    }
}

/// Rules that match an event, each once.
#[derive(Debug)]
struct Matched {
    /// A bit for each of the first rules.
    bits: Box<[u64; BITS]>,
    /// A bit for each word of those that is not zero.
    words: u64,
    /// The others, some of them more than once.
    others: Vec<RuleNumber>,
}

/// So many times sixty-four rules are noted by setting bits.
const BITS: usize = 64;

impl Default for Matched {
    fn default() -> Self {
        Self {
            bits: Box::new([0; BITS]),
            words: 0,
            others: Vec::new(),
        }
    }
}

impl Matched {
    #[inline]
    fn add(&mut self, rule: RuleNumber) {
        match self.bits.get_mut(rule as usize / 64) {
            Some(bits) => {
                *bits |= 1 << (rule % 64);
                self.words |= 1 << (rule / 64);
            }
            None => self.others.push(rule),
        }
    }

    /// The sub-rules of one rule mostly come one after the other.
    #[inline]
    fn has_just_got(&self, rule: RuleNumber) -> bool {
        match self.bits.get(rule as usize / 64) {
            Some(bits) => bits >> (rule % 64) & 1 == 1,
            None => self.others.last() == Some(&rule),
        }
    }

    /// How many there are, or more.
    fn at_most(&self) -> usize {
        let words = std::iter::successors(Some(self.words), |words| {
            Some(words & words.wrapping_sub(1))
        });
        let words = words.take_while(|words| *words != 0);
        let bits = words.map(|words| self.bits[words.trailing_zeros() as usize].count_ones());
        bits.sum::<u32>() as usize + self.others.len()
    }

    /// Takes them out, ascending.
    #[inline]
    fn drain(&mut self, mut each: impl FnMut(RuleNumber)) {
        while self.words != 0 {
            let word = self.words.trailing_zeros();
            let mut bits = std::mem::take(&mut self.bits[word as usize % BITS]);
            while bits != 0 {
                each(word * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
            self.words &= self.words - 1;
        }
        if !self.others.is_empty() {
            self.others.sort_unstable();
            self.others.dedup();
            self.others.drain(..).for_each(each);
            self.others.shrink_to(FOUND_KEPT);
        }
    }
}

/// Decides whether a candidate's clauses hold.
struct Checking<'s, 'f, 'a> {
    asks: &'s imbl::Vector<Option<Arc<Ask>>>,
    /// The same, once one of them is wanted.
    numbered: Option<Numbered<'s, Arc<Ask>>>,
    fields: &'f Fields<'a>,
    seen: &'s Seen,
    answers: &'s mut Answers,
}

impl Checking<'_, '_, '_> {
    /// Whether the clauses of a candidate of the entry hold.
    #[inline]
    fn holds(&mut self, entry: Entry<'_>, candidate: Candidate<'_>) -> bool {
        if let [only] = *candidate.program {
            if only == entry.id() {
                // The one clause is that there is this very entry.
                return true;
            }
            if only & ASK != 0 {
                match self.answer(only & !ASK) {
                    Standing::Fails => return false,
                    Standing::Free | Standing::InElements => return true,
                    Standing::Unclear => {}
                }
            }
        }
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
        let asks = self
            .numbered
            .get_or_insert_with(|| Numbered::new(self.asks));
        self.answers.get(number, || match asks.get(number) {
            Some(ask) => ask.standing(self.fields),
            None => Standing::Fails,
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
