//! Matches many patterns at once: reads the document once and checks only rules that may match.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::consistency::hold_together;
use super::flatten::Fields;
use super::index::{FieldIndex, Found, SubRuleId, keys, remove_id};
use super::paths::Paths;
use super::{BoundClause, Document, EventPattern, bind};

/// Many patterns matched at once; `K` names a pattern.
///
/// Each sub-rule is found through one of its clauses, the one that leads to the fewest rules when
/// it is added: through a hash of its values or prefixes where it has such, else whenever its
/// field is there. Only then its other clauses are checked.
///
/// Cloning shares all parts; a part is copied when one of the clones changes it. So a matcher
/// works as an immutable snapshot that the next one is made from.
#[derive(Debug, Clone)]
pub struct Matcher<K> {
    paths: Arc<Paths>,
    rules: Arc<Rules<K>>,
    /// By field.
    index: Arc<Vec<Arc<FieldIndex>>>,
    /// Sub-rules that may match without any field: all their clauses accept absence.
    always: Arc<Vec<SubRuleId>>,
}

#[derive(Debug, Clone)]
struct Rules<K> {
    /// By sub-rule.
    slots: Vec<Option<Arc<Slot<K>>>>,
    free: Vec<SubRuleId>,
    by_key: HashMap<K, Vec<SubRuleId>>,
}

#[derive(Debug)]
struct Slot<K> {
    key: K,
    clauses: Vec<BoundClause>,
    access: Access,
}

/// What a sub-rule is found through; the number is that of the clause.
#[derive(Debug, Clone, Copy)]
enum Access {
    Keys(usize),
    Field(usize),
    Always,
}

impl<K: Clone + Ord + Hash> Default for Matcher<K> {
    fn default() -> Self {
        let rules = Rules {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
        };
        Self {
            paths: Arc::default(),
            rules: Arc::new(rules),
            index: Arc::default(),
            always: Arc::default(),
        }
    }
}

impl<K: Clone + Ord + Hash> Matcher<K> {
    /// Adds a pattern, in the place of an earlier one of the same key.
    pub fn add(&mut self, key: K, pattern: &EventPattern) {
        self.remove(&key);
        let mut ids = Vec::new();
        for sub_rule in &pattern.compiled.sub_rules {
            let clauses = bind(sub_rule, Arc::make_mut(&mut self.paths));
            let access = self.access(&clauses);
            let slot = Arc::new(Slot {
                key: key.clone(),
                clauses,
                access,
            });
            let rules = Arc::make_mut(&mut self.rules);
            let id = match rules.free.pop() {
                Some(id) => id,
                None => {
                    rules.slots.push(None);
                    SubRuleId::try_from(rules.slots.len() - 1)
                        .expect("rules are fewer than limits::RULES, each of bounded sub-rules")
                }
            };
            rules.slots[id as usize] = Some(Arc::clone(&slot));
            self.enter(id, &slot);
            ids.push(id);
        }
        Arc::make_mut(&mut self.rules).by_key.insert(key, ids);
    }

    /// Removes the pattern of that key, if there is one.
    pub fn remove(&mut self, key: &K) {
        if !self.rules.by_key.contains_key(key) {
            return;
        }
        let rules = Arc::make_mut(&mut self.rules);
        let ids = rules.by_key.remove(key).unwrap_or_default();
        let slots: Vec<_> = ids
            .iter()
            .map(|id| (*id, rules.slots[*id as usize].take()))
            .collect();
        rules.free.extend(ids);
        for (id, slot) in slots {
            if let Some(slot) = slot {
                self.leave(id, &slot);
                let paths = Arc::make_mut(&mut self.paths);
                for bound in &slot.clauses {
                    paths.release(bound.field);
                }
            }
        }
    }

    /// The keys of all patterns that match, each once, in ascending order.
    pub fn matches(&self, document: &Document<'_>) -> Vec<K> {
        let fields = Fields::read(document, &self.paths);
        let mut found = Found::default();
        found.extend(&self.always);
        for (field, values) in fields.groups() {
            if let Some(index) = self.index.get(field as usize) {
                index.find(values, &mut found);
            }
        }
        let mut keys: Vec<&K> = Vec::new();
        for id in found.into_distinct() {
            let Some(slot) = &self.rules.slots[id as usize] else {
                continue;
            };
            // The sub-rules of one pattern mostly come one after the other.
            if keys.last() != Some(&&slot.key) && hold_together(&slot.clauses, &fields) {
                keys.push(&slot.key);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().cloned().collect()
    }

    /// The access that leads to the fewest other sub-rules by now; keys before whole fields.
    fn access(&self, clauses: &[BoundClause]) -> Access {
        let index_of = |bound: &BoundClause| self.index.get(bound.field as usize);
        let by_keys = clauses.iter().enumerate().filter_map(|(at, bound)| {
            let keys = keys(&bound.clause)?;
            let load = |key| index_of(bound).map_or(0, |index| index.load(key));
            let load: usize = keys.iter().map(|key| load(*key)).sum();
            Some((load, keys.len(), at))
        });
        if let Some((_, _, at)) = by_keys.min() {
            return Access::Keys(at);
        }
        let by_field = clauses
            .iter()
            .enumerate()
            .filter(|(_, bound)| !bound.clause.absent);
        let loads = by_field
            .map(|(at, bound)| (index_of(bound).map_or(0, |index| index.general_load()), at));
        loads
            .min()
            .map_or(Access::Always, |(_, at)| Access::Field(at))
    }

    fn enter(&mut self, id: SubRuleId, slot: &Slot<K>) {
        match slot.access {
            Access::Keys(at) => {
                let bound = &slot.clauses[at];
                let index = self.field_index(bound);
                for key in keys(&bound.clause).unwrap_or_default() {
                    index.add(key, id);
                }
            }
            Access::Field(at) => self.field_index(&slot.clauses[at]).add_general(id),
            Access::Always => Arc::make_mut(&mut self.always).push(id),
        }
    }

    fn leave(&mut self, id: SubRuleId, slot: &Slot<K>) {
        match slot.access {
            Access::Keys(at) => {
                let bound = &slot.clauses[at];
                let index = self.field_index(bound);
                for key in keys(&bound.clause).unwrap_or_default() {
                    index.remove(key, id);
                }
            }
            Access::Field(at) => self.field_index(&slot.clauses[at]).remove_general(id),
            Access::Always => remove_id(Arc::make_mut(&mut self.always), id),
        }
    }

    fn field_index(&mut self, bound: &BoundClause) -> &mut FieldIndex {
        let index = Arc::make_mut(&mut self.index);
        if index.len() <= bound.field as usize {
            index.resize_with(self.paths.len(), Arc::default);
        }
        Arc::make_mut(&mut index[bound.field as usize])
    }
}
