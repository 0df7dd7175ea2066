//! A lane of a target that is paused or disabled makes no attempts; one whose target is gone, or
//! fails for long, disables it.

use tokio::time::Instant;
use tracing::warn;

use super::Lane;
use crate::clock::Timestamp;
use crate::delivery::attempt::Done;
use crate::delivery::breaker::{Breaker, Gate};
use crate::delivery::next_step::Outcome;
use crate::delivery::notices::What;
use crate::delivery::standing::{Acceptance, Failing, stops};
use crate::log::Standing;
use crate::rule::Target;

impl Lane {
    /// Whether an attempt may start.
    pub(super) fn gate(&mut self, now: Instant) -> Gate {
        if stops(self.mark.standing) {
            Gate::Stopped
        } else {
            self.breaker.gate(now)
        }
    }

    /// Whether an attempt may start now.
    pub(super) fn lets_pass(&mut self, now: Instant) -> bool {
        matches!(self.gate(now), Gate::Pass | Gate::Probe)
    }

    /// Takes over how the target stands; `anew`: an operator or a new URL says so, and what was
    /// found out before counts no more.
    pub(super) fn take_standing(&mut self, anew: bool) {
        let Some(target) = &self.settings.target else {
            return;
        };
        self.mark = self.hub.standings.of(target);
        if anew && !stops(self.mark.standing) {
            self.breaker = Breaker::new();
            self.pace.let_go();
            self.failing = Failing::known(&self.mark);
            if self.parked > 0 {
                self.look_at = Some(Timestamp::from_millis(0));
            }
        }
    }

    /// Looks at what an attempt's end says of whether the target takes deliveries at all.
    pub(super) fn follow_acceptance(&mut self, dones: &[Done], sent_to: &Target, now: Timestamp) {
        let known = self.settings.target.clone();
        // An answer of where the target was before says nothing of where it is.
        let Some(target) = known.filter(|target| target.url == sent_to.url) else {
            return;
        };
        let outcomes = || dones.iter().filter_map(|done| done.outcome.as_ref());
        let Some(acceptance) = outcomes()
            .map(Acceptance::of)
            .find(|acceptance| *acceptance != Acceptance::Unknown)
        else {
            return;
        };
        let before = self.failing;
        let changed = self
            .failing
            .after(acceptance, &self.mark, target.disable_after, now);
        if changed.is_none() {
            return;
        }
        // Decided again under the lock: an operator may have been faster.
        let mut failing = before;
        let decided = self.hub.standings.change(&target, |mark| {
            failing.after(acceptance, &mark, target.disable_after, now)
        });
        if let Err(error) = decided {
            // The next attempt that ends tries again.
            warn!(target_key = target.key.0, %error, "how the target stands could not be written");
            return;
        }
        self.mark = self.hub.standings.of(&target);
        let Standing::Disabled(reason) = self.mark.standing else {
            return;
        };
        let names = &self.settings.names;
        warn!(
            bus = %names.bus, rule = %names.rule, target = %names.target,
            reason = reason.as_str(),
            failing_since = self.mark.failing_since.map(|since| since.to_string()),
            "the target is disabled: its deliveries wait until it is resumed"
        );
        self.tell(What::Disabled {
            reason,
            failing_since: self.mark.failing_since,
            last_status: outcomes().find_map(Outcome::status),
        });
    }

    /// Why a delivery of a target that is not sent to passed its max age.
    pub(super) fn why_stopped(&self) -> Option<String> {
        let state = stops(self.mark.standing).then(|| self.mark.standing.as_str())?;
        Some(format!(
            "it was not attempted: the target was {state} until the delivery had passed its max_age"
        ))
    }
}
