//! `eventyard dead-letter redrives`: redrives in the background, and their end.

use serde::Deserialize;

use crate::cli::connect::BusArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{self, Format, OutputArgs, line};
use crate::client::Json;

const EXAMPLES: &str = "\
Examples:
  eventyard dead-letter redrives
  eventyard dead-letter redrives --cancel 3

A redrive ends when the bus stops. What it had redriven stays so; the others are dead letters as
before, and the same command goes on with them.";

/// List redrives in the background, or end one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// End this one.
    #[arg(long, value_name = "ID")]
    cancel: Option<String>,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    state: String,
    rate: String,
    chosen: u64,
    redriven: u64,
    left: u64,
    started: String,
    #[serde(default)]
    ended: String,
    #[serde(default)]
    error: String,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    if let Some(id) = args.cancel {
        client.cancel_redrive(&args.bus.bus, &id).await?;
        line(format_args!("cancelled {id}"));
        return Ok(Exit::Ok);
    }
    let page = client.redrives(&args.bus.bus).await?;
    if args.output.output == Format::Json {
        output::json_page("redrives", &page);
        return Ok(Exit::Ok);
    }
    let jobs = page.items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let rows = jobs.into_iter().map(|job| {
        [
            job.id,
            job.state,
            format!("{} of {}", job.redriven, job.chosen),
            job.left.to_string(),
            job.rate,
            job.started,
            job.ended,
            job.error,
        ]
    });
    output::table(
        [
            "ID", "STATE", "REDRIVEN", "LEFT", "RATE", "STARTED", "ENDED", "ERROR",
        ],
        rows,
    );
    Ok(Exit::Ok)
}

/// Tells of a redrive that has begun.
pub(super) fn started(job: &Json) -> Result<(), Failure> {
    let job = read(job)?;
    line(format_args!(
        "redrive {} began: {} at {}; `eventyard dead-letter redrives` shows how far it is",
        job.id, job.chosen, job.rate
    ));
    Ok(())
}

fn read(job: &Json) -> Result<Job, Failure> {
    serde_json::from_str(job.get())
        .map_err(|error| Failure::failed(format!("the bus's answer cannot be read: {error}")))
}
