//! A whole configuration that came over the API: what it is, and what becomes of each document.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bus::BusDocument;
use super::change::{Change, Outcome, PutOutcome};
use super::document::RuleDocument;
use super::files::Folder;
use super::plan::Step;
use super::problem::{Problem, join};
use super::set::RuleSet;
use crate::guard::Guard;
use crate::log::{BusName, RuleName, Sequence};

/// What became of one document, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub bus: BusName,
    /// None when it is the bus's own document.
    pub rule: Option<RuleName>,
    pub change: AppliedChange,
    /// Of what is there afterwards; None when nothing is, and of what is not done yet.
    pub revision: Option<Sequence>,
    /// The text that was there before.
    pub before: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppliedChange {
    Created,
    Replaced,
    Unchanged,
    Deleted,
}

impl AppliedChange {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AppliedChange::Created => "created",
            AppliedChange::Replaced => "replaced",
            AppliedChange::Unchanged => "unchanged",
            AppliedChange::Deleted => "deleted",
        }
    }
}

impl From<PutOutcome> for AppliedChange {
    fn from(outcome: PutOutcome) -> Self {
        match outcome {
            PutOutcome::Created => AppliedChange::Created,
            PutOutcome::Replaced => AppliedChange::Replaced,
            PutOutcome::Unchanged => AppliedChange::Unchanged,
        }
    }
}

impl Folder {
    /// Adds a bus, with its document's text if it has one; problems have their pointers below `at`.
    pub fn add_bus(
        &mut self,
        bus: BusName,
        text: Option<&str>,
        at: &str,
    ) -> Result<(), Vec<Problem>> {
        let document = text.map(BusDocument::parse).transpose();
        let document = document.map_err(|problems| below(&join(at, "document"), problems))?;
        self.buses.push((bus, document));
        Ok(())
    }

    /// Adds a rule whose targets the guard admits; problems have their pointers below `at`.
    pub fn add_rule(
        &mut self,
        bus: BusName,
        rule: RuleName,
        text: &str,
        guard: &Guard,
        at: &str,
    ) -> Result<(), Vec<Problem>> {
        let at = join(&join(at, "rules"), rule.as_str());
        let document = RuleDocument::parse(text).map_err(|problems| below(&at, problems))?;
        let refused = document.refused(guard);
        if !refused.is_empty() {
            return Err(below(&at, refused));
        }
        self.rules.push((bus, rule, document));
        Ok(())
    }
}

fn below(at: &str, problems: Vec<Problem>) -> Vec<Problem> {
    let moved = problems.into_iter().map(|problem| Problem {
        pointer: format!("{at}{}", problem.pointer),
        offset: None,
        ..problem
    });
    moved.collect()
}

/// Deletes the rules that the folder does not have, on the buses that it has.
pub(super) fn superfluous(folder: &Folder, set: &RuleSet) -> Vec<Change> {
    let described: BTreeSet<(&BusName, &RuleName)> = folder
        .rules
        .iter()
        .map(|(bus, rule, _)| (bus, rule))
        .collect();
    let buses = folder.buses.iter();
    let rules = buses.flat_map(|(bus, _)| set.rules(bus).unwrap_or_default());
    rules
        .filter(|rule| !described.contains(&(&rule.bus, &rule.name)))
        .map(|rule| Change::DeleteRule {
            bus: rule.bus.clone(),
            rule: rule.name.clone(),
        })
        .collect()
}

/// What each change is about, before it is known what becomes of it.
#[derive(Debug)]
pub(super) struct Named {
    bus: BusName,
    rule: Option<RuleName>,
    before: Option<Arc<str>>,
}

pub(super) fn named(changes: &[Change], set: &RuleSet) -> Vec<Named> {
    let named = changes.iter().map(|change| match change {
        Change::PutBus { bus, .. } | Change::DeleteBus { bus } => Named {
            bus: bus.clone(),
            rule: None,
            before: set.bus(bus).map(|bus| bus.document.text().clone()),
        },
        Change::PutRule { bus, rule, .. } | Change::DeleteRule { bus, rule } => Named {
            bus: bus.clone(),
            rule: Some(rule.clone()),
            before: set.rule(bus, rule).map(|rule| rule.document.text().clone()),
        },
    });
    named.collect()
}

/// What would become of the changes.
pub(super) fn planned(named: Vec<Named>, steps: &[Step]) -> Vec<Applied> {
    let planned = steps.iter().map(|step| match step {
        Step::Unchanged(revision) => (AppliedChange::Unchanged, Some(*revision)),
        Step::PutBus(outcome, _) | Step::PutRule { outcome, .. } => ((*outcome).into(), None),
        Step::DeleteBus(_) | Step::DeleteRule(..) => (AppliedChange::Deleted, None),
    });
    applied(named, planned)
}

/// What became of the changes.
pub(super) fn done(named: Vec<Named>, outcomes: &[Outcome]) -> Vec<Applied> {
    let done = outcomes.iter().map(|outcome| match outcome {
        Outcome::Put { outcome, revision } => ((*outcome).into(), Some(*revision)),
        Outcome::Deleted { .. } => (AppliedChange::Deleted, None),
    });
    applied(named, done)
}

fn applied(
    named: Vec<Named>,
    became: impl Iterator<Item = (AppliedChange, Option<Sequence>)>,
) -> Vec<Applied> {
    let applied = named.into_iter().zip(became);
    applied
        .map(
            |(Named { bus, rule, before }, (change, revision))| Applied {
                bus,
                rule,
                change,
                revision,
                before,
            },
        )
        .collect()
}
