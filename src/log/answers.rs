//! Remembers what requests with an idempotency key were answered, so that one that is sent again is
//! answered the same and done once.
//!
//! The record of an answer is the last frame of the group that holds its request's events: both are on
//! disk or neither is. It says of each event whether it was new, and new ones are numbered up to the
//! record's own number. The records are in memory, the newest of them within bounds; the view keeps
//! them for the next start, and the trimming of the log lets go of them when they are forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shared::Shared;
use super::{Appended, LogError};
use crate::clock::Timestamp;
use crate::journal::Sequence;
use crate::limits;

/// A request that its sender may send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// Of its idempotency key, and of what that holds for.
    pub key: u128,
    /// Of what it asks for.
    pub request: u128,
}

/// What became of one event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Given {
    New,
    /// The bus had it, under this sequence.
    Known(Sequence),
    /// It stood in the same request, at this place.
    Repeated(u32),
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub once: Once,
    pub at: Timestamp,
    pub events: Vec<Given>,
}

impl Answer {
    /// What was answered, by a record of this number.
    fn appended(&self, number: Sequence) -> Vec<Appended> {
        let new = self.events.iter().filter(|one| **one == Given::New);
        let mut next = number.saturating_sub(new.count() as u64);
        let mut appended: Vec<Appended> = Vec::with_capacity(self.events.len());
        for given in &self.events {
            let (sequence, duplicate) = match given {
                Given::New => {
                    next += 1;
                    (next - 1, false)
                }
                Given::Known(sequence) => (*sequence, true),
                Given::Repeated(at) => {
                    let first = appended.get(*at as usize);
                    (first.map_or(0, |first| first.sequence), true)
                }
            };
            appended.push(Appended {
                sequence,
                duplicate,
            });
        }
        appended
    }

    /// What it costs in memory, with its places in the maps.
    fn cost(&self) -> usize {
        192 + self.events.len() * size_of::<Given>()
    }
}

/// An answer that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Of the request that it was given to.
    pub request: u128,
    pub appended: Vec<Appended>,
}

#[derive(Debug)]
struct Kept {
    number: Sequence,
    answer: Answer,
}

/// The answers of the last time.
#[derive(Debug)]
pub(super) struct Answers {
    by_key: HashMap<u128, Arc<Kept>>,
    /// By their numbers, the oldest first.
    order: VecDeque<Arc<Kept>>,
    bytes: usize,
    limit_bytes: usize,
    /// All records up to here are forgotten.
    forgotten_through: Sequence,
}

impl Answers {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            limit_bytes,
            forgotten_through: 0,
        }
    }

    /// Remembers a record that is younger than all others.
    pub(super) fn insert(&mut self, number: Sequence, answer: Answer) {
        self.bytes += answer.cost();
        let key = answer.once.key;
        let kept = Arc::new(Kept { number, answer });
        self.by_key.insert(key, Arc::clone(&kept));
        self.order.push_back(kept);
        while self.bytes > self.limit_bytes {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some(oldest) = self.order.front()
            && is_over(&oldest.answer, now)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else {
            return;
        };
        self.bytes -= oldest.answer.cost();
        self.forgotten_through = oldest.number;
        let key = oldest.answer.once.key;
        // The key may have been used anew.
        if let Some(newest) = self.by_key.get(&key)
            && newest.number == oldest.number
        {
            self.by_key.remove(&key);
        }
    }
}

fn is_over(answer: &Answer, now: Timestamp) -> bool {
    now.since(answer.at) > limits::IDEMPOTENCY_KEPT
}

/// What a request with this key was answered, once that is on disk.
pub(super) async fn answered(shared: &Shared, key: u128) -> Option<Answered> {
    let kept = shared.answers.lock().by_key.get(&key).cloned()?;
    if is_over(&kept.answer, shared.clock.now()) {
        return None;
    }
    // It may be under way still, or have been lost to a full disk.
    let durable = shared.journal.durable(kept.number).await;
    if durable.is_err() || shared.journal.is_lost(kept.number) {
        return None;
    }
    let appended = kept.answer.appended(kept.number);
    for known in appended.iter().filter(|one| one.duplicate) {
        shared.journal.durable(known.sequence).await.ok()?;
    }
    Some(Answered {
        request: kept.answer.once.request,
        appended,
    })
}

/// Lets the view go of what is forgotten.
pub(super) fn tidy(shared: &Shared) -> Result<(), LogError> {
    let forgotten_through = {
        let mut answers = shared.answers.lock();
        answers.forget_old(shared.clock.now());
        answers.forgotten_through
    };
    Ok(shared.view()?.forget_answers(forgotten_through)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(key: u128, at: u64, events: Vec<Given>) -> Answer {
        Answer {
            once: Once { key, request: 1 },
            at: Timestamp::from_millis(at),
            events,
        }
    }

    #[test]
    fn new_events_are_numbered_up_to_the_record() {
        let given = [
            Given::Known(3),
            Given::New,
            Given::Repeated(1),
            Given::New,
            Given::Repeated(0),
        ];
        let appended = answer(1, 0, given.to_vec()).appended(102);
        let shown = appended.iter().map(|one| (one.sequence, one.duplicate));
        let expected = [
            (3, true),
            (100, false),
            (100, true),
            (101, false),
            (3, true),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_oldest_are_forgotten_by_size_and_by_age() {
        let cost = answer(0, 0, vec![Given::New]).cost();
        let mut answers = Answers::new(3 * cost);
        for n in 1..=4 {
            answers.insert(n, answer(u128::from(n), n, vec![Given::New]));
        }
        assert_eq!(answers.forgotten_through, 1);
        assert!(!answers.by_key.contains_key(&1) && answers.by_key.contains_key(&2));
        // A key that is used anew outlives its first use.
        answers.insert(5, answer(3, 5, vec![Given::New]));
        answers.insert(6, answer(6, 6, vec![Given::New]));
        assert_eq!(answers.by_key[&3].number, 5);
        assert_eq!((answers.forgotten_through, answers.order.len()), (3, 3));
        let day = u64::try_from(limits::IDEMPOTENCY_KEPT.as_millis()).unwrap();
        answers.forget_old(Timestamp::from_millis(day + 5));
        assert_eq!((answers.forgotten_through, answers.order.len()), (4, 2));
        answers.forget_old(Timestamp::from_millis(day + 7));
        assert_eq!((answers.bytes, answers.by_key.len()), (0, 0));
    }
}
