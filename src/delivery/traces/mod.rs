//! Remembers attempts for a while, in memory, so that one can ask what became of an event.
//!
//! Failures and successes have rings of their own: a flood of deliveries that work does not wash away
//! the few that did not. What is gone with a restart, the log knows in part: how often a delivery
//! that still waits was tried, its last status and error, and every dead letter.

mod ring;

use std::sync::Arc;
use std::time::Duration;

use self::ring::Ring;
use super::next_step::{NextStep, Outcome};
use super::status::Names;
use super::timing::Timing;
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{Sequence, TargetId};

/// What is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every attempt.
    All,
    /// Attempts that failed, and the one that then worked.
    Failures,
    Off,
}

impl Mode {
    /// As the configuration and the API write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failures => "failures",
            Self::Off => "off",
        }
    }
}

/// What the operator may say of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub mode: Mode,
    /// Most bytes of all that is remembered.
    pub bytes: u64,
    /// How long an attempt is remembered at most.
    pub age: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::All,
            bytes: limits::TRACE_BYTES,
            age: limits::TRACE_AGE,
        }
    }
}

/// The memory of attempts.
#[derive(Debug)]
pub(crate) struct Traces {
    mode: Mode,
    /// Nothing from before is known.
    started: Timestamp,
    failures: Ring,
    successes: Ring,
}

/// One attempt of one delivery, as it ended.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub sequence: Sequence,
    pub key: TargetId,
    pub names: Arc<Names>,
    /// Attempts made so far, this one included if something was sent.
    pub number: u32,
    /// Whether it counts as one of them: not when there was nothing to be sent.
    pub counts: bool,
    /// Deliveries in the same request.
    pub batch: u32,
    /// When the delivery became pending.
    pub since: Timestamp,
    pub ended: Timestamp,
    pub timing: Timing,
    pub status: Option<u16>,
    /// What came of it in a word, such as `5xx` or `timeout`.
    pub result: &'static str,
    pub text: Text,
    pub step: NextStep,
}

/// What the target or the bus said of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    Nothing,
    /// The start of the answer.
    Response(Box<str>),
    /// What went wrong.
    Error(Box<str>),
}

impl Traces {
    pub(crate) fn new(config: &Config, started: Timestamp) -> Self {
        let bytes = usize::try_from(config.bytes).unwrap_or(usize::MAX);
        let (failures, successes) = match config.mode {
            Mode::All => (bytes / 2, bytes / 2),
            Mode::Failures => (bytes, 0),
            Mode::Off => (0, 0),
        };
        Self {
            mode: config.mode,
            started,
            failures: Ring::new(failures, config.age),
            successes: Ring::new(successes, config.age),
        }
    }

    /// Whether an attempt is remembered after which this follows; `number` counts it.
    pub(crate) fn wants(&self, step: NextStep, number: u32) -> bool {
        match self.mode {
            Mode::All => true,
            Mode::Failures => is_trouble(step, number),
            Mode::Off => false,
        }
    }

