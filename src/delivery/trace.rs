//! Puts together what became of one event: from the rules, from what is remembered of attempts, and
//! from what the log holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::next_step::NextStep;
use super::traces::{Attempt, Mode};
use super::{Delivery, Names, names};
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{
    DeadLetter, LogError, LoggedEvent, Parked, RuleName, Sequence, TargetId, TargetName,
};
use crate::rule::{RuleSet, Target};

/// What became of an event.
#[derive(Debug, Clone)]
pub struct EventTrace {
    pub routed: Routed,
    /// By name.
    pub rules: Vec<RuleTrace>,
    /// Which attempts are remembered.
    pub mode: Mode,
    /// Of those, which ended before this may be forgotten.
    pub since: Timestamp,
    /// Not every target of rules that were changed or deleted since could be asked about.
    pub cut_short: bool,
}

/// How far an event has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    /// It waits for the time that it names.
    Scheduled(Timestamp),
    /// Its rules are looked for soon.
    NotYet,
    Done,
}

/// How we know that a rule matches the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The rule is as it was when the event came.
    AsRouted,
    /// The rule was put after the event came: whether it, or an earlier version, was asked about the
    /// event is not known. It would match.
    PutSince,
    /// The rule is gone, or does not match any more; there is a delivery, so that it once did.
    Earlier,
}

/// A rule that matches, or did.
#[derive(Debug, Clone)]
pub struct RuleTrace {
    pub rule: RuleName,
    pub basis: Basis,
    /// Of the rule as it is now; `None` when it is gone.
    pub revision: Option<Sequence>,
    /// In the rule's order.
    pub deliveries: Vec<DeliveryTrace>,
}

/// What became of the event at one target.
#[derive(Debug, Clone)]
pub struct DeliveryTrace {
    pub target: TargetName,
    pub key: TargetId,
    pub state: DeliveryState,
    /// Why nothing is tried just now: `paused`, `breaker` and the like.
    pub held_by: Option<&'static str>,
    pub since: Option<Timestamp>,
    /// Attempts made, as far as is known.
    pub attempts_made: u32,
    pub next_attempt: Option<Timestamp>,
    /// Of the last attempt, if it failed.
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    pub dead_letter: Option<DeadLetter>,
    /// Those that are remembered, in the order of their end.
    pub attempts: Vec<Attempt>,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// For its first attempt, or in it.
    Waiting,
    /// An attempt has been under way for a while.
    Sending,
    /// For the next attempt.
    Retrying,
    Delivered,
    Dead,
    /// It was given up, and its dead letter has been removed since.
    Removed,
    /// It was delivered, or its dead letter has been removed; which of these is not known any more.
    Settled,
    /// Whether there ever was a delivery is not known.
    Unknown,
}

/// What the log holds of a delivery.
#[derive(Debug, Clone)]
enum Kept {
    Dead(DeadLetter),
    Parked(Parked),
    Backlogged,
    Nothing,
}

impl DeliveryState {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Dead => "dead_lettered",
            Self::Removed => "dead_letter_removed",
            Self::Settled => "settled",
            Self::Unknown => "unknown",
        }
    }

    fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::Sending | Self::Retrying)
    }
}

impl Basis {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsRouted => "as_routed",
            Self::PutSince => "put_since",
            Self::Earlier => "earlier",
        }
    }
}

impl Delivery {
    /// What became of an event, as far as it is known.
    pub async fn trace(&self, event: Arc<LoggedEvent>) -> Result<EventTrace, LogError> {
        // What was decided before the question is in the answer.
        let log = self.log();
        log.visible(log.durable_through()).await;
        let delivery = self.clone();
        let traced = tokio::task::spawn_blocking(move || delivery.trace_now(&event)).await;
        traced.map_err(|error| LogError::Read(error.to_string()))?
    }

