//! Whether a text is an RFC 3339 timestamp, and of which moment. The text itself is what the bus
//! keeps: its offset and its digits are the sender's.

/// Two decimal digits at `at`.
fn two(text: &[u8], at: usize) -> Option<u32> {
    match text.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
        }
        _ => None,
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Minutes east of UTC that the zone at the end of a timestamp says.
fn offset_minutes(zone: &[u8]) -> Option<i32> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (two(zone, 1)?, two(zone, 4)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = i32::try_from(hours * 60 + minutes).ok()?;
            Some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

/// Whether this minute is the last of a month in UTC: the only one that a leap second may end
/// (RFC 3339, section 5.7).
fn ends_month_in_utc(year: u32, month: u32, day: u32, minute_of_day: u32, offset: i32) -> bool {
    match i32::try_from(minute_of_day).unwrap_or(0) - offset {
        1439 => day == days_in(year, month),
        // East of UTC, where the local day has begun while UTC ends the one before. West of it the
        // local day is never behind at that minute, since offsets stay under 24 hours.
        -1 => day == 1,
        _ => false,
    }
}

/// Whether the text is a `date-time` of RFC 3339, section 5.6: lower-case `t` and `z`, any number
/// of fractional digits, offsets and leap seconds included; a space instead of the `T` is not.
pub(super) fn is_timestamp(text: &str) -> bool {
    millis(text).is_some()
}

/// The moment that a timestamp names, in milliseconds since 1970; what is shorter is left out. All that
/// [`is_timestamp`] takes have one, the last day of the year 9999 and fractions of twenty digits too.
pub(super) fn millis(text: &str) -> Option<i64> {
    let text = text.as_bytes();
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    let (hour, minute, second) = (two(text, 11)?, two(text, 14)?, two(text, 17)?);
    let separators = [text[4], text[7], text[13], text[16]] == *b"--::";
    if !separators || !matches!(text[10], b'T' | b't') {
        return None;
    }
    let (mut zone, mut thousandths) = (text.get(19..)?, 0);
    if let Some(fraction) = zone.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for (digit, unit) in fraction[..digits].iter().zip([100, 10, 1]) {
            thousandths += i64::from(digit - b'0') * unit;
        }
        zone = &fraction[digits..];
    }
    let offset = offset_minutes(zone)?;
    let date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let clock = hour < 24 && minute < 60;
    let leap_second =
        second == 60 && ends_month_in_utc(year, month, day, hour * 60 + minute, offset);
    let seconds = days_since_1970(year, month, day) * 86_400
        + i64::from(hour * 3_600 + minute * 60 + second)
        - i64::from(offset) * 60;
    (date && clock && (second < 60 || leap_second)).then_some(seconds * 1_000 + thousandths)
}

/// Counted in years that begin with March, so that a leap day is the last of its year.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let year = if month < 3 { year - 1 } else { year };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{is_timestamp, millis};

    #[test]
    fn timestamps_follow_rfc_3339() {
        for good in [
            "1996-12-19T16:39:57-08:00",
            "1937-01-01T12:00:27.87+00:20",
            "2024-02-29t00:00:00z",
            "0000-01-01T00:00:00Z",
            "2024-01-01T00:00:00.0000000000001Z",
            "2024-01-01T00:00:00-00:00",
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "2017-01-01T08:59:60+09:00",
            "2016-12-31T23:59:60.5Z",
            "2012-06-30T23:59:60+00:00",
        ] {
            assert!(is_timestamp(good), "{good}");
        }
        for bad in [
            "",
            "2024",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:60Z",
            "2024-12-30T23:59:60Z",
            "2024-12-31T23:59:60+01:00",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+01:60",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00Z ",
            "24-01-01T00:00:00Z",
            "+2024-01-01T00:00:00Z",
            "２024-01-01T00:00:00Z",
        ] {
            assert!(!is_timestamp(bad), "{bad}");
        }
    }

    #[test]
    fn every_timestamp_names_a_moment() {
        let check = |text: &str, seconds: i64, thousandths: i64| {
            assert_eq!(millis(text), Some(seconds * 1_000 + thousandths), "{text}");
        };
        check("1970-01-01T00:00:00Z", 0, 0);
        check("1969-12-31T23:59:59.25Z", -1, 250);
        check("2000-02-29T23:59:59.9999Z", 951_868_799, 999);
        check("2000-03-01T00:00:00Z", 951_868_800, 0);
        check("2026-11-27T20:30:00.120+05:30", 1_795_791_600, 120);
        check("2026-11-27t20:30:00-23:59", 1_795_897_740, 0);
        check(
            "2026-11-27T20:30:00.12345678901234567890z",
            1_795_811_400,
            123,
        );
        check("9999-12-31T23:59:59-23:59", 253_402_387_139, 0);
        check("0000-01-01T00:00:00Z", -62_167_219_200, 0);
        check("1990-12-31T23:59:60Z", 662_688_000, 0);
        // One of jiff's for each fifth day or so, over all leap years that it knows.
        for second in (-62_167_219_200..253_402_200_000_i64).step_by(400_009) {
            let text = jiff::Timestamp::from_second(second).unwrap().to_string();
            check(&text, second, 0);
        }
    }
}
