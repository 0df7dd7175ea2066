//! All live rules at one moment: what routing asks for the targets of an event.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::bus::{Bus, BusDocument};
use super::document::RuleDocument;
use super::filter::{Subject, Verdict};
use super::target::Target;
use crate::event::{Data, Event, Value};
use crate::log::{BusName, LoggedEvent, RuleName, Sequence, TargetId, TargetName};
use crate::pattern::{Document, Explanation, Matcher, Scalar};

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

    /// Why the rule matches an event or does not.
    #[must_use]
    pub fn explain(&self, event: &Event) -> RuleExplanation {
        let pattern = with_document(event, |document| {
            self.document.pattern.compiled().explain(document)
        });
        let filter = self.document.filter.as_ref().map(|filter| {
            let verdict = filter.matches(&Subject::of(event));
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleExplanation {
    /// Enabled, and pattern and filter hold.
    pub matches: bool,
    pub enabled: bool,
    pub pattern: Explanation,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterExplanation>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilterExplanation {
    pub matches: bool,
    /// The query.
    pub wanted: String,
    /// A sentence without its subject, such as `selects nothing`.
    pub reason: String,
}

/// All live rules at one revision: immutable. A change makes the next set; what it does not touch is
/// shared.
#[derive(Debug, Clone)]
pub struct RuleSet {
    revision: Sequence,
    buses: BTreeMap<BusName, Arc<BusRules>>,
}

/// One bus and its rules.
#[derive(Debug, Clone)]
struct BusRules {
    bus: Arc<Bus>,
    rules: BTreeMap<RuleName, Arc<Rule>>,
    /// Patterns of the enabled rules.
    matcher: Matcher<RuleName>,
    targets: BTreeMap<TargetId, Arc<Target>>,
}

impl Default for RuleSet {
    /// Only the default bus, without rules.
    fn default() -> Self {
        let set = RuleSet {
            revision: 0,
            buses: BTreeMap::new(),
        };
        set.with_bus(Bus {
            name: BusName::default_bus(),
            document: BusDocument::default(),
            revision: 0,
        })
    }
}

impl RuleSet {
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
        let names = with_document(&event.event, |document| bus.matcher.matches(document));
        let subject = OnceCell::new();
        names
            .iter()
            .filter_map(|name| bus.rules.get(name))
            .filter(|rule| filter_holds(rule, event, &subject))
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

    /// The next set: with this rule, in place of one of the same name. Its bus must be there.
    #[must_use]
    pub fn with_rule(&self, rule: Rule) -> RuleSet {
        let mut next = self.clone();
        next.put_rule(rule);
        next
    }

    /// The next set: without this rule.
    #[must_use]
    pub fn without_rule(&self, bus: &BusName, name: &RuleName) -> RuleSet {
        let mut next = self.clone();
        next.remove_rule(bus, name, self.revision);
        next
    }

    /// The next set: with this bus; a bus of the same name keeps its rules.
    #[must_use]
    pub fn with_bus(&self, bus: Bus) -> RuleSet {
        let mut next = self.clone();
        next.put_bus(bus);
        next
    }

    // The four below are for building a set of many changes with one copy of each bus it touches.

    pub(super) fn put_rule(&mut self, rule: Rule) {
        self.revision = self.revision.max(rule.revision);
        let Some(bus) = self.buses.get_mut(&rule.bus) else {
            return;
        };
        let bus = Arc::make_mut(bus);
        bus.remove(&rule.name);
        if rule.document.enabled {
            bus.matcher
                .add(rule.name.clone(), rule.document.pattern.compiled());
        }
        for target in &rule.targets {
            bus.targets.insert(target.key, target.clone());
        }
        bus.rules.insert(rule.name.clone(), Arc::new(rule));
    }

    pub(super) fn remove_rule(&mut self, bus: &BusName, name: &RuleName, revision: Sequence) {
        self.revision = self.revision.max(revision);
        if let Some(bus) = self.buses.get_mut(bus) {
            Arc::make_mut(bus).remove(name);
        }
    }

    pub(super) fn put_bus(&mut self, bus: Bus) {
        self.revision = self.revision.max(bus.revision);
        let bus = Arc::new(bus);
        match self.buses.get_mut(&bus.name) {
            Some(present) => Arc::make_mut(present).bus = bus,
            None => {
                let empty = BusRules {
                    bus: bus.clone(),
                    rules: BTreeMap::new(),
                    matcher: Matcher::default(),
                    targets: BTreeMap::new(),
                };
                self.buses.insert(bus.name.clone(), Arc::new(empty));
            }
        }
    }

    pub(super) fn remove_bus(&mut self, name: &BusName, revision: Sequence) {
        self.revision = self.revision.max(revision);
        self.buses.remove(name);
    }
}

impl BusRules {
    fn remove(&mut self, name: &RuleName) {
        let Some(rule) = self.rules.remove(name) else {
            return;
        };
        if rule.document.enabled {
            self.matcher.remove(name);
        }
        for target in &rule.targets {
            self.targets.remove(&target.key);
        }
    }
}

/// `subject` is the event read as JSON, once a filter asks for it.
fn filter_holds(rule: &Rule, event: &LoggedEvent, subject: &OnceCell<Subject>) -> bool {
    let Some(filter) = &rule.document.filter else {
        return true;
    };
    match filter.matches(subject.get_or_init(|| Subject::of(&event.event))) {
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
        Some(Data::Json(data)) => Some(data),
        _ => None,
    };
    ask(&Document::Event {
        attributes: &attributes,
        data,
    })
}
