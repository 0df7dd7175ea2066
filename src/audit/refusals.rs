//! How many refused calls are written down: a burst, then a few a minute.

use crate::clock::Timestamp;
use crate::limits;

/// A bucket that fills with time.
#[derive(Debug)]
pub(super) struct Refusals {
    /// Each is as many thousandths of one as milliseconds have passed in a minute.
    left_millis: u64,
    as_of: Timestamp,
    left_out: u64,
}

const MINUTE_MILLIS: u64 = 60_000;
const EACH_MILLIS: u64 = MINUTE_MILLIS / limits::AUDIT_REFUSALS_PER_MINUTE;
const MOST_MILLIS: u64 = EACH_MILLIS * limits::AUDIT_REFUSALS_AT_ONCE;

impl Refusals {
    pub(super) fn new(now: Timestamp) -> Refusals {
        Refusals {
            left_millis: MOST_MILLIS,
            as_of: now,
            left_out: 0,
        }
    }

    /// Whether this one is written down, and how many before it were not.
    pub(super) fn admit(&mut self, now: Timestamp) -> Option<u64> {
        let passed = now.as_millis().saturating_sub(self.as_of.as_millis());
        self.as_of = self.as_of.max(now);
        self.left_millis = self.left_millis.saturating_add(passed).min(MOST_MILLIS);
        match self.left_millis.checked_sub(EACH_MILLIS) {
            Some(left) => {
                self.left_millis = left;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_a_burst_and_then_a_few_a_minute_and_all_are_counted() {
        let start = Timestamp::from_millis(1_000_000);
        let mut refusals = Refusals::new(start);
        let (mut written, mut left_out) = (0, 0);
        let hour = 60 * 60 * 10;
        for tenth in 0..hour {
            let now = start.plus(Duration::from_millis(100 * tenth));
            if let Some(count) = refusals.admit(now) {
                written += 1;
                left_out += count;
            }
        }
        let expected = limits::AUDIT_REFUSALS_AT_ONCE + 60 * limits::AUDIT_REFUSALS_PER_MINUTE;
        assert!(written <= expected && written + 2 >= expected, "{written}");
        assert_eq!(written + left_out + refusals.left_out, hour);
        // A clock that goes back gives nothing.
        let before = refusals.left_millis;
        refusals.admit(start);
        assert!(refusals.left_millis <= before);
    }
}
