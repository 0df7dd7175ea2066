//! All live rules at one moment: what routing asks for the targets of an event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bus::{Bus, BusDocument};
use super::document::RuleDocument;
use super::filter::Verdict;
use super::target::Target;
use crate::event::{Data, Event, Value};
use crate::log::{BusName, LoggedEvent, RuleName, Sequence, TargetId, TargetName};
use crate::pattern::{Document, EventPattern, Explanation, JsonText, Matcher, Scalar, Snapshot};
use crate::query::Subject;

/// How the `source` of what a schedule emits begins.
const SOURCE: &str = "/v1/buses/";

/// A rule that exists.
#[derive(Debug)]
pub struct Rule {
    pub bus: BusName,
    pub name: RuleName,
    /// Sequence of the change that put it.
    pub revision: Sequence,
    pub document: RuleDocument,
    /// In the document's order.
    pub targets: Vec<Arc<Target>>,
}

impl Rule {
    /// A rule from its document and its targets' ids, in the document's order.
    pub(super) fn new(
        bus: &BusName,
        name: &RuleName,
        revision: Sequence,
        document: RuleDocument,
        ids: &[(TargetName, TargetId)],
    ) -> Rule {
        let key_of = |id: &TargetName| ids.iter().find(|(name, _)| name == id).map(|(_, key)| *key);
        let targets = document
            .targets
            .iter()
            .map(|target| {
                let key = key_of(&target.id).expect("every target of a rule was numbered with it");
                Arc::new(target.clone().into_target(bus, name, key))
            })
            .collect();
        Rule {
            bus: bus.clone(),
            name: name.clone(),
            revision,
            document,
            targets,
        }
    }

    /// The number of a target, by its id.
    #[must_use]
    pub fn target(&self, id: &TargetName) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.id == *id)
    }

    /// The `source` of the events that its schedule emits.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{SOURCE}{}/rules/{}", self.bus, self.name)
    }

    /// Why the rule matches an event or does not.
    #[must_use]
    pub fn explain(&self, event: &Event) -> RuleExplanation {
        let pattern = with_document(event, |document| {
            self.document.pattern.compiled().explain(document)
        });
        let filter = self.document.filter.as_ref().map(|filter| {
            let verdict = filter.matches(&Subject::event(event));
            let reason = match verdict {
                Verdict::Matches => "selects something",
                Verdict::Differs => "selects nothing",
                Verdict::TooCostly => "was not run: the event is too large or deep for this query",
            };
            FilterExplanation {
                matches: verdict == Verdict::Matches,
                wanted: filter.text().to_owned(),
                reason: reason.to_owned(),
            }
        });
        RuleExplanation {
            matches: self.document.enabled
                && pattern.matches
                && filter.as_ref().is_none_or(|filter| filter.matches),
            enabled: self.document.enabled,
            pattern,
            filter,
        }
    }
}

/// Why a rule matches or does not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RuleExplanation {
    /// Enabled, and pattern and filter hold.
    pub matches: bool,
    pub enabled: bool,
    pub pattern: Explanation,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterExplanation>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FilterExplanation {
    pub matches: bool,
    /// The query.
    pub wanted: String,
    /// A sentence without its subject, such as `selects nothing`.
    pub reason: String,
}

/// All live rules at one revision: immutable. A change makes the next set; what it does not touch is
/// shared, so that a change costs the same in a set of ten rules and of a million.
#[derive(Debug, Clone)]
pub struct RuleSet {
    revision: Sequence,
    buses: BTreeMap<BusName, Arc<BusRules>>,
}

/// One bus and its rules.
#[derive(Debug, Clone)]
struct BusRules {
    bus: Arc<Bus>,
    rules: OrdMap<RuleName, Arc<Rule>>,
    /// Of the enabled rules.
    patterns: Snapshot<RuleName>,
    targets: OrdMap<TargetId, Arc<Target>>,
    /// Rules with a schedule, a few of many.
    scheduled: OrdMap<RuleName, ()>,
}

/// The patterns of each bus as the writer of rule sets keeps them: the next set is made from them.
#[derive(Debug, Default)]
pub(super) struct Matchers(BTreeMap<BusName, Matcher<RuleName>>);

/// A rule set in the making.
pub(super) struct NextSet<'m> {
    set: RuleSet,
    matchers: &'m mut Matchers,
    /// Buses whose patterns changed.
    changed: BTreeSet<BusName>,
}

impl Default for RuleSet {
    /// Only the default bus, without rules.
    fn default() -> Self {
        let mut set = RuleSet {
            revision: 0,
            buses: BTreeMap::new(),
        };
        set.put_bus(Bus {
            name: BusName::default_bus(),
            document: BusDocument::default(),
            revision: 0,
        });
        set
    }
}

