//! `eventyard audit`: who changed what on a bus.

use serde::Deserialize;
use serde_json::Value;

use super::connect::ServerArgs;
use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs, note};
use crate::client::AuditFilter;

const EXAMPLES: &str = "\
Examples:
  eventyard audit
  eventyard audit --actor deploy --since 2026-01-01T00:00:00Z
  eventyard audit --subject /v1/buses/default/rules/large-orders --output json | jq .entries
  eventyard audit --actor stranger

It lists calls that changed something, or tried to, and what the rules folder changed, the newest
first; --output json shows what was there before and after, with what may be secret masked.";

/// Show who changed what.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only of this API key, by prefix or name, or of root, anyone, stranger (no known key) or
    /// rules_folder.
    #[arg(long)]
    actor: Option<String>,
    /// Only of this path of the API and what is below it.
    #[arg(long, value_name = "PATH")]
    subject: Option<String>,
    /// Only at or after this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Where the last page ended.
    #[arg(long)]
    after: Option<String>,
    /// Most entries to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the bus tells of a call.
#[derive(Debug, Deserialize)]
struct Shown {
    time: String,
    actor: Actor,
    peer: Option<String>,
    method: String,
    path: String,
    status: Option<u16>,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Actor {
    kind: String,
    name: Option<String>,
    file: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let filter = AuditFilter {
        limit: Some(args.limit.into()),
        after: args.after,
        actor: args.actor,
        subject: args.subject,
        since: args.since,
        until: args.until,
    };
    let page = args.server.client()?.audit(&filter).await?;
    if args.output.output == Format::Json {
        output::json_page("entries", &page);
        return Ok(Exit::Ok);
    }
    let rows = page.items.iter().map(|item| row(item.get()));
    output::table(["TIME", "WHO", "FROM", "CALL", "STATUS", "CHANGE"], rows);
    if let Some(next) = &page.next {
        note(format_args!("there may be more: --after {next}"));
    }
    Ok(Exit::Ok)
}

impl Actor {
    fn who(self) -> String {
        let file = self.file.map(|file| format!("rules folder, {file}"));
        self.name.or(file).unwrap_or(self.kind)
    }
}

fn row(item: &str) -> [String; 6] {
    let Ok(shown) = serde_json::from_str::<Shown>(item) else {
        return Default::default();
    };
    let change = match (&shown.before, &shown.after) {
        (None, None) => "",
        (None, Some(_)) => "created",
        (Some(_), None) => "deleted",
        (Some(before), Some(after)) if before == after => "as before",
        (Some(_), Some(_)) => "changed",
    };
    let change = match shown.status {
        Some(status) if (200..300).contains(&status) => change,
        _ => "",
    };
    [
        shown.time,
        shown.actor.who(),
        shown.peer.unwrap_or_default(),
        format!("{} {}", shown.method, shown.path),
        shown
            .status
            .map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
        change.to_owned(),
    ]
}
