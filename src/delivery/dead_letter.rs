//! Redrives, deletes and purges dead letters, in bounded steps.

use std::collections::BTreeMap;

use super::Delivery;
use crate::limits;
use crate::log::{AppendError, DeadLetter, LogError, Parked, Record, Sequence, TargetId};

/// Which dead letters are meant.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// These; ones that no longer stand are passed over.
    Ids(&'a [(TargetId, Sequence)]),
    /// All that these targets have now.
    Targets(&'a [TargetId]),
}

/// Why dead letters could not be redriven or removed. Steps that were done before stay done.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error("there is no such dead letter")]
    NotFound,
    #[error(
        "the target of dead letter {}-{} was deleted: there is nowhere to deliver it to",
        .0.0, .1
    )]
    TargetGone(TargetId, Sequence),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Delivers dead letters again, their attempts and age counting anew; how many. A dead letter whose
/// target was deleted stops it with [`DeadLetterError::TargetGone`].
pub async fn redrive(delivery: &Delivery, which: Which<'_>) -> Result<usize, DeadLetterError> {
    steps(delivery, which, Action::Redrive).await
}

/// Removes one dead letter for good.
pub async fn delete(
    delivery: &Delivery,
    target: TargetId,
    sequence: Sequence,
) -> Result<(), DeadLetterError> {
    match purge(delivery, Which::Ids(&[(target, sequence)])).await? {
        0 => Err(DeadLetterError::NotFound),
        _ => Ok(()),
    }
}

/// Removes dead letters for good; how many.
pub async fn purge(delivery: &Delivery, which: Which<'_>) -> Result<usize, DeadLetterError> {
    steps(delivery, which, Action::Purge).await
}

#[derive(Clone, Copy)]
enum Action {
    Redrive,
    Purge,
}

async fn steps(
    delivery: &Delivery,
    which: Which<'_>,
    action: Action,
) -> Result<usize, DeadLetterError> {
    let log = delivery.log();
    let mut done = 0;
    match which {
        Which::Ids(ids) => {
            for some in ids.chunks(limits::BULK_RECORDS) {
                // A set, since an id named twice must not be parked twice.
                let mut letters = BTreeMap::new();
                for &(target, sequence) in some {
                    if let Some(letter) = log.dead_letter(target, sequence)? {
                        letters.insert((target, sequence), letter);
                    }
                }
                done += step(delivery, letters.into_values().collect(), action).await?;
            }
        }
        Which::Targets(targets) => {
            for &target in targets {
                let mut after = None;
                loop {
                    let letters = log.dead_letters(Some(target), after, limits::BULK_RECORDS)?;
                    let Some(last) = letters.last() else { break };
                    // What fails again while this goes on may stand behind the cursor: every
                    // letter is met at most once.
                    after = Some((last.target, last.sequence));
                    done += step(delivery, letters, action).await?;
                }
            }
        }
    }
    Ok(done)
}

async fn step(
    delivery: &Delivery,
    letters: Vec<DeadLetter>,
    action: Action,
) -> Result<usize, DeadLetterError> {
    if letters.is_empty() {
        return Ok(0);
    }
    let now = delivery.clock().now();
    let rules = delivery.rules().current();
    let mut records = Vec::with_capacity(letters.len() * 2);
    let mut parked: BTreeMap<TargetId, u64> = BTreeMap::new();
    for letter in &letters {
        let (target, sequence) = (letter.target, letter.sequence);
        records.push(Record::DeadLetterRemoved { target, sequence });
        if let Action::Redrive = action {
            if rules.target(target).is_none() {
                return Err(DeadLetterError::TargetGone(target, sequence));
            }
            *parked.entry(target).or_default() += 1;
            records.push(Record::Parked(Parked {
                target,
                sequence,
                due: now,
                attempts: 0,
                since: now,
                last_status: letter.last_status,
                last_error: letter.last_error.clone(),
            }));
        }
    }
    delivery.log().commit(&records).await?;
    for (target, deliveries) in parked {
        delivery.redriven(target, deliveries);
    }
    Ok(letters.len())
}
