//! How far each rule's schedule is dealt with.
//!
//! Key: `t | bus 0 | rule 0`. Value: (fingerprint of the schedule, through).

use super::{Fold, Table, View, encode, read};
use crate::clock::Timestamp;
use crate::log::name::{BusName, RuleName};
use crate::store::{Key, StoreError};

const TIMETABLE: u8 = Table::Timetable as u8;

pub(super) fn key(bus: &BusName, rule: &RuleName) -> Key {
    Key::new(TIMETABLE).text(bus.as_str()).text(rule.as_str())
}

pub(super) fn fold_through(
    bus: &BusName,
    rule: &RuleName,
    schedule: u64,
    through: Timestamp,
    fold: &mut Fold,
) {
    fold.batch.put(key(bus, rule), encode(&(schedule, through)));
}

impl View {
    /// The fingerprint of a rule's schedule, and up to when it is dealt with.
    pub(in crate::log) fn schedule_through(
        &self,
        bus: &BusName,
        rule: &RuleName,
    ) -> Result<Option<(u64, Timestamp)>, StoreError> {
        read(&self.store, key(bus, rule))
    }
}
