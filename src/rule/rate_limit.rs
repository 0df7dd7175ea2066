//! How many in how long, requests to a target or redriven dead letters: `"200/s"`, `"60/m"`,
//! `"1000/h"`.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::problem::Problems;
use super::reader::{Node, short};
use crate::limits;

/// Units with their length.
const UNITS: [(&str, Duration); 3] = [
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(60 * 60)),
];

/// So many requests in so long, evenly spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    requests: u32,
    unit: &'static str,
    per: Duration,
}

/// Why a text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is a whole number from 1 to {max}, a slash and s, m or h, such as 200/s, 60/m or 1000/h",
    max = limits::RATE_LIMIT
)]
pub struct RateLimitError;

impl std::str::FromStr for RateLimit {
    type Err = RateLimitError;
    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        RateLimit::parse(text).ok_or(RateLimitError)
    }
}

impl RateLimit {
    /// Reads a whole number without leading zeros, a slash and `s`, `m` or `h`.
    #[must_use]
    pub fn parse(text: &str) -> Option<RateLimit> {
        let (digits, unit) = text.split_once('/')?;
        let (unit, per) = UNITS.iter().find(|(known, _)| *known == unit)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let requests: u32 = digits.parse().ok().filter(|_| plain)?;
        (1..=limits::RATE_LIMIT)
            .contains(&requests)
            .then_some(RateLimit {
                requests,
                unit,
                per: *per,
            })
    }

    /// So many in a minute; `None` for more than is ever counted, which limits nothing.
    #[must_use]
    pub fn in_a_minute(requests: u32) -> Option<RateLimit> {
        RateLimit::parse(&format!("{requests}/m"))
    }

    /// In whole requests a minute, one at least.
    #[must_use]
    pub fn per_minute(&self) -> u64 {
        let minute = Duration::from_secs(60).as_nanos();
        let requests = minute * u128::from(self.requests) / self.per.as_nanos();
        u64::try_from(requests).unwrap_or(u64::MAX).max(1)
    }

    /// How many are due once `elapsed` has passed in an even spread; the first one at once.
    #[must_use]
    pub fn due_after(&self, elapsed: Duration) -> u64 {
        let share = elapsed.as_nanos() * u128::from(self.requests) / self.per.as_nanos();
        u64::try_from(share).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The time between two requests.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.per / self.requests
    }
}

/// As it is written in a document.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.unit)
    }
}

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<RateLimit> {
    let text = node.string(r#"a rate such as "200/s""#, problems)?;
    match text.parse() {
        Ok(rate) => Some(rate),
        Err(error) => {
            let error: RateLimitError = error;
            let detail = format!("{:?} does not read: {error}", short(&text));
            node.problem(problems, detail);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back_as_it_was_written() {
        for (text, micros) in [
            ("200/s", 5_000),
            ("1/s", 1_000_000),
            ("60/m", 1_000_000),
            ("1000/h", 3_600_000),
            ("1000000/s", 1),
        ] {
            let rate = RateLimit::parse(text).unwrap();
            assert_eq!(rate.interval(), Duration::from_micros(micros), "{text}");
            assert_eq!(rate.to_string(), text);
        }
    }

    #[test]
    fn what_is_due_is_neither_more_nor_less_than_the_rate() {
        let rate = RateLimit::parse("50/s").unwrap();
        for (millis, due) in [(0, 1), (19, 1), (20, 2), (1_000, 51), (60_000, 3_001)] {
            let elapsed = Duration::from_millis(millis);
            assert_eq!(rate.due_after(elapsed), due, "{millis}");
        }
    }

    #[test]
    fn a_rate_is_told_in_requests_a_minute() {
        for (text, minute) in [("200/s", 12_000), ("60/m", 60), ("1000/h", 16), ("5/h", 1)] {
            assert_eq!(
                RateLimit::parse(text).unwrap().per_minute(),
                minute,
                "{text}"
            );
        }
        let allowed = RateLimit::in_a_minute(120).map(|rate| rate.to_string());
        assert_eq!(allowed.as_deref(), Some("120/m"));
        assert_eq!(RateLimit::in_a_minute(4_000_000_000), None);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "200",
            "/s",
            "0/s",
            "00/s",
            "07/s",
            "1000001/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/d",
            "1/ms",
            "1 /s",
            "1/ s",
            "1/s ",
            "1/S",
            "1/s/s",
            "٥/s",
        ] {
            assert_eq!(RateLimit::parse(text), None, "{text}");
        }
    }
}
