//! What a lane tells about itself.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use super::breaker::BreakerState;
use super::consent::Consent;
use super::pace::Wait;
use crate::clock::Timestamp;
use crate::log::{BusName, RuleName, TargetId, TargetName};
use crate::rule::RateLimit;

/// The names under which a target is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub bus: BusName,
    pub rule: RuleName,
    pub target: TargetName,
}

/// How one target stands. Totals count since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneStatus {
    #[serde(skip)]
    pub key: TargetId,
    pub bus: BusName,
    pub rule: RuleName,
    pub target: TargetName,
    /// The rule or target was deleted; what is pending becomes dead letters.
    pub removed: bool,
    /// `active`, `paused` or `disabled`.
    pub state: &'static str,
    /// Since when it is paused or disabled.
    pub state_since: Option<Timestamp>,
    /// Why the bus disabled it: `gone` or `failing`.
    pub disabled_for: Option<&'static str>,
    /// Since when it has accepted nothing, to about a minute.
    pub failing_since: Option<Timestamp>,
    pub breaker: BreakerState,
    /// What deliveries wait for although the breaker is closed: `rate_limit`, or `retry_after` when
    /// the target answered 429 and said when to come back, `credentials` when a secret or token is
    /// not to be had, or `validation` until it agrees.
    pub throttled_by: Option<&'static str>,
    /// Of a target that must agree first: `pending`, `refused` or `granted`.
    pub validation: Option<&'static str>,
    /// What it answered instead of agreeing.
    pub validation_error: Option<String>,
    /// The most requests that it agreed to.
    pub allowed_rate: Option<RateLimit>,
    /// Attempts at once that the target is found to bear, up to its `concurrency`; 0 before the
    /// first one.
    pub concurrency: u64,
    /// Failures in a row.
    pub failures: u64,
    /// Attempts in flight; of a target that is pulled, leases.
    pub in_flight: u64,
    /// Requests that wait for deliveries of a target that is pulled; `None` of others.
    pub pulling: Option<u64>,
    /// Deliveries waiting in memory for their attempt.
    pub ready: u64,
    /// Deliveries parked for a retry, on disk.
    pub parked: u64,
    /// Deliveries waiting in chunks on disk for their first attempt.
    pub backlogged: u64,
    /// Since when the oldest delivery is pending, to about a second.
    pub oldest_pending: Option<Timestamp>,
    /// Deliveries that were accepted.
    pub delivered: u64,
    /// Failed attempts that will be tried again.
    pub retried: u64,
    pub dead_lettered: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Of the last failed attempt.
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    pub last_failed_at: Option<Timestamp>,
}

impl LaneStatus {
    /// Of a target that nothing was ever offered to.
    #[must_use]
    pub fn idle(key: TargetId, names: Names) -> Self {
        Self {
            key,
            bus: names.bus,
            rule: names.rule,
            target: names.target,
            removed: false,
            state: "active",
            state_since: None,
            disabled_for: None,
            failing_since: None,
            breaker: BreakerState::Closed,
            throttled_by: None,
            validation: None,
            validation_error: None,
            allowed_rate: None,
            concurrency: 0,
            failures: 0,
            in_flight: 0,
            pulling: None,
            ready: 0,
            parked: 0,
            backlogged: 0,
            oldest_pending: None,
            delivered: 0,
            retried: 0,
            dead_lettered: 0,
            attempts: 0,
            last_status: None,
            last_error: None,
            last_failed_at: None,
        }
    }
}

/// What a lane says of itself after each turn. It is shown whole: who sees that nothing is pending
/// sees no hold or breaker of before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// Attempts, each of which may be for several deliveries.
    pub(crate) in_flight: u64,
    /// Deliveries in memory that are not attempted yet.
    pub(crate) held: u64,
    /// Deliveries parked on disk.
    pub(crate) parked: u64,
    /// Since when the oldest on disk is pending.
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) removed: bool,
    pub(crate) breaker: BreakerState,
    pub(crate) failures: u64,
    pub(crate) concurrency: u64,
    pub(crate) waits: Option<Wait>,
    pub(crate) agreement: Agreement,
}

/// How it stands with a target's agreement, as its status shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreement {
    state: Option<&'static str>,
    reason: Option<String>,
    most: Option<RateLimit>,
}

impl From<&Consent> for Agreement {
    fn from(consent: &Consent) -> Self {
        Self {
            state: consent.as_str(),
            reason: match consent {
                Consent::Wanted { reason, .. } => reason.clone(),
                _ => None,
            },
            most: match consent {
                Consent::Granted { most } => *most,
                _ => None,
            },
        }
    }
}

/// Counters that the lane writes and anyone reads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) delivered: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) attempts: AtomicU64,
    last_failure: Mutex<Option<LastFailure>>,
}

#[derive(Debug, Clone)]
struct LastFailure {
    at: Timestamp,
    status: Option<u16>,
    error: Option<String>,
}

impl Counters {
    pub(crate) fn failed(&self, at: Timestamp, status: Option<u16>, error: Option<String>) {
        *self.last_failure.lock() = Some(LastFailure { at, status, error });
    }

    /// What a lane said of itself, and what was counted since.
    pub(crate) fn status(&self, key: TargetId, names: Names, said: Said) -> LaneStatus {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last = self.last_failure.lock().clone();
        LaneStatus {
            removed: said.removed,
            breaker: said.breaker,
            throttled_by: said.waits.map(Wait::as_str),
            validation: said.agreement.state,
            validation_error: said.agreement.reason,
            allowed_rate: said.agreement.most,
            concurrency: said.concurrency,
            failures: said.failures,
            in_flight: said.in_flight,
            ready: said.held,
            parked: said.parked,
            oldest_pending: said.oldest,
            delivered: get(&self.delivered),
            retried: get(&self.retried),
            dead_lettered: get(&self.dead_lettered),
            attempts: get(&self.attempts),
            last_status: last.as_ref().and_then(|last| last.status),
            last_error: last.as_ref().and_then(|last| last.error.clone()),
            last_failed_at: last.map(|last| last.at),
            ..LaneStatus::idle(key, names)
        }
    }
}
