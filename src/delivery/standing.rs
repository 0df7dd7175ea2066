//! Which targets are sent to, and since when one has accepted nothing: decided here, kept on disk.
//!
//! An operator pauses and resumes; the bus disables a target that answers 410, or that accepts
//! nothing for long. What the bus found out ends with the target's URL: another URL is another
//! receiver. What the operator said holds until he says otherwise.

use std::collections::HashMap;
use std::hash::Hasher;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Url;
use siphasher::sip::SipHasher13;
use tracing::warn;

use super::next_step::{Health, Outcome};
use super::status::LaneStatus;
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{
    AppendError, DisabledFor, Log, LogError, Record, Sequence, Standing, TargetId, TargetMark,
};
use crate::rule::{Rules, Target};

/// What the end of an attempt says of whether its target takes deliveries at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    Accepted,
    /// It failed, or refused this delivery.
    Not,
    /// It answered 410: nothing is ever to be sent there again.
    Gone,
    /// Nothing was sent, or nothing came of it for reasons of our own.
    Unknown,
}

impl Acceptance {
    pub(crate) fn of(outcome: &Outcome) -> Acceptance {
        match outcome.status() {
            Some(200..=299) => Acceptance::Accepted,
            Some(410) => Acceptance::Gone,
            _ if outcome.health() == Health::Unknown => Acceptance::Unknown,
            _ => Acceptance::Not,
        }
    }
}

/// For how long a target has accepted nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failing {
    since: Option<Timestamp>,
    /// Attempts in a row, since the bus started.
    attempts: u32,
    last: Option<Timestamp>,
}

impl Failing {
    /// Goes on with what was known at the last mark.
    pub(crate) fn known(mark: &TargetMark) -> Failing {
        Failing {
            since: mark.failing_since,
            attempts: 0,
            last: None,
        }
    }

    /// How the target stands after an attempt, when that is to be written down.
    pub(crate) fn after(
        &mut self,
        acceptance: Acceptance,
        mark: &TargetMark,
        disable_after: Option<Duration>,
        now: Timestamp,
    ) -> Option<TargetMark> {
        let is_active = mark.standing == Standing::Active;
        let disabled = |reason, failing_since| TargetMark {
            standing: Standing::Disabled(reason),
            since: now,
            failing_since,
            ..*mark
        };
        match acceptance {
            Acceptance::Unknown => None,
            Acceptance::Accepted => {
                *self = Failing::default();
                let was_known = mark.failing_since.is_some();
                // One that is disabled stays so, whatever an attempt from before comes to.
                let may_change = !matches!(mark.standing, Standing::Disabled(_));
                (was_known && may_change).then_some(TargetMark {
                    failing_since: None,
                    ..*mark
                })
            }
            Acceptance::Gone => {
                self.since.get_or_insert(now);
                is_active.then(|| disabled(DisabledFor::Gone, self.since))
            }
            Acceptance::Not => {
                // Of a long time without attempts nobody knows what it would have accepted.
                let gap = self.last.map_or(Duration::ZERO, |last| now.since(last));
                if disable_after.is_some_and(|most| gap > most / 2) {
                    *self = Failing::default();
                }
                self.last = Some(now);
                let since = *self.since.get_or_insert(now);
                self.attempts = self.attempts.saturating_add(1);
                if !is_active {
                    return None;
                }
                let lasted = now.since(since);
                let is_long = disable_after.is_some_and(|most| lasted >= most);
                if is_long && self.attempts >= limits::DISABLE_ATTEMPTS {
                    return Some(disabled(DisabledFor::Failing, Some(since)));
                }
                let is_news = mark.failing_since != Some(since);
                (is_news && lasted >= limits::FAILING_MARKED_AFTER).then_some(TargetMark {
                    failing_since: Some(since),
                    ..*mark
                })
            }
        }
    }
}

/// What is known of the targets that are not simply active. The log's order of records is the order
/// of changes here: both are made under one lock.
pub(crate) struct Standings {
    log: Log,
    marks: Mutex<HashMap<TargetId, TargetMark>>,
}

impl Standings {
    /// Reads what the log holds, as far as it holds still.
    pub(crate) fn load(log: Log, rules: &Rules) -> Result<Standings, LogError> {
        let marks = log.target_marks()?;
        let marks = marks.into_iter().map(|mark| (mark.target, mark)).collect();
        let standings = Standings {
            log,
            marks: Mutex::new(marks),
        };
        standings.forget_stale(rules);
        Ok(standings)
    }

