//! Lines of parked deliveries that share an order key, and who is first in each.
//!
//! Key: `l | target u32 | order key u64 | sequence u64`. Value: empty. All that stand in the line.
//! Key: `h | target u32 | order key u64`. Value: [`Head`]: the one with the `q` key, so that only
//! the first of a line is ever due, however long the line is.

use serde::{Deserialize, Serialize};

use super::parked::{due_key, tail_u64};
use super::{Fold, Table, View, encode, read};
use crate::clock::Timestamp;
use crate::journal::Sequence;
use crate::log::line::{OrderKey, Queued};
use crate::log::record::TargetId;
use crate::store::{Key, StoreError};

const IN_LINE: u8 = Table::Line as u8;
const HEAD: u8 = Table::LineHead as u8;

/// Who was made due as the first of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    sequence: Sequence,
    due: Timestamp,
}

fn line(target: TargetId, key: OrderKey) -> Key {
    Key::new(IN_LINE).u32(target.0).u64(key.hash())
}

fn head_key(target: TargetId, key: OrderKey) -> Key {
    Key::new(HEAD).u32(target.0).u64(key.hash())
}

pub(super) fn fold_joined(target: TargetId, key: OrderKey, sequence: Sequence, fold: &mut Fold) {
    fold.batch.put(line(target, key).u64(sequence), []);
    fold.lines.insert((target, key));
}

pub(super) fn fold_left(target: TargetId, key: OrderKey, sequence: Sequence, fold: &mut Fold) {
    fold.batch.remove(line(target, key).u64(sequence));
    fold.lines.insert((target, key));
}

impl View {
    /// Makes the first of each changed line due, and nobody else of it. Looks at what stands in the
    /// line, not at what was folded: folding old frames once more ends the same.
    pub(super) fn settle_lines(&self, fold: &mut Fold) -> Result<(), StoreError> {
        let changed = std::mem::take(&mut fold.lines);
        let mut heads = Vec::with_capacity(changed.len());
        for (target, key) in changed {
            let before: Option<Head> = read(&self.store, head_key(target, key))?;
            let head = self.folded_head(target, key, fold)?;
            if let Some(before) = before.filter(|before| Some(*before) != head) {
                // It may have left the line and be due by itself, at the same moment.
                let now = self.folded_parked(target, before.sequence, fold)?;
                let is_due = now
                    .is_some_and(|now| now.holding_key().is_none() && now.parked.due == before.due);
                if !is_due {
                    let due = due_key(target, before.due, before.sequence);
                    fold.batch.remove(due);
                }
            }
            heads.push((target, key, head));
        }
        // After all removals: the first of one line may now be the first of another.
        for (target, key, head) in heads {
            match head {
                Some(head) => {
                    let due = due_key(target, head.due, head.sequence);
                    fold.batch.put(due, []);
                    fold.batch.put(head_key(target, key), encode(&head));
                }
                None => fold.batch.remove(head_key(target, key)),
            }
        }
        Ok(())
    }

    /// The first that stands in a line, as the batch leaves it.
    fn folded_head(
        &self,
        target: TargetId,
        key: OrderKey,
        fold: &Fold,
    ) -> Result<Option<Head>, StoreError> {
        let all = line(target, key);
        let first = self
            .store
            .first_key(all.clone(), all.end(), &fold.batch)?
            .map(|entry| tail_u64(&entry, 8))
            .transpose()?;
        let first = match first {
            Some(sequence) => self.folded_parked(target, sequence, fold)?,
            None => None,
        };
        Ok(first.map(|first| Head {
            sequence: first.parked.sequence,
            due: first.parked.due,
        }))
    }

    /// Whether anything stands in the line of `key`, or in any line of the target.
    pub(in crate::log) fn has_line(
        &self,
        target: TargetId,
        key: Option<OrderKey>,
    ) -> Result<bool, StoreError> {
        let all = match key {
            Some(key) => line(target, key),
            None => Key::new(IN_LINE).u32(target.0),
        };
        let end = all.clone().end();
        Ok(!self.store.range(all, end, 1)?.is_empty())
    }

    /// What stands in a line behind `after`, in order.
    pub(in crate::log) fn line_after(
        &self,
        target: TargetId,
        key: OrderKey,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Queued>, StoreError> {
        let from = line(target, key).u64(after.saturating_add(1));
        let end = line(target, key).end();
        let mut queued = Vec::new();
        for (entry, _) in self.store.range(from, end, limit)? {
            queued.extend(self.parked(target, tail_u64(&entry, 8)?)?);
        }
        Ok(queued)
    }
}
