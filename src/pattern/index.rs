//! Finds, from one field's values, the sub-rules that may match.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::flatten::{Datum, Value};
use super::operator::{Condition, Literal, address};
use super::parse::Clause;

/// A sub-rule's number within a matcher.
pub(super) type SubRuleId = u32;

/// The sub-rules that are found through one field. Each sub-rule of a matcher is found through one
/// clause only; the other clauses are checked once it is found.
#[derive(Debug, Clone, Default)]
pub(super) struct FieldIndex {
    strings: HashMap<Box<str>, Vec<SubRuleId>>,
    prefixes: HashMap<Box<str>, Vec<SubRuleId>>,
    /// How many prefixes of each length, in bytes.
    prefix_lengths: BTreeMap<usize, usize>,
    addresses: HashMap<IpAddr, Vec<SubRuleId>>,
    numbers: HashMap<u64, Vec<SubRuleId>>,
    /// `true`, `false`, `null`, and numbers that do not compare.
    texts: HashMap<Box<str>, Vec<SubRuleId>>,
    /// Found whenever the field is there.
    general: Vec<SubRuleId>,
}

/// What a value must be or begin with for a clause to hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'c> {
    String(&'c str),
    Prefix(&'c str),
    Address(IpAddr),
    Number(u64),
    Text(&'c str),
}

/// The keys of a clause, one of which every value that fulfils it has; `None` when there are no
/// such keys.
pub(super) fn keys(clause: &Clause) -> Option<Vec<Key<'_>>> {
    if clause.absent {
        return None;
    }
    let keys = clause.conditions.iter().map(|condition| match condition {
        Condition::Literal(Literal::String(text)) => Some(Key::String(text)),
        Condition::Literal(Literal::Address(_, address)) => Some(Key::Address(*address)),
        Condition::Literal(Literal::Number(_, number)) => Some(Key::Number(number.bits())),
        Condition::Literal(Literal::Text(text)) => Some(Key::Text(text)),
        Condition::Prefix(prefix) => Some(Key::Prefix(prefix.text())),
        Condition::Numeric(numeric) => numeric.only().map(|number| Key::Number(number.bits())),
        _ => None,
    });
    keys.collect()
}

impl FieldIndex {
    pub(super) fn add(&mut self, key: Key<'_>, id: SubRuleId) {
        if let Key::Prefix(text) = key {
            *self.prefix_lengths.entry(text.len()).or_default() += 1;
        }
        match key {
            Key::String(text) => self.strings.entry(text.into()).or_default().push(id),
            Key::Prefix(text) => self.prefixes.entry(text.into()).or_default().push(id),
            Key::Address(address) => self.addresses.entry(address).or_default().push(id),
            Key::Number(bits) => self.numbers.entry(bits).or_default().push(id),
            Key::Text(text) => self.texts.entry(text.into()).or_default().push(id),
        }
    }

    pub(super) fn remove(&mut self, key: Key<'_>, id: SubRuleId) {
        match key {
            Key::String(text) => remove_from(&mut self.strings, text, id),
            Key::Prefix(text) => {
                remove_from(&mut self.prefixes, text, id);
                if let Some(count) = self.prefix_lengths.get_mut(&text.len()) {
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&text.len());
                    }
                }
            }
            Key::Address(address) => remove_from(&mut self.addresses, &address, id),
            Key::Number(bits) => remove_from(&mut self.numbers, &bits, id),
            Key::Text(text) => remove_from(&mut self.texts, text, id),
        }
    }

    pub(super) fn add_general(&mut self, id: SubRuleId) {
        self.general.push(id);
    }

    pub(super) fn remove_general(&mut self, id: SubRuleId) {
        remove_id(&mut self.general, id);
    }

    /// How many sub-rules are found through one key already.
    pub(super) fn load(&self, key: Key<'_>) -> usize {
        let found = match key {
            Key::String(text) => self.strings.get(text),
            Key::Prefix(text) => self.prefixes.get(text),
            Key::Address(address) => self.addresses.get(&address),
            Key::Number(bits) => self.numbers.get(&bits),
            Key::Text(text) => self.texts.get(text),
        };
        found.map_or(0, Vec::len)
    }

    pub(super) fn general_load(&self) -> usize {
        self.general.len()
    }

    /// Adds the sub-rules that the values lead to; some come more than once.
    pub(super) fn find(&self, values: &[Value<'_>], found: &mut Found) {
        found.extend(&self.general);
        for value in values {
            match &value.datum {
                Datum::String(text) => self.find_string(text, found),
                Datum::Number(_, Some(number)) => found.all(self.numbers.get(&number.bits())),
                Datum::Number(text, None) => found.all(self.texts.get(&**text)),
                Datum::Literal(text) => found.all(self.texts.get(*text)),
            }
        }
    }

    fn find_string(&self, text: &str, found: &mut Found) {
        if !self.strings.is_empty() {
            found.all(self.strings.get(text));
        }
        for length in self.prefix_lengths.keys() {
            match text.get(..*length) {
                Some(start) => found.all(self.prefixes.get(start)),
                None if *length > text.len() => break,
                None => {}
            }
        }
        if !self.addresses.is_empty()
            && let Some(address) = address(text)
        {
            found.all(self.addresses.get(&address));
        }
    }
}

/// Sub-rules that may match, each once in the end.
#[derive(Debug, Default)]
pub(super) struct Found {
    ids: Vec<SubRuleId>,
    /// How many there were when they were distinct last.
    distinct: usize,
}

/// Found sub-rules that are let come together before they are made distinct.
const SLACK: usize = 4_096;

impl Found {
    fn all(&mut self, ids: Option<&Vec<SubRuleId>>) {
        if let Some(ids) = ids {
            self.extend(ids);
        }
    }

    /// A large array may lead to the same sub-rules again and again.
    pub(super) fn extend(&mut self, ids: &[SubRuleId]) {
        self.ids.extend_from_slice(ids);
        if self.ids.len() > 2 * self.distinct + SLACK {
            self.make_distinct();
        }
    }

    fn make_distinct(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        self.distinct = self.ids.len();
    }

    pub(super) fn into_distinct(mut self) -> Vec<SubRuleId> {
        self.make_distinct();
        self.ids
    }
}

fn remove_from<Q, B>(map: &mut HashMap<B, Vec<SubRuleId>>, key: &Q, id: SubRuleId)
where
    Q: std::hash::Hash + Eq + ?Sized,
    B: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
{
    if let Some(ids) = map.get_mut(key) {
        remove_id(ids, id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

pub(super) fn remove_id(ids: &mut Vec<SubRuleId>, id: SubRuleId) {
    if let Some(at) = ids.iter().position(|known| *known == id) {
        ids.swap_remove(at);
    }
}
