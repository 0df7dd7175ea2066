//! Rules as they were at one moment, and the events that match them.

use std::cell::Cell;
use std::sync::Arc;

use super::checking::{Answers, Checking};
use super::found::Found;
use super::matched::Matched;
use super::numbered::Numbered;
use super::probing::Probing;
use super::seen::Seen;
use super::table::Table;
use super::wanted::Wanted;
use crate::pattern::Document;
use crate::pattern::ask::Ask;
use crate::pattern::tree::Branch;
use crate::pattern::value::Fields;
use crate::pattern::walk::walk;

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
            scratch.rules.sort();
            while let Some(rule) = scratch.rules.take_first() {
                if let Some(key) = all.get(rule) {
                    keys.push(key.clone());
                }
            }
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