    fn trace_now(&self, event: &LoggedEvent) -> Result<EventTrace, LogError> {
        let sequence = event.sequence;
        let routed = match self.log().deferred(sequence)? {
            Some(due) => Routed::Scheduled(due),
            None if sequence > self.progress().routed_through() => Routed::NotYet,
            None => Routed::Done,
        };
        let rules = self.rules().current();
        let memory = &self.0.hub.traces;
        let mut attempts: BTreeMap<TargetId, Vec<Attempt>> = BTreeMap::new();
        for attempt in memory.of(sequence, self.now()) {
            attempts.entry(attempt.key).or_default().push(attempt);
        }
        let mut found: BTreeMap<RuleName, RuleTrace> = BTreeMap::new();
        let mut known = BTreeSet::new();
        let in_memory = self.progress().unsettled(sequence) > 0;
        for rule in rules.matching_rules(event) {
            let basis = if rule.revision < sequence {
                Basis::AsRouted
            } else {
                Basis::PutSince
            };
            let mut deliveries = Vec::with_capacity(rule.targets.len());
            for target in &rule.targets {
                known.insert(target.key);
                let attempts = attempts.remove(&target.key).unwrap_or_default();
                let facts = Facts {
                    routed,
                    basis,
                    in_memory,
                };
                let kept = self.kept(target.key, sequence)?;
                deliveries.push(self.delivery_of(
                    target.id.clone(),
                    target.key,
                    kept,
                    attempts,
                    facts,
                ));
            }
            let trace = RuleTrace {
                rule: rule.name.clone(),
                basis,
                revision: Some(rule.revision),
                deliveries,
            };
            found.insert(rule.name.clone(), trace);
        }
        // What does not match any more, or is gone.
        let mut others: Vec<TargetId> = attempts.keys().copied().collect();
        let mut with_state = self.log().targets_with_state()?;
        with_state.retain(|key| !known.contains(key) && !attempts.contains_key(key));
        let cut_short = with_state.len() > limits::TRACE_OTHER_TARGETS;
        with_state.truncate(limits::TRACE_OTHER_TARGETS);
        others.extend(with_state);
        for key in others {
            let kept = self.kept(key, sequence)?;
            let attempts = attempts.remove(&key).unwrap_or_default();
            if attempts.is_empty() && matches!(kept, Kept::Nothing) {
                continue;
            }
            let Some(names) = self.names_for(key, &rules, &kept, &attempts) else {
                continue;
            };
            let facts = Facts {
                routed,
                basis: Basis::Earlier,
                in_memory: false,
            };
            let delivery = self.delivery_of(names.target, key, kept, attempts, facts);
            let rule = rules.rule(&event.bus, &names.rule);
            let entry = found.entry(names.rule.clone());
            let trace = entry.or_insert_with(|| RuleTrace {
                rule: names.rule,
                basis: Basis::Earlier,
                revision: rule.map(|rule| rule.revision),
                deliveries: Vec::new(),
            });
            trace.deliveries.push(delivery);
        }
        Ok(EventTrace {
            routed,
            rules: found.into_values().collect(),
            mode: memory.mode(),
            since: memory.since(),
            cut_short,
        })
    }

    fn kept(&self, key: TargetId, sequence: Sequence) -> Result<Kept, LogError> {
        let log = self.log();
        if let Some(letter) = log.dead_letter(key, sequence)? {
            return Ok(Kept::Dead(letter));
        }
        if let Some(parked) = log.parked(key, sequence)? {
            return Ok(Kept::Parked(parked));
        }
        Ok(match log.is_pending(key, sequence)? {
            true => Kept::Backlogged,
            false => Kept::Nothing,
        })
    }

    /// The names of a target that no matching rule has.
    fn names_for(
        &self,
        key: TargetId,
        rules: &RuleSet,
        kept: &Kept,
        attempts: &[Attempt],
    ) -> Option<Names> {
        let known: Option<Arc<Target>> = rules.target(key);
        if let Some(target) = known {
            return Some(names(&target));
        }
        if let Some(attempt) = attempts.last() {
            return Some(Names::clone(&attempt.names));
        }
        if let Kept::Dead(letter) = kept {
            return Some(Names {
                bus: letter.bus.clone(),
                rule: letter.rule.clone(),
                target: letter.target_name.clone(),
            });
        }
        let lane = self.status(key)?;
        Some(Names {
            bus: lane.bus,
            rule: lane.rule,
            target: lane.target,
        })
    }

    fn delivery_of(
        &self,
        target: TargetName,
        key: TargetId,
        kept: Kept,
        attempts: Vec<Attempt>,
        facts: Facts,
    ) -> DeliveryTrace {
        let last = attempts.last();
        let state = state(&kept, last, facts);
        let mut trace = DeliveryTrace {
            target,
            key,
            state,
            held_by: state.is_pending().then(|| self.held_by(key)).flatten(),
            since: last.map(|attempt| attempt.since),
            attempts_made: last.map_or(0, |attempt| attempt.number),
            next_attempt: None,
            last_status: None,
            last_error: None,
            dead_letter: None,
            attempts,
        };
        if let (DeliveryState::Retrying, Some(NextStep::RetryAt(due))) =
            (state, trace.attempts.last().map(|attempt| attempt.step))
        {
            trace.next_attempt = Some(due);
            // Said again by the log, once it has been told.
            let last = trace.attempts.last();
            trace.last_status = last.and_then(|attempt| attempt.status);
            trace.last_error = last.and_then(|attempt| attempt.text.text().map(str::to_owned));
        }
        match kept {
            Kept::Dead(letter) => {
                trace.since = Some(letter.since);
                trace.attempts_made = letter.attempts;
                trace.last_status = letter.last_status;
                trace.last_error.clone_from(&letter.last_error);
                trace.dead_letter = Some(letter);
            }
            Kept::Parked(parked) if state.is_pending() => {
                trace.since = parked.known_since().or(trace.since);
                trace.attempts_made = parked.attempts;
                trace.last_status = parked.last_status;
                trace.last_error = parked.last_error;
                if state != DeliveryState::Sending {
                    trace.next_attempt = Some(parked.due);
                }
            }
            _ => {}
        }
        trace
    }

