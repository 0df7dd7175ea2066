//! Deliveries parked in bulk: not attempted yet, waiting for their target.
//!
//! Key: `k | target u32 | first sequence u64`. Value: [`Chunk`].

use super::{Fold, Table, View, decode, encode};
use crate::journal::Sequence;
use crate::log::line::Chunk;
use crate::log::record::TargetId;
use crate::store::{Key, StoreError};

const BACKLOG: u8 = Table::Backlog as u8;

/// Chunks read at once.
const STEP: usize = 64;

pub(super) fn key(target: TargetId, first: Sequence) -> Key {
    Key::new(BACKLOG).u32(target.0).u64(first)
}

pub(super) fn fold_chunk(target: TargetId, chunk: &Chunk, fold: &mut Fold) {
    if let Some(first) = chunk.first() {
        fold.batch.put(key(target, first), encode(chunk));
    }
}

impl View {
    /// Chunks whose first sequence is greater than `after`, oldest first.
    pub(in crate::log) fn backlog(
        &self,
        target: TargetId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        let from = key(target, after.saturating_add(1));
        let end = Key::new(BACKLOG).u32(target.0).end();
        self.store
            .range(from, end, limit)?
            .iter()
            .map(|(_, value)| decode(value))
            .collect()
    }

    /// The chunk that starts with `first`.
    pub(in crate::log) fn backlog_chunk(
        &self,
        target: TargetId,
        first: Sequence,
    ) -> Result<Option<Chunk>, StoreError> {
        super::read(&self.store, key(target, first))
    }

    /// Whether a chunk of the target holds this delivery.
    ///
    /// Chunks may overlap: what was in memory only when the bus died is routed again, and may come
    /// into one that reaches over those of before. The nearest one that begins before it has it, all
    /// but always.
    pub(in crate::log) fn is_backlogged(
        &self,
        target: TargetId,
        sequence: Sequence,
    ) -> Result<bool, StoreError> {
        let from = key(target, 0);
        let mut end = key(target, sequence.saturating_add(1));
        let mut step = 1;
        loop {
            let pairs = self.store.range_back(from.clone(), end, step)?;
            let is_last = pairs.len() < step;
            let mut oldest = None;
            for (_, value) in pairs {
                let chunk: Chunk = decode(&value)?;
                if chunk.sequences.binary_search(&sequence).is_ok() {
                    return Ok(true);
                }
                oldest = chunk.first();
            }
            match oldest {
                Some(first) if !is_last => end = key(target, first),
                _ => return Ok(false),
            }
            step = STEP;
        }
    }

    /// Calls `visit` with the sequence of every backlogged delivery.
    pub(in crate::log) fn each_backlogged(
        &self,
        visit: &mut dyn FnMut(Sequence),
    ) -> Result<(), StoreError> {
        self.each_chunk(Key::new(BACKLOG), &mut |chunk| {
            chunk.iter().copied().for_each(&mut *visit);
        })
    }

    /// Number of backlogged deliveries of a target.
    pub(in crate::log) fn backlogged_count(&self, target: TargetId) -> Result<u64, StoreError> {
        let mut count = 0;
        self.each_chunk(Key::new(BACKLOG).u32(target.0), &mut |chunk| {
            count += chunk.len() as u64;
        })?;
        Ok(count)
    }

    fn each_chunk(
        &self,
        prefix: Key,
        visit: &mut dyn FnMut(&[Sequence]),
    ) -> Result<(), StoreError> {
        let end = prefix.clone().end();
        let mut from = prefix;
        loop {
            let pairs = self.store.range(from, end.clone(), STEP)?;
            for (_, value) in &pairs {
                visit(&decode::<Chunk>(value)?.sequences);
            }
            match pairs.last() {
                Some((last, _)) if pairs.len() == STEP => from = Key::after(last),
                _ => return Ok(()),
            }
        }
    }
}
