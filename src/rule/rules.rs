//! Puts, deletes and serves rules: every change is journaled before it is live.
//!
//! Changes go one at a time through a lock; readers never wait, they take the newest set as it is.
//! A change runs in a task of its own, so that a caller who goes away (a closed connection) cannot
//! leave a rule that is on disk and not live.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};
use tokio_util::task::TaskTracker;

use super::bus::{Bus, BusDocument};
use super::change::{Change, Expected, IfMatch, Outcome, PutOutcome, RuleError};
use super::document::RuleDocument;
use super::enabled;
use super::files::{self, Folder, Report};
use super::plan::plan;
use super::set::{Matchers, NextSet, Rule, RuleSet};
use super::whole::{self, Applied};
use crate::guard::Guard;
use crate::limits;
use crate::log::{BusName, Log, Record, RuleName, Sequence};

/// A handle; clones share the rules.
#[derive(Clone)]
pub struct Rules(Arc<Shared>);

struct Shared {
    log: Log,
    guard: Guard,
    history: ArcSwap<History>,
    changing: Mutex<Changing>,
    changes: watch::Sender<u64>,
    tasks: TaskTracker,
}

/// What only the change under way may touch.
struct Changing {
    /// The highest target id given out. It grows before a commit and never shrinks: a commit that
    /// fails may still have reached the disk.
    last_target: u32,
    /// Stand for the newest set.
    matchers: Matchers,
}

/// Rule sets with the sequence of the change that made each: a set holds for events after it. Never
/// empty, oldest first.
#[derive(Clone)]
struct History(Vec<(Sequence, Arc<RuleSet>)>);

impl History {
    fn newest(&self) -> &Arc<RuleSet> {
        let (_, set) = self.0.last().expect("a history is never empty");
        set
    }

    /// The set that was live when `sequence` was appended; else the oldest kept.
    fn at(&self, sequence: Sequence) -> &Arc<RuleSet> {
        let later = self.0.iter().rev();
        let live = later.clone().find(|(since, _)| *since < sequence);
        let (_, set) = live.or(self.0.first()).expect("a history is never empty");
        set
    }

    fn push(&mut self, since: Sequence, set: Arc<RuleSet>) {
        self.0.push((since, set));
        if self.0.len() > limits::RULE_SETS_KEPT {
            self.0.remove(0);
        }
    }

    /// Lets go of the sets that no event after `sequence` needs.
    fn forget_before(&mut self, sequence: Sequence) {
        let unneeded = self
            .0
            .iter()
            .skip(1)
            .take_while(|(since, _)| *since <= sequence)
            .count();
        self.0.drain(..unneeded);
    }
}

impl Rules {
    /// Loads what the log holds, and tells the log each bus's retention. Fails when a document in the
    /// log is not valid in this version: to start without it would lose its deliveries silently.
    pub fn load(log: Log) -> anyhow::Result<Rules> {
        Self::load_guarded(log, Guard::off())
    }

    /// [`Rules::load`], where targets that are put from now on must be admitted by the guard. What
    /// the log holds already stays as it is: its deliveries are refused when they connect.
    pub fn load_guarded(log: Log, guard: Guard) -> anyhow::Result<Rules> {
        let mut matchers = Matchers::default();
        let mut set = NextSet::after(&RuleSet::default(), &mut matchers);
        for record in log.buses().context("reading the buses")? {
            let document = BusDocument::parse(&record.document)
                .map_err(RuleError::Invalid)
                .with_context(|| format!("bus `{}` as the log holds it", record.bus))?;
            set.put_bus(Bus {
                name: record.bus,
                document,
                revision: record.revision,
            });
        }
        for record in log.rules().context("reading the rules")? {
            let document = RuleDocument::parse(&record.document)
                .map_err(RuleError::Invalid)
                .with_context(|| {
                    format!("rule `{}/{}` as the log holds it", record.bus, record.rule)
                })?;
            let (bus, name) = (record.bus, record.rule);
            set.put_rule(Rule::new(
                &bus,
                &name,
                record.revision,
                document,
                &record.targets,
            ));
        }
        let set = set.finish();
        for bus in set.buses() {
            log.set_retention(&bus.name, bus.document.retention.clone());
        }
        let last_target = log.last_target_id().context("reading the target ids")?;
        let shared = Shared {
            log,
            guard,
            // The set holds for all earlier events too: what was live then is not known any more.
            history: ArcSwap::from_pointee(History(vec![(0, Arc::new(set))])),
            changing: Mutex::new(Changing {
                last_target,
                matchers,
            }),
            changes: watch::Sender::new(0),
            tasks: TaskTracker::new(),
        };
        Ok(Rules(Arc::new(shared)))
    }

