//! A target that must agree before it is sent anything: it is asked once there is something for it,
//! and deliveries wait, without attempts, until it does.

use tokio::time::Instant;
use tracing::{info, warn};

use super::Lane;
use crate::delivery::breaker::Gate;
use crate::delivery::consent::{self, Answer, Consent};
use crate::limits;
use crate::rule::Target;

impl Lane {
    /// The settings have changed: what was agreed holds on only for the same question.
    pub(super) fn renew_consent(&mut self, before: Option<&Target>) {
        let target = self.settings.target.as_deref();
        let same = before
            .zip(target)
            .is_some_and(|(before, target)| consent::is_same(before, target));
        if same {
            return;
        }
        self.questions.abort_all();
        self.asked = false;
        self.consent = Consent::of(target);
        let needs = matches!(self.consent, Consent::Wanted { .. });
        self.pace.await_consent(needs.then(Instant::now));
    }

    /// The rate that requests go out at.
    pub(super) fn follow_rate(&mut self, now: Instant) {
        let own = self
            .settings
            .target
            .as_ref()
            .and_then(|target| target.rate_limit);
        self.pace.set_rate(self.consent.rate(own), now);
    }

    /// Asks when there is something to deliver, and it is time.
    pub(super) fn follow_consent(&mut self, now: Instant) {
        let Some(due) = self.pace.consent_due() else {
            return;
        };
        let waiting = self.handle.inbox.waiting();
        let idle = self.parked <= 0
            && self.loaded.is_empty()
            && waiting.ready == 0
            && waiting.unloaded == 0
            && waiting.spilled == 0;
        let stopped = matches!(self.gate(now), Gate::Stopped);
        if self.asked || now < due || idle || stopped {
            return;
        }
        let Some(target) = self.settings.target.clone() else {
            return;
        };
        self.asked = true;
        self.pace
            .await_consent(Some(now + target.timeout + limits::CONSENT_WAIT));
        let hub = self.hub.clone();
        self.questions.spawn(async move {
            match &target.validation {
                Some(validation) => hub.sender.ask_consent(&target, validation).await,
                None => Answer::Granted { most: None },
            }
        });
    }

    /// Takes an answer.
    pub(super) fn answered(&mut self, answer: Option<Answer>) {
        let Consent::Wanted { refusals, .. } = &self.consent else {
            return;
        };
        let (now, refusals) = (Instant::now(), *refusals);
        self.asked = false;
        let names = &self.settings.names;
        match answer {
            Some(Answer::Granted { most }) => {
                info!(
                    bus = %names.bus, rule = %names.rule, target = %names.target,
                    most = most.map(|most| most.to_string()),
                    "the target agreed to be sent events"
                );
                self.consent = Consent::Granted { most };
                self.pace.await_consent(None);
                self.follow_rate(now);
            }
            refused => {
                let reason = match refused {
                    Some(Answer::Refused(reason)) => reason,
                    _ => "the question was not asked".to_owned(),
                };
                if refusals == 0 {
                    warn!(
                        bus = %names.bus, rule = %names.rule, target = %names.target, reason,
                        "the target does not agree to be sent events: deliveries wait"
                    );
                }
                self.consent = Consent::Wanted {
                    refusals: refusals + 1,
                    reason: Some(reason),
                };
                let wait = self.consent.wait(fastrand::f64());
                self.pace.await_consent(Some(now + wait));
            }
        }
    }

    /// Why deliveries are not attempted, when it is for want of the target's agreement.
    pub(super) fn why_not_agreed(&self) -> Option<String> {
        match &self.consent {
            Consent::NotNeeded | Consent::Granted { .. } => None,
            Consent::Wanted { reason, .. } => Some(format!(
                "the target has not agreed to be sent events (validation): {}",
                reason.as_deref().unwrap_or("it has not answered yet")
            )),
        }
    }
}
