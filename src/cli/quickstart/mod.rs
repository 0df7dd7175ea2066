//! `eventyard quickstart`: a bus, rules, a receiver and some events, each step shown as it happens.

mod narrate;
mod receiver;
mod rules;
mod samples;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::exit::{Exit, Failure};
use super::output::{BOLD, DIM, line, note, paint};
use super::scratch::Scratch;
use super::serve::{StopSignals, drain};
use crate::app::App;
use crate::client::{Client, EventFilter};
use crate::config::Config;
use crate::limits;
use crate::telemetry;
use receiver::{Received, Receiver};
use rules::Rules;

const EXAMPLES: &str = "\
Examples:
  eventyard quickstart
  eventyard quickstart --port 9000 --rules-dir my-rules
  eventyard quickstart --once            show the sample events and stop";

/// Start a bus with sample rules and a receiver, and watch events go through it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Port of the bus on 127.0.0.1; the next free one is taken when it is in use.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder of rule files; without one, built-in samples.
    #[arg(long, default_value = "rules", value_name = "DIR")]
    rules_dir: PathBuf,
    /// Where events are kept; without it a folder that is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Stop after the sample events.
    #[arg(long)]
    once: bool,
}

/// How many ports are tried when the wanted one is taken.
const PORTS_TRIED: u16 = 50;
/// How long a sample's deliveries are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the log is asked for what the reader has published.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Of what came since the last look, so much is shown; a screen holds no more.
const SHOWN_AT_ONCE: usize = 20;
/// Events that one look reads; the next one goes on behind them.
const LOOKED_AT_ONCE: usize = 20_000;

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let mut stop = StopSignals::listen()?;
    let failed = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
    telemetry::start(&telemetry::Config {
        level: "error".to_owned(),
        ..telemetry::Config::default()
    })
    .map_err(failed)?;
    let scratch = scratch()?;
    let (listener, bus_addr) = bind(args.port, "bus").await?;
    let (receiver_listener, receiver_addr) = bind(receiver::PORT, "receiver").await?;
    let mut receiver = Receiver::start(receiver_listener);
    let mut rules = Rules::prepare(&args.rules_dir, receiver_addr, scratch.path())?;
    let data_dir = match args.data_dir {
        Some(dir) => dir,
        None => scratch.path().join("bus"),
    };
    let mut config = Config::in_dir(data_dir);
    config.rules_dir = Some(rules.folder.clone());
    let running = App::new(config)
        .listener(listener)
        .build()
        .await
        .map_err(failed)?;
    let client = Client::new(&format!("http://{bus_addr}"))?;

    narrate::started(bus_addr, receiver_addr, &rules);
    let told = tokio::select! {
        told = tell(&client, &mut rules, &mut receiver, receiver_addr, args.once) => told,
        () = stop.received() => Ok(()),
    };
    line("");
    line(paint(DIM, "stopping: what is under way is finished first"));
    drain(running, &mut stop).await?;
    told.map(|()| Exit::Ok)
}

/// The samples, then whatever the reader tries.
async fn tell(
    client: &Client,
    rules: &mut Rules,
    receiver: &mut Receiver,
    receiver_addr: SocketAddr,
    once: bool,
) -> Result<(), Failure> {
    let mut last_sequence = 0;
    for sample in samples::all() {
        line("");
        line(paint(BOLD, format_args!("● {}", sample.story)));
        let event = sample.event();
        let sent = Instant::now();
        let accepted = client.publish_json("default", event.clone()).await?;
        let Some(accepted) = accepted.first() else {
            return Err(Failure::failed("the bus accepted no event"));
        };
        last_sequence = accepted.sequence;
        let expected = narrate::event(&event, accepted.sequence, rules, receiver_addr);
        await_deliveries(receiver, &accepted.id, expected, sent).await?;
    }
    if once {
        return Ok(());
    }
    narrate::invite(client.base(), receiver_addr);
    follow(client, rules, receiver, receiver_addr, last_sequence).await
}

