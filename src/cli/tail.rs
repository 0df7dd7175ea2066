//! `eventyard tail`: shows a bus's events as they come.

use serde::Deserialize;

use super::exit::{Exit, Failure};
use super::follow::Which;
use super::output::{self, CYAN, DIM, Format, OutputArgs, line, paint};
use crate::client::{Json, TailMessage};

const EXAMPLES: &str = "\
Examples:
  eventyard tail
  eventyard tail --pattern '{\"type\": [{\"prefix\": \"order.\"}]}'
  eventyard tail --rule large-orders --data
  eventyard tail --after 0 --limit 100 --output json | jq .event.data

It goes on by itself when the bus was away, and says so when events are gone that it has not seen.
Ctrl-C ends it; what it prints then goes on behind the last event shown.";

/// Show a bus's events as they come.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// End after so many events.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Show each event's data below it.
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let mut follow = args.which.follow(None).await?;
    let mut shown = 0;
    while args.limit.is_none_or(|limit| shown < limit) {
        let message = tokio::select! {
            message = follow.next() => message?,
            _ = tokio::signal::ctrl_c() => return Ok(follow.end()),
        };
        if let TailMessage::Event { shown: event, .. } = message {
            shown += 1;
            show(&event, args.output.output, args.data);
        }
    }
    Ok(Exit::Ok)
}

fn show(event: &Json, format: Format, with_data: bool) {
    if format == Format::Json {
        line(event.get());
        return;
    }
    match serde_json::from_str::<Shown>(event.get()) {
        Ok(shown) => {
            line(shown.headline());
            if with_data && let Some(data) = shown.event.data {
                line(format_args!("  {}", output::one_line(data.get())));
            }
        }
        Err(_) => line(output::one_line(event.get())),
    }
}

/// An event with its place, as a tail gives it.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    sequence: u64,
    time: String,
    event: Parts,
}

#[derive(Debug, Deserialize)]
struct Parts {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default, alias = "data_base64")]
    data: Option<Json>,
}

impl Shown {
    /// One line: sequence, time of day, type, source, id, subject.
    pub(super) fn headline(&self) -> String {
        let time = self
            .time
            .split_once('T')
            .map_or(&*self.time, |(_, time)| time);
        let mut line = format!(
            "{} {} {} {} {}",
            paint(DIM, self.sequence),
            paint(DIM, time),
            paint(CYAN, output::one_line(&self.event.kind)),
            output::one_line(&self.event.source),
            output::one_line(&self.event.id),
        );
        if let Some(subject) = &self.event.subject {
            line.push(' ');
            line.push_str(&output::one_line(subject));
        }
        line
    }
}
