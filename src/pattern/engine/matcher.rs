//! Adds and removes patterns: decides where each sub-rule is found, and keeps what undoing it needs.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::access::{atom, ways};
use super::asks::Asks;
use super::entry::{ASK, Candidate, Entry, EntryId, RuleNumber, with_candidates_that};
use super::index::Index;
use super::key::Key;
use super::paths::Paths;
use super::snapshot::Snapshot;
use crate::pattern::ask::Alone;
use crate::pattern::kinds::{Kind, Kinds};
use crate::pattern::parse::{Clause, SubRule};
use crate::pattern::probes::Present;
use crate::pattern::value::Field;
use crate::pattern::{Document, EventPattern};

/// Sub-rules under one key from which on a further one stands below it, under a second literal.
const CROWDED: usize = 12;

/// Patterns to match all at once; `K` names a pattern.
///
/// This is the writer's side, and there is one of it. Readers match against [`Snapshot`]s, which it
/// gives at any time for next to nothing; a change then copies the little that it touches. Changes
/// before the first snapshot, as when many rules are loaded, copy nothing.
#[derive(Debug)]
pub struct Matcher<K: Clone> {
    index: Index,
    paths: Paths,
    asks: Asks,
    numbers: HashMap<K, RuleNumber>,
    /// By rule number; shared with snapshots.
    keys: imbl::Vector<Option<K>>,
    /// By rule number.
    places: Vec<Places>,
    free: Vec<RuleNumber>,
}

/// Which entries lead to the sub-rules of one rule.
#[derive(Debug, Default)]
enum Places {
    #[default]
    None,
    One(EntryId),
    /// Sub-rule and entry.
    Many(Box<[(u16, EntryId)]>),
}

/// What one more of `held` sub-rules under keys of one kind, `load` of them under its own, is likely to
/// add to what an event finds: how likely its key is, as one of so many values, or as often as rules
/// name it. When an event finds more than one of them on average, the kind is said to cost more than
/// that, so that a further kind of key comes to be worth looking up.
fn expected(load: usize, held: u32, values: f64) -> f64 {
    let named = load as f64 / f64::from(held.max(1));
    named.max(1.0 / values) + (f64::from(held) / values - 1.0).max(0.0)
}

/// A field and the entry of a value that it must have.
type Literal = (Field, EntryId);

/// A clause of a sub-rule while its place is sought.
struct Bound<'c> {
    field: Field,
    clause: &'c Clause,
    word: u32,
}

