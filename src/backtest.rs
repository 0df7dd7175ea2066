//! Asks a rule that is not live about the events that the log still holds.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::limits;
use crate::log::{BusName, LogError, LoggedEvent, RuleName, Scan, Sequence, Step};
use crate::rule::{RuleDocument, RuleSet};

/// A rule made ready to be asked, as if it were live and enabled.
pub struct Backtest {
    rules: RuleSet,
    /// Most events to look at.
    limit: u64,
    /// Matches to be shown, of the first and of the last.
    samples: usize,
}

/// How far a backtest is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Events of the bus looked at.
    pub events: u64,
    pub matched: u64,
    /// Bytes read, of all that stands in the log.
    pub bytes: u64,
    /// From 0 to 1.
    pub share: f64,
}

/// What a rule would have matched.
#[derive(Debug, Clone)]
pub struct Found {
    pub progress: Progress,
    pub took: Duration,
    /// It stopped at its limit, before the end.
    pub is_limited: bool,
    /// When the first and the last event came that were looked at.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The minute with the most matches, by its start, and how many.
    pub busiest: Option<(Timestamp, u64)>,
    pub first: Vec<Sample>,
    /// Those after the first ones, the last of them last.
    pub last: VecDeque<Sample>,
    /// The first match whole, for what the targets would make of it.
    pub example: Option<Event>,
}

/// An event that matches, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub sequence: Sequence,
    pub time: Timestamp,
    pub id: String,
    pub source: String,
    pub kind: String,
}

/// Matches of one minute.
#[derive(Default)]
struct Minutes {
    at: u64,
    matched: u64,
    busiest: Option<(u64, u64)>,
}

const MINUTE_MS: u64 = 60_000;

impl Backtest {
    #[must_use]
    pub fn new(bus: &BusName, mut document: RuleDocument, limit: u64, samples: usize) -> Self {
        document.enabled = true;
        let name = RuleName::new("backtest").expect("a valid name");
        Self {
            rules: RuleSet::trial(bus, &name, document),
            limit,
            samples,
        }
    }

    /// Goes over the log. Blocking; `tell` hears how far it is every few hundred microseconds, and may
    /// end it, which gives `None`.
    ///
    /// # Errors
    /// [`LogError`] when the log cannot be read.
    pub fn run(
        &self,
        mut scan: Scan,
        tell: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Option<Found>, LogError> {
        let began = Instant::now();
        let (mut events, mut matched, mut steps) = (0, 0, 0_u64);
        let (mut first, mut last) = (Vec::new(), VecDeque::new());
        let (mut span, mut example, mut minutes) = (None, None, Minutes::default());
        let mut is_limited = false;
        let at = |scan: &Scan, events, matched| Progress {
            events,
            matched,
            bytes: scan.bytes(),
            share: scan.share(),
        };
        loop {
            steps += 1;
            if steps.is_multiple_of(limits::BACKTEST_STEPS)
                && tell(at(&scan, events, matched)).is_break()
            {
                return Ok(None);
            }
            let event = match scan.step()? {
                Step::End => break,
                Step::Other => continue,
                Step::Event(_) if events == self.limit => {
                    is_limited = true;
                    break;
                }
                Step::Event(event) => event,
            };
            events += 1;
            let begin = span.map_or(event.time, |(begin, _)| begin);
            span = Some((begin, event.time));
            if self.rules.matching_rules(&event).is_empty() {
                continue;
            }
            matched += 1;
            minutes.add(event.time);
            if first.len() < self.samples {
                first.push(Sample::of(&event));
            } else if self.samples > 0 {
                if last.len() == self.samples {
                    last.pop_front();
                }
                last.push_back(Sample::of(&event));
            }
            example.get_or_insert(event.event);
        }
        let mut progress = at(&scan, events, matched);
        progress.share = 1.0;
        Ok(Some(Found {
            progress,
            took: began.elapsed(),
            is_limited,
            span,
            busiest: minutes.busiest(),
            first,
            last,
            example,
        }))
    }
}

impl Sample {
    fn of(logged: &LoggedEvent) -> Self {
        Self {
            sequence: logged.sequence,
            time: logged.time,
            id: logged.event.id().to_owned(),
            source: logged.event.source().to_owned(),
            kind: logged.event.kind().to_owned(),
        }
    }
}

impl Minutes {
    fn add(&mut self, time: Timestamp) {
        let minute = time.as_millis() / MINUTE_MS;
        if minute != self.at {
            self.busiest = self.with_current();
            (self.at, self.matched) = (minute, 0);
        }
        self.matched += 1;
    }

    fn with_current(&self) -> Option<(u64, u64)> {
        match self.busiest {
            _ if self.matched == 0 => self.busiest,
            Some((_, most)) if most >= self.matched => self.busiest,
            _ => Some((self.at, self.matched)),
        }
    }

    fn busiest(&self) -> Option<(Timestamp, u64)> {
        let (minute, matched) = self.with_current()?;
        Some((Timestamp::from_millis(minute * MINUTE_MS), matched))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::log::{Config, Disk, Log};

    #[tokio::test]
    async fn it_ends_when_nobody_hears_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            dir: dir.path().to_owned(),
            segment_bytes: 4 << 20,
            cache_bytes: limits::VIEW_CACHE_BYTES,
        };
        let log = Log::open(config, Disk::real(), Clock::system()).unwrap();
        let bus = BusName::default_bus();
        let events = (0..2 * limits::BACKTEST_STEPS)
            .map(|id| Event::builder(&id.to_string(), "/s", "t").build().unwrap());
        let events: Vec<Event> = events.collect();
        log.append(&bus, events, Duration::ZERO).await.unwrap();
        let rule = r#"{"pattern": {"type": ["t"]}, "targets": [{"id": "t", "url": "http://h/"}]}"#;
        let backtest = Backtest::new(&bus, RuleDocument::parse(rule).unwrap(), u64::MAX, 1);
        let run = |flow: ControlFlow<()>| {
            let scan = log.scan(&bus, None, None).unwrap();
            let mut told = Vec::new();
            let found = backtest.run(scan, &mut |progress| {
                told.push(progress);
                flow
            });
            (told, found.unwrap())
        };
        let (told, found) = run(ControlFlow::Break(()));
        assert_eq!(told.len(), 1);
        assert!(found.is_none());
        let (told, found) = run(ControlFlow::Continue(()));
        assert!(told[0].share > 0.3 && told[0].share < 0.7, "{told:?}");
        assert_eq!(found.unwrap().progress.matched, 2 * limits::BACKTEST_STEPS);
        tokio::task::spawn_blocking(move || log.close())
            .await
            .unwrap();
    }

    #[test]
    fn the_busiest_minute_is_found() {
        let check = |seconds: &[u64], expected: Option<(u64, u64)>| {
            let mut minutes = Minutes::default();
            for second in seconds {
                minutes.add(Timestamp::from_millis(second * 1_000));
            }
            let found = minutes.busiest();
            let found = found.map(|(at, matched)| (at.as_millis() / 1_000, matched));
            assert_eq!(found, expected, "{seconds:?}");
        };
        check(&[], None);
        check(&[0], Some((0, 1)));
        check(&[59, 60, 119, 120], Some((60, 2)));
        check(&[0, 1, 60, 61, 62], Some((60, 3)));
        // The first of two that are as busy.
        check(&[600, 660], Some((600, 1)));
    }
}