    /// Forgets what is known of targets that are gone, and of the URL that another one had: put back
    /// to its old one, such a target is sent to like any other, unless it is paused.
    pub(crate) fn forget_stale(&self, rules: &Rules) {
        let mut marks = self.marks.lock();
        // Asked under the lock: a mark made after a change is looked at by that change.
        let rules = rules.current();
        let is_stale = |mark: &TargetMark| {
            rules
                .target(mark.target)
                .is_none_or(|target| fingerprint(&target.url) != mark.url)
        };
        let now = |mark: &TargetMark| match rules.target(mark.target) {
            Some(target) => of(&marks, &target),
            None => unmarked(mark.target, mark.url),
        };
        let stale = marks.values().filter(|mark| is_stale(mark));
        let changed: Vec<TargetMark> = stale.map(now).collect();
        if changed.is_empty() {
            return;
        }
        let records: Vec<Record> = changed.iter().copied().map(Record::TargetMarked).collect();
        match self.log.enqueue(&records) {
            Ok(_) => {
                for mark in changed {
                    set(&mut marks, mark);
                }
            }
            Err(error) => {
                warn!(%error, "what was known of changed targets is forgotten with the next change");
            }
        }
    }

    /// How a target stands.
    pub(crate) fn of(&self, target: &Target) -> TargetMark {
        of(&self.marks.lock(), target)
    }

    /// How a target stands that may have been deleted.
    pub(crate) fn known(&self, key: TargetId, target: Option<&Target>) -> TargetMark {
        target.map_or_else(|| unmarked(key, 0), |target| self.of(target))
    }

    /// Changes how a target stands; the record that says so, unless `change` gives none.
    pub(crate) fn change(
        &self,
        target: &Target,
        change: impl FnOnce(TargetMark) -> Option<TargetMark>,
    ) -> Result<Option<Sequence>, AppendError> {
        let mut marks = self.marks.lock();
        let Some(mark) = change(of(&marks, target)) else {
            return Ok(None);
        };
        let sequence = self.log.enqueue(&[Record::TargetMarked(mark)])?;
        set(&mut marks, mark);
        Ok(Some(sequence))
    }

    /// Targets that are not sent to.
    pub(crate) fn stopped(&self) -> Vec<TargetId> {
        let marks = self.marks.lock();
        let stopped = marks.values().filter(|mark| stops(mark.standing));
        stopped.map(|mark| mark.target).collect()
    }

    /// Puts into a status how its target stands.
    pub(crate) fn show(&self, target: &Target, status: &mut LaneStatus) {
        let mark = self.of(target);
        status.state = mark.standing.as_str();
        status.state_since = stops(mark.standing).then_some(mark.since);
        status.disabled_for = match mark.standing {
            Standing::Disabled(reason) => Some(reason.as_str()),
            Standing::Active | Standing::Paused => None,
        };
        status.failing_since = mark.failing_since;
    }
}

/// Whether no attempts are made.
pub(crate) fn stops(standing: Standing) -> bool {
    standing != Standing::Active
}

fn of(marks: &HashMap<TargetId, TargetMark>, target: &Target) -> TargetMark {
    let url = fingerprint(&target.url);
    match marks.get(&target.key).copied() {
        Some(mark) if mark.url == url => mark,
        // The pause is the operator's, wherever the target is now.
        Some(mark) if mark.standing == Standing::Paused => TargetMark {
            url,
            failing_since: None,
            ..mark
        },
        _ => unmarked(target.key, url),
    }
}

fn set(marks: &mut HashMap<TargetId, TargetMark>, mark: TargetMark) {
    if mark.says_nothing() {
        marks.remove(&mark.target);
    } else {
        marks.insert(mark.target, mark);
    }
}

fn unmarked(target: TargetId, url: u64) -> TargetMark {
    TargetMark {
        target,
        standing: Standing::Active,
        since: Timestamp::default(),
        failing_since: None,
        url,
    }
}

