//! `eventyard bench`: what the bus costs beside the same work without it, on this machine.
//!
//! The bus and its peers run in processes of their own; this process publishes and receives. Sides
//! of a comparison take turns (A B A B …) and the ratio is the median over the rounds, since other
//! work on the machine would tilt a single one.

mod backlog;
mod backtest;
mod deliver;
mod hostile;
mod http;
mod insight;
mod load;
mod machine;
mod matching;
mod peer;
mod progress;
mod publish;
mod receiver;
mod recover;
mod report;
mod request;
mod route;
mod server;
mod targets;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::exit::{Exit, Failure};
use super::output::{Format, OutputArgs, line};
use super::scratch::Scratch;
use crate::client::{Client, ClientError};
use load::{Load, Outcome, Until};
use machine::Machine;
use progress::Progress;
use receiver::Deliveries;
use report::{Report, Section};
use request::Request;
use server::Server;

pub(super) use peer::{PeerArgs, run as run_peer};

const EXAMPLES: &str = "\
Examples:
  eventyard bench                                  everything; about twenty minutes
  eventyard bench publish --seconds 10
  eventyard bench publish --batch 100 --output json
  eventyard bench backlog --events 100000 --no-drain
  eventyard bench recover --data-dir /mnt/ssd/bench
  eventyard bench match --events 100000
  eventyard bench deliver --other-rules 100000
  eventyard bench targets
  eventyard bench hostile                          about three minutes
  eventyard bench hostile --manner gzip-bomb --manner resets --rounds 5

What is compared:
  publish   publishing, against a handler that reads the request and does nothing
  deliver   publish to delivered, against a forwarder without storage (HTTP in, HTTP out)
  backlog   a healthy target while --events deliveries wait for a dead one, against without
  recover   start-up with --events events kept: after a stop, after a kill, without the view
  targets   what signatures, transforms, fan-out, a rate limit and a target that hangs cost
  hostile   a healthy target beside one that misbehaves, in each manner, against one that does not
  insight   what traces and metrics cost: the bus as it comes, against without
  backtest  a rule over --events events that are kept, and publishing beside it
  match     matching in one process, up to --events rules, against reading the events as JSON

The bench fails when an event is lost, refused or delivered to the wrong place.";

const WARM_UP: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(5);

/// Measure the bus on this machine, beside the same work without it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to measure.
    #[arg(value_enum, default_value_t = Mode::All)]
    mode: Mode,
    /// Connections that publish.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Bytes of each event's data.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    event_bytes: u32,
    /// Events of one publish request; without it `all` measures 1 and 100, `publish` 1.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: Option<u16>,
    /// Seconds of each measured round; without it 5, in `hostile` 1.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: Option<u64>,
    /// Seconds before each round that do not count; without it 2, in `hostile` a half.
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: Option<u64>,
    /// Rounds of each side.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Events of `backlog`, `recover` and `backtest`, rules of `match`.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    events: u64,
    /// Events a second of the paced rounds; without it half of what the forwarder reaches in
    /// `deliver`, 1000 in `backlog`, 500 in `targets` and `hostile`.
    #[arg(long)]
    rate: Option<f64>,
    /// In `deliver` at full speed, publishers stop when this many events have not arrived yet.
    #[arg(long, default_value_t = 1_024)]
    ahead: u32,
    /// In `backlog`, do not bring the dead target to life at the end to count every event.
    #[arg(long)]
    no_drain: bool,
    /// Where the measured bus keeps its data; a new folder is made inside and removed at the end.
    #[arg(long, default_value = "data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Rules beside those that are measured, of every operator; no event matches them.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    other_rules: u32,
    #[command(flatten)]
    hostile: hostile::Args,
    #[command(flatten)]
    matching: matching::Args,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Publish,
    Deliver,
    Backlog,
    Recover,
    Targets,
    Hostile,
    Insight,
    Backtest,
    Match,
    All,
}

/// What every mode needs.
struct Bench {
    args: Args,
    scratch: Scratch,
    progress: Progress,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let output = args.output.output;
    if args.mode == Mode::Match {
        return matching::run(&args.matching, args.events, args.rounds, output);
    }
    let scratch = Scratch::inside(&args.data_dir, "bench")?;
    let machine = Machine::probe(scratch.path())?;
    let bench = Bench {
        args,
        scratch,
        progress: Progress::new(),
    };
    bench.write_other_rules()?;
    let results = bench.measure()?;
    let hostile = match bench.args.mode {
        Mode::Hostile | Mode::All => Some(hostile::measure(&bench)?),
        _ => None,
    };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        optimized: !cfg!(debug_assertions),
        machine,
        connections: bench.connections(),
        event_bytes: bench.args.event_bytes as usize,
        results,
        hostile,
    };
    drop(bench);
    match output {
        Format::Table => report.print(),
        Format::Json => {
            let text = serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::failed(format!("the report: {error}")))?;
            line(text);
        }
    }
    Ok(Exit::Ok)
}

impl Bench {
    fn measure(&self) -> Result<Vec<Section>, Failure> {
        let all = self.args.mode == Mode::All;
        let is = |mode| all || self.args.mode == mode;
        let mut sections = Vec::new();
        if is(Mode::Publish) {
            let sizes = match self.args.batch {
                Some(batch) => vec![batch],
                None if all => vec![1, 100],
                None => vec![1],
            };
            for batch in sizes {
                sections.push(publish::measure(self, batch.into())?);
            }
        }
        if is(Mode::Deliver) {
            sections.extend(deliver::measure(self)?);
        }
        if is(Mode::Backlog) {
            sections.push(backlog::measure(self)?);
        }
        if is(Mode::Recover) {
            sections.push(recover::measure(self)?);
        }
        if is(Mode::Insight) {
            sections.extend(insight::measure(self)?);
        }
        if is(Mode::Backtest) {
            sections.push(backtest::measure(self)?);
        }
        if is(Mode::Targets) {
            sections.extend(targets::measure(self)?);
        }
        Ok(sections)
    }

