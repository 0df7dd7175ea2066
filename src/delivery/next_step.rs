//! Decides what happens to a delivery after an attempt.

use std::time::Duration;

use http::StatusCode;

use super::desk::GiveBack;
use crate::clock::Timestamp;
use crate::limits;
use crate::log::DeadLetterReason;
use crate::rule::RetryPolicy;

/// What came of trying to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target answered, and its body was read to the end or to the cap.
    Answered {
        status: StatusCode,
        /// When the target asked not to be tried before, by its `Retry-After`.
        retry_after: Option<Timestamp>,
        /// The start of the body, unless that is a reply.
        body: String,
    },
    /// The timeout ended before the body did; says what it waited for.
    TimedOut(String),
    /// No connection, or one that broke.
    Failed(String),
    /// The guard does not let the bus connect there; nothing was sent.
    AddressRefused(String),
    /// The log could not give the event just now; nothing was sent.
    NotRead(String),
    /// The request could not be made as its target wants it, for want of a secret or of a token;
    /// nothing was sent that the target took.
    NotPrepared(String),
    /// The target's transform cannot be applied to the event; nothing was sent.
    NotTransformed(String),
    /// The target answered with an event that could not be published.
    ReplyNotStored { status: StatusCode, error: String },
    /// The target answered with one reply too many in a row.
    ReplyLoops { status: StatusCode, error: String },
    /// The event is gone from the log or cannot be encoded; nothing was sent.
    Unreadable(String),
    /// The delivery had passed its max age before the attempt; nothing was sent.
    Expired,
    /// Its puller has done with it.
    Acknowledged,
    /// Its puller gave it back.
    GivenBack(GiveBack),
    /// Its puller said nothing while the lease lasted.
    LeaseEnded(String),
}

/// What an outcome says of the target itself, for its breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Up,
    Down,
    /// Nothing was sent.
    Unknown,
}

/// What the metrics call an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Success,
    /// 3xx, and the 1xx that no target should end with.
    Redirect,
    /// 4xx but 429.
    ClientError,
    TooManyRequests,
    ServerError,
    Timeout,
    /// No connection, or one that broke.
    Connection,
    /// The guard refused the address.
    Refused,
    /// A secret, a token or a certificate was lacking.
    NotPrepared,
    /// A puller's.
    Acknowledged,
    GivenBack,
    LeaseEnded,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Class; 12] = [
        Class::Success,
        Class::Redirect,
        Class::ClientError,
        Class::TooManyRequests,
        Class::ServerError,
        Class::Timeout,
        Class::Connection,
        Class::Refused,
        Class::NotPrepared,
        Class::Acknowledged,
        Class::GivenBack,
        Class::LeaseEnded,
    ];

    /// As the metrics write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Success => "2xx",
            Class::Redirect => "3xx",
            Class::ClientError => "4xx",
            Class::TooManyRequests => "429",
            Class::ServerError => "5xx",
            Class::Timeout => "timeout",
            Class::Connection => "connection",
            Class::Refused => "refused",
            Class::NotPrepared => "not_prepared",
            Class::Acknowledged => "acknowledged",
            Class::GivenBack => "given_back",
            Class::LeaseEnded => "lease_ended",
        }
    }

    /// Whether its time is that of a lease, which the puller's work decides.
    #[must_use]
    pub fn is_of_lease(self) -> bool {
        matches!(
            self,
            Class::Acknowledged | Class::GivenBack | Class::LeaseEnded
        )
    }
}

/// What to do with a delivery now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    Delivered,
    RetryAt(Timestamp),
    DeadLetter(DeadLetterReason),
}