/// Kept on disk, so it must stay what it is; the URL itself may hold what is not for everybody.
fn fingerprint(url: &Url) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(url.as_str().as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::Acceptance::{Accepted, Gone, Not, Unknown};
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn marked(standing: Standing, failing_since: Option<u64>) -> TargetMark {
        TargetMark {
            standing,
            failing_since: failing_since.map(at),
            ..unmarked(TargetId(1), 7)
        }
    }

    #[test]
    fn only_a_2xx_is_acceptance_and_what_was_not_sent_says_nothing() {
        use http::StatusCode;
        let answered = |status: u16| Outcome::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: String::new(),
        };
        let text = String::new;
        let replied = Outcome::ReplyNotStored {
            status: StatusCode::OK,
            error: text(),
        };
        for (outcome, acceptance) in [
            (answered(200), Accepted),
            (answered(204), Accepted),
            (replied, Accepted),
            (answered(302), Not),
            (answered(404), Not),
            (answered(400), Not),
            (answered(410), Gone),
            (answered(503), Not),
            (Outcome::Failed(text()), Not),
            (Outcome::TimedOut(text()), Not),
            (Outcome::AddressRefused(text()), Unknown),
            (Outcome::NotPrepared(text()), Unknown),
            (Outcome::NotRead(text()), Unknown),
            (Outcome::Expired, Unknown),
        ] {
            assert_eq!(Acceptance::of(&outcome), acceptance, "{outcome:?}");
        }
    }

    /// Feeds attempts at these seconds; what is written down at the last one.
    fn last(
        mark: &TargetMark,
        disable_after: Option<Duration>,
        attempts: &[(u64, Acceptance)],
    ) -> Option<TargetMark> {
        let mut failing = Failing::known(mark);
        let mut last = None;
        for (seconds, acceptance) in attempts {
            last = failing.after(*acceptance, mark, disable_after, at(*seconds));
        }
        last
    }

    fn failing(times: u64, every: u64) -> Vec<(u64, Acceptance)> {
        (0..times).map(|n| (100 + n * every, Not)).collect()
    }

    #[test]
    fn a_target_that_fails_for_long_is_disabled_from_its_tenth_attempt_on() {
        let active = marked(Standing::Active, None);
        let five_days = Some(DAY * 5);
        let hours = 3_600;
        let disabled = TargetMark {
            standing: Standing::Disabled(DisabledFor::Failing),
            since: at(100 + 9 * 14 * hours),
            failing_since: Some(at(100)),
            ..active
        };
        assert_eq!(
            last(&active, five_days, &failing(10, 14 * hours)),
            Some(disabled)
        );
        let known = last(&active, five_days, &failing(9, 14 * hours)).unwrap();
        assert_eq!(known, marked(Standing::Active, Some(100)), "too few");
        let known = last(&active, five_days, &failing(10, 12 * hours)).unwrap();
        assert_eq!(known.standing, Standing::Active, "too short");
        let known = last(&active, None, &failing(1_000, 14 * hours)).unwrap();
        assert_eq!(known.standing, Standing::Active, "never");
        let mut once = failing(10, 14 * hours);
        once[4].1 = Accepted;
        let known = last(&active, five_days, &once).unwrap();
        assert_eq!(known.standing, Standing::Active, "it took one");
        let mut pause = failing(20, 60);
        for attempt in &mut pause[1..] {
            attempt.0 += 6 * 86_400;
        }
        let known = last(&active, five_days, &pause).unwrap_or(active);
        assert_eq!(
            known.standing,
            Standing::Active,
            "nothing came for six days"
        );
    }

    #[test]
    fn what_was_known_before_a_restart_counts() {
        let known = marked(Standing::Active, Some(100));
        let at_six_days = 6 * 86_400;
        let mut attempts: Vec<_> = (0..9).map(|n| (at_six_days + n, Not)).collect();
        assert_eq!(last(&known, Some(DAY * 5), &attempts), None);
        attempts.push((at_six_days + 9, Not));
        let disabled = last(&known, Some(DAY * 5), &attempts).unwrap();
        assert_eq!(disabled.failing_since, Some(at(100)));
        assert_eq!(disabled.standing, Standing::Disabled(DisabledFor::Failing));
    }

    #[test]
    fn a_hiccup_is_not_written_down_and_an_end_of_failing_is() {
        let active = marked(Standing::Active, None);
        assert_eq!(last(&active, Some(DAY), &failing(50, 1)), None);
        assert_eq!(last(&active, Some(DAY), &[(100, Accepted)]), None);
        let known = last(&active, Some(DAY), &failing(3, 30));
        assert_eq!(known, Some(marked(Standing::Active, Some(100))));
        let known = known.unwrap();
        assert_eq!(last(&known, Some(DAY), &[(900, Unknown)]), None);
        let over = last(&known, Some(DAY), &[(900, Accepted)]).unwrap();
        assert!(over.says_nothing());
    }

    #[test]
    fn a_410_disables_at_once_and_attempts_from_before_change_nothing() {
        let active = marked(Standing::Active, None);
        let gone = last(&active, None, &[(100, Gone)]).unwrap();
        assert_eq!(gone.standing, Standing::Disabled(DisabledFor::Gone));
        assert_eq!(gone.since, at(100));
        for stopped in [gone.standing, Standing::Paused] {
            let mark = marked(stopped, None);
            for acceptance in [Gone, Not, Accepted, Unknown] {
                assert_eq!(last(&mark, Some(DAY), &[(9_000_000, acceptance)]), None);
            }
        }
    }
}