    /// Writes the folder that the measured bus finds rules in.
    fn write_other_rules(&self) -> Result<(), Failure> {
        if self.args.other_rules == 0 {
            return Ok(());
        }
        self.progress.step("rules beside those that are measured");
        let folder = self.scratch.path().join("rules/default");
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            for (id, pattern) in matching::rules(self.args.other_rules as usize) {
                let rule = format!(
                    r#"{{"pattern":{pattern},"targets":[{{"id":"nobody","url":"http://127.0.0.1:9/"}}]}}"#
                );
                std::fs::write(folder.join(format!("{id}.json")), rule)?;
            }
            Ok(())
        };
        write().map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))
    }

    fn connections(&self) -> usize {
        self.args.connections.into()
    }

    fn request(&self, server: &Server, kind: &str, batch: usize) -> Request {
        let event_bytes = self.args.event_bytes as usize;
        Request::new(server.addr, "default", kind, batch, event_bytes)
    }

    /// A load of the configured size and time, as fast as it goes.
    fn load(&self, server: &Server, kind: &str, batch: usize, numbers: &Arc<AtomicU64>) -> Load {
        Load {
            addr: server.addr,
            request: self.request(server, kind, batch),
            connections: self.connections(),
            until: self.until(WARM_UP, MEASURE),
            rate: None,
            ahead: None,
            numbers: Arc::clone(numbers),
        }
    }

    /// The configured times of a round, or else these.
    fn until(&self, warm_up: Duration, measure: Duration) -> Until {
        Until::Time {
            warm_up: self.args.warm_up.map_or(warm_up, Duration::from_secs),
            measure: self.args.seconds.map_or(measure, Duration::from_secs),
        }
    }

    /// Publishes `--events` events in batches of 100 and waits for every 202.
    fn fill(&self, server: &Server, kind: &str, what: &str) -> Result<Outcome, Failure> {
        const BATCH: u64 = 100;
        let events = self.args.events.div_ceil(BATCH) * BATCH;
        self.progress.step_of(what, events);
        let load = Load {
            // A few connections with full batches fill fastest.
            connections: self.connections().min(32),
            until: Until::Events(events),
            ..self.load(server, kind, BATCH as usize, &Arc::new(AtomicU64::new(1)))
        };
        let outcome = load.run(&mut |at| self.progress.at(at), &mut |_| {})?;
        outcome.check(what)?;
        if outcome.accepted != events {
            return Err(Failure::failed(format!(
                "{what}: {} of {events} events were accepted",
                outcome.accepted
            )));
        }
        Ok(outcome)
    }

    /// Puts a rule that sends events of type `kind` to `url`.
    fn put_rule(&self, server: &Server, kind: &str, url: &str) -> Result<(), Failure> {
        let rule = serde_json::json!({
            "pattern": { "type": [kind] },
            "targets": [{ "id": "receiver", "url": url, "concurrency": 256 }],
        });
        let name = kind.replace('.', "-");
        ask(server, async |client: Client| {
            client
                .put_rule("default", &name, &rule.to_string(), None)
                .await
        })?;
        Ok(())
    }
}

impl Outcome {
    /// Any error fails the bench: a rate with errors in it is no rate.
    fn check(&self, what: &str) -> Result<(), Failure> {
        if self.errors == 0 {
            return Ok(());
        }
        let first = self.first_error.as_deref().unwrap_or("unknown");
        Err(Failure::failed(format!(
            "{what}: {} requests failed, the first: {first}",
            self.errors
        )))
    }

    fn rate(&self) -> f64 {
        self.measured as f64 / self.elapsed.as_secs_f64()
    }
}

/// Waits until `expected` different events have arrived; fails when none comes for a while.
fn await_deliveries(
    deliveries: &Deliveries,
    expected: u64,
    patience: Duration,
    tick: &mut dyn FnMut(u64),
) -> Result<(), Failure> {
    let mut last = (deliveries.count(), Instant::now());
    while deliveries.count() < expected {
        let count = deliveries.count();
        if count > last.0 {
            last = (count, Instant::now());
        } else if last.1.elapsed() > patience {
            return Err(Failure::failed(format!(
                "{count} of {expected} accepted events were delivered, then none came for {} s",
                patience.as_secs()
            )));
        }
        tick(count);
        std::thread::sleep(Duration::from_millis(5));
    }
    if deliveries.count() > expected || deliveries.strange() > 0 {
        return Err(Failure::failed(format!(
            "{} events were accepted, but {} were delivered, and {} requests were none of ours",
            expected,
            deliveries.count(),
            deliveries.strange()
        )));
    }
    Ok(())
}

/// One call of the API, from outside any runtime.
fn ask<T, F>(server: &Server, call: impl FnOnce(Client) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let runtime = super::one_thread()?;
    let client = Client::new(&server.url())?;
    Ok(runtime.block_on(call(client))?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_largest_batch_is_one_the_bus_takes() {
        assert_eq!(
            crate::limits::BATCH_EVENTS,
            1_000,
            "the option's range says so too"
        );
    }
}