impl Outcome {
    /// Whether something was sent, so that it counts as an attempt. A log that cannot be read
    /// counts as well: a delivery must not be tried without end.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        !matches!(
            self,
            Outcome::Expired
                | Outcome::Unreadable(_)
                | Outcome::AddressRefused(_)
                | Outcome::NotPrepared(_)
                | Outcome::NotTransformed(_)
        )
    }

    /// What it is counted under; `None` when there was nothing to be sent.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        match self {
            Outcome::Answered { status, .. }
            | Outcome::ReplyNotStored { status, .. }
            | Outcome::ReplyLoops { status, .. } => Some(match status.as_u16() {
                200..=299 => Class::Success,
                429 => Class::TooManyRequests,
                400..=499 => Class::ClientError,
                500.. => Class::ServerError,
                _ => Class::Redirect,
            }),
            Outcome::TimedOut(_) => Some(Class::Timeout),
            Outcome::Failed(_) => Some(Class::Connection),
            Outcome::AddressRefused(_) => Some(Class::Refused),
            Outcome::NotPrepared(_) => Some(Class::NotPrepared),
            Outcome::Acknowledged => Some(Class::Acknowledged),
            Outcome::GivenBack(_) => Some(Class::GivenBack),
            Outcome::LeaseEnded(_) => Some(Class::LeaseEnded),
            Outcome::NotRead(_)
            | Outcome::NotTransformed(_)
            | Outcome::Unreadable(_)
            | Outcome::Expired => None,
        }
    }

    /// What came of it in a word, also where nothing was sent.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.class(), self) {
            (Some(class), _) => class.as_str(),
            (None, Outcome::NotRead(_)) => "not_read",
            (None, Outcome::NotTransformed(_)) => "not_transformed",
            (None, Outcome::Expired) => "expired",
            (None, _) => "unreadable",
        }
    }

    /// 5xx, 429, timeouts and broken connections speak against the target; every other answer
    /// shows that it lives.
    #[must_use]
    pub fn health(&self) -> Health {
        match self {
            Outcome::Answered { status, .. } => {
                if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS {
                    Health::Down
                } else {
                    Health::Up
                }
            }
            Outcome::ReplyNotStored { .. } | Outcome::ReplyLoops { .. } => Health::Up,
            Outcome::TimedOut(_) | Outcome::Failed(_) => Health::Down,
            Outcome::AddressRefused(_)
            | Outcome::NotRead(_)
            | Outcome::NotPrepared(_)
            | Outcome::NotTransformed(_)
            | Outcome::Unreadable(_)
            | Outcome::Expired
            // Pullers come by themselves: there is nobody to be spared.
            | Outcome::Acknowledged
            | Outcome::GivenBack(_)
            | Outcome::LeaseEnded(_) => Health::Unknown,
        }
    }

    /// The status that the target answered with.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Outcome::Answered { status, .. }
            | Outcome::ReplyNotStored { status, .. }
            | Outcome::ReplyLoops { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// The error, or the start of the target's answer, as a dead letter keeps it.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match self {
            Outcome::Answered { body, .. } if body.is_empty() => None,
            Outcome::Answered { body: text, .. }
            | Outcome::ReplyNotStored { error: text, .. }
            | Outcome::ReplyLoops { error: text, .. }
            | Outcome::TimedOut(text)
            | Outcome::Failed(text)
            | Outcome::AddressRefused(text)
            | Outcome::NotRead(text)
            | Outcome::NotPrepared(text)
            | Outcome::NotTransformed(text)
            | Outcome::LeaseEnded(text)
            | Outcome::Unreadable(text) => Some(text.clone()),
            Outcome::GivenBack(how) => how.error.clone(),
            Outcome::Expired | Outcome::Acknowledged => None,
        }
    }

    /// The same text, to be changed.
    pub(crate) fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Outcome::Answered { body: text, .. }
            | Outcome::ReplyNotStored { error: text, .. }
            | Outcome::ReplyLoops { error: text, .. }
            | Outcome::TimedOut(text)
            | Outcome::Failed(text)
            | Outcome::AddressRefused(text)
            | Outcome::NotRead(text)
            | Outcome::NotPrepared(text)
            | Outcome::NotTransformed(text)
            | Outcome::LeaseEnded(text)
            | Outcome::Unreadable(text) => Some(text),
            Outcome::GivenBack(how) => how.error.as_mut(),
            Outcome::Expired | Outcome::Acknowledged => None,
        }
    }
}

enum Verdict {
    Delivered,
    Retry,
    Gone,
    Refused,
}

/// The status table. Redirects are never followed: a 3xx is a refusal like any other.
fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        404 | 408 | 409 | 425 | 429 | 500..=599 => Verdict::Retry,
        410 => Verdict::Gone,
        _ => Verdict::Refused,
    }
}

