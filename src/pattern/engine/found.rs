//! What an event has found: entries of the table, and rules that are asked at a field itself.

use super::entry::{Entry, RuleNumber};
use crate::pattern::ask::Alone;
use crate::pattern::consistency::Standing;
use crate::pattern::kinds::Kinds;
use crate::pattern::marks::Marks;
use crate::pattern::probes::Present;
use crate::pattern::value::{Field, Fields};

/// Entries that one event found that are kept room for.
const FOUND_KEPT: usize = 4_096;

/// What an event has found.
#[derive(Debug, Default)]
pub(super) struct Found<'s> {
    pub(super) entries: Vec<Entry<'s>>,
    pub(super) alone: Vec<OneClause<'s>>,
}

/// Rules that one clause about a field decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneClause<'s> {
    field: Field,
    pub(super) rules: &'s [Alone],
    shown_by: Kinds,
}

impl OneClause<'_> {
    #[inline]
    pub(super) fn each_that_holds(&self, fields: &Fields<'_>, mut rule: impl FnMut(RuleNumber)) {
        match fields.only(self.field) {
            Some(value) => {
                let marks = Marks::of(&value.datum, self.shown_by);
                for alone in self.rules {
                    if alone.accepts(&marks, value) {
                        rule(alone.rule);
                    }
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
    pub(super) fn add(&mut self, field: Field, present: &'s Present) {
        let rules = &*present.alone;
        if !rules.is_empty() {
            self.alone.push(OneClause {
                field,
                rules,
                shown_by: present.shown_by,
            });
        }
        let entry = Entry(&present.entry);
        if !entry.leads_nowhere() {
            self.entries.push(entry);
        }
    }

    /// Emptied, for an event of another life; the memory is kept.
    pub(super) fn recycled<'b>(mut self) -> Found<'b> {
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