    pub(crate) fn keep(&self, attempt: Attempt) {
        if is_trouble(attempt.step, attempt.number) {
            self.failures.push(attempt);
        } else {
            self.successes.push(attempt);
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The attempts of an event that are remembered, in the order of their end.
    pub(crate) fn of(&self, sequence: Sequence, now: Timestamp) -> Vec<Attempt> {
        let mut attempts = self.failures.of(sequence, now);
        attempts.append(&mut self.successes.of(sequence, now));
        attempts.sort_by_key(|attempt| attempt.ended);
        attempts
    }

    /// Every attempt that the mode lets in and that ended after this is remembered.
    pub(crate) fn since(&self) -> Timestamp {
        let lost = self
            .failures
            .lost_through()
            .max(self.successes.lost_through());
        lost.unwrap_or(self.started).max(self.started)
    }
}

fn is_trouble(step: NextStep, number: u32) -> bool {
    step != NextStep::Delivered || number > 1
}

impl Attempt {
    /// What it takes in memory.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.text().map_or(0, str::len)
    }
}

impl Text {
    /// Whoever said it.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Response(text) | Self::Error(text) => Some(text),
        }
    }

    /// Of an outcome; of a success a shorter part is kept, since there are many.
    pub(crate) fn of(outcome: &Outcome, delivered: bool) -> Text {
        let most = if delivered {
            limits::TRACE_SUCCESS_BYTES
        } else {
            limits::RESPONSE_KEPT_BYTES
        };
        match outcome {
            Outcome::Answered { body, .. } if body.is_empty() => Text::Nothing,
            Outcome::Answered { body, .. } => {
                let mut length = body.len().min(most);
                while !body.is_char_boundary(length) {
                    length -= 1;
                }
                Text::Response(body[..length].into())
            }
            other => match other.error() {
                Some(error) => Text::Error(error.into()),
                None => Text::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{BusName, DeadLetterReason, RuleName, TargetName};

    const DELIVERED: NextStep = NextStep::Delivered;
    const DEAD: NextStep = NextStep::DeadLetter(DeadLetterReason::Refused);

    impl Attempt {
        /// The attempt of some target that was followed by this.
        pub(in crate::delivery) fn of(sequence: Sequence, number: u32, step: NextStep) -> Attempt {
            Attempt {
                sequence,
                key: TargetId(1),
                names: Arc::new(Names {
                    bus: BusName::default_bus(),
                    rule: RuleName::new("r").unwrap(),
                    target: TargetName::new("t").unwrap(),
                }),
                number,
                counts: true,
                batch: 1,
                since: Timestamp::from_millis(1),
                ended: Timestamp::from_millis(5),
                timing: Timing::default(),
                status: None,
                result: "timeout",
                text: Text::Nothing,
                step,
            }
        }
    }

    fn attempt(sequence: Sequence, number: u32, step: NextStep, ended: u64) -> Attempt {
        Attempt {
            ended: Timestamp::from_millis(ended),
            text: Text::Error("a".repeat(100).into()),
            ..Attempt::of(sequence, number, step)
        }
    }

    fn traces(mode: Mode, bytes: u64, age_ms: u64) -> Traces {
        let config = Config {
            mode,
            bytes,
            age: Duration::from_millis(age_ms),
        };
        Traces::new(&config, Timestamp::from_millis(5))
    }

    fn numbers(traces: &Traces, sequence: Sequence, now: u64) -> Vec<u32> {
        let attempts = traces.of(sequence, Timestamp::from_millis(now));
        attempts.iter().map(|attempt| attempt.number).collect()
    }

    #[test]
    fn a_mode_says_what_is_remembered() {
        for (mode, first_success, later_success, failure) in [
            (Mode::All, true, true, true),
            (Mode::Failures, false, true, true),
            (Mode::Off, false, false, false),
        ] {
            let traces = traces(mode, 1 << 20, 1_000);
            assert_eq!(traces.wants(DELIVERED, 1), first_success, "{mode:?}");
            assert_eq!(traces.wants(DELIVERED, 2), later_success, "{mode:?}");
            assert_eq!(traces.wants(DEAD, 1), failure, "{mode:?}");
        }
    }

    #[test]
    fn attempts_come_back_in_the_order_of_their_end_until_they_are_old() {
        let traces = traces(Mode::All, 1 << 20, 1_000);
        let retry = NextStep::RetryAt(Timestamp::from_millis(30));
        traces.keep(attempt(7, 1, retry, 10));
        traces.keep(attempt(8, 1, DELIVERED, 20));
        traces.keep(attempt(7, 2, DELIVERED, 30));
        assert_eq!(numbers(&traces, 7, 40), [1, 2]);
        assert_eq!(numbers(&traces, 8, 40), [1]);
        assert_eq!(numbers(&traces, 9, 40), [0; 0]);
        assert_eq!(numbers(&traces, 7, 1_020), [2]);
        assert_eq!(traces.since(), Timestamp::from_millis(5));
    }

    #[test]
    fn a_flood_of_successes_stays_within_its_bytes_and_washes_no_failure_away() {
        let bytes = 1 << 20;
        let traces = traces(Mode::All, bytes, u64::MAX);
        traces.keep(attempt(1, 1, DEAD, 1));
        let most = usize::try_from(bytes).unwrap() / 2;
        for sequence in 2..50_000 {
            traces.keep(attempt(sequence, 1, DELIVERED, sequence));
            assert!(traces.successes.bytes() <= most);
        }
        assert!(
            traces.successes.bytes() > most * 9 / 10,
            "little goes at once"
        );
        assert_eq!(numbers(&traces, 1, 0), [1]);
        assert_eq!(numbers(&traces, 2, 0), [0; 0]);
        assert_eq!(numbers(&traces, 49_999, 0), [1]);
        let since = traces.since().as_millis();
        assert_eq!(numbers(&traces, since, 0), [0; 0]);
        assert_eq!(numbers(&traces, since + 1, 0), [1]);
    }

    #[test]
    fn of_a_success_the_start_is_kept() {
        let answered = Outcome::Answered {
            status: http::StatusCode::OK,
            retry_after: None,
            body: "ä".repeat(500),
        };
        let Text::Response(text) = Text::of(&answered, true) else {
            panic!("it answered");
        };
        assert_eq!(text.len(), limits::TRACE_SUCCESS_BYTES);
        let Text::Response(text) = Text::of(&answered, false) else {
            panic!("it answered");
        };
        assert_eq!(text.len(), 1_000);
    }
}
