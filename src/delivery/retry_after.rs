//! Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or one of the three HTTP date forms.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// When the target asks not to be tried before; `None` when the value is neither seconds nor a
/// date, which is then ignored.
#[must_use]
pub(crate) fn parse(value: &str, now: Timestamp) -> Option<Timestamp> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(now.plus(Duration::from_secs(seconds)));
    }
    // RFC 9110 section 5.6.7: the fixed form, and two obsolete ones that must be understood.
    [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    ]
    .into_iter()
    .find_map(|form| DateTime::strptime(form, value).ok())
    .and_then(|date| date.to_zoned(TimeZone::UTC).ok())
    .and_then(|zoned| u64::try_from(zoned.timestamp().as_millisecond()).ok())
    .map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(784_111_700_000);

    fn check(value: &str, expected: Option<u64>) {
        assert_eq!(
            parse(value, NOW),
            expected.map(Timestamp::from_millis),
            "{value}"
        );
    }

    #[test]
    fn seconds_and_dates_are_read() {
        check("0", Some(784_111_700_000));
        check(" 120 ", Some(784_111_820_000));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777_000));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777_000));
        check("99999999999999999999999", Some(u64::MAX));
    }

    #[test]
    fn anything_else_is_ignored() {
        for value in [
            "",
            "soon",
            "-1",
            "1.5",
            "1e3",
            "+5",
            "Sun, 32 Nov 1994 08:49:37 GMT",
        ] {
            check(value, None);
        }
    }
}
