//! Parked deliveries, by target and by when they are due.
//!
//! Key: `p | target u32 | sequence u64`. Value: [`Parked`].
//! Key: `q | target u32 | due u64 | sequence u64`. Value: empty.

use super::{Fold, View, decode, encode, read};
use crate::clock::Timestamp;
use crate::journal::Sequence;
use crate::log::record::{Parked, TargetId};
use crate::store::{Key, StoreError};

const PARKED: u8 = b'p';
const DUE: u8 = b'q';

fn key(target: TargetId, sequence: Sequence) -> Key {
    Key::new(PARKED).u32(target.0).u64(sequence)
}

fn due_key(parked: &Parked) -> Key {
    Key::new(DUE)
        .u32(parked.target.0)
        .u64(parked.due.as_millis())
        .u64(parked.sequence)
}

fn tail_u64(key: &[u8], from_end: usize) -> Result<u64, StoreError> {
    let damaged = || StoreError::Damaged("a key is too short".to_owned());
    let start = key.len().checked_sub(from_end).ok_or_else(damaged)?;
    let bytes = key.get(start..start + 8).ok_or_else(damaged)?;
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| damaged())?))
}

impl View {
    pub(super) fn fold_parked(&self, parked: Parked, fold: &mut Fold) -> Result<(), StoreError> {
        self.fold_unparked(parked.target, parked.sequence, fold)?;
        fold.batch
            .put(key(parked.target, parked.sequence), encode(&parked));
        fold.batch.put(due_key(&parked), []);
        fold.parked
            .insert((parked.target.0, parked.sequence), Some(parked));
        Ok(())
    }

    pub(super) fn fold_unparked(
        &self,
        target: TargetId,
        sequence: Sequence,
        fold: &mut Fold,
    ) -> Result<(), StoreError> {
        let before = match fold.parked.get(&(target.0, sequence)) {
            Some(before) => before.clone(),
            None => self.parked(target, sequence)?,
        };
        if let Some(before) = before {
            fold.batch.remove(key(target, sequence));
            fold.batch.remove(due_key(&before));
            fold.parked.insert((target.0, sequence), None);
        }
        Ok(())
    }

    /// One parked delivery.
    pub(in crate::log) fn parked(
        &self,
        target: TargetId,
        sequence: Sequence,
    ) -> Result<Option<Parked>, StoreError> {
        read(&self.store, key(target, sequence))
    }

    /// Parked deliveries due by `now`, earliest first.
    pub(in crate::log) fn parked_due(
        &self,
        target: TargetId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
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
    ) -> Result<Vec<Parked>, StoreError> {
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
