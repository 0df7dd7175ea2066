//! Dead letters, by target and sequence.
//!
//! Key: `d | target u32 | sequence u64`. Value: [`DeadLetter`].

use super::{Fold, Table, View, decode, encode, read};
use crate::journal::Sequence;
use crate::log::record::{DeadLetter, TargetId};
use crate::store::{Key, StoreError};

const DEAD: u8 = Table::DeadLetter as u8;

pub(super) fn key(target: TargetId, sequence: Sequence) -> Key {
    Key::new(DEAD).u32(target.0).u64(sequence)
}

pub(super) fn fold_letter(letter: &DeadLetter, fold: &mut Fold) {
    fold.batch
        .put(key(letter.target, letter.sequence), encode(letter));
}

impl View {
    /// One dead letter.
    pub(in crate::log) fn dead_letter(
        &self,
        target: TargetId,
        sequence: Sequence,
    ) -> Result<Option<DeadLetter>, StoreError> {
        read(&self.store, key(target, sequence))
    }

    /// Dead letters behind `after` in (target, sequence) order, of one target when given.
    pub(in crate::log) fn dead_letters(
        &self,
        target: Option<TargetId>,
        after: Option<(TargetId, Sequence)>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let all = match target {
            Some(target) => Key::new(DEAD).u32(target.0),
            None => Key::new(DEAD),
        };
        let from = match after {
            Some((target, sequence)) => key(target, sequence.saturating_add(1)),
            None => all.clone(),
        };
        self.store
            .range(from, all.end(), limit)?
            .iter()
            .map(|(_, value)| decode(value))
            .collect()
    }

    /// Calls `visit` with the sequence of every dead letter.
    pub(in crate::log) fn each_dead_letter(
        &self,
        visit: &mut dyn FnMut(Sequence),
    ) -> Result<(), StoreError> {
        self.each_key(Key::new(DEAD), &mut |key| {
            let start = key.len().saturating_sub(8);
            let bytes = <[u8; 8]>::try_from(&key[start..])
                .map_err(|_| StoreError::Damaged("a key is too short".to_owned()))?;
            visit(Sequence::from_be_bytes(bytes));
            Ok(())
        })
    }

    /// Targets that have parked, backlogged or dead deliveries.
    pub(in crate::log) fn targets_with_state(&self) -> Result<Vec<TargetId>, StoreError> {
        let mut targets = Vec::new();
        for prefix in [b'p', b'k', DEAD] {
            let mut from = Key::new(prefix);
            let end = from.clone().end();
            // One look per target: from its first key, jump behind its last.
            while let Some((first, _)) = self.store.range(from, end.clone(), 1)?.pop() {
                let Some(Ok(id)) = first.get(1..5).map(<[u8; 4]>::try_from) else {
                    return Err(StoreError::Damaged("a key is too short".to_owned()));
                };
                let target = TargetId(u32::from_be_bytes(id));
                targets.push(target);
                from = Key::new(prefix).u32(target.0).end();
            }
        }
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }
}
