//! Durations as rule files write them: `200ms 5s 10m 24h 14d`.

use std::time::Duration;

use serde::Serializer;

/// Units, largest first, each with its milliseconds. `ms` stands before `m` and `s`, of which it is made.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("a duration is a whole number and a unit, such as 200ms, 5s, 10m, 24h or 14d")]
    Form,
    #[error("this duration is longer than can be counted")]
    TooLong,
}

/// Reads a whole number followed at once by `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let (digits, millis) = UNITS
        .iter()
        .find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, *millis)))
        .ok_or(DurationError::Form)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DurationError::Form);
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or(DurationError::TooLong)
}

/// Writes a duration (whole milliseconds) in the largest unit that divides it; [`parse_duration`]
/// reads it back.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let unit = ["d", "h", "m", "s"]
        .iter()
        .filter_map(|wanted| UNITS.iter().find(|(unit, _)| unit == wanted))
        .find(|(_, millis)| total != 0 && total % millis == 0);
    match unit {
        Some((unit, millis)) => format!("{}{unit}", total / millis),
        None if total == 0 => "0s".to_owned(),
        None => format!("{total}ms"),
    }
}

pub(super) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_reads() {
        for (text, millis) in [
            ("200ms", 200),
            ("5s", 5_000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("14d", 1_209_600_000),
            ("0s", 0),
            ("007s", 7_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "5", "s", "5 s", " 5s", "5S", "1.5s", "-1s", "+1s", "1h30m", "5w", "٥s", "ms",
        ] {
            assert_eq!(parse_duration(text), Err(DurationError::Form), "{text}");
        }
        for text in ["99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), Err(DurationError::TooLong), "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_unit() {
        for (millis, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (60_000, "1m"),
            (90_000, "90s"),
            (172_800_000, "2d"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back(millis in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".*") {
            let _ = parse_duration(&text);
        }
    }
}
