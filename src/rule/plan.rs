//! Decides what a list of changes does to a rule set: the records that prove it and the next set.
//! No I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::bus::{Bus, BusDocument};
use super::change::{Change, Expected, IfMatch, Outcome, PutOutcome, RuleError};
use super::document::RuleDocument;
use super::set::{Matchers, NextSet, Rule, RuleSet};
use crate::limits;
use crate::log::{BusName, Record, RuleName, Sequence, TargetId, TargetName};

/// What is to be written and done for a list of changes.
#[derive(Debug)]
pub(super) struct Plan {
    /// To be committed together; empty when nothing changes.
    pub(super) records: Vec<Record>,
    /// One per change: what becomes of it, revisions still open.
    pub(super) steps: Vec<Step>,
    /// The highest target id given out.
    pub(super) last_target: u32,
}

/// What becomes of one change once its record is on disk.
#[derive(Debug)]
pub(super) enum Step {
    Unchanged(Sequence),
    PutBus(PutOutcome, Bus),
    DeleteBus(BusName),
    PutRule {
        outcome: PutOutcome,
        bus: BusName,
        rule: RuleName,
        document: RuleDocument,
        targets: Vec<(TargetName, TargetId)>,
    },
    DeleteRule(BusName, RuleName),
}

/// Decides what a list of changes does to `set`: all of it or nothing.
pub(super) fn plan(
    set: &RuleSet,
    last_target: u32,
    changes: Vec<Expected>,
) -> Result<Plan, RuleError> {
    let mut plan = Plan {
        records: Vec::new(),
        steps: Vec::new(),
        last_target,
    };
    let mut touched = Touched::default();
    for Expected { change, expected } in changes {
        let step = match change {
            Change::PutBus { bus, document } => {
                touched.bus(&bus, true)?;
                put_bus(set, bus, document, expected)?
            }
            Change::DeleteBus { bus } => {
                touched.bus(&bus, false)?;
                delete_bus(set, &touched, bus, expected)?
            }
            Change::PutRule {
                bus,
                rule,
                document,
            } => {
                if !touched.has_bus(set, &bus) {
                    return Err(RuleError::NoBus(bus));
                }
                touched.rule(&bus, &rule, true)?;
                put_rule(set, &mut plan.last_target, (bus, rule), document, expected)?
            }
            Change::DeleteRule { bus, rule } => {
                touched.rule(&bus, &rule, false)?;
                delete_rule(set, bus, rule, expected)?
            }
        };
        plan.records.extend(step.record());
        plan.steps.push(step);
    }
    let added = touched.rules_added(set);
    let present: usize = set
        .buses()
        .iter()
        .map(|bus| set.rule_count(&bus.name))
        .sum();
    if added > 0 && present + added > limits::RULES {
        return Err(RuleError::TooManyRules);
    }
    Ok(plan)
}

/// What earlier changes of the same list touched; true: put, false: deleted.
#[derive(Default)]
struct Touched {
    buses: BTreeMap<BusName, bool>,
    rules: BTreeMap<BusName, BTreeMap<RuleName, bool>>,
}

impl Touched {
    fn bus(&mut self, bus: &BusName, put: bool) -> Result<(), RuleError> {
        match self.buses.insert(bus.clone(), put) {
            Some(_) => Err(RuleError::ChangedTwice(bus.to_string())),
            None => Ok(()),
        }
    }

    fn rule(&mut self, bus: &BusName, rule: &RuleName, put: bool) -> Result<(), RuleError> {
        let rules = self.rules.entry(bus.clone()).or_default();
        match rules.insert(rule.clone(), put) {
            Some(_) => Err(RuleError::ChangedTwice(format!("{bus}/{rule}"))),
            None => Ok(()),
        }
    }

    fn has_bus(&self, set: &RuleSet, bus: &BusName) -> bool {
        match self.buses.get(bus) {
            Some(put) => *put,
            None => set.bus(bus).is_some(),
        }
    }

    fn rules_of(&self, set: &RuleSet, bus: &BusName) -> usize {
        let mut names: BTreeSet<RuleName> = set
            .rules(bus)
            .unwrap_or_default()
            .iter()
            .map(|rule| rule.name.clone())
            .collect();
        for (rule, put) in self.rules.get(bus).into_iter().flatten() {
            if *put {
                names.insert(rule.clone());
            } else {
                names.remove(rule);
            }
        }
        names.len()
    }

    fn rules_added(&self, set: &RuleSet) -> usize {
        let rules = self.rules.iter();
        let put = rules.flat_map(|(bus, rules)| {
            rules
                .iter()
                .filter(|(_, put)| **put)
                .map(move |(rule, _)| (bus, rule))
        });
        put.filter(|(bus, rule)| set.rule(bus, rule).is_none())
            .count()
    }
}

fn hold(expected: IfMatch, current: Option<Sequence>) -> Result<(), RuleError> {
    let holds = match expected {
        IfMatch::Always => true,
        IfMatch::Exists => current.is_some(),
        IfMatch::Absent => current.is_none(),
        IfMatch::Revision(revision) => current == Some(revision),
        IfMatch::Unmet => false,
    };
    if holds {
        Ok(())
    } else {
        Err(RuleError::PreconditionFailed { current })
    }
}

/// The same text, but for space around it, which a document loses when it stands within another.
fn same(one: &str, other: &str) -> bool {
    let space = [' ', '\t', '\r', '\n'];
    one.trim_matches(space) == other.trim_matches(space)
}

