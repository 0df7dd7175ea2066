//! `eventyard rule export`: writes what the bus holds into a rules folder, as it was put.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::connect::ServerArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::line;
use crate::client::{Client, Page};

const EXAMPLES: &str = "\
Examples:
  eventyard rule export backup/rules
  eventyard rule export rules && git -C rules diff
  eventyard rule apply backup/rules --prune       the way back

Writes <bus>/bus.json and <bus>/<rule>.json for every bus and rule that you may read, each as it was
put. Files of other rules that are in the folder already stay. Secrets stay where they are: rules
only name them.";

/// Write all buses and rules into a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder; made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only this bus.
    #[arg(long, short, value_name = "NAME")]
    bus: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// What of an item of a list is needed.
#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let buses = match args.bus {
        Some(bus) => vec![bus],
        None => buses(&client).await?,
    };
    let (mut rules, mut written) = (0, 0);
    for bus in &buses {
        let folder = args.folder.join(bus);
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        let document = client.bus(bus).await?.document;
        written += u64::from(write(&folder.join("bus.json"), document.get())?);
        for name in rule_names(&client, bus).await? {
            let document = client.rule(bus, &name).await?.document;
            let path = folder.join(format!("{name}.json"));
            written += u64::from(write(&path, document.get())?);
            rules += 1;
        }
    }
    let many = |count: usize, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    line(format_args!(
        "{} and {} in {}: {} changed",
        many(buses.len(), "bus", "buses"),
        many(rules, "rule", "rules"),
        args.folder.display(),
        many(
            usize::try_from(written).unwrap_or(usize::MAX),
            "file",
            "files"
        ),
    ));
    Ok(Exit::Ok)
}

async fn buses(client: &Client) -> Result<Vec<String>, Failure> {
    named(&Page::all(async |after| client.buses_after(after).await).await?)
}

async fn rule_names(client: &Client, bus: &str) -> Result<Vec<String>, Failure> {
    named(&Page::all(async |after| client.rules(bus, after).await).await?)
}

fn named(page: &Page) -> Result<Vec<String>, Failure> {
    let name = |item: &crate::client::Json| {
        serde_json::from_str::<Named>(item.get())
            .map(|item| item.name)
            .map_err(|error| Failure::failed(format!("a list of the bus: {error}")))
    };
    page.items.iter().map(name).collect()
}

/// Writes a file anew if it holds something else; whether it did.
fn write(path: &Path, document: &str) -> Result<bool, Failure> {
    let mut text = document.trim_end().to_owned();
    text.push('\n');
    if std::fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(false);
    }
    std::fs::write(path, text).map_err(|error| failed(path, &error))?;
    Ok(true)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}
