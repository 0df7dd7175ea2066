//! `schedule`: when a rule fires by itself, and what it emits then.

use std::hash::Hasher;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use siphasher::sip::SipHasher13;

use super::cron::Cron;
use super::problem::Problems;
use super::reader::{Node, Object, Shape, short};
use crate::event::{self, Event, SCHEDULE_FIRED};
use crate::limits;

pub(super) const SCHEDULE: Shape = Shape {
    what: "`schedule`",
    fields: &[
        "cron", "timezone", "rate", "start", "end", "catch_up", "event",
    ],
    later: &[],
    elsewhere: &[("type", "into `event`"), ("data", "into `event`")],
};

pub(super) const EVENT: Shape = Shape {
    what: "`event`",
    fields: &["type", "data"],
    later: &[],
    elsewhere: &[],
};

/// When a rule fires by itself. All moments are milliseconds since 1970.
#[derive(Debug, Clone)]
pub struct RuleSchedule {
    text: Box<RawValue>,
    when: When,
    start: Option<u64>,
    end: Option<u64>,
    /// Whether the latest moment that was missed is made up for.
    pub catches_up: bool,
    pub kind: String,
    /// JSON.
    pub data: Option<Box<RawValue>>,
}

#[derive(Debug, Clone)]
enum When {
    Cron(Box<Cron>, TimeZone),
    Rate(Duration),
}

