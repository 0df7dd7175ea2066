//! `eventyard target`: how the targets of a bus stand; pausing, resuming and trying one.

use serde_json::Value;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs};
use crate::client::{Client, Page};

/// List, show, pause, resume and test targets.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
    Show(ShowArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Test(TestArgs),
}

const LIST_EXAMPLES: &str = "\
Examples:
  eventyard target list
  eventyard target list --bus orders --output json";

/// List a bus's targets with their breakers and what waits for them.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  eventyard target show large-orders billing";

/// Print how one target stands.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    #[command(flatten)]
    place: Place,
}

/// Which target is meant.
#[derive(Debug, clap::Args)]
struct Place {
    /// The rule.
    rule: String,
    /// The rule's target.
    target: String,
    #[command(flatten)]
    bus: BusArgs,
}

const PAUSE_EXAMPLES: &str = "\
Examples:
  eventyard target pause large-orders billing";

/// Stop sending to a target until it is resumed.
///
/// What comes for it waits on disk, up to each delivery's max_age. What is in flight goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = PAUSE_EXAMPLES)]
struct PauseArgs {
    #[command(flatten)]
    place: Place,
}

const RESUME_EXAMPLES: &str = "\
Examples:
  eventyard target resume large-orders billing";

/// Send to a target again that is paused or disabled, or whose breaker is open.
#[derive(Debug, clap::Args)]
#[command(after_help = RESUME_EXAMPLES)]
struct ResumeArgs {
    #[command(flatten)]
    place: Place,
}

const TEST_EXAMPLES: &str = "\
Examples:
  eventyard target test large-orders billing
  eventyard target test large-orders billing && eventyard target resume large-orders billing";

/// Send a target one event of the bus's own, and print what it answers.
///
/// The event (type eventyard.target.test) is signed, transformed and guarded as any delivery, and
/// goes out at once, also to a target that is paused or disabled.
#[derive(Debug, clap::Args)]
#[command(after_help = TEST_EXAMPLES)]
struct TestArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Show(ShowArgs { place }) => {
            let client = place.bus.client()?;
            let shown = client.target(&place.bus.bus, &place.rule, &place.target);
            output::json(shown.await?.get());
            Ok(Exit::Ok)
        }
        Command::Pause(PauseArgs { place }) => {
            let client = place.bus.client()?;
            let health = client.pause_target(&place.bus.bus, &place.rule, &place.target);
            Ok(print_state(health.await?.get()))
        }
        Command::Resume(ResumeArgs { place }) => {
            let client = place.bus.client()?;
            let health = client.resume_target(&place.bus.bus, &place.rule, &place.target);
            Ok(print_state(health.await?.get()))
        }
        Command::Test(args) => test(args).await,
    }
}

fn print_state(health: &str) -> Exit {
    let health: Value = serde_json::from_str(health).unwrap_or_default();
    let text = |name: &str| health[name].as_str().unwrap_or_default().to_owned();
    output::line(format_args!(
        "{}/{} is {}; {} deliveries wait",
        text("rule"),
        text("target"),
        text("state"),
        health["pending"]
    ));
    Exit::Ok
}

async fn test(args: TestArgs) -> Result<Exit, Failure> {
    let Place { rule, target, bus } = args.place;
    let tested = bus.client()?.test_target(&bus.bus, &rule, &target).await?;
    let answer: Value = serde_json::from_str(tested.get()).unwrap_or_default();
    if args.output.output == Format::Json {
        output::json(tested.get());
    } else {
        output::line(format_args!("{}", verdict(&answer)));
        if let Some(response) = answer["response"].as_str().filter(|text| !text.is_empty()) {
            output::line(output::one_line(response));
        }
    }
    Ok(match answer["delivered"].as_bool() {
        Some(true) => Exit::Ok,
        _ => Exit::Failed,
    })
}

/// One line about a test.
fn verdict(answer: &Value) -> String {
    let took = &answer["took_ms"];
    match (&answer["status"], answer["error"].as_str()) {
        (Value::Number(status), _) => format!("answered {status} in {took} ms"),
        (_, Some(error)) => format!("no answer in {took} ms: {error}"),
        _ => format!("no answer in {took} ms"),
    }
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    let mut targets = Page::default();
    for (rule, target) in names(&client, &args.bus.bus).await? {
        let health = client.target(&args.bus.bus, &rule, &target).await?;
        targets.items.push(health);
    }
    if args.output.output == Format::Json {
        output::json_page("targets", &targets);
        return Ok(Exit::Ok);
    }
    let rows = targets.items.iter().map(|item| row(item.get()));
    output::table(
        [
            "RULE",
            "TARGET",
            "STATE",
            "SINCE",
            "BREAKER",
            "WAITS FOR",
            "PENDING",
            "IN FLIGHT",
            "DELIVERED",
            "DEAD",
            "LAST STATUS",
        ],
        rows,
    );
    Ok(Exit::Ok)
}

/// Every (rule, target) of the bus.
async fn names(client: &Client, bus: &str) -> Result<Vec<(String, String)>, Failure> {
    let rules = Page::all(async |after| client.rules(bus, after).await).await?;
    let mut names = Vec::new();
    for item in &rules.items {
        let rule: Value = serde_json::from_str(item.get()).unwrap_or_default();
        let targets = rule["document"]["targets"].as_array();
        names.extend(targets.into_iter().flatten().filter_map(|target| {
            let rule = rule["name"].as_str()?.to_owned();
            Some((rule, target["id"].as_str()?.to_owned()))
        }));
    }
    Ok(names)
}

fn row(item: &str) -> [String; 11] {
    let item: Value = serde_json::from_str(item).unwrap_or_default();
    let cell = |name: &str| match &item[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    [
        "rule",
        "target",
        "state",
        "state_since",
        "breaker",
        "throttled_by",
        "pending",
        "in_flight",
        "delivered",
        "dead_lettered",
        "last_status",
    ]
    .map(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_told_in_a_line() {
        for (answer, told) in [
            (r#"{"status":204,"took_ms":3}"#, "answered 204 in 3 ms"),
            (
                r#"{"status":null,"error":"connection refused","took_ms":3}"#,
                "no answer in 3 ms: connection refused",
            ),
        ] {
            assert_eq!(verdict(&serde_json::from_str(answer).unwrap()), told);
        }
    }

    #[test]
    fn a_target_is_listed_with_what_it_waits_for() {
        let row = row(
            r#"{"rule":"a","target":"t","state":"paused","state_since":"2026-01-01T00:00:00.000Z","breaker":"open","throttled_by":null,"pending":3,"in_flight":0,"delivered":1,"dead_lettered":2,"last_status":503}"#,
        );
        let since = "2026-01-01T00:00:00.000Z";
        assert_eq!(
            row,
            [
                "a", "t", "paused", since, "open", "", "3", "0", "1", "2", "503"
            ]
        );
    }
}
