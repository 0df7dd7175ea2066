//! `eventyard event`: looks at what a bus has kept.

mod trace;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs, line, note};
use crate::client::EventFilter;

/// List and get events, and see what became of them.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
    Get(GetArgs),
    Trace(trace::Args),
}

const LIST_EXAMPLES: &str = "\
Examples:
  eventyard event list
  eventyard event list --type order.created --since 2026-01-01T00:00:00Z
  eventyard event list --after 4711 --limit 1000 --output json
  eventyard event list --id 0a1b --source /shop

Without --after the newest come first; with it the oldest behind that sequence.";

/// List events, the newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    /// Start behind this sequence, or where the last page ended.
    #[arg(long)]
    after: Option<String>,
    /// Most events to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Only of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only from this source.
    #[arg(long)]
    source: Option<String>,
    /// Only with this id.
    #[arg(long)]
    id: Option<String>,
    /// Only accepted at or after this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only accepted before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const GET_EXAMPLES: &str = "\
Examples:
  eventyard event get 4711
  eventyard event get 4711 --plain > event.json
  eventyard event get 4711 --plain | eventyard send -";

/// Print one event by its sequence.
#[derive(Debug, clap::Args)]
#[command(after_help = GET_EXAMPLES)]
struct GetArgs {
    /// The sequence that publishing answered with.
    sequence: u64,
    /// Only the CloudEvent, without its place in the log.
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    bus: BusArgs,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Get(args) => get(args).await,
        Command::Trace(args) => trace::run(args).await,
    }
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let filter = EventFilter {
        after: args.after,
        limit: Some(args.limit.into()),
        kind: args.kind,
        source: args.source,
        id: args.id,
        since: args.since,
        until: args.until,
    };
    let page = args.bus.client()?.events(&args.bus.bus, &filter).await?;
    if args.output.output == Format::Json {
        output::json_page("events", &page);
        return Ok(Exit::Ok);
    }
    let rows = page.items.iter().map(|item| row(item.get()));
    output::table(
        ["SEQUENCE", "ACCEPTED", "TYPE", "SOURCE", "ID", "SUBJECT"],
        rows,
    );
    if let Some(next) = &page.next {
        note(format_args!("there are more: --after {next}"));
    }
    Ok(Exit::Ok)
}

fn row(item: &str) -> [String; 6] {
    let item: serde_json::Value = serde_json::from_str(item).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let event = &item["event"];
    [
        item["sequence"].to_string(),
        text(&item["time"]),
        text(&event["type"]),
        text(&event["source"]),
        text(&event["id"]),
        text(&event["subject"]),
    ]
}

async fn get(args: GetArgs) -> Result<Exit, Failure> {
    let event = args
        .bus
        .client()?
        .event(&args.bus.bus, args.sequence)
        .await?;
    if !args.plain {
        output::json(event.get());
        return Ok(Exit::Ok);
    }
    let mut document: std::collections::BTreeMap<String, crate::client::Json> =
        serde_json::from_str(event.get())
            .map_err(|error| Failure::failed(format!("the answer: {error}")))?;
    let event = document
        .remove("event")
        .ok_or_else(|| Failure::failed("the answer holds no event"))?;
    // Byte for byte, so that what is sent on is what was kept.
    line(event.get());
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_listed_with_its_place() {
        let row = row(
            r#"{"sequence":7,"time":"t","bus":"default","event":{"type":"a","source":"/s","id":"1"}}"#,
        );
        assert_eq!(row, ["7", "t", "a", "/s", "1", ""]);
    }
}
