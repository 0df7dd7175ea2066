//! `eventyard pull`: takes a target's deliveries, prints each event or runs a command for it, and
//! acknowledges what went well.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::output::{self, GREEN, RED, line, note, paint};
use crate::client::{Handed, NackOptions, SubscribeOptions};

const EXAMPLES: &str = "\
Examples:
  eventyard pull large-orders worker
  eventyard pull large-orders worker --limit 10 | jq .data
  eventyard pull large-orders worker --exec ./handle-order --lease 300
  eventyard pull large-orders worker --idle 5

Each event is printed as one line of JSON, or given to the command of --exec on its standard input;
that command also finds EVENTYARD_DELIVERY_ID and EVENTYARD_ATTEMPT in its environment. What was
printed, or whose command ended with 0, is acknowledged. Any other end gives the event back, to be
tried again as the target's `retry` says.";

/// Take a target's deliveries one after the other.
///
/// The target's rule has `\"pull\": {}` in the place of its URL. Leases are extended while a command
/// runs. To look at events without taking them there is `eventyard tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The rule.
    rule: String,
    /// Its target, by its id.
    target: String,
    #[command(flatten)]
    bus: BusArgs,
    /// End after so many events.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// End when nothing has come for so long.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
    /// For how long deliveries are leased; what a `pull` that died has held comes again after it.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=43_200))]
    lease: u64,
    /// Run this command for each event, with the rest of the command line as its arguments.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let options = SubscribeOptions {
        // One at a time is worked on: more would wait here although others could take them.
        prefetch: 1,
        lease: Duration::from_secs(args.lease),
    };
    let client = args.bus.client()?;
    // Once it goes it bears a bus that is away. Before that a word about no lease finds out whether
    // there is such a target, and whether it may be pulled.
    let puller = client.puller(&args.bus.bus, &args.rule, &args.target);
    puller.extend(&["none".to_owned()], None).await?;
    let mut deliveries = client.subscribe(&args.bus.bus, &args.rule, &args.target, options);
    let mut done = 0;
    while args.limit.is_none_or(|limit| done < limit) {
        let idle = Duration::from_secs(args.idle.unwrap_or(u64::MAX / 4));
        let handed = tokio::select! {
            handed = tokio::time::timeout(idle, deliveries.next()) => match handed {
                Ok(handed) => handed?,
                Err(_) => return Ok(Exit::Ok),
            },
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
        };
        done += 1;
        if args.exec.is_empty() {
            line(output::one_line(&text(&handed)));
            settle(handed, None).await?;
        } else {
            let failed = tokio::select! {
                failed = execute(&args.exec, &handed) => failed?,
                _ = tokio::signal::ctrl_c() => {
                    // The command has had the same signal.
                    Some("interrupted".to_owned())
                }
            };
            let told = match &failed {
                None => paint(GREEN, "done"),
                Some(why) => paint(RED, why),
            };
            note(format_args!(
                "{} {told}",
                output::one_line(handed.event().id())
            ));
            let interrupted = failed.as_deref() == Some("interrupted");
            settle(handed, failed).await?;
            if interrupted {
                return Ok(Exit::Ok);
            }
        }
    }
    Ok(Exit::Ok)
}

fn text(handed: &Handed) -> String {
    String::from_utf8_lossy(&handed.event().to_json()).into_owned()
}

/// Runs the command; why it failed, if it did. A thread waits for it, so that leases go on being
/// extended here.
async fn execute(command: &[OsString], handed: &Handed) -> Result<Option<String>, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(None);
    };
    let child = Command::new(program)
        .args(arguments)
        .env("EVENTYARD_DELIVERY_ID", handed.id())
        .env("EVENTYARD_ATTEMPT", handed.attempt().to_string())
        .stdin(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| {
        let program = program.to_string_lossy();
        Failure::usage(format!("{program} does not start: {error}"))
    })?;
    let text = text(handed);
    let waited = tokio::task::spawn_blocking(move || {
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing is none of our business.
            let _ = stdin.write_all(text.as_bytes());
        }
        child.wait()
    });
    let ended = waited.await.map_err(std::io::Error::other).flatten();
    let status = ended.map_err(|error| Failure::failed(error.to_string()))?;
    Ok((!status.success()).then(|| status.to_string()))
}

async fn settle(handed: Handed, failed: Option<String>) -> Result<(), Failure> {
    let id = handed.id().to_owned();
    let held = match failed {
        None => handed.ack().await?,
        Some(error) => {
            let options = NackOptions {
                error: Some(error),
                ..NackOptions::default()
            };
            handed.nack(&options).await?
        }
    };
    if !held {
        note(format_args!("the lease of {id} has ended: it comes again"));
    }
    Ok(())
}