impl Serialize for RuleSchedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl RuleSchedule {
    /// The same for the same text: a schedule that was changed begins anew.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        hasher.write(self.text.get().as_bytes());
        hasher.finish()
    }

    /// Why the event that it describes cannot be made, such as data deeper than an event's may be.
    pub(super) fn cannot_emit(&self) -> Option<String> {
        let mut event = Event::builder("0", "/", &self.kind);
        if let Some(data) = &self.data {
            event = event.json(data.get());
        }
        event.build().err().map(|error| error.to_string())
    }

    /// The first moment after `after`. A rate counts from its start, or else from `after`.
    #[must_use]
    pub fn next(&self, after: u64) -> Option<u64> {
        let begins = self.start.map_or(0, |start| start.saturating_sub(1));
        let next = match &self.when {
            When::Rate(period) => {
                let period = millis(*period);
                match self.start {
                    Some(start) if after < start => start,
                    Some(start) => start + ((after - start) / period + 1) * period,
                    None => after + period,
                }
            }
            When::Cron(cron, zone) => {
                let after = i64::try_from(after.max(begins)).ok()?;
                let after = jiff::Timestamp::from_millisecond(after).ok()?;
                u64::try_from(cron.next(after, zone)?.as_millisecond()).ok()?
            }
        };
        self.end.is_none_or(|end| next <= end).then_some(next)
    }

    /// The last moment after `after` and not after `until`.
    #[must_use]
    pub fn latest(&self, after: u64, until: u64) -> Option<u64> {
        const HOUR: u64 = 3_600_000;
        let until = self.end.map_or(until, |end| until.min(end));
        let first = self.next(after).filter(|first| *first <= until)?;
        if let When::Rate(period) = &self.when {
            let period = millis(*period);
            return Some(first + (until - first) / period * period);
        }
        // From ever further back, so that a bus that was down for a year looks at few of them.
        let spans = [HOUR, 24 * HOUR, 32 * 24 * HOUR, 367 * 24 * HOUR];
        for span in spans {
            let from = until.saturating_sub(span).max(after);
            let mut last = None;
            let mut at = from;
            while let Some(next) = self.next(at).filter(|next| *next <= until) {
                last = Some(next);
                at = next;
            }
            if last.is_some() {
                return last;
            }
        }
        Some(first)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<RuleSchedule> {
    let object = node.object(&SCHEDULE, problems)?;
    let when = match (object.field("cron"), object.field("rate")) {
        (Some(cron), None) => read_cron(cron, &object, problems),
        (None, Some(rate)) => {
            if let Some(zone) = object.field("timezone") {
                zone.problem(problems, "is for `cron`; a rate knows no time of day");
            }
            read_rate(rate, problems)
        }
        (Some(_), Some(rate)) => {
            rate.problem(problems, "stands beside `cron`; keep one of the two");
            None
        }
        (None, None) => {
            node.problem(
                problems,
                r#"needs `cron` or `rate`, such as {"cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"} or {"rate": "5 minutes"}"#,
            );
            None
        }
    };
    let start = read_moment(&object, "start", problems);
    let end = read_moment(&object, "end", problems);
    if let (Some(Some(start)), Some(Some(end)), Some(node)) = (start, end, object.field("end"))
        && end < start
    {
        node.problem(problems, "lies before `start`");
    }
    let catches_up = match object.field("catch_up") {
        None => Some(true),
        Some(node) => {
            let text = node.string(r#""latest" or "none""#, problems);
            text.and_then(|text| match text.as_str() {
                "latest" => Some(true),
                "none" => Some(false),
                other => {
                    let detail = format!(r#"is {:?}; it is "latest" or "none""#, short(other));
                    node.problem(problems, detail);
                    None
                }
            })
        }
    };
    let event = match object.field("event") {
        Some(node) => read_event(node, problems),
        None => Some((SCHEDULE_FIRED.to_owned(), None)),
    };
    let (kind, data) = event?;
    Some(RuleSchedule {
        text: RawValue::from_string(node.raw().to_owned()).ok()?,
        when: when?,
        start: start?,
        end: end?,
        catches_up: catches_up?,
        kind,
        data,
    })
}

fn read_cron(node: &Node<'_>, object: &Object<'_>, problems: &mut Problems) -> Option<When> {
    let text = node.string(r#"a cron expression such as "0 9 * * MON-FRI""#, problems);
    let zone = match object.field("timezone") {
        None => Some(TimeZone::UTC),
        Some(node) => {
            let name = node.string(r#"a time zone such as "Europe/Berlin""#, problems);
            name.and_then(|name| {
                let zone = TimeZone::get(&name).ok();
                if zone.is_none() {
                    let detail = format!(
                        "{:?} is no time zone; one looks like Europe/Berlin",
                        short(&name)
                    );
                    node.problem(problems, detail);
                }
                zone
            })
        }
    };
    match Cron::parse(&text?) {
        Ok(cron) => Some(When::Cron(Box::new(cron), zone?)),
        Err(reason) => {
            node.problem(problems, reason);
            None
        }
    }
}

/// `30 seconds`, `5 minutes`, `1 hour`, `7 days`, in `rate(…)` or without.
fn read_rate(node: &Node<'_>, problems: &mut Problems) -> Option<When> {
    let text = node.string(r#"a rate such as "5 minutes""#, problems)?;
    let inner = text
        .strip_prefix("rate(")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(&text);
    let read = || {
        let (count, unit) = inner.split_once(' ')?;
        let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
            "second" => 1,
            "minute" => 60,
            "hour" => 3_600,
            "day" => 86_400,
            _ => return None,
        };
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u64 = count.parse().ok().filter(|_| digits)?;
        Some(Duration::from_secs(count.checked_mul(seconds)?))
    };
    match read().filter(|period| (Duration::from_secs(1)..=limits::RATE_PERIOD).contains(period)) {
        Some(period) => Some(When::Rate(period)),
        None => {
            node.problem(
                problems,
                "must be a number of seconds, minutes, hours or days up to 366 days, such as \"5 minutes\"",
            );
            None
        }
    }
}

fn read_moment(object: &Object<'_>, name: &str, problems: &mut Problems) -> Option<Option<u64>> {
    let Some(node) = object.field(name) else {
        return Some(None);
    };
    let text = node.string(r#"a moment such as "2026-12-01T00:00:00Z""#, problems)?;
    let lenient = || {
        let moment = text.parse::<jiff::Timestamp>().ok()?;
        u64::try_from(moment.as_millisecond()).ok()
    };
    match event::moment_millis(&text).or_else(lenient) {
        Some(moment) => Some(Some(moment)),
        None => {
            let detail = format!(
                "{:?} is no moment with a zone; one looks like 2026-12-01T00:00:00Z",
                short(&text)
            );
            node.problem(problems, detail);
            None
        }
    }
}

type Emitted = (String, Option<Box<RawValue>>);

fn read_event(node: &Node<'_>, problems: &mut Problems) -> Option<Emitted> {
    let object = node.object(&EVENT, problems)?;
    let kind = match object.field("type") {
        None => SCHEDULE_FIRED.to_owned(),
        Some(node) => {
            let kind = node.string(r#"an event's type such as "report.due""#, problems)?;
            if kind.is_empty() || kind.chars().any(char::is_control) {
                node.problem(problems, "must be a text without control characters");
                return None;
            }
            if event::is_reserved(&kind) {
                node.problem(
                    problems,
                    "begins with `eventyard.`, which is for events of the bus's own",
                );
                return None;
            }
            kind
        }
    };
    let data = match object.field("data") {
        None => None,
        Some(node) => Some(RawValue::from_string(node.raw().to_owned()).ok()?),
    };
    Some((kind, data))
}

#[cfg(test)]
mod tests {
    use super::super::RuleDocument;

    #[test]
    fn a_schedule_ends_at_any_moment_with_a_zone() {
        let ends_at = |end: &str| {
            let rule = serde_json::json!({
                "targets": [{"id": "t", "url": "http://h/"}],
                "schedule": {"rate": "1 hour", "end": end},
            });
            RuleDocument::parse(&rule.to_string())
        };
        for good in [
            "2026-12-01T00:00:00Z",
            "2026-12-01 00:00+02:00",
            "2026-12-01T00:00:00.12345678901Z",
            "9999-12-31T23:59:59Z",
        ] {
            ends_at(good).unwrap_or_else(|problems| panic!("{good}: {problems:?}"));
        }
        for bad in ["", "never", "2026-12-01", "2026-12-01T00:00:00"] {
            ends_at(bad).unwrap_err();
        }
    }
}
