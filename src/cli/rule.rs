//! `eventyard rule`: looks at, applies and tries out rules.

mod apply;
mod backtest;
pub(crate) mod explain;
mod export;
mod gather;
mod preview;
mod suite;
mod test;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs, line};
use crate::client::Page;

/// List, get, apply, export, delete, test, explain and preview rules.
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
    Apply(apply::Args),
    Export(export::Args),
    Delete(DeleteArgs),
    Test(test::Args),
    Explain(explain::Args),
    Preview(preview::Args),
    Backtest(backtest::Args),
}

const LIST_EXAMPLES: &str = "\
Examples:
  eventyard rule list
  eventyard rule list --bus orders --output json";

/// List a bus's rules.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const GET_EXAMPLES: &str = "\
Examples:
  eventyard rule get large-orders
  eventyard rule get large-orders > rules/default/large-orders.json";

/// Print a rule as it was put.
#[derive(Debug, clap::Args)]
#[command(after_help = GET_EXAMPLES)]
struct GetArgs {
    /// The rule's name.
    rule: String,
    #[command(flatten)]
    bus: BusArgs,
}

const DELETE_EXAMPLES: &str = "\
Examples:
  eventyard rule delete large-orders
  eventyard rule delete large-orders --bus orders

Deliveries that still wait for the rule's targets become dead letters.";

/// Delete a rule.
#[derive(Debug, clap::Args)]
#[command(after_help = DELETE_EXAMPLES)]
struct DeleteArgs {
    /// The rule's name.
    rule: String,
    #[command(flatten)]
    bus: BusArgs,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Get(args) => get(args).await,
        Command::Apply(args) => apply::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Delete(args) => delete(args).await,
        Command::Test(args) => test::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Preview(args) => preview::run(args),
        Command::Backtest(args) => backtest::run(args).await,
    }
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    // A person asks for the rules, not for a page of them.
    let rules = Page::all(async |after| client.rules(&args.bus.bus, after).await).await?;
    if args.output.output == Format::Json {
        output::json_page("rules", &rules);
        return Ok(Exit::Ok);
    }
    let rows = rules.items.iter().map(|item| row(item.get()));
    output::table(["RULE", "ENABLED", "TARGETS", "DESCRIPTION"], rows);
    Ok(Exit::Ok)
}

fn row(item: &str) -> [String; 4] {
    let item: serde_json::Value = serde_json::from_str(item).unwrap_or_default();
    let document = &item["document"];
    let targets: Vec<&str> = document["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|target| target["id"].as_str())
        .collect();
    [
        item["name"].as_str().unwrap_or_default().to_owned(),
        if document["enabled"] == false {
            "no"
        } else {
            "yes"
        }
        .to_owned(),
        targets.join(" "),
        document["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    ]
}

async fn get(args: GetArgs) -> Result<Exit, Failure> {
    let rule = args.bus.client()?.rule(&args.bus.bus, &args.rule).await?;
    // As it was put, not re-indented: what goes back into a file should be what came from one.
    line(rule.document.get());
    Ok(Exit::Ok)
}

async fn delete(args: DeleteArgs) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    client.delete_rule(&args.bus.bus, &args.rule).await?;
    line(format_args!("deleted {}/{}", args.bus.bus, args.rule));
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_listed_with_its_targets() {
        let row = row(
            r#"{"name":"a","document":{"description":"d","enabled":false,"targets":[{"id":"x"},{"id":"y"}]}}"#,
        );
        assert_eq!(row, ["a", "no", "x y", "d"]);
    }
}
