//! Moves dead letters to the URL or the target that their own target names for them.
//!
//! A letter is removed once the receiver took it. One that it refuses stays where it is, like any
//! other dead letter, and is offered again after a wait that grows to an hour; nothing is made of
//! the failure, so that nothing goes round in circles.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, warn};

use super::super::{Delivery, draft::Draft, encode};
use super::{Action, step, with_facts};
use crate::delivery::next_step::Outcome;
use crate::delivery::standing::stops;
use crate::limits;
use crate::log::{DeadLetter, LogError, LoggedEvent, Sequence, TargetId};
use crate::rule::{DeadLetterPush, Target};
use crate::seldom::Seldom;

const EVERY: Duration = Duration::from_secs(1);

/// Targets with dead letters that are looked at in one second.
const TARGETS_AT_ONCE: usize = 1_000;

/// Requests at once for one target's letters.
const REQUESTS: usize = 8;

const WAIT: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// How the pushing of one target's letters stands.
#[derive(Debug, Clone, Copy)]
struct Turn {
    under_way: bool,
    not_before: Instant,
    /// The wait after the next round in vain.
    wait: Duration,
}

impl Turn {
    /// What follows a round.
    fn after(self, all_taken: bool, now: Instant) -> Turn {
        if all_taken {
            return Turn {
                under_way: false,
                not_before: now,
                wait: WAIT,
            };
        }
        Turn {
            under_way: false,
            not_before: now + self.wait,
            wait: (self.wait * 2).min(WAIT_MAX),
        }
    }
}

impl Delivery {
    /// Pushes dead letters, until the bus stops. One task for each target: a receiver that hangs
    /// holds up nobody else's letters.
    pub(in crate::delivery) async fn push_letters(self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds: JoinSet<(TargetId, bool)> = JoinSet::new();
        let mut turns: HashMap<TargetId, Turn> = HashMap::new();
        let (mut after, mut troubles) = (None, Seldom::default());
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                Some(ended) = rounds.join_next() => {
                    if let Ok((target, all_taken)) = ended
                        && let Some(turn) = turns.get_mut(&target)
                    {
                        *turn = turn.after(all_taken, Instant::now());
                    }
                    continue;
                }
                _ = ticks.tick() => {}
            }
            let targets = match self.targets_to_push(&mut after) {
                Ok(targets) => targets,
                Err(error) => {
                    if troubles.tells() {
                        warn!(%error, "dead letters cannot be read; trying again");
                    }
                    continue;
                }
            };
            let now = Instant::now();
            // Forgotten once nothing is left to wait for, so that the table stays small.
            turns.retain(|_, turn| turn.under_way || turn.wait > WAIT);
            for target in targets {
                let turn = turns.entry(target.key).or_insert(Turn {
                    under_way: false,
                    not_before: now,
                    wait: WAIT,
                });
                let may_start = !turn.under_way && now >= turn.not_before;
                if !may_start || rounds.len() >= limits::DEAD_LETTER_PUSHES {
                    continue;
                }
                turn.under_way = true;
                let delivery = self.clone();
                rounds.spawn(async move {
                    let round = AssertUnwindSafe(delivery.push_all(&target)).catch_unwind();
                    (target.key, round.await.unwrap_or(false))
                });
            }
        }
    }

    /// The next targets that have dead letters and name a place for them.
    fn targets_to_push(&self, after: &mut Option<TargetId>) -> Result<Vec<Arc<Target>>, LogError> {
        let rules = self.rules().current();
        let mut found = Vec::new();
        for _ in 0..TARGETS_AT_ONCE {
            let behind = after.map(|target| (target, Sequence::MAX));
            let Some(letter) = self.log().dead_letters(None, behind, 1)?.pop() else {
                *after = None;
                break;
            };
            *after = Some(letter.target);
            let target = rules.target(letter.target);
            found.extend(target.filter(|target| target.dead_letter.push.is_some()));
        }
        Ok(found)
    }

    /// Offers each of a target's letters once; whether all were taken.
    async fn push_all(&self, target: &Target) -> bool {
        let mut after = None;
        let mut all_taken = true;
        loop {
            let page = self
                .log()
                .dead_letters(Some(target.key), after, limits::BULK_RECORDS);
            let page = match page {
                Ok(page) => page,
                Err(_) => return false,
            };
            let Some(last) = page.last() else {
                return all_taken;
            };
            after = Some((last.target, last.sequence));
            let Some(to) = self.receiver(target) else {
                return false;
            };
            let size = page.len();
            let pushes = page.into_iter().map(|letter| self.push(&to, letter));
            let taken: Vec<DeadLetter> = stream::iter(pushes)
                .buffer_unordered(REQUESTS)
                .filter_map(std::future::ready)
                .collect()
                .await;
            let none = taken.is_empty();
            all_taken &= taken.len() == size;
            if step(self, taken, Action::Purge).await.is_err() {
                return false;
            }
            // A receiver that takes nothing at all is not asked for each of a million letters.
            if none || self.0.stop.is_cancelled() {
                return false;
            }
        }
    }

    /// Where a target's letters go, as a target.
    fn receiver(&self, target: &Target) -> Option<Target> {
        let known = self.rules().current().target(target.key)?;
        match known.dead_letter.push.as_ref()? {
            DeadLetterPush::Target(name) => {
                let rule = self.rules().rule(&known.bus, &known.rule)?;
                let other = rule.target(name)?;
                // One that is paused or disabled gets nothing, by this way either.
                if stops(self.0.hub.standings.of(other).standing) {
                    return None;
                }
                let other = Target::clone(other);
                // Letters carry the event as it was published.
                Some(Target {
                    transform: None,
                    reply: None,
                    ..other
                })
            }
            DeadLetterPush::Url(url) => Some(known.for_dead_letters(url)),
        }
    }

    /// Offers one letter; gives it back when it was taken, and is to go.
    async fn push(&self, to: &Target, letter: DeadLetter) -> Option<DeadLetter> {
        let sender = &self.0.hub.sender;
        let logged = sender.log.event(letter.sequence).await.ok().flatten()?;
        let logged = Arc::new(LoggedEvent {
            event: with_facts(&logged.event, &letter),
            ..LoggedEvent::clone(&logged)
        });
        let id = format!(
            "dead-{}-{}-{}",
            letter.target.0,
            letter.sequence,
            letter.dead_at.as_millis()
        );
        let (headers, body, _) = encode::encode(to, std::slice::from_ref(&logged));
        let outcome = match Draft::new(to, &logged.event, headers, body) {
            Ok(draft) => sender.send(to, &id, draft, None).await,
            Err(reason) => Outcome::NotTransformed(reason),
        };
        let taken = matches!(&outcome, Outcome::Answered { status, .. } if status.is_success());
        if !taken {
            debug!(
                bus = %letter.bus, rule = %letter.rule, target = %letter.target_name,
                sequence = letter.sequence, status = outcome.status(), error = outcome.error(),
                "a dead letter was not taken: it stays"
            );
        }
        taken.then_some(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_while_a_receiver_refuses_and_are_forgotten_when_it_takes() {
        let now = Instant::now();
        let mut turn = Turn {
            under_way: true,
            not_before: now,
            wait: WAIT,
        };
        let mut waits = Vec::new();
        for _ in 0..12 {
            turn = turn.after(false, now);
            waits.push((turn.not_before - now).as_secs());
        }
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits.last(), Some(&WAIT_MAX.as_secs()));
        turn = turn.after(true, now);
        assert_eq!((turn.not_before, turn.wait), (now, WAIT));
    }
}
