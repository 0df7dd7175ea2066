//! Spreads a target's requests in time: by its rate limit, and by the pauses that it asks for.
//!
//! The rate is kept by the generic cell rate algorithm: one moment, at which the next request would
//! go out if all had been spread evenly, is the whole state.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::rule::RateLimit;

/// When the next request may go out.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<RateLimit>,
    /// When the next request is due in an even spread; it may go out [`limits::RATE_AHEAD`] earlier.
    even: Instant,
    /// The target asked not to be sent anything before.
    hold: Option<Instant>,
    /// Requests cannot be prepared.
    lack: Option<Lack>,
    /// The target has not agreed to be sent anything; when to ask for it.
    consent: Option<Instant>,
}

/// A secret or a token that all requests of the target need is not to be had.
#[derive(Debug)]
struct Lack {
    why: String,
    until: Instant,
    wait: Duration,
    /// One request has been tried since.
    tried: bool,
}

/// How long a target rests whose requests cannot be prepared, at first.
const LACK_WAIT: Duration = Duration::from_secs(1);
const LACK_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a lane waits for although it may make attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    RateLimit(Instant),
    /// The target has not agreed to be sent anything; it is asked (again) then.
    Consent(Instant),
    /// The target answered 429 with `Retry-After`.
    RetryAfter(Instant),
    /// What requests prove themselves with is not there.
    Credentials(Instant),
}

impl Wait {
    /// As a target's status shows it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit(_) => "rate_limit",
            Self::Consent(_) => "validation",
            Self::RetryAfter(_) => "retry_after",
            Self::Credentials(_) => "credentials",
        }
    }

    pub(crate) fn until(self) -> Instant {
        match self {
            Wait::RateLimit(at)
            | Wait::RetryAfter(at)
            | Wait::Credentials(at)
            | Wait::Consent(at) => at,
        }
    }
}

impl Pace {
    pub(crate) fn new(rate: Option<RateLimit>, now: Instant) -> Self {
        Self {
            rate,
            even: now,
            hold: None,
            lack: None,
            consent: None,
        }
    }

    /// What the next request has to wait for.
    pub(crate) fn wait(&self, now: Instant) -> Option<Wait> {
        if let Some(at) = self.consent {
            return Some(Wait::Consent(at));
        }
        if let Some(until) = self.hold
            && now < until
        {
            return Some(Wait::RetryAfter(until));
        }
        if let Some(lack) = &self.lack
            && now < lack.until
        {
            return Some(Wait::Credentials(lack.until));
        }
        self.rate?;
        let due = self.even.checked_sub(limits::RATE_AHEAD)?;
        (now < due).then_some(Wait::RateLimit(due))
    }

    /// Whether requests are spread at all.
    pub(crate) fn is_bound(&self, now: Instant) -> bool {
        self.rate.is_some()
            || self.lack.is_some()
            || self.consent.is_some()
            || self.hold.is_some_and(|until| now < until)
    }

    /// A request goes out.
    pub(crate) fn took(&mut self, now: Instant) {
        if let Some(rate) = &self.rate {
            self.even = self.even.max(now) + rate.interval();
        }
        if let Some(lack) = &mut self.lack {
            // One is enough to find out whether the next would fare better.
            lack.tried = true;
            lack.until = now + lack.wait;
        }
    }

    /// Nothing was sent after all.
    pub(crate) fn give_back(&mut self) {
        if let Some(rate) = &self.rate
            && let Some(even) = self.even.checked_sub(rate.interval())
        {
            self.even = even;
        }
    }

    /// A new rate holds at once: what an old, slower one had put off is due by the new one.
    pub(crate) fn set_rate(&mut self, rate: Option<RateLimit>, now: Instant) {
        if rate == self.rate {
            return;
        }
        self.rate = rate;
        if let Some(rate) = &self.rate {
            self.even = self.even.min(now + rate.interval());
        }
    }

    /// The target asks not to be sent anything for so long.
    pub(crate) fn hold(&mut self, asked: Duration, now: Instant) {
        let until = now + asked.min(limits::RETRY_AFTER_MAX);
        self.hold = Some(self.hold.map_or(until, |hold| hold.max(until)));
    }

    /// A request could not be prepared: neither could the others that wait. What was under way at
    /// the same time says it again and changes nothing.
    pub(crate) fn lacks(&mut self, why: &str, now: Instant) {
        let wait = match &self.lack {
            None => LACK_WAIT,
            Some(lack) if lack.tried => (lack.wait * 2).min(LACK_WAIT_MAX),
            Some(_) => return,
        };
        self.lack = Some(Lack {
            why: why.to_owned(),
            until: now + wait,
            wait,
            tried: false,
        });
    }

    /// What requests lack.
    pub(crate) fn lack(&self) -> Option<&str> {
        self.lack.as_ref().map(|lack| lack.why.as_str())
    }

    /// A request was prepared, or may be by now.
    pub(crate) fn lacks_nothing(&mut self) {
        self.lack = None;
    }

    /// Nothing goes out until the target agrees, which it is asked at this moment; `None`: it has.
    pub(crate) fn await_consent(&mut self, ask_at: Option<Instant>) {
        self.consent = ask_at;
    }

    /// When to ask for the agreement that is missing.
    pub(crate) fn consent_due(&self) -> Option<Instant> {
        self.consent
    }