impl RuleSet {
    /// A set of this rule alone, to try it out.
    #[must_use]
    pub fn trial(bus: &BusName, name: &RuleName, document: RuleDocument) -> RuleSet {
        let numbers = (1..).map(TargetId);
        let ids = document.targets.iter().map(|target| target.id.clone());
        let targets: Vec<(TargetName, TargetId)> = ids.zip(numbers).collect();
        let mut matchers = Matchers::default();
        let mut set = NextSet::after(&RuleSet::default(), &mut matchers);
        set.put_bus(Bus {
            name: bus.clone(),
            document: BusDocument::default(),
            revision: 0,
        });
        set.put_rule(Rule::new(bus, name, 1, document, &targets));
        set.finish()
    }

    /// Targets of every enabled rule that matches, each once, in (rule, target) order.
    #[must_use]
    pub fn matches(&self, event: &LoggedEvent) -> Vec<Arc<Target>> {
        let mut targets = Vec::new();
        for rule in self.matching_rules(event) {
            targets.extend(rule.targets.iter().cloned());
        }
        targets
    }

    /// Every enabled rule that matches, by name.
    #[must_use]
    pub fn matching_rules(&self, event: &LoggedEvent) -> Vec<&Arc<Rule>> {
        let Some(bus) = self.buses.get(&event.bus) else {
            return Vec::new();
        };
        if bus.rules.is_empty() {
            return Vec::new();
        }
        let names = with_document(&event.event, |document| bus.patterns.matches(document));
        let subject = Subject::event(&event.event);
        let mut rules: Vec<&Arc<Rule>> = names
            .iter()
            .filter_map(|name| bus.rules.get(name))
            .filter(|rule| filter_holds(rule, event, &subject))
            .collect();
        if let Some(fired) = bus.fired(&event.event)
            && !rules.iter().any(|rule| rule.name == fired.name)
        {
            rules.push(fired);
            rules.sort_by(|one, other| one.name.cmp(&other.name));
        }
        rules
    }

    /// The enabled rules that fire on a schedule.
    #[must_use]
    pub fn scheduled(&self) -> Vec<Arc<Rule>> {
        let buses = self.buses.values();
        let rules = buses.flat_map(|bus| {
            let names = bus.scheduled.keys();
            names.filter_map(|name| bus.rules.get(name))
        });
        rules
            .filter(|rule| rule.document.enabled)
            .cloned()
            .collect()
    }

    /// Every target of every rule, disabled ones included.
    #[must_use]
    pub fn targets(&self) -> Vec<Arc<Target>> {
        let buses = self.buses.values();
        buses
            .flat_map(|bus| bus.targets.values().cloned())
            .collect()
    }

    #[must_use]
    pub fn target(&self, key: TargetId) -> Option<Arc<Target>> {
        let mut buses = self.buses.values();
        buses.find_map(|bus| bus.targets.get(&key).cloned())
    }

    #[must_use]
    pub fn rule(&self, bus: &BusName, name: &RuleName) -> Option<Arc<Rule>> {
        self.buses.get(bus)?.rules.get(name).cloned()
    }

    /// The rules of a bus, by name; None when there is no such bus.
    #[must_use]
    pub fn rules(&self, bus: &BusName) -> Option<Vec<Arc<Rule>>> {
        let rules = &self.buses.get(bus)?.rules;
        Some(rules.values().cloned().collect())
    }

    #[must_use]
    pub fn rule_count(&self, bus: &BusName) -> usize {
        self.buses.get(bus).map_or(0, |bus| bus.rules.len())
    }

    #[must_use]
    pub fn bus(&self, name: &BusName) -> Option<Arc<Bus>> {
        self.buses.get(name).map(|bus| bus.bus.clone())
    }

    /// All buses, by name.
    #[must_use]
    pub fn buses(&self) -> Vec<Arc<Bus>> {
        self.buses.values().map(|bus| bus.bus.clone()).collect()
    }

    /// Sequence of the newest change in it; 0 before any.
    #[must_use]
    pub fn revision(&self) -> Sequence {
        self.revision
    }

    fn put_bus(&mut self, bus: Bus) {
        self.revision = self.revision.max(bus.revision);
        let bus = Arc::new(bus);
        match self.buses.get_mut(&bus.name) {
            Some(present) => Arc::make_mut(present).bus = bus,
            None => {
                let empty = BusRules {
                    bus: bus.clone(),
                    rules: OrdMap::new(),
                    patterns: Snapshot::default(),
                    targets: OrdMap::new(),
                    scheduled: OrdMap::new(),
                };
                self.buses.insert(bus.name.clone(), Arc::new(empty));
            }
        }
    }
}