/// Shows the deliveries of one event as they arrive.
async fn await_deliveries(
    receiver: &mut Receiver,
    id: &str,
    mut expected: usize,
    sent: Instant,
) -> Result<(), Failure> {
    while expected > 0 {
        let left = PATIENCE.saturating_sub(sent.elapsed());
        match tokio::time::timeout(left, receiver.next()).await {
            Ok(Some(received)) => {
                narrate::delivery(&received, Some(sent.elapsed()));
                expected -= usize::from(received.id == id);
            }
            Ok(None) => return Err(Failure::failed("the built-in receiver stopped")),
            Err(_) => {
                return Err(Failure::failed(format!(
                    "an event was not delivered within {} s",
                    PATIENCE.as_secs()
                ))
                .hint("Look at `eventyard dead-letter list`, and please report this."));
            }
        }
    }
    Ok(())
}

/// Shows what the reader publishes and what the receiver gets, until somebody stops it.
async fn follow(
    client: &Client,
    rules: &mut Rules,
    receiver: &mut Receiver,
    receiver_addr: SocketAddr,
    mut last_sequence: u64,
) -> Result<(), Failure> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    // A delivery may arrive before the log was asked for its event; it is shown behind it.
    let mut early: Vec<Received> = Vec::new();
    loop {
        tokio::select! {
            received = receiver.next() => match received {
                Some(received) => early.push(received),
                None => return Err(Failure::failed("the built-in receiver stopped")),
            },
            _ = look.tick() => {
                let came = look_for(client, &mut last_sequence).await?;
                if !came.is_empty() {
                    rules.refresh(client).await?;
                }
                for (sequence, event) in came.iter().take(SHOWN_AT_ONCE) {
                    line("");
                    narrate::event(event, *sequence, rules, receiver_addr);
                }
                narrate::left_out(came.len(), SHOWN_AT_ONCE, "events in");
                for received in early.iter().take(SHOWN_AT_ONCE) {
                    narrate::delivery(received, None);
                }
                narrate::left_out(early.len(), SHOWN_AT_ONCE, "deliveries");
                early.clear();
            }
        }
    }
}

/// What came since the last look, so that a reader who publishes thousands still sees what comes next.
async fn look_for(client: &Client, last_sequence: &mut u64) -> Result<Vec<(u64, String)>, Failure> {
    let mut came = Vec::new();
    loop {
        let filter = EventFilter {
            after: Some(last_sequence.to_string()),
            limit: Some(limits::PAGE_ITEMS),
            ..EventFilter::default()
        };
        let page = client.events("default", &filter).await?;
        let read = page
            .items
            .iter()
            .filter_map(|item| samples::read(item.get()));
        let before = *last_sequence;
        for (sequence, event) in read {
            *last_sequence = sequence;
            came.push((sequence, event));
        }
        if page.next.is_none() || *last_sequence == before || came.len() >= LOOKED_AT_ONCE {
            return Ok(came);
        }
    }
}

/// Where the bus keeps what nobody asked to keep: beside the reader, else where the system says.
fn scratch() -> Result<Scratch, Failure> {
    Scratch::inside(Path::new("data"), "quickstart")
        .or_else(|_| Scratch::inside(&std::env::temp_dir(), "eventyard-quickstart"))
}

/// Binds the port on the loopback, or the next free one, and says so.
async fn bind(port: u16, who: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    for candidate in port..=port.saturating_add(PORTS_TRIED) {
        match TcpListener::bind(("127.0.0.1", candidate)).await {
            Ok(listener) => {
                let addr = listener
                    .local_addr()
                    .map_err(|error| Failure::failed(format!("the {who}'s address: {error}")))?;
                if candidate != port {
                    note(format_args!(
                        "port {port} is taken; the {who} uses {candidate}"
                    ));
                }
                return Ok((listener, addr));
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(
                    Failure::failed(format!("the {who} on port {candidate}: {error}"))
                        .hint("Choose another port with --port."),
                );
            }
        }
    }
    Err(Failure::failed(format!(
        "ports {port} to {} are all taken",
        port.saturating_add(PORTS_TRIED)
    ))
    .hint("Choose another port with --port."))
}