/// Decides from the outcome of an attempt; `attempts` are those made so far, this one included,
/// `since` is when the delivery became pending, `random` lies in `0.0..1.0`.
#[must_use]
pub fn next_step(
    outcome: &Outcome,
    attempts: u32,
    since: Timestamp,
    policy: &RetryPolicy,
    now: Timestamp,
    random: f64,
) -> NextStep {
    let mut asked = None;
    let mut delay = None;
    let mut exhausted = DeadLetterReason::AttemptsExhausted;
    match outcome {
        Outcome::Answered {
            status,
            retry_after,
            ..
        } => match verdict(*status) {
            Verdict::Delivered => return NextStep::Delivered,
            Verdict::Gone => return NextStep::DeadLetter(DeadLetterReason::Gone),
            Verdict::Refused => return NextStep::DeadLetter(DeadLetterReason::Refused),
            Verdict::Retry => {
                if matches!(status.as_u16(), 429 | 503) {
                    asked = *retry_after;
                }
            }
        },
        Outcome::TimedOut(_) | Outcome::Failed(_) => {}
        // No attempt was used up, so that only its age ends it.
        Outcome::NotPrepared(_) => {
            return in_time(
                now.plus(preparing(policy, since, now, random)),
                since,
                policy,
            );
        }
        Outcome::ReplyNotStored { .. } => {}
        Outcome::ReplyLoops { .. } => {
            return NextStep::DeadLetter(DeadLetterReason::ReplyLoop);
        }
        // It stays so until a name, the rule or the configuration changes, which no retry waits for.
        Outcome::AddressRefused(_) => {
            return NextStep::DeadLetter(DeadLetterReason::AddressRefused);
        }
        Outcome::NotRead(_) => exhausted = DeadLetterReason::Unreadable,
        Outcome::Unreadable(_) => return NextStep::DeadLetter(DeadLetterReason::Unreadable),
        Outcome::NotTransformed(_) => {
            return NextStep::DeadLetter(DeadLetterReason::NotTransformed);
        }
        Outcome::Expired => return NextStep::DeadLetter(DeadLetterReason::TooOld),
        Outcome::Acknowledged => return NextStep::Delivered,
        Outcome::GivenBack(how) if how.give_up => {
            return NextStep::DeadLetter(DeadLetterReason::Refused);
        }
        Outcome::GivenBack(how) => delay = how.delay,
        Outcome::LeaseEnded(_) => {}
    }
    if attempts >= policy.max_attempts {
        return NextStep::DeadLetter(exhausted);
    }
    let mut due = now.plus(delay.unwrap_or_else(|| back_off(policy, attempts, random)));
    if let Some(asked) = asked {
        due = due.max(asked.min(now.plus(limits::RETRY_AFTER_MAX)));
    }
    in_time(due, since, policy)
}

/// The retry, unless the delivery is too old by then.
fn in_time(due: Timestamp, since: Timestamp, policy: &RetryPolicy) -> NextStep {
    if due > since.plus(policy.max_age) {
        return NextStep::DeadLetter(DeadLetterReason::TooOld);
    }
    NextStep::RetryAt(due)
}

/// The wait after the `attempts`-th attempt: exponential with full jitter.
fn back_off(policy: &RetryPolicy, attempts: u32, random: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let bound = policy
        .initial_delay
        .saturating_mul(1 << doublings)
        .min(policy.max_delay);
    wait(policy, bound, random)
}

/// The wait of a delivery that cannot be prepared. There are no attempts to count; its age, which
/// each such wait about doubles, makes it exponential.
fn preparing(policy: &RetryPolicy, since: Timestamp, now: Timestamp, random: f64) -> Duration {
    let most = policy.max_delay.min(limits::NOT_PREPARED_WAIT_MAX);
    let bound = now.since(since).max(policy.initial_delay).min(most);
    wait(policy, bound, random)
}

