//! What `tail` and `listen` share: which events to follow, and how to go on when the bus is away.

use std::time::Duration;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::input;
use super::output::{DIM, YELLOW, note, paint};
use crate::client::{ClientError, Tail, TailMessage, TailOptions};

const WAIT: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Which events.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Only events that this event pattern matches; `@FILE` reads it from a file.
    #[arg(long, value_name = "JSON", conflicts_with = "rule")]
    pattern: Option<String>,
    /// Only events that the pattern of this rule matches, as it is now.
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Begin behind this sequence, 0 for the oldest event that is kept; without it with the next.
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) after: Option<u64>,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
}

/// One who follows a bus and does not give up once it was there.
pub(crate) struct Follow {
    tail: Tail,
    heard: bool,
    is_away: bool,
    wait: Duration,
}

impl Which {
    /// `after`, where something is kept of what was followed before, wins over `--after`.
    pub(crate) async fn follow(&self, after: Option<u64>) -> Result<Follow, Failure> {
        let client = self.bus.client()?;
        let pattern = match (&self.pattern, &self.rule) {
            (Some(text), _) => Some(match text.strip_prefix('@') {
                Some(path) => input::read_json_object(path.as_ref())?,
                None => text.clone(),
            }),
            (None, Some(rule)) => {
                let found = client.rule(&self.bus.bus, rule).await?;
                let document: Document = serde_json::from_str(found.document.get())
                    .map_err(|error| Failure::failed(format!("the rule `{rule}`: {error}")))?;
                Some(document.pattern.get().to_owned())
            }
            (None, None) => None,
        };
        let options = TailOptions {
            pattern,
            after: after.or(self.after),
        };
        Ok(Follow {
            tail: client.tail(&self.bus.bus, options),
            heard: false,
            is_away: false,
            wait: WAIT,
        })
    }
}

#[derive(serde::Deserialize)]
struct Document {
    pattern: Box<serde_json::value::RawValue>,
}

impl Follow {
    /// The next message, however long it takes; a gap is told.
    pub(crate) async fn next(&mut self) -> Result<TailMessage, Failure> {
        loop {
            match self.tail.next().await {
                Ok(message) => {
                    if std::mem::take(&mut self.is_away) {
                        note(paint(DIM, "the bus is back"));
                    }
                    self.heard = true;
                    self.wait = WAIT;
                    if let TailMessage::Gap { after, through } = message {
                        note(paint(
                            YELLOW,
                            format_args!(
                                "events between {after} and {through} are gone: the bus keeps them no longer (`retention`)"
                            ),
                        ));
                    }
                    return Ok(message);
                }
                Err(error) if self.heard && may_pass(&error) => {
                    if !std::mem::replace(&mut self.is_away, true) {
                        note(paint(
                            YELLOW,
                            format_args!("{error}; it goes on when the bus is back"),
                        ));
                    }
                    tokio::time::sleep(self.wait).await;
                    self.wait = (self.wait * 2).min(WAIT_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Everything up to here was given out.
    pub(crate) fn position(&self) -> Option<u64> {
        self.tail.position()
    }

    /// Ended by Ctrl-C: says how to go on.
    pub(crate) fn end(&self) -> Exit {
        if let Some(position) = self.position() {
            note(paint(DIM, format_args!("to go on: --after {position}")));
        }
        Exit::Ok
    }
}

/// Whether waiting may help: the bus is away, or just busy or starting.
fn may_pass(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. })
        || matches!(error.status(), Some(429 | 500 | 502 | 503 | 504))
}
