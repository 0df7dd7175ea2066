//! `eventyard rule backtest`: what a rule would have matched of the events that a bus still holds.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::connect::BusArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{
    self, BOLD, CYAN, DIM, Format, GREEN, OutputArgs, RED, YELLOW, line, note, one_line, paint,
    thousands,
};
use crate::cli::rule_file::RuleFile;
use crate::client::{BacktestMessage, BacktestOptions};

const EXAMPLES: &str = "\
Examples:
  eventyard rule backtest rules/default/large-orders.json
  eventyard rule backtest rule.json --since 2026-11-20T00:00:00Z --until 2026-11-21T00:00:00Z
  eventyard rule backtest rule.json --limit 1000000 --output json

The rule is asked as if it were enabled; nothing is sent and nothing is changed. Exits with 0 when it
would have matched something, and with 3 when not.";

/// Run a rule that is not live over the events that a bus still holds.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The rule's file; `-` is standard input.
    #[arg(value_name = "RULE_FILE")]
    rule: PathBuf,
    /// Only events accepted at or after this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events accepted before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Look at so many events at most, the oldest first.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Show so many of the first matches, and of the last.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    samples: u8,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Deserialize)]
struct Found {
    events: u64,
    matched: u64,
    bytes: u64,
    took_ms: u64,
    limited: bool,
    from: Option<String>,
    through: Option<String>,
    matched_per_hour: Option<f64>,
    busiest_minute: Option<Busiest>,
    first: Vec<Sample>,
    last: Vec<Sample>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Busiest {
    at: String,
    matched: u64,
}

#[derive(Debug, Deserialize)]
struct Sample {
    sequence: u64,
    time: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    target: String,
    preview: Value,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let file = RuleFile::read(&args.rule)?;
    let client = args.bus.client()?;
    let options = BacktestOptions {
        since: args.since,
        until: args.until,
        limit: args.limit,
        samples: Some(args.samples.into()),
    };
    let mut backtest = client.backtest(&args.bus.bus, &file.text, &options).await?;
    let bar = bar();
    let result = loop {
        match backtest.next().await? {
            BacktestMessage::Progress(progress) => {
                bar.set_position((progress.share * 1_000.0) as u64);
                bar.set_message(format!(
                    "{} events, {} match",
                    thousands(progress.events as f64),
                    thousands(progress.matched as f64)
                ));
            }
            BacktestMessage::Result(result) => break result,
        }
    };
    bar.finish_and_clear();
    let found: Found = serde_json::from_str(result.get())
        .map_err(|error| Failure::failed(format!("the answer: {error}")))?;
    match args.output.output {
        Format::Json => output::json(result.get()),
        Format::Table => found.lines().iter().for_each(line),
    }
    if found.limited && args.output.output == Format::Table {
        note("it stopped at --limit; there are later events");
    }
    Ok(match found.matched {
        0 => Exit::NotFound,
        _ => Exit::Ok,
    })
}

fn bar() -> ProgressBar {
    if !output::is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{bar:30}] {percent}%  {msg}  {elapsed}, eta {eta}");
    let bar = ProgressBar::new(1_000);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Found {
    fn lines(&self) -> Vec<String> {
        let style = if self.matched > 0 { GREEN } else { RED };
        let share = match self.events {
            0 => String::new(),
            events => format!(" ({:.2} %)", 100.0 * self.matched as f64 / events as f64),
        };
        let mut lines = vec![format!(
            "{} of {} events match{share}",
            paint(style, thousands(self.matched as f64)),
            thousands(self.events as f64),
        )];
        if let (Some(from), Some(through)) = (&self.from, &self.through) {
            lines.push(paint(DIM, format_args!("taken from {from} to {through}")));
        }
        let mut rates = Vec::new();
        if let Some(rate) = self.matched_per_hour.filter(|_| self.matched > 0) {
            rates.push(format!("{rate:.1} an hour"));
        }
        if let Some(busiest) = &self.busiest_minute {
            let matched = thousands(busiest.matched as f64);
            rates.push(format!("at most {matched} in a minute, at {}", busiest.at));
        }
        if !rates.is_empty() {
            lines.push(rates.join("; "));
        }
        let seconds = (self.took_ms as f64 / 1_000.0).max(0.001);
        lines.push(paint(
            DIM,
            format_args!(
                "{:.1} s, {} events/s, {:.0} MB/s",
                seconds,
                thousands((self.events as f64 / seconds).floor()),
                self.bytes as f64 / seconds / 1e6,
            ),
        ));
        for (name, samples) in [("first", &self.first), ("last", &self.last)] {
            if !samples.is_empty() {
                lines.push(String::new());
                lines.push(paint(BOLD, format_args!("{name} matches")));
                lines.extend(samples.iter().map(Sample::line));
            }
        }
        for target in &self.targets {
            lines.push(String::new());
            target.add_to(&mut lines);
        }
        lines
    }
}

impl Sample {
    fn line(&self) -> String {
        format!(
            "  {} {} {} {}",
            self.sequence,
            paint(DIM, &self.time),
            paint(CYAN, one_line(&self.kind)),
            paint(
                DIM,
                format_args!("from {} id {}", one_line(&self.source), one_line(&self.id))
            ),
        )
    }
}

impl Target {
    fn add_to(&self, lines: &mut Vec<String>) {
        let name = paint(BOLD, format_args!("→ {}", self.target));
        let text = |field: &str| self.preview[field].as_str().unwrap_or_default();
        if self.preview["sent"] != true {
            let error = one_line(text("error"));
            lines.push(format!(
                "{name} {}",
                paint(YELLOW, "cannot be sent the first match")
            ));
            lines.push(format!("  {error}"));
            return;
        }
        lines.push(format!("{name} would be sent, for the first match"));
        lines.push(format!("  {} {}", text("method"), one_line(text("url"))));
        let body = match self.preview["body"].as_str() {
            Some(body) => one_line(body),
            None => "(a body that is no text)".to_owned(),
        };
        lines.push(format!("  {body}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_in_few_lines() {
        let found: Found = serde_json::from_value(serde_json::json!({
            "events": 1_234_567, "matched": 12, "bytes": 600_000_000, "took_ms": 2_000,
            "limited": false, "from": "2026-11-22T00:00:00.000Z",
            "through": "2026-11-23T00:00:00.000Z", "matched_per_hour": 0.5,
            "busiest_minute": {"at": "2026-11-22T19:30:00.000Z", "matched": 9},
            "first": [{"sequence": 7, "time": "t", "id": "1", "source": "/s", "type": "a"}],
            "last": [],
            "targets": [
                {"target": "b", "preview": {"sent": true, "method": "POST", "url": "http://h/", "body": "{}"}},
                {"target": "c", "preview": {"sent": false, "error": "no such path"}},
            ],
        }))
        .unwrap();
        let text = found.lines().join("\n");
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "12 of 1,234,567 events match (0.00 %)",
                "taken from 2026-11-22T00:00:00.000Z to 2026-11-23T00:00:00.000Z",
                "0.5 an hour; at most 9 in a minute, at 2026-11-22T19:30:00.000Z",
                "2.0 s, 617,283 events/s, 300 MB/s",
                "",
                "first matches",
                "  7 t a from /s id 1",
                "",
                "→ b would be sent, for the first match",
                "  POST http://h/",
                "  {}",
                "",
                "→ c cannot be sent the first match",
                "  no such path",
            ]
        );
    }
}
