//! How fast a key may be used.
//!
//! The generic cell rate algorithm, as for targets: the moment at which the next call would come if
//! all were spread evenly is the whole state. A batch is let in whole and paid for afterwards, since
//! how much it holds is not known before it was read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::rule::RateLimit;

#[derive(Debug)]
pub(super) struct Pace {
    pub(super) rate: RateLimit,
    began: Instant,
    /// Nanoseconds after `began`: when the next call is due in an even spread.
    even: AtomicU64,
}

impl Pace {
    pub(super) fn new(rate: RateLimit, now: Instant) -> Pace {
        Pace {
            rate,
            began: now,
            even: AtomicU64::new(0),
        }
    }

    /// Takes one call, or says how long to wait for it.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let now = self.nanos(now);
        let latest = now.saturating_add(nanos(limits::API_KEY_RATE_AHEAD));
        let step = nanos(self.rate.interval());
        let next = |even: u64| (even <= latest).then(|| even.max(now).saturating_add(step));
        match self
            .even
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        {
            Ok(_) => Ok(()),
            Err(even) => Err(Duration::from_nanos(even - latest)),
        }
    }

    /// Pays for so many more calls than the one that was taken.
    pub(super) fn charge(&self, more: u64, now: Instant) {
        let now = self.nanos(now);
        let time = nanos(self.rate.interval()).saturating_mul(more);
        let next = |even: u64| Some(even.max(now).saturating_add(time));
        let _ = self
            .even
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.began))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_is_as_fast_as_its_rate_and_a_second_ahead_of_it() {
        let began = Instant::now();
        for (rate, at_once, in_a_minute) in [("10/s", 11, 611), ("60/m", 2, 62), ("1/h", 1, 1)] {
            let pace = Pace::new(RateLimit::parse(rate).unwrap(), began);
            let (mut taken, mut at_start) = (0, 0);
            for step in 0..=60_000 {
                let now = began + Duration::from_millis(step);
                while pace.take(now).is_ok() {
                    taken += 1;
                }
                if step == 0 {
                    at_start = taken;
                }
            }
            assert_eq!((at_start, taken), (at_once, in_a_minute), "{rate}");
        }
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in_and_not_before() {
        let began = Instant::now();
        let pace = Pace::new(RateLimit::parse("1/m").unwrap(), began);
        pace.take(began).unwrap();
        let wait = pace.take(began).unwrap_err();
        assert_eq!(wait, 59 * SECOND);
        let due = began + wait;
        assert!(pace.take(due - Duration::from_millis(1)).is_err());
        pace.take(due).unwrap();
    }

    #[test]
    fn a_batch_is_paid_for_event_by_event() {
        let began = Instant::now();
        let pace = Pace::new(RateLimit::parse("10/s").unwrap(), began);
        pace.take(began).unwrap();
        pace.charge(99, began);
        assert_eq!(pace.take(began), Err(9 * SECOND));
        // Time that passed unused is no credit.
        let later = began + 100 * SECOND;
        pace.take(later).unwrap();
        pace.charge(99, later);
        assert_eq!(pace.take(later), Err(9 * SECOND));
        pace.charge(u64::MAX, later);
        assert!(pace.take(later).is_err());
    }
}
