//! Lets go of dead letters that are older than their target keeps them.
//!
//! A round goes over all letters, so many a second; that costs no index by age, and a letter goes
//! at most one round late. Trimming then frees the events.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::super::Delivery;
use super::{Action, step};
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{DeadLetter, LogError, Sequence, TargetId};
use crate::rule::RuleSet;
use crate::seldom::Seldom;

const EVERY: Duration = Duration::from_secs(1);

impl Delivery {
    /// Purges what has expired, until the bus stops.
    pub(in crate::delivery) async fn expire_letters(self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut after, mut troubles) = (None, Seldom::default());
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match self.sweep(after).await {
                Ok(next) => after = next,
                Err(error) if troubles.tells() => {
                    warn!(%error, "dead letters cannot be read; trying again");
                }
                Err(_) => {}
            }
        }
    }

    /// Looks at the letters behind `after`; where the next look begins.
    async fn sweep(
        &self,
        mut after: Option<(TargetId, Sequence)>,
    ) -> Result<Option<(TargetId, Sequence)>, LogError> {
        let rules = self.rules().current();
        let now = self.clock().now();
        let (mut looked_at, mut purged) = (0, 0);
        while looked_at < limits::DEAD_LETTER_SWEEP {
            let page = self.log().dead_letters(None, after, limits::BULK_RECORDS)?;
            let Some(last) = page.last() else {
                after = None;
                break;
            };
            after = Some((last.target, last.sequence));
            looked_at += page.len();
            let expired = page.into_iter();
            let expired = expired.filter(|letter| is_expired(letter, &rules, now));
            match step(self, expired.collect(), Action::Purge).await {
                Ok(removed) => purged += removed,
                Err(error) => {
                    warn!(%error, "expired dead letters cannot be purged just now");
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        if purged > 0 {
            info!(purged, "dead letters have expired");
        }
        Ok(after)
    }
}

/// Of a target that was deleted, the default holds.
fn is_expired(letter: &DeadLetter, rules: &RuleSet, now: Timestamp) -> bool {
    let target = rules.target(letter.target);
    let kept_for = target.map_or(limits::DEAD_LETTER_RETENTION, |target| {
        target.dead_letter.retention
    });
    now.since(letter.dead_at) > kept_for
}
