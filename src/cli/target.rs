//! `eventyard target`: how the targets of a bus stand.

use serde_json::Value;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs};
use crate::client::{Client, Page};

/// List and show targets.
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
    /// The rule.
    rule: String,
    /// The rule's target.
    target: String,
    #[command(flatten)]
    bus: BusArgs,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Show(args) => {
            let client = args.bus.client()?;
            let shown = client.target(&args.bus.bus, &args.rule, &args.target);
            output::json(shown.await?.get());
            Ok(Exit::Ok)
        }
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
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = client.rules(bus, after.as_deref()).await?;
        for item in &page.items {
            let rule: Value = serde_json::from_str(item.get()).unwrap_or_default();
            let targets = rule["document"]["targets"].as_array();
            names.extend(targets.into_iter().flatten().filter_map(|target| {
                let rule = rule["name"].as_str()?.to_owned();
                Some((rule, target["id"].as_str()?.to_owned()))
            }));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(names),
        }
    }
}

fn row(item: &str) -> [String; 9] {
    let item: Value = serde_json::from_str(item).unwrap_or_default();
    let cell = |name: &str| match &item[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    [
        "rule",
        "target",
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
    fn a_target_is_listed_with_what_it_waits_for() {
        let row = row(
            r#"{"rule":"a","target":"t","breaker":"open","throttled_by":null,"pending":3,"in_flight":0,"delivered":1,"dead_lettered":2,"last_status":503}"#,
        );
        assert_eq!(row, ["a", "t", "open", "", "3", "0", "1", "2", "503"]);
    }
}
