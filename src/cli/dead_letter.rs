//! `eventyard dead-letter`: deliveries that were given up, and what to do with them.

mod redrives;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use serde::Deserialize;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs, line, note};
use crate::client::{DeadLetterAction, DeadLetterFilter, Json, Page, Redriven, Selection};

/// List, group, show, export, redrive, purge and delete dead letters.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
    Groups(GroupsArgs),
    Show(ShowArgs),
    Export(ExportArgs),
    Redrive(RedriveArgs),
    Redrives(redrives::Args),
    Purge(PurgeArgs),
    Delete(DeleteArgs),
}

/// What dead letters must be like; all that is given must hold.
#[derive(Debug, Default, clap::Args)]
struct FilterArgs {
    /// Of this rule.
    #[arg(long)]
    rule: Option<String>,
    /// Of this target.
    #[arg(long)]
    target: Option<String>,
    /// Given up for this reason, such as `refused`, `attempts_exhausted` or `too_old`.
    #[arg(long)]
    reason: Option<String>,
    /// Last answered with this status: `503`, `5xx`, or `none` for no answer.
    #[arg(long)]
    status: Option<String>,
    /// Of events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Given up at or after this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Given up before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterArgs {
    fn filter(self) -> DeadLetterFilter {
        DeadLetterFilter {
            rule: self.rule,
            target: self.target,
            reason: self.reason,
            status: self.status,
            kind: self.kind,
            since: self.since,
            until: self.until,
        }
    }
}

const LIST_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter list
  eventyard dead-letter list --rule large-orders --target billing --limit 1000
  eventyard dead-letter list --reason refused --status 4xx --since 2026-11-27T00:00:00Z
  eventyard dead-letter list --output json";

/// List dead letters of a bus, or those that a filter chooses.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Start where the last page ended.
    #[arg(long)]
    after: Option<String>,
    /// Most dead letters to list.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const GROUPS_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter groups
  eventyard dead-letter groups --rule large-orders --status none --output json";

/// Count dead letters by target, reason and status: what went wrong, and how often.
#[derive(Debug, clap::Args)]
#[command(after_help = GROUPS_EXAMPLES)]
struct GroupsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter show 17-120044";

/// Print one dead letter with its event.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// Its id, as the list shows it.
    id: String,
    #[command(flatten)]
    bus: BusArgs,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter export > dead.json
  eventyard dead-letter export --reason refused --file refused.json
  eventyard dead-letter export --rule large-orders | eventyard send --bus rescue -

Writes the events as one CloudEvents batch (JSON), each with what is known of its letter as
extension attributes. The letters stay.";

/// Write the events of dead letters as a CloudEvents batch.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPORT_EXAMPLES)]
struct ExportArgs {
    /// Write here, not to standard output; only a whole export takes the place of the file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    bus: BusArgs,
}

const REDRIVE_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter redrive 17-120044 17-120051
  eventyard dead-letter redrive --all --dry-run       count by group, change nothing
  eventyard dead-letter redrive --rule large-orders --target billing --status 5xx --rate 50/s
  eventyard dead-letter redrive --target billing --to large-orders/rescue
  eventyard dead-letter redrive --all                 of every target of the bus

With --rate the bus works in the background: `eventyard dead-letter redrives` shows how far it is.";

/// Deliver dead letters once more.
#[derive(Debug, clap::Args)]
#[command(after_help = REDRIVE_EXAMPLES)]
struct RedriveArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// So many in a second, minute or hour, in the background: 50/s, 300/m, 1000/h.
    #[arg(long)]
    rate: Option<String>,
    /// To another target, of a rule of the same bus.
    #[arg(long, value_name = "RULE/TARGET", value_parser = rule_and_target)]
    to: Option<(String, String)>,
}

fn rule_and_target(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((rule, target)) if !rule.is_empty() && !target.is_empty() => {
            Ok((rule.to_owned(), target.to_owned()))
        }
        _ => Err("write the rule, a slash and its target, such as large-orders/billing".to_owned()),
    }
}

const PURGE_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter purge --all --rule large-orders --target billing
  eventyard dead-letter purge --reason not_transformed --until 2026-11-01T00:00:00Z --dry-run
  eventyard dead-letter purge 17-120044 17-120051

What is purged is gone: the event stays in the log until its retention ends, the delivery does not.";

/// Delete many dead letters.
#[derive(Debug, clap::Args)]
#[command(after_help = PURGE_EXAMPLES)]
struct PurgeArgs {
    #[command(flatten)]
    which: WhichArgs,
}

const DELETE_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter delete 17-120044";