    // ---- reading

    /// The newest rule set.
    #[must_use]
    pub fn current(&self) -> Arc<RuleSet> {
        self.0.history.load().newest().clone()
    }

    /// The rule set that was live when `sequence` was appended (as far back as routing may lag; else
    /// the oldest kept, of [`limits::RULE_SETS_KEPT`]).
    #[must_use]
    pub fn at(&self, sequence: Sequence) -> Arc<RuleSet> {
        self.0.history.load().at(sequence).clone()
    }

    /// Lets go of sets that only events up to `sequence` would need.
    pub fn forget_before(&self, sequence: Sequence) {
        let spare = |history: &History| {
            history
                .0
                .get(1)
                .is_some_and(|(since, _)| *since <= sequence)
        };
        if spare(&self.0.history.load()) {
            self.0.history.rcu(|history| {
                let mut kept = History::clone(history);
                kept.forget_before(sequence);
                kept
            });
        }
    }

    /// Resolves whenever the rule set changes (a counter that grows).
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Deduplication window of a bus; None when the bus does not exist.
    #[must_use]
    pub fn window(&self, bus: &BusName) -> Option<Duration> {
        let bus = self.0.history.load().newest().bus(bus)?;
        Some(bus.document.dedup_window)
    }

    #[must_use]
    pub fn rule(&self, bus: &BusName, name: &RuleName) -> Option<Arc<Rule>> {
        self.0.history.load().newest().rule(bus, name)
    }

    /// The rules of a bus, by name; None when there is no such bus.
    #[must_use]
    pub fn rules(&self, bus: &BusName) -> Option<Vec<Arc<Rule>>> {
        self.0.history.load().newest().rules(bus)
    }

    #[must_use]
    pub fn bus(&self, name: &BusName) -> Option<Arc<Bus>> {
        self.0.history.load().newest().bus(name)
    }

    /// All buses, by name.
    #[must_use]
    pub fn buses(&self) -> Vec<Arc<Bus>> {
        self.0.history.load().newest().buses()
    }

    /// What judges the targets' addresses.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    #[cfg(test)]
    pub(super) fn log(&self) -> &Log {
        &self.0.log
    }

    // ---- changing

    /// Creates or replaces a rule with the document `text`.
    pub async fn put_rule(
        &self,
        bus: &BusName,
        name: &RuleName,
        text: &str,
        expected: IfMatch,
    ) -> Result<(PutOutcome, Sequence), RuleError> {
        let document = RuleDocument::parse(text).map_err(RuleError::Invalid)?;
        let refused = document.refused(&self.0.guard);
        if !refused.is_empty() {
            return Err(RuleError::Invalid(refused));
        }
        let change = Change::PutRule {
            bus: bus.clone(),
            rule: name.clone(),
            document,
        };
        self.put(change, expected).await
    }

    /// Deletes a rule. What is still pending for its targets is delivery's to settle.
    pub async fn delete_rule(
        &self,
        bus: &BusName,
        name: &RuleName,
        expected: IfMatch,
    ) -> Result<Sequence, RuleError> {
        let change = Change::DeleteRule {
            bus: bus.clone(),
            rule: name.clone(),
        };
        self.delete(change, expected).await
    }

    /// Enables or disables a rule: edits that field of its text.
    pub async fn set_enabled(
        &self,
        bus: &BusName,
        name: &RuleName,
        enabled: bool,
        expected: IfMatch,
    ) -> Result<(PutOutcome, Sequence), RuleError> {
        let (bus, name) = (bus.clone(), name.clone());
        let outcomes = self
            .change(move |set| {
                if set.bus(&bus).is_none() {
                    return Err(RuleError::NoBus(bus));
                }
                let Some(rule) = set.rule(&bus, &name) else {
                    return Err(RuleError::NoRule(bus, name));
                };
                let text = rule.document.text();
                let text = if rule.document.enabled == enabled {
                    text.to_string()
                } else {
                    enabled::set_enabled(text, enabled)
                };
                let document = RuleDocument::parse(&text).map_err(RuleError::Invalid)?;
                let change = Change::PutRule {
                    bus,
                    rule: name,
                    document,
                };
                Ok(vec![Expected { change, expected }])
            })
            .await?;
        Ok(put_outcome(&outcomes))
    }