impl<'m> NextSet<'m> {
    /// Starts from the newest set, which the matchers must stand for.
    pub(super) fn after(set: &RuleSet, matchers: &'m mut Matchers) -> Self {
        Self {
            set: set.clone(),
            matchers,
            changed: BTreeSet::new(),
        }
    }

    /// Puts a bus; one of the same name keeps its rules.
    pub(super) fn put_bus(&mut self, bus: Bus) {
        self.set.put_bus(bus);
    }

    pub(super) fn remove_bus(&mut self, name: &BusName, revision: Sequence) {
        self.set.revision = self.set.revision.max(revision);
        self.set.buses.remove(name);
        self.matchers.0.remove(name);
        self.changed.remove(name);
    }

    /// Puts a rule, in place of one of the same name. Its bus must be there.
    pub(super) fn put_rule(&mut self, rule: Rule) {
        self.set.revision = self.set.revision.max(rule.revision);
        let Some(bus) = self.set.buses.get_mut(&rule.bus) else {
            return;
        };
        let bus = Arc::make_mut(bus);
        bus.remove(&rule.name);
        let matcher = self.matchers.0.entry(rule.bus.clone()).or_default();
        if rule.document.enabled {
            matcher.add(rule.name.clone(), rule.document.pattern.compiled());
        } else {
            matcher.remove(&rule.name);
        }
        for target in &rule.targets {
            bus.targets.insert(target.key, target.clone());
        }
        if rule.document.schedule.is_some() {
            bus.scheduled.insert(rule.name.clone(), ());
        }
        self.changed.insert(rule.bus.clone());
        bus.rules.insert(rule.name.clone(), Arc::new(rule));
    }

    pub(super) fn remove_rule(&mut self, bus: &BusName, name: &RuleName, revision: Sequence) {
        self.set.revision = self.set.revision.max(revision);
        if let Some(rules) = self.set.buses.get_mut(bus) {
            Arc::make_mut(rules).remove(name);
        }
        if let Some(matcher) = self.matchers.0.get_mut(bus) {
            matcher.remove(name);
            self.changed.insert(bus.clone());
        }
    }

    /// The set with all of it.
    pub(super) fn finish(mut self) -> RuleSet {
        for name in self.changed {
            if let (Some(bus), Some(matcher)) =
                (self.set.buses.get_mut(&name), self.matchers.0.get(&name))
            {
                Arc::make_mut(bus).patterns = matcher.snapshot();
            }
        }
        self.set
    }
}

impl BusRules {
    /// The enabled rule whose schedule emitted the event, filter or not.
    fn fired(&self, event: &Event) -> Option<&Arc<Rule>> {
        if self.scheduled.is_empty() {
            return None;
        }
        let (bus, rule) = event.source().strip_prefix(SOURCE)?.split_once("/rules/")?;
        let rule = self.rules.get(&RuleName::new(rule).ok()?)?;
        let fires = rule.document.enabled && rule.document.schedule.is_some();
        (fires && bus == rule.bus.as_str()).then_some(rule)
    }

    fn remove(&mut self, name: &RuleName) {
        let Some(rule) = self.rules.remove(name) else {
            return;
        };
        self.scheduled.remove(name);
        for target in &rule.targets {
            self.targets.remove(&target.key);
        }
    }
}

/// `subject` is the event, read as a tree once a filter asks for one.
fn filter_holds(rule: &Rule, event: &LoggedEvent, subject: &Subject<'_>) -> bool {
    let Some(filter) = &rule.document.filter else {
        return true;
    };
    match filter.matches(subject) {
        Verdict::Matches => true,
        Verdict::Differs => false,
        Verdict::TooCostly => {
            tracing::debug!(
                bus = %rule.bus, rule = %rule.name, sequence = event.sequence,
                "the filter was not run: the event is too large or deep for it"
            );
            false
        }
    }
}

/// Whether a pattern that is no rule's matches an event, as it would in a rule.
#[must_use]
pub fn matches(pattern: &EventPattern, event: &Event) -> bool {
    with_document(event, |document| pattern.matches(document))
}

/// The event as patterns see it, copied nowhere: attributes at the top, JSON data below `data`.
fn with_document<T>(event: &Event, ask: impl FnOnce(&Document<'_>) -> T) -> T {
    let attributes: Vec<(&str, Scalar<'_>)> = event
        .attributes()
        .map(|(name, value)| {
            let value = match value {
                Value::String(text) => Scalar::String(text),
                Value::Integer(number) => Scalar::Integer(i64::from(number)),
                Value::Boolean(boolean) => Scalar::Boolean(boolean),
            };
            (name, value)
        })
        .collect();
    let data = match event.data() {
        Some(Data::Json(data)) => Some(JsonText::trusted(data, event.data_is_plain())),
        _ => None,
    };
    ask(&Document::Event {
        attributes: &attributes,
        data,
    })
}
