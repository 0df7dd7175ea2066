//! What a puller asks of a target: deliveries, and to be believed what it says of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::desk::{Leased, Refused, Told, Word};
use super::lane::Handle;
use super::{Delivery, names};
use crate::limits;
use crate::log::{AppendError, TargetId};
use crate::rule::Target;

/// What is pulled.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Deliveries at most.
    pub most: usize,
    /// How long to wait for the first of them.
    pub wait: Duration,
    /// For how long they are leased; the target's `lease` when `None`.
    pub lease: Option<Duration>,
}

/// What was pulled. Its bytes count as the target's until it is dropped.
pub struct Pulled {
    pub deliveries: Vec<Leased>,
    bytes: usize,
    lane: Arc<Handle>,
}

impl std::fmt::Debug for Pulled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.deliveries).finish()
    }
}

impl Pulled {
    /// Lets go of the events, but not of their bytes: they are on their way.
    #[must_use]
    pub fn without_events(mut self) -> Self {
        self.deliveries = Vec::new();
        self
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        if self.lane.desk.sent(self.bytes) {
            self.lane.wake();
        }
    }
}

/// What a puller's word came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    Done,
    /// The token names no lease, or one that has ended.
    NotLeased,
}

/// Why nothing is pulled, or a word not known to be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    #[error("there is no such target")]
    NoTarget,
    #[error("requests are sent to the target")]
    NotPulled,
    #[error(
        "{} requests wait for deliveries of the target already",
        limits::PULLS_WAITING
    )]
    TooMany,
    /// The target has just changed.
    #[error("the target is just being opened for pulling, or closed")]
    Changing,
    #[error("the acknowledgement is not on disk yet, and may never be")]
    NotSafe,
    /// The log takes no records.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Delivery {
    /// Leases deliveries of a target. Waits for the first; none is an answer too. Dropped while it
    /// waits, it leases nothing.
    pub async fn pull(&self, key: TargetId, pull: Pull) -> Result<Pulled, PullError> {
        let until = Instant::now() + pull.wait.min(limits::PULL_WAIT_MAX);
        let (lane, lease) = self.pulled_lane(key)?;
        let most = pull.most.min(limits::PULL_DELIVERIES);
        let waiting = lane.desk.join(most, pull.lease.unwrap_or(lease));
        let waiting = waiting.map_err(|refused| match refused {
            Refused::Closed => PullError::Changing,
            Refused::TooMany => PullError::TooMany,
        })?;
        lane.wake();
        let deliveries = waiting.deliveries(until).await;
        Ok(Pulled {
            bytes: deliveries.iter().map(|leased| leased.event.len()).sum(),
            deliveries,
            lane,
        })
    }

    /// Takes a puller's word for deliveries, for each by itself. Returns once all that it
    /// acknowledged is on disk.
    pub async fn hear(
        &self,
        key: TargetId,
        tokens: &[String],
        word: &Word,
    ) -> Result<Vec<Answered>, PullError> {
        let (lane, lease) = self.pulled_lane(key)?;
        let now = Instant::now();
        let mut safe = Vec::new();
        let answered = tokens
            .iter()
            .map(|token| {
                let told = lane.desk.answer(token, word.clone(), lease, now);
                match told {
                    Told::Acknowledged(record) => {
                        safe.push(record);
                        Answered::Done
                    }
                    Told::Done => Answered::Done,
                    Told::NotLeased => Answered::NotLeased,
                }
            })
            .collect();
        let patience = now + limits::PULL_ACK_PATIENCE;
        let kept = async {
            let mut last = 0;
            for record in safe {
                last = last.max(record.await.map_err(|_| PullError::NotSafe)?);
            }
            match last {
                0 => Ok(()),
                last => self.log().settled(last).await.map_err(PullError::Append),
            }
        };
        match tokio::time::timeout_at(patience, kept).await {
            Ok(kept) => kept.map(|()| answered),
            Err(_) => Err(PullError::NotSafe),
        }
    }

    /// The lane of a target that is pulled, and how long it leases.
    fn pulled_lane(&self, key: TargetId) -> Result<(Arc<Handle>, Duration), PullError> {
        let target = self.0.rules.current().target(key);
        let target: Arc<Target> = target.ok_or(PullError::NoTarget)?;
        let pull = target.pull.as_ref().ok_or(PullError::NotPulled)?;
        let lane = self.0.lanes.read().get(&key).cloned();
        let lane = lane.unwrap_or_else(|| self.open_lane(key, names(&target)));
        // A lane that somebody else opens just now, or that has not heard of a change, has no open desk.
        self.refresh(&lane);
        Ok((lane, pull.lease))
    }
}
