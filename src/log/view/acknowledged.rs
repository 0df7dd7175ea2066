//! Deliveries that a puller has acknowledged and the router's checkpoint has not passed yet: after a
//! crash the router comes by their events again, and leaves them out.
//!
//! Key: `a | sequence u64 | target u32`. Value: empty.

use super::parked::tail_u64;
use super::{Fold, Table, View};
use crate::journal::Sequence;
use crate::log::record::TargetId;
use crate::store::{Key, StoreError};

const ACKNOWLEDGED: u8 = Table::Acknowledged as u8;

fn key(target: TargetId, sequence: Sequence) -> Key {
    Key::new(ACKNOWLEDGED).u64(sequence).u32(target.0)
}

pub(super) fn fold_acknowledged(target: TargetId, sequences: &[Sequence], fold: &mut Fold) {
    for sequence in sequences {
        fold.batch.put(key(target, *sequence), []);
    }
}

impl View {
    /// The checkpoint has passed them. Those of the same batch stay until the next checkpoint, which
    /// harms nobody: nobody asks for them.
    pub(super) fn fold_passed(&self, through: Sequence, fold: &mut Fold) -> Result<(), StoreError> {
        let all = Key::new(ACKNOWLEDGED);
        let end = all.clone().u64(through.saturating_add(1));
        for (passed, _) in self.store.range(all, end, usize::MAX)? {
            let (sequence, target) = (tail_u64(&passed, 12)?, tail_u64(&passed, 8)?);
            // The last eight bytes are half of the sequence and the target.
            let target = TargetId((target & u64::from(u32::MAX)) as u32);
            fold.batch.remove(key(target, sequence));
        }
        Ok(())
    }

    /// Whether a delivery of an event behind the checkpoint was acknowledged.
    pub(in crate::log) fn is_acknowledged(
        &self,
        target: TargetId,
        sequence: Sequence,
    ) -> Result<bool, StoreError> {
        Ok(self.store.get(key(target, sequence))?.is_some())
    }
}
