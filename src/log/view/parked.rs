//! Parked deliveries, by target and by when they are due.
//!
//! Key: `p | target u32 | sequence u64`. Value: [`Queued`].
//! Key: `q | target u32 | due u64 | sequence u64`. Value: empty. Of those that stand in one line only
//! the first has this key.

use super::{Fold, Table, View, decode, encode, line, read};
use crate::clock::Timestamp;
use crate::journal::Sequence;
use crate::log::line::Queued;
use crate::log::record::TargetId;
use crate::store::{Key, StoreError};

const PARKED: u8 = Table::Parked as u8;
const DUE: u8 = Table::ParkedByDue as u8;

fn key(target: TargetId, sequence: Sequence) -> Key {
    Key::new(PARKED).u32(target.0).u64(sequence)
}

pub(super) fn due_key(target: TargetId, due: Timestamp, sequence: Sequence) -> Key {
    Key::new(DUE)
        .u32(target.0)
        .u64(due.as_millis())
        .u64(sequence)
}

pub(super) fn tail_u64(key: &[u8], from_end: usize) -> Result<u64, StoreError> {
    let damaged = || StoreError::Damaged("a key is too short".to_owned());
    let start = key.len().checked_sub(from_end).ok_or_else(damaged)?;
    let bytes = key.get(start..start + 8).ok_or_else(damaged)?;
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| damaged())?))
}

impl View {
    pub(super) fn fold_parked(&self, queued: Queued, fold: &mut Fold) -> Result<(), StoreError> {
        let (target, sequence) = (queued.parked.target, queued.parked.sequence);
        self.fold_unparked(target, sequence, fold)?;
        fold.batch.put(key(target, sequence), encode(&queued));
        match queued.holding_key() {
            Some(key) => line::fold_joined(target, key, sequence, fold),
            None => fold
                .batch
                .put(due_key(target, queued.parked.due, sequence), []),
        }
        fold.parked.insert((target.0, sequence), Some(queued));
        Ok(())
    }

    pub(super) fn fold_unparked(
        &self,
        target: TargetId,
        sequence: Sequence,
        fold: &mut Fold,
    ) -> Result<(), StoreError> {
        if let Some(before) = self.folded_parked(target, sequence, fold)? {
            fold.batch.remove(key(target, sequence));
            match before.holding_key() {
                Some(key) => line::fold_left(target, key, sequence, fold),
                None => fold
                    .batch
                    .remove(due_key(target, before.parked.due, sequence)),
            }
            fold.parked.insert((target.0, sequence), None);
        }
        Ok(())
    }

    /// One parked delivery, as the batch leaves it.
    pub(super) fn folded_parked(
        &self,
        target: TargetId,
        sequence: Sequence,
        fold: &Fold,
    ) -> Result<Option<Queued>, StoreError> {
        match fold.parked.get(&(target.0, sequence)) {
            Some(folded) => Ok(folded.clone()),
            None => self.parked(target, sequence),
        }
    }

    /// One parked delivery.
    pub(in crate::log) fn parked(
        &self,
        target: TargetId,
        sequence: Sequence,
    ) -> Result<Option<Queued>, StoreError> {
        read(&self.store, key(target, sequence))
    }

    /// Parked deliveries due by `now`, earliest first.
    pub(in crate::log) fn parked_due(
        &self,
        target: TargetId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Queued>, StoreError> {
        let all = Key::new(DUE).u32(target.0);
        let end = all.clone().u64(now.as_millis().saturating_add(1));
        let mut due = Vec::new();
        for (entry, _) in self.store.range(all, end, limit)? {
            due.extend(self.parked(target, tail_u64(&entry, 8)?)?);
        }
        Ok(due)
    }

    /// When the earliest parked delivery is due.
    pub(in crate::log) fn parked_next_due(
        &self,
        target: TargetId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let all = Key::new(DUE).u32(target.0);
        let first = self.store.range(all.clone(), all.end(), 1)?;
        let due = first.first().map(|(entry, _)| tail_u64(entry, 16));
        Ok(due.transpose()?.map(Timestamp::from_millis))
    }

    /// Parked deliveries of a target behind `after`, by sequence.
    pub(in crate::log) fn parked_after(
        &self,
        target: TargetId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<Queued>, StoreError> {
        let all = Key::new(PARKED).u32(target.0);
        let from = after.map_or_else(|| all.clone(), |after| all.clone().u64(after + 1));
        self.store
            .range(from, all.end(), limit)?
            .iter()
            .map(|(_, value)| decode(value))
            .collect()
    }

    /// Calls `visit` with the sequence of every parked delivery up to `through`.
    pub(in crate::log) fn each_parked(
        &self,
        visit: &mut dyn FnMut(Sequence),
    ) -> Result<(), StoreError> {
        self.each_key(Key::new(PARKED), &mut |key| {
            visit(tail_u64(key, 8)?);
            Ok(())
        })
    }

    /// Number of parked deliveries of a target.
    pub(in crate::log) fn parked_count(&self, target: TargetId) -> Result<u64, StoreError> {
        let mut count = 0;
        self.each_key(Key::new(PARKED).u32(target.0), &mut |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Calls `visit` with every key that starts with `prefix`, in steps that hold no iterator long.
    pub(super) fn each_key(
        &self,
        prefix: Key,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        const STEP: usize = 1_000;
        let end = prefix.clone().end();
        let mut from = prefix;
        loop {
            let pairs = self.store.range(from, end.clone(), STEP)?;
            for (key, _) in &pairs {
                visit(key)?;
            }
            match pairs.last() {
                Some((last, _)) if pairs.len() == STEP => from = Key::after(last),
                _ => return Ok(()),
            }
        }
    }
}