/// A part of `bound` by chance. A tenth of the policy's first bound is the floor, so that an unlucky
/// draw of zero is never a hot loop.
fn wait(policy: &RetryPolicy, bound: Duration, random: f64) -> Duration {
    let floor = (policy.initial_delay / 10)
        .max(Duration::from_millis(1))
        .min(policy.max_delay.max(Duration::from_millis(1)));
    if policy.jitter {
        bound.mul_f64(random.clamp(0.0, 1.0)).max(floor)
    } else {
        bound.max(floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NextStep::{DeadLetter, Delivered, RetryAt};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 3,
            max_age: Duration::from_secs(3600),
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(600),
            jitter: false,
        }
    }

    fn answer(status: u16) -> Outcome {
        Outcome::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: String::new(),
        }
    }

    fn asking(status: u16, seconds: u64) -> Outcome {
        Outcome::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: Some(NOW.plus(Duration::from_secs(seconds))),
            body: String::new(),
        }
    }

    fn in_millis(millis: u64) -> NextStep {
        RetryAt(NOW.plus(Duration::from_millis(millis)))
    }

    #[test]
    fn a_pullers_word_is_followed() {
        let back = |delay: Option<u64>, give_up| {
            Outcome::GivenBack(GiveBack {
                delay: delay.map(Duration::from_secs),
                give_up,
                error: None,
            })
        };
        let ended = Outcome::LeaseEnded(String::new());
        let check = |outcome: &Outcome, attempts, expected: NextStep| {
            let step = next_step(outcome, attempts, NOW, &policy(), NOW, 0.5);
            assert_eq!(step, expected, "{outcome:?} {attempts}");
            assert!(outcome.is_attempt() && outcome.health() == Health::Unknown);
        };
        let exhausted = DeadLetter(DeadLetterReason::AttemptsExhausted);
        check(&Outcome::Acknowledged, 9, Delivered);
        check(&back(None, false), 1, in_millis(1_000));
        check(&back(None, false), 2, in_millis(2_000));
        check(&back(Some(0), false), 1, in_millis(0));
        check(&back(Some(70), false), 2, in_millis(70_000));
        check(&back(Some(70), false), 3, exhausted);
        check(
            &back(Some(3_601), false),
            1,
            DeadLetter(DeadLetterReason::TooOld),
        );
        check(
            &back(Some(1), true),
            1,
            DeadLetter(DeadLetterReason::Refused),
        );
        check(&ended, 2, in_millis(2_000));
        check(&ended, 3, exhausted);
    }

    #[test]
    fn an_attempt_is_counted_in_one_class() {
        for (at, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, at, "{}", class.as_str());
        }
        let text = String::new;
        for (outcome, class) in [
            (answer(200), Some("2xx")),
            (answer(299), Some("2xx")),
            (answer(304), Some("3xx")),
            (answer(101), Some("3xx")),
            (answer(404), Some("4xx")),
            (answer(429), Some("429")),
            (answer(503), Some("5xx")),
            (Outcome::TimedOut(text()), Some("timeout")),
            (Outcome::Failed(text()), Some("connection")),
            (Outcome::AddressRefused(text()), Some("refused")),
            (Outcome::NotPrepared(text()), Some("not_prepared")),
            (Outcome::NotRead(text()), None),
            (Outcome::NotTransformed(text()), None),
            (Outcome::Expired, None),
        ] {
            let found = outcome.class().map(Class::as_str);
            assert_eq!(found, class, "{outcome:?}");
        }
    }

    #[test]
    fn the_status_decides() {
        for status in [200, 201, 202, 204, 206, 299] {
            let step = next_step(&answer(status), 1, NOW, &policy(), NOW, 0.5);
            assert_eq!(step, Delivered, "{status}");
        }
        for status in [404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 599] {
            let step = next_step(&answer(status), 1, NOW, &policy(), NOW, 0.5);
            assert_eq!(step, in_millis(1_000), "{status}");
        }
        for status in [
            100, 101, 301, 302, 303, 304, 307, 308, 400, 401, 403, 405, 406, 411, 413, 415, 422,
            431, 451, 600, 999,
        ] {
            let step = next_step(&answer(status), 1, NOW, &policy(), NOW, 0.5);
            assert_eq!(step, DeadLetter(DeadLetterReason::Refused), "{status}");
        }
        assert_eq!(
            next_step(&answer(410), 1, NOW, &policy(), NOW, 0.5),
            DeadLetter(DeadLetterReason::Gone)
        );
    }

    #[test]
    fn what_never_reached_the_target_is_decided_too() {
        use DeadLetterReason::{AddressRefused, AttemptsExhausted, TooOld, Unreadable};
        let text = || "x".to_owned();
        for (outcome, attempts, expected) in [
            (Outcome::TimedOut(text()), 1, in_millis(1_000)),
            (Outcome::Failed(text()), 2, in_millis(2_000)),
            (Outcome::Failed(text()), 3, DeadLetter(AttemptsExhausted)),
            (
                Outcome::AddressRefused(text()),
                0,
                DeadLetter(AddressRefused),
            ),
            (Outcome::NotRead(text()), 1, in_millis(1_000)),
            (Outcome::NotRead(text()), 3, DeadLetter(Unreadable)),
            (Outcome::Unreadable(text()), 0, DeadLetter(Unreadable)),
            (Outcome::Expired, 0, DeadLetter(TooOld)),
            (
                Outcome::NotTransformed(text()),
                0,
                DeadLetter(DeadLetterReason::NotTransformed),
            ),
        ] {
            let step = next_step(&outcome, attempts, NOW, &policy(), NOW, 0.5);
            assert_eq!(step, expected, "{outcome:?} after {attempts}");
        }
    }

    #[test]
    fn what_cannot_be_prepared_uses_up_no_attempts_and_waits_longer_with_its_age() {
        let outcome = Outcome::NotPrepared("no secret".to_owned());
        assert!(!outcome.is_attempt());
        for (age, attempts, millis) in [
            (0, 0, 1_000),
            (1_500, 0, 1_500),
            (20_000, 3, 20_000),
            (20_000, 99, 20_000),
            (500_000, 0, 60_000),
        ] {
            let since = NOW.minus(Duration::from_millis(age));
            let step = next_step(&outcome, attempts, since, &policy(), NOW, 0.5);
            assert_eq!(step, in_millis(millis), "{age}");
        }
        let since = NOW.minus(Duration::from_secs(3_599));
        let step = next_step(&outcome, 0, since, &policy(), NOW, 0.5);
        assert_eq!(step, DeadLetter(DeadLetterReason::TooOld));
    }

    #[test]
    fn waits_double_up_to_the_bound() {
        let policy = RetryPolicy {
            max_attempts: 100,
            max_delay: Duration::from_secs(5),
            ..policy()
        };
        for (attempts, millis) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 5_000), (99, 5_000)] {
            let step = next_step(&answer(500), attempts, NOW, &policy, NOW, 0.0);
            assert_eq!(step, in_millis(millis), "{attempts}");
        }
    }

    #[test]
    fn jitter_takes_a_part_of_the_bound_but_never_nothing() {
        let policy = RetryPolicy {
            jitter: true,
            ..policy()
        };
        for (attempts, random, millis) in [
            (1, 0.0, 100),
            (1, 0.5, 500),
            (1, 0.99, 990),
            (2, 0.25, 500),
            (2, 0.0, 100),
        ] {
            let step = next_step(&answer(500), attempts, NOW, &policy, NOW, random);
            assert_eq!(step, in_millis(millis), "{attempts} {random}");
        }
        let immediate = RetryPolicy {
            initial_delay: Duration::ZERO,
            ..policy
        };
        assert_eq!(
            next_step(&answer(500), 1, NOW, &immediate, NOW, 0.0),
            in_millis(1)
        );
    }

    #[test]
    fn retry_after_is_obeyed_within_bounds() {
        let max = u64::try_from(limits::RETRY_AFTER_MAX.as_millis()).unwrap();
        for (outcome, millis) in [
            (asking(429, 30), 30_000),
            (asking(503, 30), 30_000),
            (asking(503, 0), 1_000),
            (asking(500, 30), 1_000),
            (asking(404, 30), 1_000),
            (asking(429, 1_000_000), max),
        ] {
            let step = next_step(&outcome, 1, NOW, &policy(), NOW, 0.0);
            assert_eq!(step, in_millis(millis), "{outcome:?}");
        }
    }

    #[test]
    fn a_retry_past_the_max_age_is_not_waited_for() {
        let since = NOW.minus(Duration::from_millis(3_600_000 - 999));
        assert_eq!(
            next_step(&answer(500), 1, since, &policy(), NOW, 0.0),
            DeadLetter(DeadLetterReason::TooOld)
        );
        let younger = since.plus(Duration::from_millis(1));
        assert_eq!(
            next_step(&answer(500), 1, younger, &policy(), NOW, 0.0),
            in_millis(1_000)
        );
    }

    #[test]
    fn only_answers_that_blame_the_target_count_against_it() {
        for (outcome, health) in [
            (answer(200), Health::Up),
            (answer(404), Health::Up),
            (answer(400), Health::Up),
            (answer(302), Health::Up),
            (answer(429), Health::Down),
            (answer(503), Health::Down),
            (Outcome::Failed(String::new()), Health::Down),
            (Outcome::TimedOut(String::new()), Health::Down),
            (Outcome::AddressRefused(String::new()), Health::Unknown),
            (Outcome::NotRead(String::new()), Health::Unknown),
            (Outcome::Expired, Health::Unknown),
        ] {
            assert_eq!(outcome.health(), health, "{outcome:?}");
        }
    }
}