fn put_bus(
    set: &RuleSet,
    name: BusName,
    document: BusDocument,
    expected: IfMatch,
) -> Result<Step, RuleError> {
    let present = set.bus(&name);
    hold(expected, present.as_ref().map(|bus| bus.revision))?;
    let outcome = match &present {
        Some(bus) if same(bus.document.text(), document.text()) => {
            return Ok(Step::Unchanged(bus.revision));
        }
        Some(_) => PutOutcome::Replaced,
        None => PutOutcome::Created,
    };
    let bus = Bus {
        name,
        document,
        revision: 0,
    };
    Ok(Step::PutBus(outcome, bus))
}

fn delete_bus(
    set: &RuleSet,
    touched: &Touched,
    bus: BusName,
    expected: IfMatch,
) -> Result<Step, RuleError> {
    let Some(present) = set.bus(&bus) else {
        return Err(RuleError::NoBus(bus));
    };
    if bus == BusName::default_bus() {
        return Err(RuleError::DefaultBusStays);
    }
    let rules = touched.rules_of(set, &bus);
    if rules > 0 {
        return Err(RuleError::BusHasRules { bus, rules });
    }
    // What is refused without a condition is refused for that (RFC 9110, section 13.2.1).
    hold(expected, Some(present.revision))?;
    Ok(Step::DeleteBus(bus))
}

fn put_rule(
    set: &RuleSet,
    last_target: &mut u32,
    (bus, rule): (BusName, RuleName),
    document: RuleDocument,
    expected: IfMatch,
) -> Result<Step, RuleError> {
    let present = set.rule(&bus, &rule);
    hold(expected, present.as_ref().map(|rule| rule.revision))?;
    let outcome = match &present {
        Some(present) if same(present.document.text(), document.text()) => {
            return Ok(Step::Unchanged(present.revision));
        }
        Some(_) => PutOutcome::Replaced,
        None => PutOutcome::Created,
    };
    let targets = number(present.as_deref(), &document, last_target);
    Ok(Step::PutRule {
        outcome,
        bus,
        rule,
        document,
        targets,
    })
}

/// A target id that the replaced rule has too keeps its number; a new one gets the next.
fn number(
    present: Option<&Rule>,
    document: &RuleDocument,
    last_target: &mut u32,
) -> Vec<(TargetName, TargetId)> {
    let targets = document.targets.iter().map(|target| {
        let kept = present.and_then(|rule| rule.target(&target.id));
        let key = kept.map_or_else(
            || {
                *last_target += 1;
                TargetId(*last_target)
            },
            |target| target.key,
        );
        (target.id.clone(), key)
    });
    targets.collect()
}

fn delete_rule(
    set: &RuleSet,
    bus: BusName,
    rule: RuleName,
    expected: IfMatch,
) -> Result<Step, RuleError> {
    if set.bus(&bus).is_none() {
        return Err(RuleError::NoBus(bus));
    }
    let Some(present) = set.rule(&bus, &rule) else {
        return Err(RuleError::NoRule(bus, rule));
    };
    hold(expected, Some(present.revision))?;
    Ok(Step::DeleteRule(bus, rule))
}

impl Step {
    fn record(&self) -> Option<Record> {
        match self {
            Step::Unchanged(_) => None,
            Step::PutBus(_, bus) => Some(Record::BusPut {
                bus: bus.name.clone(),
                document: bus.document.text().to_string(),
            }),
            Step::DeleteBus(bus) => Some(Record::BusDeleted { bus: bus.clone() }),
            Step::PutRule {
                bus,
                rule,
                document,
                targets,
                ..
            } => Some(Record::RulePut {
                bus: bus.clone(),
                rule: rule.clone(),
                document: document.text().to_string(),
                targets: targets.clone(),
            }),
            Step::DeleteRule(bus, rule) => Some(Record::RuleDeleted {
                bus: bus.clone(),
                rule: rule.clone(),
            }),
        }
    }
}

impl Plan {
    /// The next set and what became of each change, once the records are on disk; `last` is the last
    /// record's sequence. Records of one commit are numbered without gaps.
    pub(super) fn apply(
        self,
        set: &RuleSet,
        matchers: &mut Matchers,
        last: Sequence,
    ) -> (RuleSet, Vec<Outcome>) {
        let mut next = NextSet::after(set, matchers);
        let mut revision = (last + 1).saturating_sub(self.records.len() as u64);
        let mut outcomes = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            let outcome = match step {
                Step::Unchanged(revision) => {
                    outcomes.push(Outcome::Put {
                        outcome: PutOutcome::Unchanged,
                        revision,
                    });
                    continue;
                }
                Step::PutBus(outcome, bus) => {
                    next.put_bus(Bus { revision, ..bus });
                    Outcome::Put { outcome, revision }
                }
                Step::DeleteBus(bus) => {
                    next.remove_bus(&bus, revision);
                    Outcome::Deleted { revision }
                }
                Step::PutRule {
                    outcome,
                    bus,
                    rule,
                    document,
                    targets,
                } => {
                    next.put_rule(Rule::new(&bus, &rule, revision, document, &targets));
                    Outcome::Put { outcome, revision }
                }
                Step::DeleteRule(bus, rule) => {
                    next.remove_rule(&bus, &rule, revision);
                    Outcome::Deleted { revision }
                }
            };
            outcomes.push(outcome);
            revision += 1;
        }
        (next.finish(), outcomes)
    }
}
