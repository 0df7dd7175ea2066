//! Where events stand: the blocks of the index, and the copies that were carried forward.
//!
//! Key: `b | first sequence u64`. Value: [`Block`].
//! Key: `e | sequence u64`. Value: [`Position`] of the event's copy.

use std::sync::Arc;

use super::{Fold, Table, View, encode, read};
use crate::journal::{Position, Sequence};
use crate::log::index::{self, Block, block_key};
use crate::log::record::LoggedEvent;
use crate::store::{Batch, Key, Store, StoreError};

const CARRIED: u8 = Table::CarriedEvent as u8;

/// Blocks kept decoded: deliveries read the log in order, several of them at different places.
const RECENT_BLOCKS: usize = 16;

/// The end of the index, which is not in the store yet.
#[derive(Debug, Default)]
pub(super) struct OpenEnd {
    /// Full blocks that are folded but not applied, oldest first.
    full: Vec<Arc<Block>>,
    pub(super) block: Block,
    /// Every event up to here is in a block.
    indexed_through: Sequence,
}

fn carried_key(sequence: Sequence) -> Key {
    Key::new(CARRIED).u64(sequence)
}

pub(super) fn load_open_end(store: &Store) -> Result<OpenEnd, StoreError> {
    let all = Key::new(index::PREFIX);
    let Some((_, value)) = store.range_back(all.clone(), all.end(), 1)?.pop() else {
        return Ok(OpenEnd::default());
    };
    let block = decode_block(&value)?;
    let indexed_through = block.last().unwrap_or(0);
    let block = if block.entries.len() < index::BLOCK_ENTRIES {
        block
    } else {
        Block::default()
    };
    Ok(OpenEnd {
        full: Vec::new(),
        block,
        indexed_through,
    })
}

fn decode_block(bytes: &[u8]) -> Result<Block, StoreError> {
    Block::decode(bytes)
        .ok_or_else(|| StoreError::Damaged("an index block does not read back".to_owned()))
}

impl View {
    pub(super) fn fold_event(&self, logged: &LoggedEvent, position: Position, fold: &mut Fold) {
        self.fold_use(logged, position, fold);
        let mut end = self.open_end.write();
        if logged.sequence <= end.indexed_through {
            return; // folded again after a restart
        }
        if !end.block.push(logged, position, &self.key) {
            let full = std::mem::take(&mut end.block);
            let first = full.first().expect("a full block is not empty");
            fold.batch.put(block_key(first), full.encode());
            end.full.push(Arc::new(full));
            let pushed = end.block.push(logged, position, &self.key);
            debug_assert!(pushed, "an empty block takes any event");
        }
        end.indexed_through = logged.sequence;
    }

    pub(super) fn fold_carried_event(
        &self,
        sequence: Sequence,
        position: Position,
        fold: &mut Fold,
    ) {
        fold.batch.put(carried_key(sequence), encode(&position));
    }

    /// Called when the store shows the full blocks.
    pub(super) fn forget_full_blocks(&self) {
        self.open_end.write().full.clear();
    }

    /// Where an event stands by the index.
    pub(in crate::log) fn place(&self, sequence: Sequence) -> Result<Option<Position>, StoreError> {
        {
            let end = self.open_end.read();
            if end.block.first().is_some_and(|first| first <= sequence) {
                return Ok(end.block.find(sequence).map(|entry| entry.position));
            }
        }
        let Some(block) = self.block_with(sequence)? else {
            return Ok(None);
        };
        Ok(block.find(sequence).map(|entry| entry.position))
    }

    /// Where the copy of an event stands that was carried forward.
    pub(in crate::log) fn carried_place(
        &self,
        sequence: Sequence,
    ) -> Result<Option<Position>, StoreError> {
        read(&self.store, carried_key(sequence))
    }

    /// A copy that nothing needs any more.
    pub(in crate::log) fn tidy_carried(sequence: Sequence, batch: &mut Batch) {
        batch.remove(carried_key(sequence));
    }

    /// The block that would hold `sequence`: the last one that begins at or before it.
    pub(in crate::log) fn block_with(
        &self,
        sequence: Sequence,
    ) -> Result<Option<Arc<Block>>, StoreError> {
        {
            let end = self.open_end.read();
            if end.block.first().is_some_and(|first| first <= sequence) {
                return Ok(Some(Arc::new(end.block.clone())));
            }
            let full = end.full.iter().rev();
            for block in full {
                if block.first().is_some_and(|first| first <= sequence) {
                    return Ok(Some(Arc::clone(block)));
                }
            }
        }
        {
            let recent = self.recent_blocks.lock();
            let holds = |block: &&Arc<Block>| {
                block.first().is_some_and(|first| first <= sequence)
                    && block.last().is_some_and(|last| sequence <= last)
            };
            if let Some(block) = recent.iter().find(holds) {
                return Ok(Some(Arc::clone(block)));
            }
        }
        let from = Key::new(index::PREFIX);
        let end = block_key(sequence.saturating_add(1));
        let Some((_, value)) = self.store.range_back(from, end, 1)?.pop() else {
            return Ok(None);
        };
        let block = Arc::new(decode_block(&value)?);
        // A block that may still grow is not kept.
        if block.entries.len() == index::BLOCK_ENTRIES {
            let mut recent = self.recent_blocks.lock();
            if recent.len() == RECENT_BLOCKS {
                recent.remove(0);
            }
            recent.push(Arc::clone(&block));
        }
        Ok(Some(block))
    }

    /// The first block that begins after `sequence`.
    pub(in crate::log) fn block_after(
        &self,
        sequence: Sequence,
    ) -> Result<Option<Arc<Block>>, StoreError> {
        let from = block_key(sequence.saturating_add(1));
        let end = Key::new(index::PREFIX).end();
        let stored = match self.store.range(from, end, 1)?.pop() {
            Some((_, value)) => Some(Arc::new(decode_block(&value)?)),
            None => None,
        };
        let open_end = self.open_end.read();
        let open = Some(&open_end.block).filter(|block| !block.entries.is_empty());
        let begins_after = |block: &Arc<Block>| block.first().is_some_and(|first| first > sequence);
        // The store may hold an older state of the open block; the one in memory wins.
        let is_open = |block: &Arc<Block>| open.is_some_and(|open| open.first() == block.first());
        Ok(stored
            .filter(|block| !is_open(block))
            .or_else(|| {
                open_end
                    .full
                    .iter()
                    .find(|block| begins_after(block))
                    .cloned()
            })
            .or_else(|| {
                open.map(|block| Arc::new(block.clone()))
                    .filter(begins_after)
            }))
    }

    /// Removes the blocks whose events all went with the segments before `first_kept`.
    pub(in crate::log) fn tidy_blocks(&self, first_kept: Sequence) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let from = Key::new(index::PREFIX);
        let pairs = self.store.range(from, block_key(first_kept), usize::MAX)?;
        for (key, value) in pairs {
            let block = decode_block(&value)?;
            if let (Some(first), Some(last)) = (block.first(), block.last()) {
                debug_assert_eq!(key, block_key(first).into_bytes());
                if last < first_kept {
                    batch.remove(block_key(first));
                }
            }
        }
        self.tidy(batch)
    }
}
