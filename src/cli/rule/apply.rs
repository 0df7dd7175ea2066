//! `eventyard rule apply`: makes a bus hold what files describe, whole or not at all; checked here
//! before anything is sent.

use std::path::PathBuf;

use super::gather::{self, Gathered};
use crate::cli::connect::BusArgs;
use crate::cli::diff;
use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::output::{self, DIM, Format, GREEN, OutputArgs, RED, YELLOW, line, note, paint};
use crate::client::{Applied, AppliedDocument, ApplyOptions};
use crate::rule::normalised;

const EXAMPLES: &str = "\
Examples:
  eventyard rule apply rules/default/large-orders.json
  eventyard rule apply rules --dry-run --prune
  eventyard rule apply rules --prune
  eventyard rule apply rules/orders --bus orders
  jq '.enabled = false' rule.json | eventyard rule apply - --name large-orders

A folder of folders is a rules folder: each folder in it is a bus, with its bus.json. A folder of
rule files, or a file, goes to the bus that --bus names. A rule is called as its file is, without
`.json`. *.tests.json and *.event.json are left out.

All files are checked before anything is sent, and all are applied in one step or none.

Exits with 0 when all is applied. With --dry-run, with 0 when there is nothing to change and with 2
when there is.";

/// Create or replace rules from files, all of them or none.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Rule files, or folders of them; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// The rule's name, when it is not the file's.
    #[arg(long)]
    name: Option<String>,
    /// Only replace the revision with this ETag.
    #[arg(long, value_name = "ETAG", conflicts_with_all = ["dry_run", "prune"])]
    if_match: Option<String>,
    /// Show what would be created, changed and deleted, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Delete the rules that the folder does not have, on the buses that it has.
    #[arg(long)]
    prune: bool,
    /// Check the files and ask no bus.
    #[arg(long, conflicts_with_all = ["dry_run", "prune", "if_match"])]
    check: bool,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let gathered = gather::gather(&args.files, &args.bus.bus, args.name.as_deref())?;
    let single = gathered.documents.len() == 1;
    if !single && (args.name.is_some() || args.if_match.is_some()) {
        return Err(Failure::usage(
            "--name and --if-match are for one rule, and there is more than one file",
        ));
    }
    if args.prune && !gathered.whole {
        return Err(Failure::usage(
            "--prune needs a folder: single files do not tell which rules are to go",
        ));
    }
    if args.check {
        for document in gathered.documents.values() {
            let (what, path) = (document.what(), input::name(&document.path));
            line(format_args!("{what}: {path} is valid"));
        }
        return Ok(Exit::Ok);
    }
    let client = args.bus.client()?;
    if let (Some(etag), Some(document)) = (&args.if_match, gathered.documents.values().next()) {
        let Some(rule) = &document.rule else {
            return Err(Failure::usage("--if-match is for a rule, not for a bus"));
        };
        let put = client.put_rule(&document.bus, rule, &document.text, Some(etag));
        let put = put.await?;
        warn(&put.warnings);
        let etag = put.etag.as_deref().unwrap_or("none");
        line(format_args!("applied {} (ETag {etag})", document.what()));
        return Ok(Exit::Ok);
    }
    let configuration = gathered.configuration()?;
    let options = ApplyOptions {
        prune: args.prune,
        dry_run: args.dry_run,
    };
    let applied = client.apply(&configuration, options).await?;
    warn(&applied.warnings);
    match args.output.output {
        Format::Json => {
            let text = serde_json::to_string(&applied)
                .map_err(|error| Failure::failed(format!("the answer: {error}")))?;
            output::json(&text);
        }
        Format::Table => show(&applied, &gathered),
    }
    match applied.dry_run && applied.changed {
        true => Ok(Exit::CHANGES),
        false => Ok(Exit::Ok),
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        note(format_args!(
            "{} {}",
            paint(YELLOW, "warning:"),
            output::one_line(warning)
        ));
    }
}

fn show(applied: &Applied, gathered: &Gathered) {
    for change in &applied.changes {
        for text in lines_of(change, applied.dry_run, gathered) {
            line(text);
        }
    }
    line(summary(applied));
}

fn lines_of(change: &AppliedDocument, dry_run: bool, gathered: &Gathered) -> Vec<String> {
    let what = gather::what(&change.bus, change.rule.as_deref());
    let (sign, planned, done) = match change.change.as_str() {
        "created" => (paint(GREEN, "+"), "would be created", "created"),
        "replaced" => (paint(YELLOW, "~"), "would be changed", "changed"),
        "deleted" => (paint(RED, "-"), "would be deleted", "deleted"),
        _ => return Vec::new(),
    };
    if !dry_run {
        let etag = change
            .revision
            .map(|revision| format!(" (ETag \"{revision}\")"));
        let etag = etag.unwrap_or_default();
        return vec![format!("{sign} {what}: {done}{etag}")];
    }
    let mut lines = vec![format!("{sign} {what}: {planned}")];
    let after = gathered.text(&change.bus, change.rule.as_deref());
    if let (Some(before), Some(after)) = (&change.before, after) {
        let normal = |text: &str| normalised(text).unwrap_or_else(|| text.to_owned());
        let diff = diff::lines(&normal(before.get()), &normal(after));
        if diff.is_empty() {
            let text = "only how it is written: space, order of keys, escapes";
            lines.push(format!("    {}", paint(DIM, text)));
        }
        lines.extend(diff.iter().map(|line| format!("    {line}")));
    }
    lines
}

fn summary(applied: &Applied) -> String {
    let count = |kind: &str| {
        let changes = applied.changes.iter();
        changes.filter(|change| change.change == kind).count()
    };
    let (created, replaced) = (count("created"), count("replaced"));
    let (deleted, unchanged) = (count("deleted"), count("unchanged"));
    match applied.dry_run {
        true => format!(
            "{created} to create, {replaced} to change, {deleted} to delete, {unchanged} unchanged"
        ),
        false => {
            format!(
                "{created} created, {replaced} changed, {deleted} deleted, {unchanged} unchanged"
            )
        }
    }
}