/// Delete one dead letter.
#[derive(Debug, clap::Args)]
#[command(after_help = DELETE_EXAMPLES)]
struct DeleteArgs {
    /// Its id, as the list shows it.
    id: String,
    #[command(flatten)]
    bus: BusArgs,
}

#[derive(Debug, clap::Args)]
struct WhichArgs {
    /// The dead letters' ids.
    ids: Vec<String>,
    /// All of the bus, or all that the filter chooses.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Count by group and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl WhichArgs {
    /// One of ids, a filter, and `--all`: nobody should purge a bus for want of an argument.
    fn selection(&mut self) -> Result<Selection, Failure> {
        let ids = std::mem::take(&mut self.ids);
        let filter = std::mem::take(&mut self.filter).filter();
        match (ids.is_empty(), filter.is_empty()) {
            (false, true) => Ok(Selection::ids(ids)),
            (false, false) => Err(Failure::usage("give ids or a filter, not both")),
            (true, false) => Ok(Selection::filter(filter)),
            (true, true) if self.all => Ok(Selection::all()),
            (true, true) => Err(Failure::usage(
                "say which dead letters: their ids, a filter such as --rule, or --all",
            )),
        }
    }
}

/// What the bus counts.
#[derive(Debug, Deserialize)]
struct Groups {
    count: u64,
    #[serde(default)]
    redrivable: u64,
    groups: Vec<Group>,
    #[serde(default)]
    ungrouped: u64,
}

#[derive(Debug, Deserialize)]
struct Group {
    rule: String,
    target: String,
    reason: String,
    status: String,
    count: u64,
    oldest: String,
    newest: String,
    example: Example,
}

#[derive(Debug, Deserialize)]
struct Example {
    id: String,
}

/// What the list says of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Letter {
    id: String,
    rule: String,
    target: String,
    sequence: u64,
    reason: String,
    attempts: u32,
    #[serde(default)]
    dead_at: String,
    #[serde(default)]
    last_status: Option<u16>,
    #[serde(default)]
    last_error: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Groups(args) => groups(args).await,
        Command::Show(args) => {
            let client = args.bus.client()?;
            let shown = client.dead_letter(&args.bus.bus, &args.id);
            output::json(shown.await?.get());
            Ok(Exit::Ok)
        }
        Command::Export(args) => export(args).await,
        Command::Redrive(args) => redrive(args).await,
        Command::Redrives(args) => redrives::run(args).await,
        Command::Purge(args) => purge(args).await,
        Command::Delete(args) => {
            let client = args.bus.client()?;
            client.delete_dead_letter(&args.bus.bus, &args.id).await?;
            line(format_args!("deleted {}", args.id));
            Ok(Exit::Ok)
        }
    }
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    let page = client
        .dead_letters(
            &args.bus.bus,
            &args.filter.filter(),
            Some(args.limit.into()),
            args.after.as_deref(),
        )
        .await?;
    if args.output.output == Format::Json {
        output::json_page("dead_letters", &page);
        return Ok(Exit::Ok);
    }
    let letters = read(&page)?;
    let rows = letters.into_iter().map(|letter| {
        [
            letter.id,
            letter.rule,
            letter.target,
            letter.reason,
            letter.attempts.to_string(),
            letter
                .last_status
                .map(|status| status.to_string())
                .unwrap_or_default(),
            letter.dead_at,
            letter
                .last_error
                .unwrap_or_default()
                .chars()
                .take(60)
                .collect(),
        ]
    });
    output::table(
        [
            "ID",
            "RULE",
            "TARGET",
            "REASON",
            "ATTEMPTS",
            "STATUS",
            "DEAD AT",
            "LAST ERROR",
        ],
        rows,
    );
    if let Some(next) = &page.next {
        note(format_args!("there are more: --after {next}"));
    }
    Ok(Exit::Ok)
}

async fn groups(args: GroupsArgs) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    let answer = client
        .dead_letter_groups(&args.bus.bus, &args.filter.filter())
        .await?;
    show_groups(&answer, args.output.output)?;
    Ok(Exit::Ok)
}

fn show_groups(answer: &Json, format: Format) -> Result<Option<Groups>, Failure> {
    if format == Format::Json {
        output::json(answer.get());
        return Ok(None);
    }
    let groups: Groups = serde_json::from_str(answer.get())
        .map_err(|error| Failure::failed(format!("the bus's answer cannot be read: {error}")))?;
    let rows = groups.groups.iter().map(|group| {
        [
            group.count.to_string(),
            group.rule.clone(),
            group.target.clone(),
            group.reason.clone(),
            group.status.clone(),
            group.oldest.clone(),
            group.newest.clone(),
            group.example.id.clone(),
        ]
    });
    output::table(
        [
            "COUNT", "RULE", "TARGET", "REASON", "STATUS", "OLDEST", "NEWEST", "EXAMPLE",
        ],
        rows,
    );
    if groups.ungrouped > 0 {
        note(format_args!(
            "{} of {} are in no group: there are too many groups; name a rule and target",
            groups.ungrouped, groups.count
        ));
    }
    Ok(Some(groups))
}