impl<K: Clone> Default for Matcher<K> {
    fn default() -> Self {
        Self {
            index: Index::default(),
            paths: Paths::default(),
            asks: Asks::default(),
            numbers: HashMap::new(),
            keys: imbl::Vector::new(),
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Matcher<K> {
    /// Adds a pattern, in the place of an earlier one of the same key.
    pub fn add(&mut self, key: K, pattern: &EventPattern) {
        self.remove(&key);
        let rule = match self.free.pop() {
            Some(rule) => {
                self.keys.set(rule as usize, Some(key.clone()));
                rule
            }
            None => {
                self.keys.push_back(Some(key.clone()));
                self.places.push(Places::None);
                RuleNumber::try_from(self.places.len() - 1).expect("limits::RULES bounds rules")
            }
        };
        let mut places = Vec::new();
        for (at, sub_rule) in pattern.sub_rules().iter().enumerate() {
            let at = u16::try_from(at).expect("limits::PATTERN_SUB_RULES bounds sub-rules");
            let entries = self.add_sub_rule(rule, at, sub_rule);
            places.extend(entries.into_iter().map(|entry| (at, entry)));
        }
        self.places[rule as usize] = match places.as_slice() {
            [(0, entry)] => Places::One(*entry),
            _ => Places::Many(places.into()),
        };
        self.numbers.insert(key, rule);
    }

    /// Removes the pattern of that key, if there is one.
    pub fn remove(&mut self, key: &K) {
        let Some(rule) = self.numbers.remove(key) else {
            return;
        };
        let places = match std::mem::take(&mut self.places[rule as usize]) {
            Places::None => Vec::new(),
            Places::One(entry) => vec![(0, entry)],
            Places::Many(places) => places.into_vec(),
        };
        let mut last = None;
        for (sub_rule, entry) in places {
            let program = self.index.take(entry, rule, sub_rule, &mut self.paths);
            self.note_present();
            if last == Some(sub_rule) {
                continue;
            }
            last = Some(sub_rule);
            for word in program {
                let field = if word & ASK == 0 {
                    let field = self.index.release(word, &mut self.paths);
                    self.note_present();
                    field
                } else {
                    let field = self.asks.release(word & !ASK);
                    self.paths.ask_no_more(field);
                    field
                };
                self.paths.release(field);
            }
        }
        self.keys.set(rule as usize, None);
        self.free.push(rule);
        if self.numbers.is_empty() {
            // Gives back what lists and tables have grown to.
            *self = Self::default();
        }
    }

    /// The patterns as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<K> {
        Snapshot {
            root: Arc::clone(&self.paths.root),
            table: self.index.table.clone(),
            asks: self.asks.asks.clone(),
            keys: self.keys.clone(),
        }
    }

    /// See [`Snapshot::matches`].
    #[must_use]
    pub fn matches(&self, document: &Document<'_>) -> Vec<K> {
        self.snapshot().matches(document)
    }

    /// How many patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn add_sub_rule(&mut self, rule: RuleNumber, at: u16, sub_rule: &SubRule) -> Vec<EntryId> {
        let bounds: Vec<Bound<'_>> = sub_rule
            .clauses
            .iter()
            .map(|(path, clause)| {
                let field = self.paths.intern(path);
                let word = match atom(clause, field) {
                    Some(key) => {
                        let id = self.index.ensure(&key, &mut self.paths);
                        self.index.retain(id);
                        id
                    }
                    None => {
                        self.paths.ask(field);
                        self.asks.intern(clause, field) | ASK
                    }
                };
                Bound {
                    field,
                    clause,
                    word,
                }
            })
            .collect();
        let program: Vec<u32> = bounds.iter().map(|bound| bound.word).collect();
        let candidate = Candidate {
            rule,
            sub_rule: at,
            program: &program,
        };
        let mut entries: Vec<EntryId> = Vec::new();
        let literals = self.literals(&bounds);
        for key in self.keys_for(&bounds, &literals) {
            let entry = self.index.ensure(&key, &mut self.paths);
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        if let [entry] = entries.as_mut_slice() {
            *entry = self.descend(*entry, literals);
        }
        for entry in &mut entries {
            *entry = self.index.add(*entry, candidate, &mut self.paths);
        }
        self.note_present();
        entries
    }

    /// Notes at the fields themselves what stands under the keys that need no looking up.
    fn note_present(&mut self) {
        while let Some(field) = self.index.next_changed() {
            let found = self.index.find(&Key::present(field));
            let entry = found.map(|id| self.index.entry(id));
            let present = entry.filter(|entry| !entry.leads_nowhere());
            let present = present.map(|entry| self.present(entry));
            self.paths.set_present(field, present);
        }
    }

    fn present(&self, entry: Entry<'_>) -> Present {
        let alone = |candidate: &Candidate<'_>| match candidate.program {
            [only] if only & ASK != 0 => {
                let ask = self.asks.get(only & !ASK)?;
                ask.needs_value().then_some(ask)
            }
            _ => None,
        };
        let of_one_clause = entry.candidates().filter_map(|candidate| {
            let ask = alone(&candidate)?;
            Some(Alone::new(candidate.rule, Arc::clone(ask)))
        });
        let of_one_clause: Box<[Alone]> = of_one_clause.collect();
        let kinds = of_one_clause.iter().map(Alone::shown_by);
        Present {
            shown_by: kinds.fold(Kinds::default(), Kinds::or),
            alone: of_one_clause,
            entry: with_candidates_that(entry, |candidate| alone(candidate).is_none()).into(),
        }
    }

    /// The keys that this sub-rule is to be found under.
    fn keys_for(&self, bounds: &[Bound<'_>], literals: &[Literal]) -> Vec<Key> {
        let with_values = bounds.iter().filter(|bound| !bound.clause.absent);
        let ways = with_values.map(|bound| self.cheapest(bound, literals));
        let best = ways.min_by(|one, other| one.0.total_cmp(&other.0));
        best.map_or_else(|| vec![Key::always()], |(_, keys)| keys)
    }

    /// Of the ways to find a clause, that which is likely to cost the least.
    fn cheapest(&self, bound: &Bound<'_>, literals: &[Literal]) -> (Cost, Vec<Key>) {
        let mut cost = Cost::default();
        let mut keys = Vec::new();
        for condition in &bound.clause.conditions {
            let ways = ways(condition, bound.field).into_iter();
            let ways = ways.map(|way| (self.cost(&way, literals), way));
            match ways.min_by(|one, other| one.0.total_cmp(&other.0)) {
                Some((more, way)) => {
                    cost = cost.plus(more);
                    keys.extend(way);
                }
                None => {
                    keys.clear();
                    break;
                }
            }
        }
        let present = vec![Key::present(bound.field)];
        let all = self.cost(&present, literals);
        if keys.is_empty() || all.expected < cost.expected {
            return (all, present);
        }
        (cost, keys)
    }

    fn cost(&self, keys: &[Key], literals: &[Literal]) -> Cost {
        let costs = keys.iter().map(|key| Cost {
            expected: self.candidates_expected(key, literals) + self.lookups_added(key),
            kind: key.kind as u32,
            bytes: key.bytes.len(),
        });
        costs.reduce(Cost::plus).unwrap_or_default()
    }

    /// What a sub-rule more under a key is likely to add to the sub-rules that an event finds.
    fn candidates_expected(&self, key: &Key, literals: &[Literal]) -> f64 {
        let load = self.index.load(key);
        let values = self.values_expected(key);
        let held = self.paths.held(key.field, key.kind);
        let expected = expected(load, held, values);
        let Some(id) = self.index.find(key).filter(|_| load >= CROWDED) else {
            return expected;
        };
        // It would stand below, under a literal too.
        let literals = literals.iter().filter(|(_, atom)| *atom != id);
        let below = literals.map(|(field, atom)| {
            let load = self.index.load(&Key::child(id, *field, *atom));
            let held = self.paths.held(*field, Kind::Child);
            let atom = self.index.entry(*atom).key();
            self::expected(load, held, values * self.values_expected(&atom))
        });
        below.fold(expected, f64::min)
    }

    /// Among how many values an event's is likely to be one: as many as rules name, if each were as
    /// likely as the others; or, while few rules are there, what such a key can be expected to tell
    /// apart.
    fn values_expected(&self, key: &Key) -> f64 {
        let known = |kind| self.paths.keys(key.field, kind);
        let bytes = key.bytes.len() as u32;
        let prior = match key.kind {
            Kind::Present | Kind::Exists => return 1.0,
            Kind::Folded | Kind::FoldedWide => known(Kind::String),
            Kind::Prefix | Kind::Suffix | Kind::FoldedPrefix | Kind::FoldedSuffix => {
                1 << bytes.min(8)
            }
            Kind::Gram4 => 1 << 8,
            Kind::Gram8 => 1 << 12,
            // A block of ranks, of those of a dozen powers of two.
            Kind::Range => 1 << 56_u32.saturating_sub(key.bytes[0].into()).min(30),
            _ => 1,
        };
        f64::from(known(key.kind).max(prior).max(1))
    }

    /// What each event that has the field pays for a key that is the first of its kind and length,
    /// counted in candidates.
    fn lookups_added(&self, key: &Key) -> f64 {
        if self.paths.is_looked_up(key) {
            0.0
        } else {
            1.0
        }
    }

    /// The literals that a sub-rule names, one for a clause that names nothing else.
    fn literals(&self, bounds: &[Bound<'_>]) -> Vec<Literal> {
        let atoms = bounds.iter().filter(|bound| bound.word & ASK == 0);
        atoms
            .filter(|bound| {
                let kind = self.index.entry(bound.word).kind();
                matches!(kind, Kind::String | Kind::Number | Kind::Text)
            })
            .map(|bound| (bound.field, bound.word))
            .collect()
    }

    /// From a crowded entry to one below it, and on while that is crowded too.
    fn descend(&mut self, entry: EntryId, literals: Vec<Literal>) -> EntryId {
        let mut entry = entry;
        let mut literals = literals;
        literals.retain(|(_, atom)| *atom != entry);
        while self.index.load_of(entry) >= CROWDED && !literals.is_empty() {
            let least = literals
                .iter()
                .enumerate()
                .min_by_key(|(_, (field, atom))| {
                    let load = self.index.load(&Key::child(entry, *field, *atom));
                    let others = self.paths.keys(*field, self.index.entry(*atom).kind());
                    (load, std::cmp::Reverse(others))
                })
                .map(|(at, _)| at);
            let Some(at) = least else { break };
            let (field, atom) = literals.swap_remove(at);
            match self.index.ensure_child(entry, field, atom, &mut self.paths) {
                Some(child) => entry = child,
                None => break,
            }
        }
        entry
    }
}

/// What finding a sub-rule by some keys is likely to cost the events that do not match it.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Sub-rules found by an event.
    expected: f64,
    /// Where that is equal: kinds that are looked up once for a value come first,
    kind: u32,
    /// and long keys before short ones.
    bytes: usize,
}

impl Cost {
    fn plus(self, other: Cost) -> Cost {
        Cost {
            expected: self.expected + other.expected,
            kind: self.kind.max(other.kind),
            bytes: self.bytes.max(other.bytes),
        }
    }

    fn total_cmp(&self, other: &Cost) -> std::cmp::Ordering {
        self.expected
            .total_cmp(&other.expected)
            .then(self.kind.cmp(&other.kind))
            .then(other.bytes.cmp(&self.bytes))
    }
}
