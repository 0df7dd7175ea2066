//! `eventyard health`: asks whether a bus is ready, for container health checks.

use std::time::Duration;

use super::connect::ServerArgs;
use super::exit::{Exit, Failure};
use super::output;

const EXAMPLES: &str = "\
Examples:
  eventyard health
  eventyard health --url http://bus:8080 --timeout 2

Exits with 0 when the bus accepts events, with 4 when it does not.";

/// Ask whether a bus is ready to accept events (for health checks).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    timeout: u64,
    /// Say nothing; the exit code tells.
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let answer = tokio::time::timeout(Duration::from_secs(args.timeout), client.ready()).await;
    let problem = match answer {
        Ok(Ok(())) => {
            if !args.quiet {
                output::line(format_args!("{} is ready", client.base()));
            }
            return Ok(Exit::Ok);
        }
        Ok(Err(error)) => Failure::from(error),
        Err(_) => Failure::unreachable(format!(
            "{} did not answer within {} s",
            client.base(),
            args.timeout
        )),
    };
    if args.quiet {
        return Ok(Exit::Unreachable);
    }
    Err(Failure {
        exit: Exit::Unreachable,
        ..problem
    })
}