    /// What keeps a target's deliveries from being tried.
    fn held_by(&self, key: TargetId) -> Option<&'static str> {
        let lane = self.status(key)?;
        if lane.state != "active" {
            return Some(lane.state);
        }
        if lane.breaker != super::BreakerState::Closed {
            return Some("breaker");
        }
        lane.throttled_by
    }
}

/// What else a delivery's state follows from.
#[derive(Debug, Clone, Copy)]
struct Facts {
    routed: Routed,
    basis: Basis,
    /// Some delivery of the event is in memory only.
    in_memory: bool,
}

/// How a delivery stands, by what the log holds and by its last attempt that is remembered.
fn state(kept: &Kept, last: Option<&Attempt>, facts: Facts) -> DeliveryState {
    let step = last.map(|attempt| attempt.step);
    match kept {
        Kept::Dead(_) => DeliveryState::Dead,
        Kept::Parked(parked) => {
            let number = last.map_or(0, |attempt| attempt.number);
            let is_under_way = parked.last_status.is_none()
                && parked.last_error.is_none()
                && number < parked.attempts;
            match step {
                // The log is about to be told.
                Some(NextStep::Delivered) if number >= parked.attempts => DeliveryState::Delivered,
                _ if parked.attempts == 0 => DeliveryState::Waiting,
                _ if is_under_way => DeliveryState::Sending,
                _ => DeliveryState::Retrying,
            }
        }
        Kept::Backlogged => DeliveryState::Waiting,
        Kept::Nothing => match (step, facts) {
            (Some(NextStep::Delivered), _) => DeliveryState::Delivered,
            (Some(NextStep::RetryAt(_)), _) => DeliveryState::Retrying,
            (Some(NextStep::DeadLetter(_)), _) => DeliveryState::Removed,
            (None, facts) if facts.routed != Routed::Done => DeliveryState::Waiting,
            (None, facts) if facts.basis == Basis::PutSince => DeliveryState::Unknown,
            (None, facts) if facts.in_memory => DeliveryState::Waiting,
            (None, _) => DeliveryState::Settled,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::DeadLetterReason;

    fn parked(attempts: u32, last_status: Option<u16>) -> Kept {
        Kept::Parked(Parked {
            target: TargetId(1),
            sequence: 7,
            due: Timestamp::from_millis(9),
            attempts,
            since: Timestamp::from_millis(1),
            last_status,
            last_error: None,
        })
    }

    #[test]
    fn a_state_follows_from_the_log_and_the_last_attempt() {
        let retry = NextStep::RetryAt(Timestamp::from_millis(9));
        let dead = NextStep::DeadLetter(DeadLetterReason::Refused);
        let facts = Facts {
            routed: Routed::Done,
            basis: Basis::AsRouted,
            in_memory: false,
        };
        let unrouted = Facts {
            routed: Routed::NotYet,
            ..facts
        };
        let put_since = Facts {
            basis: Basis::PutSince,
            ..facts
        };
        let in_memory = Facts {
            in_memory: true,
            ..facts
        };
        let none = || Kept::Nothing;
        let cases = [
            (Kept::Backlogged, None, facts, DeliveryState::Waiting),
            (parked(0, None), None, facts, DeliveryState::Waiting),
            (parked(1, Some(503)), None, facts, DeliveryState::Retrying),
            // Written down while it is under way, or cut off by a crash.
            (parked(1, None), None, facts, DeliveryState::Sending),
            (
                parked(2, None),
                Some((1, retry)),
                facts,
                DeliveryState::Sending,
            ),
            // It failed without a word.
            (
                parked(1, None),
                Some((1, retry)),
                facts,
                DeliveryState::Retrying,
            ),
            (
                parked(2, None),
                Some((2, NextStep::Delivered)),
                facts,
                DeliveryState::Delivered,
            ),
            // Redriven.
            (
                parked(0, None),
                Some((3, dead)),
                facts,
                DeliveryState::Waiting,
            ),
            (
                none(),
                Some((1, NextStep::Delivered)),
                facts,
                DeliveryState::Delivered,
            ),
            (none(), Some((1, retry)), facts, DeliveryState::Retrying),
            (none(), Some((1, dead)), facts, DeliveryState::Removed),
            (none(), None, unrouted, DeliveryState::Waiting),
            (none(), None, put_since, DeliveryState::Unknown),
            (none(), None, in_memory, DeliveryState::Waiting),
            (none(), None, facts, DeliveryState::Settled),
        ];
        for (kept, last, facts, expected) in cases {
            let last = last.map(|(number, step)| Attempt::of(7, number, step));
            let found = state(&kept, last.as_ref(), facts);
            assert_eq!(found, expected, "{kept:?} {last:?} {facts:?}");
        }
    }
}
