//! How targets stand, those that are not simply active.
//!
//! Key: `o | target u32`. Value: [`TargetMark`].

use super::{Fold, Table, View, decode, encode, read};
use crate::log::record::{TargetId, TargetMark};
use crate::store::{Key, StoreError};

const STANDING: u8 = Table::Standing as u8;

fn key(target: TargetId) -> Key {
    Key::new(STANDING).u32(target.0)
}

pub(super) fn fold_mark(mark: &TargetMark, fold: &mut Fold) {
    if mark.says_nothing() {
        fold_forgotten(mark.target, fold);
    } else {
        fold.batch.put(key(mark.target), encode(mark));
    }
}

/// The target is no more.
pub(super) fn fold_forgotten(target: TargetId, fold: &mut Fold) {
    fold.batch.remove(key(target));
}

impl View {
    /// How one target stands, when something is known.
    pub(in crate::log) fn target_mark(
        &self,
        target: TargetId,
    ) -> Result<Option<TargetMark>, StoreError> {
        read(&self.store, key(target))
    }

    /// How all targets stand of which something is known.
    pub(in crate::log) fn target_marks(&self) -> Result<Vec<TargetMark>, StoreError> {
        let all = Key::new(STANDING);
        self.store
            .range(all.clone(), all.end(), usize::MAX)?
            .iter()
            .map(|(_, value)| decode(value))
            .collect()
    }
}
