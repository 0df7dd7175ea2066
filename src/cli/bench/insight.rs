//! What insight costs: the bus as it comes, which remembers every attempt and whose metrics are read
//! each second, beside one that remembers none and is not asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Bench;
use super::publish::round_of;
use super::report::{Aim, Finding, Round, Section, Side};
use super::route::Route;
use super::server::Server;
use crate::cli::exit::Failure;

const KIND: &str = "bench.insight";
/// More often than any Prometheus asks.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// Of what the bus does without.
const LEAST: f64 = 0.95;

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

fn section(what: &str, (with, without): (Side, Side)) -> Section {
    Section {
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
    }
}

/// Rounds in turn; which side is first changes with each, since the first one finds the machine cooler.
fn compare(
    bench: &Bench,
    with: &mut Contender,
    without: &mut Contender,
    what: &str,
    run: impl Fn(&mut Contender, &Bench, &str) -> Result<Round, Failure>,
) -> Result<(Side, Side), Failure> {
    let (mut with_rounds, mut without_rounds) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        let turn = |side: &mut Contender, rounds: &mut Vec<Round>| -> Result<(), Failure> {
            let step = format!("{what}, round {round}: {}", side.name);
            bench.progress.step(&step);
            let measured = side.scraped(|side| run(side, bench, &step))?;
            rounds.push(measured);
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
    Ok((
        Side::of(with.name, with_rounds),
        Side::of(without.name, without_rounds),
    ))
}

fn publish(side: &mut Contender, bench: &Bench, what: &str) -> Result<Round, Failure> {
    // Of a type that no rule is for.
    let load = bench.load(&side.server, "bench.nobody", 1, &side.numbers);
    let outcome = load.run(&mut |at| bench.progress.at(at), &mut |_| {})?;
    outcome.check(what)?;
    Ok(round_of(&outcome))
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

    fn deliver(&mut self, bench: &Bench, what: &str) -> Result<Round, Failure> {
        let ahead = bench.args.ahead as usize;
        self.route.round(bench, &self.server, what, None, ahead)
    }

    /// Works while the metrics are read, if they are.
    fn scraped(
        &mut self,
        work: impl FnOnce(&mut Contender) -> Result<Round, Failure>,
    ) -> Result<Round, Failure> {
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
