//! Events that wait for the time at which they are to be routed.
//!
//! Key: `w | due u64 | sequence u64`. Value: empty.
//! Key: `x | sequence u64`. Value: when it is due.

use super::{Fold, Table, View, encode, read};
use crate::clock::Timestamp;
use crate::journal::Sequence;
use crate::store::{Key, StoreError};

const BY_DUE: u8 = Table::DeferredByDue as u8;
const BY_SEQUENCE: u8 = Table::DeferredBySequence as u8;

fn due_key(due: Timestamp, sequence: Sequence) -> Key {
    Key::new(BY_DUE).u64(due.as_millis()).u64(sequence)
}

fn key(sequence: Sequence) -> Key {
    Key::new(BY_SEQUENCE).u64(sequence)
}

pub(super) fn fold_deferred(sequence: Sequence, due: Timestamp, fold: &mut Fold) {
    fold.batch.put(due_key(due, sequence), []);
    fold.batch.put(key(sequence), encode(&due));
}

pub(super) fn fold_done(sequence: Sequence, due: Timestamp, fold: &mut Fold) {
    fold.batch.remove(due_key(due, sequence));
    fold.batch.remove(key(sequence));
}

impl View {
    /// When an event that waits is due.
    pub(in crate::log) fn deferred(
        &self,
        sequence: Sequence,
    ) -> Result<Option<Timestamp>, StoreError> {
        read(&self.store, key(sequence))
    }

    /// Events that wait and are due before `until`, behind `after`, the earliest first.
    pub(in crate::log) fn deferred_between(
        &self,
        after: Option<(Timestamp, Sequence)>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Sequence)>, StoreError> {
        let from = after.map_or(Key::new(BY_DUE), |(due, sequence)| {
            due_key(due, sequence.saturating_add(1))
        });
        let to = Key::new(BY_DUE).u64(until.as_millis());
        let damaged = || StoreError::Damaged("a key is too short".to_owned());
        self.store
            .range(from, to, limit)?
            .iter()
            .map(|(key, _)| {
                let part = |at: usize| -> Result<u64, StoreError> {
                    let bytes = key.get(at..at + 8).ok_or_else(damaged)?;
                    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| damaged())?))
                };
                Ok((Timestamp::from_millis(part(1)?), part(9)?))
            })
            .collect()
    }

    /// Calls `visit` with the sequence of every event that waits.
    pub(in crate::log) fn each_deferred(
        &self,
        visit: &mut dyn FnMut(Sequence),
    ) -> Result<(), StoreError> {
        self.each_key(Key::new(BY_SEQUENCE), &mut |key| {
            let bytes = key
                .get(1..9)
                .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            let bytes =
                bytes.ok_or_else(|| StoreError::Damaged("a key is too short".to_owned()))?;
            visit(Sequence::from_be_bytes(bytes));
            Ok(())
        })
    }
}
