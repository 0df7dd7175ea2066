//! What an operator does with a target: pauses it, resumes it, tries it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use super::attempt::Sender;
use super::draft::Draft;
use super::next_step::Outcome;
use super::standing::stops;
use super::transformed::transformed;
use super::{Delivery, encode, notices};
use crate::event::Event;
use crate::limits;
use crate::log::{AppendError, LoggedEvent, Standing, TargetId, TargetMark};
use crate::rule::Target;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    #[error("there is no such target")]
    NoTarget,
    #[error("the target is pulled: nothing is sent to it")]
    Pulled,
    #[error("{} targets are being tried just now", limits::TARGET_TESTS)]
    TooManyTests,
    /// The log did not take the change.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// The type of the event that tries a target.
const TEST: &str = "eventyard.target.test";

/// What came of trying a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The event that was sent.
    pub event_id: String,
    /// Whether a delivery that went so would count as delivered.
    pub delivered: bool,
    /// What the target answered, and the start of the answer's body.
    pub status: Option<u16>,
    pub response: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
    pub took: Duration,
}

impl Delivery {
    /// Makes no attempts for a target until it is resumed: what comes for it waits on disk. One that
    /// the bus has disabled stays so. Returns once that is on disk.
    pub async fn pause(&self, key: TargetId) -> Result<(), OperateError> {
        let now = self.now();
        self.set_standing(key, |mark| {
            (!stops(mark.standing)).then_some(TargetMark {
                standing: Standing::Paused,
                since: now,
                ..mark
            })
        })
        .await
    }

    /// Makes attempts again, at once: of a target that is paused or disabled, or whose breaker is
    /// open. Returns once that is on disk.
    pub async fn resume(&self, key: TargetId) -> Result<(), OperateError> {
        self.set_standing(key, |mark| {
            (!mark.says_nothing()).then_some(TargetMark {
                standing: Standing::Active,
                failing_since: None,
                ..mark
            })
        })
        .await
    }

    /// Sends the target one event of the bus's own, at once and beside all that waits for it: signed,
    /// transformed and guarded as any delivery, however the target stands. Nothing is retried, kept
    /// or counted, and a reply is not published.
    pub async fn try_target(&self, key: TargetId) -> Result<Trial, OperateError> {
        let target = self.live_target(key)?;
        if target.pull.is_some() {
            return Err(OperateError::Pulled);
        }
        let place = self.0.tests.try_acquire();
        let _place = place.map_err(|_| OperateError::TooManyTests)?;
        Ok(self.0.hub.sender.try_target(&target).await)
    }

    async fn set_standing(
        &self,
        key: TargetId,
        change: impl FnOnce(TargetMark) -> Option<TargetMark>,
    ) -> Result<(), OperateError> {
        let target = self.live_target(key)?;
        let changed = self.0.hub.standings.change(&target, change)?;
        let lane = self.0.lanes.read().get(&key).cloned();
        if let Some(lane) = lane {
            lane.standing_changed();
        }
        if let Some(record) = changed {
            info!(
                bus = %target.bus, rule = %target.rule, target = %target.id,
                state = self.0.hub.standings.of(&target).standing.as_str(),
                "the operator changed how the target stands"
            );
            self.log().settled(record).await?;
        }
        Ok(())
    }

    fn live_target(&self, key: TargetId) -> Result<Arc<Target>, OperateError> {
        let target = self.0.rules.current().target(key);
        target.ok_or(OperateError::NoTarget)
    }
}

impl Sender {
    async fn try_target(&self, target: &Target) -> Trial {
        let now = self.clock.now();
        // Like a delivery's id it has no dot, and no two are the same.
        let id = format!(
            "test-{}-{}-{:08x}",
            target.key,
            now.as_millis(),
            fastrand::u32(..)
        );
        let data = json!({
            "rule": target.rule.as_str(),
            "target": target.id.as_str(),
            "message": "A test of this target, asked for by an operator; nothing happened.",
        });
        let event = Event::builder(&id, &notices::source(&target.bus), TEST)
            .attribute("subject", format!("{}/{}", target.rule, target.id).as_str())
            .attribute("time", now.to_string().as_str())
            .json(data.to_string())
            .build();
        let started = Instant::now();
        let outcome = match event {
            Ok(event) => {
                let logged = LoggedEvent {
                    sequence: 0,
                    time: now,
                    bus: target.bus.clone(),
                    event,
                };
                let published = Arc::new(logged);
                match drafted(target, &published) {
                    Ok(draft) => self.send(target, &id, draft, None).await,
                    Err(reason) => Outcome::NotTransformed(reason),
                }
            }
            Err(error) => Outcome::Unreadable(error.to_string()),
        };
        let took = started.elapsed();
        let status = outcome.status();
        let (response, error) = match outcome {
            Outcome::Answered { body, .. } => (Some(body), None),
            other => (None, other.error()),
        };
        Trial {
            event_id: id,
            delivered: status.is_some_and(|status| (200..300).contains(&status)),
            status,
            response,
            error,
            took,
        }
    }
}

fn drafted(target: &Target, published: &Arc<LoggedEvent>) -> Result<Draft, String> {
    let made = transformed(target, Arc::clone(published))?;
    let (headers, body, _) = encode::encode(target, &[made]);
    Draft::new(target, &published.event, headers, body)
}