    /// Creates or replaces a bus with the document `text`; a replaced bus keeps its rules.
    pub async fn put_bus(
        &self,
        bus: &BusName,
        text: &str,
        expected: IfMatch,
    ) -> Result<(PutOutcome, Sequence), RuleError> {
        let change = Change::PutBus {
            bus: bus.clone(),
            document: BusDocument::parse(text).map_err(RuleError::Invalid)?,
        };
        self.put(change, expected).await
    }

    /// Deletes a bus; refused for `default` and while it has rules.
    pub async fn delete_bus(
        &self,
        bus: &BusName,
        expected: IfMatch,
    ) -> Result<Sequence, RuleError> {
        let change = Change::DeleteBus { bus: bus.clone() };
        self.delete(change, expected).await
    }

    /// Makes many changes in one step: all of them or none. One outcome per change.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, RuleError> {
        let changes: Vec<Expected> = changes.into_iter().map(Expected::from).collect();
        self.change(move |_| Ok(changes)).await
    }

    /// Makes the set hold what a folder describes, in one step; see [`super::read_folder`].
    pub async fn ensure(&self, folder: Folder) -> Result<Report, RuleError> {
        let described = folder.clone();
        let outcomes = self
            .change(move |set| {
                let changes = files::wanted(folder, set);
                Ok(changes.into_iter().map(Expected::from).collect())
            })
            .await?;
        let extra = files::extra(&described, &self.current());
        Ok(files::report(&outcomes, extra))
    }

    /// The same for a configuration that came over the API, with what becomes of each document. With
    /// `prune`, rules that it does not have are deleted on the buses that it has. With `dry_run`
    /// nothing is changed.
    pub async fn apply_whole(
        &self,
        folder: Folder,
        prune: bool,
        dry_run: bool,
    ) -> Result<Vec<Applied>, RuleError> {
        let wanted = move |set: &RuleSet| {
            let mut changes = files::wanted(folder.clone(), set);
            if prune {
                changes.extend(whole::superfluous(&folder, set));
            }
            let named = whole::named(&changes, set);
            let changes = changes.into_iter().map(Expected::from).collect();
            Ok((changes, named))
        };
        if dry_run {
            let set = self.current();
            let (changes, named) = wanted(&set)?;
            let plan = plan(&set, 0, changes)?;
            return Ok(whole::planned(named, &plan.steps));
        }
        let (outcomes, named) = self.change_and(wanted).await?;
        Ok(whole::done(named, &outcomes))
    }

    /// Takes no more changes and waits for the one under way.
    pub async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    async fn put(
        &self,
        change: Change,
        expected: IfMatch,
    ) -> Result<(PutOutcome, Sequence), RuleError> {
        let changes = vec![Expected { change, expected }];
        let outcomes = self.change(move |_| Ok(changes)).await?;
        Ok(put_outcome(&outcomes))
    }

    async fn delete(&self, change: Change, expected: IfMatch) -> Result<Sequence, RuleError> {
        let changes = vec![Expected { change, expected }];
        let outcomes = self.change(move |_| Ok(changes)).await?;
        match outcomes.first() {
            Some(Outcome::Deleted { revision }) => Ok(*revision),
            other => unreachable!("a deletion was answered with {other:?}"),
        }
    }

    /// Runs one change: `wanted` sees the newest set under the lock.
    async fn change(
        &self,
        wanted: impl FnOnce(&RuleSet) -> Result<Vec<Expected>, RuleError> + Send + 'static,
    ) -> Result<Vec<Outcome>, RuleError> {
        let (outcomes, ()) = self.change_and(move |set| Ok((wanted(set)?, ()))).await?;
        Ok(outcomes)
    }

    /// The same; what `wanted` says beside the changes comes back with their outcomes.
    async fn change_and<T: Send + 'static>(
        &self,
        wanted: impl FnOnce(&RuleSet) -> Result<(Vec<Expected>, T), RuleError> + Send + 'static,
    ) -> Result<(Vec<Outcome>, T), RuleError> {
        if self.0.tasks.is_closed() {
            return Err(RuleError::Closing);
        }
        let shared = self.0.clone();
        let task = self.0.tasks.spawn(async move {
            let mut changing = shared.changing.lock().await;
            let set = shared.history.load().newest().clone();
            let (changes, beside) = wanted(&set)?;
            let outcomes = shared.commit(&mut changing, &set, changes).await?;
            Ok((outcomes, beside))
        });
        match task.await {
            Ok(outcome) => outcome,
            // The runtime went away under the task, or the task panicked: nothing is known to hold.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(RuleError::Closing),
        }
    }
}