    /// Forgets what the target asked for: somebody changed it, or resumed it.
    pub(crate) fn let_go(&mut self) {
        self.hold = None;
        self.lack = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(text: &str) -> Option<RateLimit> {
        Some(RateLimit::parse(text).unwrap())
    }

    /// Sends whatever may go out now; how much.
    fn burst(pace: &mut Pace, now: Instant) -> u32 {
        let mut sent = 0;
        while pace.wait(now).is_none() && sent < 10_000 {
            pace.took(now);
            sent += 1;
        }
        sent
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        assert_eq!(burst(&mut Pace::new(None, now), now), 10_000);
    }

    #[test]
    fn an_idle_target_gets_a_tenth_of_a_second_ahead_and_one() {
        let now = Instant::now();
        for (text, expected) in [
            ("200/s", 21),
            ("10/s", 2),
            ("9/s", 1),
            ("60/m", 1),
            ("5/h", 1),
        ] {
            let mut pace = Pace::new(rate(text), now);
            assert_eq!(burst(&mut pace, now), expected, "{text}");
            // Rest is not saved up.
            let later = now + Duration::from_secs(100_000);
            assert_eq!(burst(&mut pace, later), expected, "{text} after a rest");
        }
    }

    #[test]
    fn it_says_when_the_next_may_go() {
        let now = Instant::now();
        let mut pace = Pace::new(rate("60/m"), now);
        pace.took(now);
        let due = now + Duration::from_millis(900);
        assert_eq!(pace.wait(now), Some(Wait::RateLimit(due)));
        assert_eq!(pace.wait(due), None);
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(rate("1/h"), now);
        pace.took(now);
        assert!(pace.wait(now + Duration::from_secs(3_000)).is_some());
        pace.set_rate(rate("200/s"), now);
        assert_eq!(pace.wait(now), None);
        assert!(burst(&mut pace, now) <= 21);
        pace.set_rate(rate("1/h"), now);
        let soon = now + Duration::from_secs(1);
        assert_eq!(burst(&mut pace, soon), 1);
        assert!(pace.wait(soon + Duration::from_secs(3_000)).is_some());
        pace.set_rate(None, soon);
        assert_eq!(pace.wait(soon), None);
    }

    #[test]
    fn what_was_not_sent_is_given_back() {
        let now = Instant::now();
        let mut pace = Pace::new(rate("1/h"), now);
        for _ in 0..1_000 {
            assert_eq!(pace.wait(now), None);
            pace.took(now);
            assert!(pace.wait(now).is_some());
            pace.give_back();
        }
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_to_its_bound() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        pace.hold(Duration::from_secs(30), now);
        pace.hold(Duration::from_secs(10), now);
        let until = now + Duration::from_secs(30);
        assert_eq!(pace.wait(now), Some(Wait::RetryAfter(until)));
        assert_eq!(pace.wait(until), None);
        pace.hold(Duration::from_secs(1 << 40), now);
        assert_eq!(pace.wait(now + limits::RETRY_AFTER_MAX), None);
        pace.hold(Duration::from_secs(30), now);
        pace.let_go();
        assert_eq!(pace.wait(now), None);
    }

    #[test]
    fn one_request_at_a_time_finds_out_whether_credentials_are_there() {
        let mut now = Instant::now();
        let mut pace = Pace::new(None, now);
        pace.lacks("no secret", now);
        pace.lacks("no secret", now);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let until = pace.wait(now).unwrap();
            assert!(matches!(until, Wait::Credentials(_)));
            waits.push((until.until() - now).as_secs());
            now = until.until();
            assert_eq!(burst(&mut pace, now), 1);
            pace.lacks("no secret", now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(pace.lack(), Some("no secret"));
        pace.lacks_nothing();
        assert_eq!(burst(&mut pace, now), 10_000);
        pace.lacks("no secret", now);
        let soon = Wait::Credentials(now + LACK_WAIT);
        assert_eq!(pace.wait(now), Some(soon), "it begins anew");
        pace.let_go();
        assert_eq!(pace.wait(now), None);
    }

    proptest! {
        /// Whenever it is asked, no stretch of time sees more than the rate allows; and one who
        /// asks each time he may gets the whole rate.
        #[test]
        fn no_stretch_of_time_sees_more_than_the_rate(
            requests in 1u32..2_000,
            unit in prop::sample::select(vec!["s", "m", "h"]),
            pauses in prop::collection::vec(0u64..400, 2..200),
        ) {
            let limit = RateLimit::parse(&format!("{requests}/{unit}")).unwrap();
            let interval = limit.interval();
            let start = Instant::now();
            let mut pace = Pace::new(Some(limit), start);
            let mut now = start;
            let mut sent: Vec<Instant> = Vec::new();
            for pause in pauses {
                now += interval.mul_f64(pause as f64 / 100.0);
                let many = burst(&mut pace, now);
                sent.extend((0..many).map(|_| now));
            }
            for (from, first) in sent.iter().enumerate() {
                for (to, last) in sent.iter().enumerate().skip(from) {
                    let stretch = last.duration_since(*first) + limits::RATE_AHEAD;
                    let allowed = 1 + (stretch.as_nanos() / interval.as_nanos()) as usize;
                    prop_assert!(to - from < allowed, "{from}..={to}");
                }
            }
            let mut eager = Pace::new(Some(limit), start);
            let mut now = start;
            for _ in 0..500 {
                if let Some(wait) = eager.wait(now) {
                    now = wait.until();
                }
                prop_assert_eq!(eager.wait(now), None);
                eager.took(now);
            }
            prop_assert!(now.duration_since(start) <= interval * 499);
        }
    }
}