async fn redrive(mut args: RedriveArgs) -> Result<Exit, Failure> {
    let selection = args.which.selection()?;
    let action = DeadLetterAction {
        selection: &selection,
        dry_run: args.which.dry_run,
        rate: args.rate.as_deref(),
        to: args
            .to
            .as_ref()
            .map(|(rule, target)| (rule.as_str(), target.as_str())),
    };
    let client = args.which.bus.client()?;
    let redriven = client.redrive(&args.which.bus.bus, &action).await?;
    let as_json = args.which.output.output == Format::Json;
    match redriven {
        Redriven::Now(count) if as_json => output::json(&format!("{{\"redriven\":{count}}}")),
        Redriven::Now(count) => {
            line(format_args!("{count} redriven"));
            return Ok(found_all(&selection, count));
        }
        Redriven::Counted(groups) => {
            if let Some(groups) = show_groups(&groups, args.which.output.output)? {
                note(format_args!(
                    "{} would be redriven of {}; nothing was changed",
                    groups.redrivable, groups.count
                ));
            }
        }
        Redriven::Job(job) if as_json => output::json(job.get()),
        Redriven::Job(job) => redrives::started(&job)?,
    }
    Ok(Exit::Ok)
}

async fn purge(mut args: PurgeArgs) -> Result<Exit, Failure> {
    let selection = args.which.selection()?;
    let action = DeadLetterAction {
        selection: &selection,
        dry_run: args.which.dry_run,
        rate: None,
        to: None,
    };
    let client = args.which.bus.client()?;
    match client.purge(&args.which.bus.bus, &action).await? {
        Redriven::Now(count) if args.which.output.output == Format::Json => {
            output::json(&format!("{{\"purged\":{count}}}"));
            Ok(Exit::Ok)
        }
        Redriven::Now(count) => {
            line(format_args!("{count} purged"));
            Ok(found_all(&selection, count))
        }
        Redriven::Counted(groups) | Redriven::Job(groups) => {
            if let Some(groups) = show_groups(&groups, args.which.output.output)? {
                note(format_args!(
                    "{} would be purged; nothing was changed",
                    groups.count
                ));
            }
            Ok(Exit::Ok)
        }
    }
}

/// Ids that stand for nothing any more are passed over by the bus; a person is told.
fn found_all(selection: &Selection, count: u64) -> Exit {
    let Selection::Ids { ids } = selection else {
        return Exit::Ok;
    };
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    let missing = (distinct.len() as u64).saturating_sub(count);
    if missing == 0 {
        return Exit::Ok;
    }
    note(format_args!(
        "{missing} of these ids are no dead letters of this bus (any more); `eventyard dead-letter list` shows those that stand"
    ));
    Exit::NotFound
}

async fn export(args: ExportArgs) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    let filter = args.filter.filter();
    let mut export = client.export_dead_letters(&args.bus.bus, &filter).await?;
    let failed = |error: std::io::Error| Failure::failed(format!("the export: {error}"));
    let Some(file) = args.file else {
        let mut out = std::io::stdout().lock();
        while let Some(part) = export.next().await? {
            // A reader that has gone away (`| head`) is no error.
            if out.write_all(&part).is_err() {
                return Ok(Exit::Ok);
            }
        }
        if out.is_terminal() {
            let _ = out.write_all(b"\n");
        }
        let _ = out.flush();
        return Ok(Exit::Ok);
    };
    // Beside the file, so that it is renamed within one file system.
    let mut part_name = file.clone().into_os_string();
    part_name.push(".part");
    let part_file = PathBuf::from(part_name);
    let mut out = std::fs::File::create(&part_file).map_err(failed)?;
    while let Some(part) = export.next().await? {
        out.write_all(&part).map_err(failed)?;
    }
    out.sync_all().map_err(failed)?;
    std::fs::rename(&part_file, &file).map_err(failed)?;
    line(format_args!("exported to {}", file.display()));
    Ok(Exit::Ok)
}

fn read(page: &Page) -> Result<Vec<Letter>, Failure> {
    page.items
        .iter()
        .map(|item| serde_json::from_str(item.get()))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::failed(format!("a dead letter that does not read: {error}")))
}
