//! `eventyard log-level`: shows what a bus logs, and changes it while it runs.

use serde::Deserialize;

use super::connect::ServerArgs;
use super::exit::{Exit, Failure};
use super::output::{self, DIM, Format, OutputArgs, line, paint};

const EXAMPLES: &str = "\
Examples:
  eventyard log-level
  eventyard log-level debug
  eventyard log-level info,eventyard::delivery=debug
  eventyard log-level --reset

It holds until the bus stops; after a start the configuration's `log_level` does.";

/// Show what a bus logs, or change it while it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A level, or levels by module; without it the bus is only asked.
    #[arg(conflicts_with = "reset")]
    level: Option<String>,
    /// Log by the configuration again.
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Deserialize)]
struct Shown {
    level: String,
    configured: String,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let answer = match (&args.level, args.reset) {
        (Some(level), _) => client.set_log_level(level).await?,
        (None, true) => client.reset_log_level().await?,
        (None, false) => client.log_level().await?,
    };
    if args.output.output == Format::Json {
        output::json(answer.get());
        return Ok(Exit::Ok);
    }
    let shown: Shown = serde_json::from_str(answer.get())
        .map_err(|error| Failure::failed(format!("the answer: {error}")))?;
    let configured = match shown.level == shown.configured {
        true => String::new(),
        false => paint(DIM, format_args!("  (configured: {})", shown.configured)),
    };
    line(format_args!("{}{configured}", shown.level));
    Ok(Exit::Ok)
}
