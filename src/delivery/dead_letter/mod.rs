//! Dead letters: chosen, counted, redriven, deleted and purged, in bounded steps.
//!
//! `choice` says which are meant and walks over them; `groups` counts them; `job` redrives
//! them at a rate; `facts` puts what is known of one onto its event; `expiry` lets go of old
//! ones, `push` moves them to a receiver of their own.

mod choice;
mod expiry;
mod facts;
mod groups;
mod job;
mod push;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::choice::{Choice, StatusClass, StatusWanted, Walk};
pub use self::facts::with_facts;
pub use self::groups::{Group, Groups, groups, groups_of};
pub(super) use self::job::Jobs;
pub use self::job::{Job, JobError, JobState, Work};

use super::Delivery;
use crate::limits;
use crate::log::{AppendError, DeadLetter, LogError, Parked, Record, Sequence, TargetId};
use crate::rule::{RuleSet, Target};

/// Which dead letters are meant.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// These; ones that no longer stand are passed over.
    Ids(&'a [(TargetId, Sequence)]),
    /// All that these targets have now.
    Targets(&'a [TargetId]),
    /// All that are chosen now.
    Chosen(&'a Choice),
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

/// Delivers dead letters again, their attempts and age counting anew; how many. One of
/// [`Which::Ids`] whose target was deleted stops it with [`DeadLetterError::TargetGone`]; of others,
/// those whose target is gone stay as they are, unless all are: then it is an error too.
pub async fn redrive(delivery: &Delivery, which: Which<'_>) -> Result<usize, DeadLetterError> {
    steps(delivery, which, Action::Redrive(None)).await
}

/// Delivers the events of dead letters to another target; how many.
pub async fn redrive_to(
    delivery: &Delivery,
    which: Which<'_>,
    to: &Arc<Target>,
) -> Result<usize, DeadLetterError> {
    steps(delivery, which, Action::Redrive(Some(to.key))).await
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
    /// To another target, when one is named.
    Redrive(Option<TargetId>),
    Purge,
}

impl Action {
    /// Whether it can be done with this letter.
    fn can(self, letter: &DeadLetter, rules: &RuleSet) -> bool {
        match self {
            Action::Redrive(to) => rules.target(to.unwrap_or(letter.target)).is_some(),
            Action::Purge => true,
        }
    }
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
        Which::Chosen(choice) => {
            let mut walk = Walk::new(log.clone(), choice.clone(), None);
            let mut gone = None;
            while let Some(mut letters) = walk.next().await? {
                let rules = delivery.rules().current();
                letters.retain(|letter| {
                    let can = action.can(letter, &rules);
                    if !can {
                        gone.get_or_insert((letter.target, letter.sequence));
                    }
                    can
                });
                done += step(delivery, letters, action).await?;
            }
            if let (0, Some((target, sequence))) = (done, gone) {
                return Err(DeadLetterError::TargetGone(target, sequence));
            }
        }
    }
    Ok(done)
}

/// One step, whole: whoever asks for it may go away while the log takes it, and the lanes must hear
/// of it all the same.
async fn step(
    delivery: &Delivery,
    letters: Vec<DeadLetter>,
    action: Action,
) -> Result<usize, DeadLetterError> {
    if letters.is_empty() {
        return Ok(0);
    }
    let work = whole_step(delivery.clone(), letters, action);
    match delivery.0.tasks.spawn(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn whole_step(
    delivery: Delivery,
    mut letters: Vec<DeadLetter>,
    action: Action,
) -> Result<usize, DeadLetterError> {
    let _only_one = delivery.0.letters.lock().await;
    // Since they were read somebody else may have done with them; what died anew is another letter.
    let mut failed = None;
    letters.retain(
        |letter| match delivery.log().dead_letter(letter.target, letter.sequence) {
            Ok(now) => now.is_some_and(|now| now.dead_at == letter.dead_at),
            Err(error) => {
                failed = Some(error);
                false
            }
        },
    );
    if let Some(error) = failed {
        return Err(error.into());
    }
    if letters.is_empty() {
        return Ok(0);
    }
    let now = delivery.clock().now();
    let rules = delivery.rules().current();
    let mut records = Vec::with_capacity(letters.len() * 2);
    let mut parked: BTreeMap<TargetId, u64> = BTreeMap::new();
    let mut parked_here = BTreeSet::new();
    for letter in &letters {
        let (target, sequence) = (letter.target, letter.sequence);
        records.push(Record::DeadLetterRemoved { target, sequence });
        let Action::Redrive(to) = action else {
            continue;
        };
        if !action.can(letter, &rules) {
            return Err(DeadLetterError::TargetGone(target, sequence));
        }
        let to = to.unwrap_or(target);
        // Two targets' letters of one event are one delivery to a third; so is one that the third
        // has pending already.
        if !parked_here.insert((to, sequence))
            || (to != target && delivery.log().is_pending(to, sequence)?)
        {
            continue;
        }
        *parked.entry(to).or_default() += 1;
        let line = delivery.line_of(to, sequence).await?;
        let parked_anew = Parked {
            target: to,
            sequence,
            due: now,
            attempts: 0,
            since: now,
            last_status: letter.last_status,
            last_error: letter.last_error.clone(),
        };
        records.push(Record::parked(parked_anew, line));
    }
    delivery.log().commit(&records).await?;
    for (target, deliveries) in parked {
        delivery.redriven(target, deliveries);
    }
    Ok(letters.len())
}
