//! What insight costs: the bus as it comes, which remembers every attempt and whose metrics are read
//! each second, beside one that remembers none and is not asked.
//!
//! The rate of a round also follows from what else the machine does just then; what the bus uses of the
//! processors for an event, much less.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Bench;
use super::publish::round_of;
use super::report::{Aim, Finding, Round, Section, Side, median};
use super::route::Route;
use super::server::Server;
use crate::cli::exit::Failure;

const KIND: &str = "bench.insight";
/// More often than any Prometheus asks.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// Of what the bus does without.
const LEAST: f64 = 0.95;

/// A round, and what the bus used of the processors for each event of it.
struct Measured {
    round: Round,
    event_micros: f64,
}

struct Compared {
    with: Side,
    without: Side,
    /// Processor time for an event, of the one to the other; `None` where the system does not tell.
    cost: Option<f64>,
}

/// A bus, and whether its metrics are read meanwhile.
struct Contender {
    name: &'static str,
    server: Server,
    route: Route,
    /// Of the events that are only published.
    numbers: Arc<AtomicU64>,
    is_scraped: bool,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Section>, Failure> {
    let folder = bench.scratch.path();
    let mut with = Contender::start(bench, "as it comes", &folder.join("insight"), &[], true)?;
    let off = ["--traces=off"];
    let mut without = Contender::start(bench, "without", &folder.join("without"), &off, false)?;
    let publish = compare(bench, &mut with, &mut without, "publish", publish)?;
    let deliver = compare(
        bench,
        &mut with,
        &mut without,
        "deliver",
        Contender::deliver,
    )?;
    with.server.stop()?;
    without.server.stop()?;
    Ok(vec![
        section("publish, one event a request, no rule", publish),
        section("publish to delivered at full speed", deliver),
    ])
}

fn section(what: &str, compared: Compared) -> Section {
    let Compared {
        with,
        without,
        cost,
    } = compared;
    let cost = cost.map(|cost| Finding {
        name: "processor time an event, as it comes / without",
        value: cost,
        unit: "",
        aim: Some(Aim::AtMost(1.0 / LEAST)),
    });
    let mut section = Section {
        mode: "insight",
        title: format!("{what}: traces and metrics read each second, against neither"),
        findings: vec![
            Finding {
                name: "rate, as it comes / without",
                value: with.ratio(&without, |round| round.events_per_second),
                unit: "",
                aim: Some(Aim::AtLeast(LEAST)),
            },
            Finding {
                name: "p99, as it comes / without",
                value: with.ratio(&without, |round| round.latency.p99_ms),
                unit: "",
                aim: None,
            },
        ],
        sides: vec![with, without],
    };
    section.findings.extend(cost);
    section
}

/// Rounds in turn; which side is first changes with each, since the first one finds the machine cooler.
fn compare(
    bench: &Bench,
    with: &mut Contender,
    without: &mut Contender,
    what: &str,
    run: impl Fn(&mut Contender, &Bench, &str) -> Result<(Round, u64), Failure>,
) -> Result<Compared, Failure> {
    let (mut with_rounds, mut without_rounds) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        let turn = |side: &mut Contender, rounds: &mut Vec<Measured>| -> Result<(), Failure> {
            let step = format!("{what}, round {round}: {}", side.name);
            bench.progress.step(&step);
            let before = side.server.processor_time().unwrap_or_default();
            let (round, events) = side.scraped(|side| run(side, bench, &step))?;
            let after = side.server.processor_time().unwrap_or_default();
            rounds.push(Measured {
                round,
                event_micros: (after - before).as_secs_f64() * 1e6 / events.max(1) as f64,
            });
            Ok(())
        };
        if round % 2 == 1 {
            turn(with, &mut with_rounds)?;
            turn(without, &mut without_rounds)?;
        } else {
            turn(without, &mut without_rounds)?;
            turn(with, &mut with_rounds)?;
        }
    }
    let pairs = with_rounds.iter().zip(&without_rounds);
    let cost = median(pairs.map(|(with, without)| with.event_micros / without.event_micros));
    let side = |name, rounds: Vec<Measured>| {
        let rounds = rounds.into_iter().map(|measured| measured.round);
        Side::of(name, rounds.collect())
    };
    Ok(Compared {
        with: side(with.name, with_rounds),
        without: side(without.name, without_rounds),
        cost: Some(cost).filter(|cost| cost.is_finite()),
    })
}

/// A round, and all events of it.
fn publish(side: &mut Contender, bench: &Bench, what: &str) -> Result<(Round, u64), Failure> {
    // Of a type that no rule is for.
    let load = bench.load(&side.server, "bench.nobody", 1, &side.numbers);
    let outcome = load.run(&mut |at| bench.progress.at(at), &mut |_| {})?;
    outcome.check(what)?;
    Ok((round_of(&outcome), outcome.accepted))
}

impl Contender {
    fn start(
        bench: &Bench,
        name: &'static str,
        data_dir: &Path,
        settings: &[&str],
        is_scraped: bool,
    ) -> Result<Contender, Failure> {
        let server = Server::bus_with(data_dir, settings)?;
        let route = Route::new(KIND)?;
        bench.put_rule(&server, KIND, &route.url())?;
        Ok(Contender {
            name,
            server,
            route,
            numbers: Arc::new(AtomicU64::new(1)),
            is_scraped,
        })
    }

    fn deliver(&mut self, bench: &Bench, what: &str) -> Result<(Round, u64), Failure> {
        let ahead = bench.args.ahead as usize;
        let before = self.route.arrived();
        let round = self.route.round(bench, &self.server, what, None, ahead)?;
        Ok((round, self.route.arrived() - before))
    }

    /// Works while the metrics are read, if they are.
    fn scraped<T>(
        &mut self,
        work: impl FnOnce(&mut Contender) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if !self.is_scraped {
            return work(self);
        }
        let addr = self.server.addr;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let scraper = scope.spawn(|| {
                let mut scrapes = 0;
                while !stop.load(Ordering::Acquire) {
                    scrapes += u64::from(super::server::scrape(addr).is_ok());
                    std::thread::park_timeout(SCRAPE_EVERY);
                }
                scrapes
            });
            let done = work(self);
            stop.store(true, Ordering::Release);
            scraper.thread().unpark();
            match scraper.join() {
                Ok(1..) => done,
                _ => Err(Failure::failed("the metrics could not be read")),
            }
        })
    }
}
