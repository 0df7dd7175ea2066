//! What requests with an idempotency key were answered.
//!
//! Key: `i | number u64`. Value: [`Answer`].

use super::{Fold, Table, View, decode, encode, read};
use crate::journal::Sequence;
use crate::log::answers::Answer;
use crate::store::{Batch, Key, StoreError};

const ANSWER: u8 = Table::Answer as u8;

/// Answers that are let go of in one batch.
const FORGOTTEN_AT_ONCE: usize = 4_096;

fn key(number: Sequence) -> Key {
    Key::new(ANSWER).u64(number)
}

pub(super) fn fold_answer(number: Sequence, answer: &Answer, fold: &mut Fold) {
    fold.batch.put(key(number), encode(answer));
}

impl View {
    /// The answer of a record's number.
    pub(in crate::log) fn answer(&self, number: Sequence) -> Result<Option<Answer>, StoreError> {
        read(&self.store, key(number))
    }

    /// Calls `visit` with every answer and its number, the oldest first.
    pub(in crate::log) fn each_answer(
        &self,
        visit: &mut dyn FnMut(Sequence, Answer),
    ) -> Result<(), StoreError> {
        let mut from = Key::new(ANSWER);
        loop {
            let page = self
                .store
                .range(from, Key::new(ANSWER).end(), FORGOTTEN_AT_ONCE)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            from = key(number_of(last)?.saturating_add(1));
            for (place, value) in &page {
                visit(number_of(place)?, decode(value)?);
            }
        }
    }

    /// Removes the answers up to a number.
    pub(in crate::log) fn forget_answers(&self, through: Sequence) -> Result<(), StoreError> {
        loop {
            let until = key(through.saturating_add(1));
            let page = self
                .store
                .range(Key::new(ANSWER), until, FORGOTTEN_AT_ONCE)?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for (place, _) in &page {
                batch.remove(key(number_of(place)?));
            }
            self.tidy(batch)?;
        }
    }
}

fn number_of(place: &[u8]) -> Result<Sequence, StoreError> {
    let bytes = place.get(1..9);
    let bytes = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| StoreError::Damaged("a key is too short".to_owned()))?;
    Ok(Sequence::from_be_bytes(bytes))
}
