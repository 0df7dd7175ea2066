//! Cron expressions: parsed once, asked for the next moment behind another. No clock, no I/O.
//!
//! Own code, since the known crate speaks another date library, and what happens when clocks are
//! changed is to be decided here. Five fields (minute, hour, day of month, month, day of week, with
//! 0 or 7 for Sunday) as in crontab; six as AWS writes them (with the year, days of week 1 to 7 from
//! Sunday, and `?`). When both days are given, five fields fire on either, as cron does.
//!
//! - **A skipped hour**: what would have fired in it fires once, when it ends.
//! - **A repeated hour**: a fixed hour fires the first time only; `*` and `*/n` hours fire in both.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::reader::short;

/// When something is to happen, to the minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    years: Option<Vec<i16>>,
    /// The hour field begins with `*`: it follows the time that passes, not the clock on the wall.
    every_hour: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Days {
    of_month: u64,
    /// `L`: the month's last day.
    last: bool,
    /// Bit 0 is Sunday.
    of_week: u64,
    month_given: bool,
    week_given: bool,
}

/// Years looked ahead: 29 February may be eight years away, and on a given day of week 40.
const YEARS: i16 = 41;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    /// Reads an expression; the error says what is wrong.
    ///
    /// # Errors
    /// A sentence for its author.
    pub(super) fn parse(text: &str) -> Result<Cron, String> {
        let inner = text.trim();
        let inner = inner
            .strip_prefix("cron(")
            .and_then(|rest| rest.strip_suffix(')'))
            .unwrap_or(inner);
        let fields: Vec<&str> = inner.split_ascii_whitespace().collect();
        let (aws, year) = match fields.len() {
            5 => (false, None),
            6 => (true, Some(fields[5])),
            _ if inner.starts_with('@') => {
                return Err(format!(
                    "{:?} is no cron expression here; every day at midnight, for one, is \"0 0 * * *\"",
                    short(inner)
                ));
            }
            count => {
                return Err(format!(
                    "has {count} fields; five are minute, hour, day of month, month and day of week, a sixth is the year"
                ));
            }
        };
        let month_given = !matches!(fields[2], "*" | "?");
        let week_given = !matches!(fields[4], "*" | "?");
        if aws && (fields[2] == "?") == (fields[4] == "?") {
            return Err(
                "of six fields, the day of month or the day of week must be `?`, not both; the last is the year, and there are no seconds"
                    .to_owned(),
            );
        }
        let last = fields[2].eq_ignore_ascii_case("L");
        let of_month = match (last, fields[2]) {
            (true, _) => 0,
            (_, "?") => set("*", "day of month", 1, 31, &[])?,
            (_, field) => set(field, "day of month", 1, 31, &[])?,
        };
        let week_field = if fields[4] == "?" { "*" } else { fields[4] };
        let of_week = if aws {
            set(week_field, "day of week", 1, 7, &WEEKDAYS)? >> 1
        } else {
            let days = set(week_field, "day of week", 0, 7, &WEEKDAYS)?;
            (days | days >> 7) & 0x7F
        };
        let years = match year {
            None | Some("*") => None,
            Some(field) => {
                let bits = set_of_years(field)?;
                Some(bits)
            }
        };
        let cron = Cron {
            minutes: set(fields[0], "minute", 0, 59, &[])?,
            hours: set(fields[1], "hour", 0, 23, &[])?,
            days: Days {
                of_month,
                last,
                of_week,
                month_given,
                week_given,
            },
            months: set(fields[3], "month", 1, 12, &MONTHS)?,
            years,
            every_hour: fields[1].starts_with('*'),
        };
        let some_day = Timestamp::constant(1_577_836_800, 0); // 2020
        let ever = cron.years.is_some() || cron.next(some_day, &TimeZone::UTC).is_some();
        if ever {
            Ok(cron)
        } else {
            Err("names a day that never comes, such as 31 February".to_owned())
        }
    }

    /// The first moment after `after`; `None` when none comes within some decades.
    #[must_use]
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let found = self.scan(after, zone);
        let until = match found {
            Some(found) => found,
            None => after
                .checked_add(jiff::SignedDuration::from_hours(24 * 366))
                .ok()?,
        };
        self.after_a_gap(after, until, zone).or(found)
    }

    /// The first moment that the clock on the wall shows.
    fn scan(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = after.as_second().div_euclid(60) * 60 + 60;
        let mut at = Timestamp::from_second(second).ok()?.to_zoned(zone.clone());
        // Offsets with seconds, long ago: up to the full minute of the wall.
        if at.second() != 0 {
            let left = 60 - i64::from(at.second());
            at = at.checked_add(Span::new().seconds(left)).ok()?;
        }
        let last_year = at.year() + YEARS;
        while at.year() <= last_year {
            let years = self.years.as_ref();
            if years.is_some_and(|years| !years.contains(&at.year())) {
                let next = years?
                    .iter()
                    .copied()
                    .filter(|year| *year > at.year())
                    .min()?;
                at = start_of(next, 1, 1, zone)?;
            } else if self.months >> at.month() & 1 == 0 {
                let (year, month) = match at.month() {
                    12 => (at.year() + 1, 1),
                    month => (at.year(), month + 1),
                };
                at = start_of(year, month, 1, zone)?;
            } else if !self.takes_day(at.datetime()) {
                let next = at.date().tomorrow().ok()?;
                at = start_of(next.year(), next.month(), next.day(), zone)?;
            } else if self.hours >> at.hour() & 1 == 0 {
                let left = 60 - i64::from(at.minute());
                at = at.checked_add(Span::new().minutes(left)).ok()?;
            } else if self.minutes >> at.minute() & 1 == 0 || self.is_repeat(&at, zone) {
                at = at.checked_add(Span::new().minutes(1)).ok()?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }

    fn takes_day(&self, at: DateTime) -> bool {
        let days = &self.days;
        let date = at.date();
        let of_month = days.of_month >> date.day() & 1 == 1
            || (days.last && date.day() == date.days_in_month());
        let of_week = days.of_week >> date.weekday().to_sunday_zero_offset() & 1 == 1;
        match (days.month_given, days.week_given) {
            (true, true) => of_month || of_week,
            (true, false) => of_month,
            (false, true) => of_week,
            (false, false) => true,
        }
    }

    fn takes(&self, at: DateTime) -> bool {
        self.years
            .as_ref()
            .is_none_or(|years| years.contains(&at.year()))
            && self.months >> at.month() & 1 == 1
            && self.takes_day(at)
            && self.hours >> at.hour() & 1 == 1
            && self.minutes >> at.minute() & 1 == 1
    }

    /// Whether the wall shows this minute for the second time, and it is not to fire again.
    fn is_repeat(&self, at: &Zoned, zone: &TimeZone) -> bool {
        if self.every_hour {
            return false;
        }
        let first = zone.to_ambiguous_zoned(at.datetime()).earlier();
        first.is_ok_and(|first| first.timestamp() < at.timestamp())
    }

    /// The end of the first gap of the clock, within the span, that swallowed a moment.
    fn after_a_gap(
        &self,
        after: Timestamp,
        until: Timestamp,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        if self.every_hour {
            return None;
        }
        for transition in zone.following(after) {
            let end = transition.timestamp();
            if end > until {
                return None;
            }
            let before = end.checked_sub(jiff::SignedDuration::from_secs(1)).ok()?;
            let mut at = before
                .to_zoned(zone.clone())
                .datetime()
                .checked_add(Span::new().seconds(1))
                .ok()?;
            let resumes = end.to_zoned(zone.clone()).datetime();
            while at < resumes {
                if self.takes(at) {
                    return Some(end);
                }
                at = at.checked_add(Span::new().minutes(1)).ok()?;
            }
        }
        None
    }
}

fn start_of(year: i16, month: i8, day: i8, zone: &TimeZone) -> Option<Zoned> {
    let date = jiff::civil::Date::new(year, month, day).ok()?;
    date.to_zoned(zone.clone()).ok()
}

/// A field as a set of bits: `*`, numbers, names, ranges, steps, and lists of these.
fn set(field: &str, what: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for (first, last, step) in parts(field, what, least, most, names)? {
        let mut value = first;
        while value <= last {
            bits |= 1 << value;
            // A step may be as large as a number gets.
            value = value.saturating_add(step);
        }
    }
    Ok(bits)
}

fn set_of_years(field: &str) -> Result<Vec<i16>, String> {
    let mut years = Vec::new();
    for (first, last, step) in parts(field, "year", 1970, 2199, &[])? {
        let mut value = first;
        while value <= last {
            years.extend(i16::try_from(value));
            value = value.saturating_add(step);
        }
    }
    Ok(years)
}

/// The ranges (first, last, step) of a field.
fn parts(
    field: &str,
    what: &str,
    least: u32,
    most: u32,
    names: &[&str],
) -> Result<Vec<(u32, u32, u32)>, String> {
    let refuse = |part: &str| {
        let named = match names {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        format!(
            "has {:?} as {what}; it takes numbers from {least} to {most}{named}, ranges, steps and `*`",
            short(part)
        )
    };
    let number = |text: &str| -> Option<u32> {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        match named {
            // Names count from where the numbers begin, with Sunday as 0 where 0 is allowed.
            Some(at) => Some(u32::try_from(at).ok()? + least),
            None if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => text
                .parse()
                .ok()
                .filter(|value| (least..=most).contains(value)),
            None => None,
        }
    };
    let mut found = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<u32>().ok().filter(|step| *step > 0);
                (range, Some(step.ok_or_else(|| refuse(part))?))
            }
            None => (part, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (least, most),
            (_, Some((first, last))) => (
                number(first).ok_or_else(|| refuse(part))?,
                number(last).ok_or_else(|| refuse(part))?,
            ),
            (one, None) => {
                let first = number(one).ok_or_else(|| refuse(part))?;
                // `5/10` goes on to the end.
                (first, if step.is_some() { most } else { first })
            }
        };
        if first > last {
            return Err(format!(
                "has {:?} as {what}, which runs backwards; write two ranges, such as `{first}-{most},{least}-{last}`",
                short(part)
            ));
        }
        found.push((first, last, step.unwrap_or(1)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next moments after `from`, as UTC.
    #[track_caller]
    fn check(cron: &str, zone: &str, from: &str, expected: &[&str]) {
        let cron = Cron::parse(cron).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        for wanted in expected {
            at = cron.next(at, &zone).unwrap();
            assert_eq!(at.to_string(), *wanted);
        }
    }

    #[test]
    fn fields_are_read_and_followed() {
        let from = "2026-11-27T08:59:30Z"; // a Friday
        check(
            "0 9 * * MON-FRI",
            "UTC",
            from,
            &["2026-11-27T09:00:00Z", "2026-11-30T09:00:00Z"],
        );
        check(
            "*/15 * * * *",
            "UTC",
            from,
            &["2026-11-27T09:00:00Z", "2026-11-27T09:15:00Z"],
        );
        check(
            "5/20 9-10 * * *",
            "UTC",
            from,
            &[
                "2026-11-27T09:05:00Z",
                "2026-11-27T09:25:00Z",
                "2026-11-27T09:45:00Z",
                "2026-11-27T10:05:00Z",
            ],
        );
        check(
            "0 0 1,15 * *",
            "UTC",
            from,
            &["2026-12-01T00:00:00Z", "2026-12-15T00:00:00Z"],
        );
        check(
            "0 0 29 2 *",
            "UTC",
            from,
            &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
        );
        check(
            "0 0 L * *",
            "UTC",
            from,
            &["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z"],
        );
        // A step beyond the end, however large, leaves the first alone.
        check(
            "5/4294967295 0 * * *",
            "UTC",
            from,
            &["2026-11-28T00:05:00Z", "2026-11-29T00:05:00Z"],
        );
        check("0 0 * * 7", "UTC", from, &["2026-11-29T00:00:00Z"]);
        check("0 0 * * 0", "UTC", from, &["2026-11-29T00:00:00Z"]);
        check("0 0 * jan sun", "UTC", from, &["2027-01-03T00:00:00Z"]);
        // Either day, as cron has it.
        check(
            "0 0 13 * FRI",
            "UTC",
            from,
            &[
                "2026-12-04T00:00:00Z",
                "2026-12-11T00:00:00Z",
                "2026-12-13T00:00:00Z",
            ],
        );
        check(
            "0 9 * * *",
            "Europe/Berlin",
            from,
            &["2026-11-28T08:00:00Z"],
        );
    }

    #[test]
    fn six_fields_are_read_as_aws_does() {
        let from = "2026-11-27T08:59:30Z";
        check(
            "cron(0 9 ? * 2-6 *)",
            "UTC",
            from,
            &["2026-11-27T09:00:00Z", "2026-11-30T09:00:00Z"],
        );
        check("0 9 ? * MON *", "UTC", from, &["2026-11-30T09:00:00Z"]);
        check(
            "0 9 1 * ? 2030",
            "UTC",
            from,
            &["2030-01-01T09:00:00Z", "2030-02-01T09:00:00Z"],
        );
        let past = Cron::parse("0 9 1 * ? 2020").unwrap();
        assert_eq!(past.next(from.parse().unwrap(), &TimeZone::UTC), None);
    }

    #[test]
    fn an_hour_that_is_skipped_fires_when_it_ends() {
        // Berlin, 29 March 2026: from 02:00 to 03:00, which is 01:00Z.
        let from = "2026-03-28T12:00:00Z";
        check(
            "30 2 * * *",
            "Europe/Berlin",
            from,
            &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        );
        check(
            "0,30 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            &[
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-30T00:00:00Z",
            ],
        );
        check(
            "30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            &["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"],
        );
    }

    #[test]
    fn an_hour_that_comes_twice_fires_once_unless_every_hour_does() {
        // Berlin, 25 October 2026: 03:00 is 02:00 again at 01:00Z.
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        );
        check(
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &[
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:30:00Z",
            ],
        );
        check(
            "0 3 * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &["2026-10-25T02:00:00Z"],
        );
    }

    #[test]
    fn what_does_not_read_is_refused_with_a_reason() {
        for (bad, reason) in [
            ("", "has 0 fields"),
            ("* * * *", "has 4 fields"),
            ("60 * * * *", "as minute"),
            ("* 24 * * *", "as hour"),
            ("* * 0 * *", "as day of month"),
            ("* * * 13 *", "as month"),
            ("* * * * 8", "as day of week"),
            ("*/0 * * * *", "as minute"),
            ("5-1 * * * *", "as minute"),
            ("x * * * *", "as minute"),
            ("0 0 15W * *", "as day of month"),
            ("0 0 31 2 *", "never comes"),
            ("0 0 * * MON *", "must be `?`"),
            ("0 0 ? * ? *", "must be `?`"),
            ("0 0 9 * * MON", "no seconds"),
            ("0 9 * * FRI-MON", "write two ranges, such as `5-7,0-1`"),
            ("0 9 * * MOO", "from 0 to 7 or SUN to SAT"),
            ("@daily", "is no cron expression here"),
        ] {
            let error = Cron::parse(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
