//! Buses and rules, as documents.
//!
//! Key: `c | bus 0`. Value: [`BusRecord`].
//! Key: `u | bus 0 | rule 0`. Value: [`RuleRecord`].
//!
//! Documents may be larger than a value of the store: they are cut into parts of
//! [`PART_BYTES`] under the same key with the part's number behind it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Fold, Table, View, decode, encode, standing};
use crate::journal::Sequence;
use crate::log::name::{BusName, RuleName, TargetName};
use crate::log::record::TargetId;
use crate::store::{Key, Store, StoreError};

const BUS: u8 = Table::Bus as u8;
const RULE: u8 = Table::Rule as u8;
const PART_BYTES: usize = 24 * 1024;

/// A bus as it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusRecord {
    pub bus: BusName,
    pub document: String,
    /// Number of the record that put it: its revision.
    pub revision: Sequence,
    /// Number of the record that first put it: older events are another bus's.
    pub created: Sequence,
}

/// A rule as it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    pub bus: BusName,
    pub rule: RuleName,
    pub document: String,
    pub targets: Vec<(TargetName, TargetId)>,
    /// Number of the record that put it: its revision.
    pub revision: Sequence,
}

pub(super) fn bus_key(bus: &BusName) -> Key {
    Key::new(BUS).text(bus.as_str())
}

fn rule_key(bus: &BusName, rule: &RuleName) -> Key {
    Key::new(RULE).text(bus.as_str()).text(rule.as_str())
}

fn put_parts<T: Serialize>(key: &Key, value: &T, fold: &mut Fold) {
    for (number, part) in encode(value).chunks(PART_BYTES).enumerate() {
        let number = u32::try_from(number).expect("a document has few parts");
        fold.batch.put(key.clone().u32(number), part);
    }
}

/// Values under the keys with this prefix, their parts put together.
fn read_parts<T: DeserializeOwned>(store: &Store, prefix: Key) -> Result<Vec<T>, StoreError> {
    let mut values = Vec::new();
    let mut current: Option<(Vec<u8>, Vec<u8>)> = None;
    for (mut key, part) in store.range(prefix.clone(), prefix.end(), usize::MAX)? {
        key.truncate(key.len().saturating_sub(4));
        match &mut current {
            Some((name, bytes)) if *name == key => bytes.extend_from_slice(&part),
            _ => {
                if let Some((_, bytes)) = current.replace((key, part)) {
                    values.push(decode(&bytes)?);
                }
            }
        }
    }
    if let Some((_, bytes)) = current {
        values.push(decode(&bytes)?);
    }
    Ok(values)
}

impl View {
    pub(super) fn fold_bus(
        &self,
        bus: BusName,
        document: String,
        number: Sequence,
        fold: &mut Fold,
    ) -> Result<(), StoreError> {
        // A bus put twice in one batch must see itself.
        self.store.apply(std::mem::take(&mut fold.batch))?;
        let before = self.bus(&bus)?;
        self.remove_parts(bus_key(&bus), fold)?;
        let key = bus_key(&bus);
        let record = match before {
            // The copy of the record that first put the bus comes after newer ones.
            Some(before) if before.revision > number => BusRecord {
                created: before.created.min(number),
                ..before
            },
            before => BusRecord {
                bus,
                document,
                revision: number,
                created: before.map_or(number, |before| before.created),
            },
        };
        put_parts(&key, &record, fold);
        Ok(())
    }

    pub(super) fn fold_bus_deleted(
        &self,
        bus: &BusName,
        fold: &mut Fold,
    ) -> Result<(), StoreError> {
        self.store.apply(std::mem::take(&mut fold.batch))?;
        self.remove_parts(bus_key(bus), fold)
    }

    pub(super) fn fold_rule(&self, record: &RuleRecord, fold: &mut Fold) -> Result<(), StoreError> {
        self.fold_rule_replaced(&record.bus, &record.rule, &record.targets, fold)?;
        put_parts(&rule_key(&record.bus, &record.rule), record, fold);
        Ok(())
    }

    pub(super) fn fold_rule_deleted(
        &self,
        bus: &BusName,
        rule: &RuleName,
        fold: &mut Fold,
    ) -> Result<(), StoreError> {
        self.fold_rule_replaced(bus, rule, &[], fold)
    }

    /// Removes the rule that was there, and what is known of those of its targets that do not stay.
    fn fold_rule_replaced(
        &self,
        bus: &BusName,
        rule: &RuleName,
        stay: &[(TargetName, TargetId)],
        fold: &mut Fold,
    ) -> Result<(), StoreError> {
        self.store.apply(std::mem::take(&mut fold.batch))?;
        for (_, target) in self
            .rule(bus, rule)?
            .map_or(Vec::new(), |rule| rule.targets)
        {
            if !stay.iter().any(|(_, kept)| *kept == target) {
                standing::fold_forgotten(target, fold);
            }
        }
        self.remove_parts(rule_key(bus, rule), fold)
    }

    fn remove_parts(&self, prefix: Key, fold: &mut Fold) -> Result<(), StoreError> {
        let parts = self
            .store
            .range(prefix.clone(), prefix.clone().end(), usize::MAX)?;
        for number in 0..parts.len() {
            let number = u32::try_from(number).expect("a document has few parts");
            fold.batch.remove(prefix.clone().u32(number));
        }
        Ok(())
    }

    /// One bus.
    pub(in crate::log) fn bus(&self, bus: &BusName) -> Result<Option<BusRecord>, StoreError> {
        Ok(read_parts(&self.store, bus_key(bus))?.pop())
    }

    /// All buses that were put, by name.
    pub(in crate::log) fn buses(&self) -> Result<Vec<BusRecord>, StoreError> {
        read_parts(&self.store, Key::new(BUS))
    }

    /// One rule.
    pub(in crate::log) fn rule(
        &self,
        bus: &BusName,
        rule: &RuleName,
    ) -> Result<Option<RuleRecord>, StoreError> {
        Ok(read_parts(&self.store, rule_key(bus, rule))?.pop())
    }

    /// All rules, by bus and name.
    pub(in crate::log) fn rules(&self) -> Result<Vec<RuleRecord>, StoreError> {
        read_parts(&self.store, Key::new(RULE))
    }
}