fn put_outcome(outcomes: &[Outcome]) -> (PutOutcome, Sequence) {
    match outcomes.first() {
        Some(Outcome::Put { outcome, revision }) => (*outcome, *revision),
        other => unreachable!("a put was answered with {other:?}"),
    }
}

impl Shared {
    /// Journals the changes, then makes them live.
    async fn commit(
        &self,
        changing: &mut Changing,
        set: &RuleSet,
        changes: Vec<Expected>,
    ) -> Result<Vec<Outcome>, RuleError> {
        let plan = plan(set, changing.last_target, changes)?;
        changing.last_target = plan.last_target;
        if plan.records.is_empty() {
            let (_, outcomes) = plan.apply(set, &mut changing.matchers, 0);
            return Ok(outcomes);
        }
        let last = self.log.commit(&plan.records).await?;
        let buses: Vec<BusName> = plan.records.iter().filter_map(bus_put).collect();
        let (next, outcomes) = plan.apply(set, &mut changing.matchers, last);
        for bus in buses.iter().filter_map(|name| next.bus(name)) {
            self.log
                .set_retention(&bus.name, bus.document.retention.clone());
        }
        let next = Arc::new(next);
        self.history.rcu(|history| {
            let mut grown = History::clone(history);
            grown.push(last, next.clone());
            grown
        });
        self.changes.send_modify(|changes| *changes += 1);
        tracing::info!(revision = last, changes = outcomes.len(), "rules changed");
        Ok(outcomes)
    }
}

fn bus_put(record: &Record) -> Option<BusName> {
    match record {
        Record::BusPut { bus, .. } => Some(bus.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(since: &[Sequence]) -> History {
        let sets = since.iter().map(|since| {
            let bus = Bus {
                name: BusName::default_bus(),
                document: BusDocument::default(),
                revision: *since,
            };
            let mut matchers = Matchers::default();
            let mut set = NextSet::after(&RuleSet::default(), &mut matchers);
            set.put_bus(bus);
            (*since, Arc::new(set.finish()))
        });
        History(sets.collect())
    }

    #[test]
    fn an_event_meets_the_set_of_the_last_change_before_it() {
        let history = history(&[0, 10, 20]);
        for (sequence, expected) in [
            (1, 0),
            (10, 0),
            (11, 10),
            (20, 10),
            (21, 20),
            (99, 20),
            (0, 0),
        ] {
            assert_eq!(history.at(sequence).revision(), expected, "{sequence}");
        }
    }

    #[test]
    fn sets_that_no_later_event_needs_are_let_go() {
        for (through, expected) in [
            (9, vec![0, 10, 20]),
            (10, vec![10, 20]),
            (19, vec![10, 20]),
            (99, vec![20]),
        ] {
            let mut history = history(&[0, 10, 20]);
            history.forget_before(through);
            let kept: Vec<Sequence> = history.0.iter().map(|(since, _)| *since).collect();
            assert_eq!(kept, expected, "{through}");
        }
    }

    #[test]
    fn at_most_so_many_sets_are_kept() {
        let mut kept = history(&[0]);
        for since in 1..=200 {
            kept.push(since, Arc::new(RuleSet::default()));
        }
        assert_eq!(kept.0.len(), limits::RULE_SETS_KEPT);
        assert_eq!(kept.newest().revision(), 0);
    }
}
