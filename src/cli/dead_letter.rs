//! `eventyard dead-letter`: deliveries that were given up, and what to do with them.

use serde::Deserialize;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs, line, note};
use crate::client::{Client, Page, Selection};

/// List, group, show, redrive, purge and delete dead letters.
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
    Redrive(RedriveArgs),
    Purge(PurgeArgs),
    Delete(DeleteArgs),
}

/// One target of one rule.
#[derive(Debug, clap::Args)]
struct TargetArgs {
    /// The rule.
    #[arg(long, requires = "target")]
    rule: Option<String>,
    /// The rule's target.
    #[arg(long, requires = "rule")]
    target: Option<String>,
}

impl TargetArgs {
    fn pair(&self) -> Option<(&str, &str)> {
        Some((self.rule.as_deref()?, self.target.as_deref()?))
    }
}

const LIST_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter list
  eventyard dead-letter list --rule large-orders --target billing --limit 1000
  eventyard dead-letter list --output json";

/// List dead letters of a bus, or of one target.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    target: TargetArgs,
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
  eventyard dead-letter groups --rule large-orders --target billing --output json";

/// Count dead letters by target, reason and status: what went wrong, and how often.
#[derive(Debug, clap::Args)]
#[command(after_help = GROUPS_EXAMPLES)]
struct GroupsArgs {
    #[command(flatten)]
    target: TargetArgs,
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

const REDRIVE_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter redrive 17-120044 17-120051
  eventyard dead-letter redrive --all --rule large-orders --target billing
  eventyard dead-letter redrive --all                 of every target of the bus";

/// Deliver dead letters once more.
#[derive(Debug, clap::Args)]
#[command(after_help = REDRIVE_EXAMPLES)]
struct RedriveArgs {
    #[command(flatten)]
    which: WhichArgs,
}

const PURGE_EXAMPLES: &str = "\
Examples:
  eventyard dead-letter purge --all --rule large-orders --target billing
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
#[command(group(clap::ArgGroup::new("which").required(true)))]
struct WhichArgs {
    /// The dead letters' ids.
    #[arg(group = "which")]
    ids: Vec<String>,
    /// All of the target, or of the bus.
    #[arg(long, group = "which")]
    all: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    bus: BusArgs,
}

/// What the bus counts.
#[derive(Debug, Deserialize)]
struct Groups {
    count: u64,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Redrive,
    Purge,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Groups(args) => groups(args).await,
        Command::Show(args) => {
            let client = args.bus.client()?;
            let bus = &args.bus.bus;
            let letter = find(&client, bus, &args.id).await?;
            let shown = client.dead_letter(bus, &letter.rule, &letter.target, &letter.id);
            output::json(shown.await?.get());
            Ok(Exit::Ok)
        }
        Command::Redrive(args) => act(args.which, Action::Redrive).await,
        Command::Purge(args) => act(args.which, Action::Purge).await,
        Command::Delete(args) => {
            let client = args.bus.client()?;
            let bus = &args.bus.bus;
            let letter = find(&client, bus, &args.id).await?;
            client
                .delete_dead_letter(bus, &letter.rule, &letter.target, &letter.id)
                .await?;
            line(format_args!("deleted {}", letter.id));
            Ok(Exit::Ok)
        }
    }
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    let page = client
        .dead_letters(
            &args.bus.bus,
            args.target.pair(),
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
        .dead_letter_groups(&args.bus.bus, args.target.pair())
        .await?;
    if args.output.output == Format::Json {
        output::json(answer.get());
        return Ok(Exit::Ok);
    }
    let groups: Groups = serde_json::from_str(answer.get())
        .map_err(|error| Failure::failed(format!("the bus's answer cannot be read: {error}")))?;
    let rows = groups.groups.into_iter().map(|group| {
        [
            group.count.to_string(),
            group.rule,
            group.target,
            group.reason,
            group.status,
            group.oldest,
            group.newest,
            group.example.id,
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
    Ok(Exit::Ok)
}

/// Redrives or purges, a call for each target that the ids belong to.
async fn act(which: WhichArgs, action: Action) -> Result<Exit, Failure> {
    let client = which.bus.client()?;
    let bus = &which.bus.bus;
    let mut calls: Vec<(String, String, Selection)> = Vec::new();
    match (which.all, which.target.pair()) {
        (true, Some((rule, target))) => {
            calls.push((rule.to_owned(), target.to_owned(), Selection::all()));
        }
        (true, None) => {
            for (rule, target) in targets(&client, bus).await? {
                calls.push((rule, target, Selection::all()));
            }
        }
        (false, Some((rule, target))) => {
            calls.push((
                rule.to_owned(),
                target.to_owned(),
                Selection::ids(which.ids),
            ));
        }
        (false, None) => {
            let mut by_target = std::collections::BTreeMap::<_, Vec<String>>::new();
            for id in &which.ids {
                let letter = find(&client, bus, id).await?;
                by_target
                    .entry((letter.rule, letter.target))
                    .or_default()
                    .push(letter.id);
            }
            for ((rule, target), ids) in by_target {
                calls.push((rule, target, Selection::ids(ids)));
            }
        }
    }
    let mut count = 0;
    for (rule, target, selection) in &calls {
        count += match action {
            Action::Redrive => client.redrive(bus, rule, target, selection).await?,
            Action::Purge => client.purge(bus, rule, target, selection).await?,
        };
    }
    let done = match action {
        Action::Redrive => "redriven",
        Action::Purge => "purged",
    };
    line(format_args!("{count} {done}"));
    Ok(Exit::Ok)
}

/// The dead letter with this id: the API's paths want its rule and target, a person has only the id.
async fn find(client: &Client, bus: &str, id: &str) -> Result<Letter, Failure> {
    // The list is in the order of (target, sequence), which an id is made of: the letter with this id
    // is the first behind the id before it.
    let before = id
        .split_once('-')
        .and_then(|(target, sequence)| {
            let sequence: u64 = sequence.parse().ok()?;
            Some(format!(
                "{}-{}",
                target.parse::<u32>().ok()?,
                sequence.checked_sub(1)?
            ))
        })
        .ok_or_else(|| {
            Failure::usage(format!("{id:?} is no id of a dead letter"))
                .hint("`eventyard dead-letter list` shows them; one looks like 17-120044.")
        })?;
    let page = client
        .dead_letters(bus, None, Some(1), Some(&before))
        .await?;
    read(&page)?
        .into_iter()
        .find(|letter| letter.id == id)
        .ok_or_else(|| {
            Failure::not_found(format!("the bus `{bus}` has no dead letter {id}"))
                .hint("`eventyard dead-letter list` shows those that stand.")
        })
}

/// Every (rule, target) of the bus that has dead letters.
async fn targets(client: &Client, bus: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut targets = std::collections::BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = client
            .dead_letters(bus, None, Some(1_000), after.as_deref())
            .await?;
        targets.extend(
            read(&page)?
                .into_iter()
                .map(|letter| (letter.rule, letter.target)),
        );
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(targets.into_iter().collect()),
        }
    }
}

fn read(page: &Page) -> Result<Vec<Letter>, Failure> {
    page.items
        .iter()
        .map(|item| serde_json::from_str(item.get()))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::failed(format!("a dead letter that does not read: {error}")))
}
