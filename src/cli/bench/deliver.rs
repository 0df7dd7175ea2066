//! Publish to delivered: the bus, which stores, matches and retries, beside a forwarder that takes a
//! request and sends it on; at full speed, then at half of the forwarder's speed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::load::Load;
use super::receiver::Receiver;
use super::report::{Aim, Finding, Latency, Round, Section, Side, thousands};
use super::server::Server;
use super::{Bench, await_deliveries};
use crate::cli::exit::Failure;

const KIND: &str = "bench.deliver";
const PATIENCE: Duration = Duration::from_secs(30);

/// One side of the comparison: what is published to, and where its deliveries arrive.
struct Contender {
    name: &'static str,
    server: Server,
    receiver: Receiver,
    numbers: Arc<AtomicU64>,
    /// Events accepted since the start.
    accepted: u64,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Section>, Failure> {
    let receiver = Receiver::start(None)?;
    let url = format!("http://{}/", receiver.addr);
    let mut forwarder = Contender {
        name: "forwarder, no storage",
        server: Server::peer(&["forward", &url], bench.scratch.path())?,
        receiver,
        numbers: Arc::new(AtomicU64::new(1)),
        accepted: 0,
    };
    let data_dir = bench.scratch.path().join("deliver");
    let mut bus = Contender {
        name: "bus",
        server: Server::bus(&data_dir)?,
        receiver: Receiver::start(None)?,
        numbers: Arc::new(AtomicU64::new(1)),
        accepted: 0,
    };
    let url = format!("http://{}/", bus.receiver.addr);
    bench.put_rule(&bus.server, KIND, &url)?;

    let full = compare(bench, &mut forwarder, &mut bus, None)?;
    let half_rate = bench
        .args
        .rate
        .unwrap_or(full.0.events_per_second / 2.0)
        .max(1.0);
    let half = compare(bench, &mut forwarder, &mut bus, Some(half_rate))?;
    let repeats = bus.receiver.deliveries.repeats();
    bus.server.stop()?;
    let _ = std::fs::remove_dir_all(&data_dir);
    Ok(vec![
        Section {
            mode: "deliver",
            title: format!(
                "publish to delivered at full speed, {} connections, {} bytes of data, at most {} events ahead",
                bench.connections(),
                bench.args.event_bytes,
                thousands(bench.args.ahead.into()),
            ),
            findings: vec![
                Finding {
                    name: "bus / forwarder",
                    value: full.1.ratio(&full.0, |round| round.events_per_second),
                    unit: "",
                    aim: Some(Aim::AtLeast(0.6)),
                },
                Finding {
                    name: "deliveries repeated by the bus",
                    value: repeats as f64,
                    unit: "",
                    aim: None,
                },
            ],
            sides: vec![full.0, full.1],
        },
        Section {
            mode: "deliver",
            title: format!(
                "publish to delivered at {} events/s (half the forwarder's rate), paced by the clock",
                thousands(half_rate)
            ),
            findings: vec![Finding {
                name: "p99, bus / forwarder",
                value: half.1.ratio(&half.0, |round| round.latency.p99_ms),
                unit: "",
                aim: Some(Aim::AtMost(2.0)),
            }],
            sides: vec![half.0, half.1],
        },
    ])
}

/// Rounds in turn; the forwarder's side first.
fn compare(
    bench: &Bench,
    forwarder: &mut Contender,
    bus: &mut Contender,
    rate: Option<f64>,
) -> Result<(Side, Side), Failure> {
    let (mut forwarder_rounds, mut bus_rounds) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        forwarder_rounds.push(forwarder.round(bench, round, rate)?);
        bus_rounds.push(bus.round(bench, round, rate)?);
    }
    Ok((
        Side::of(forwarder.name, forwarder_rounds),
        Side::of(bus.name, bus_rounds),
    ))
}

impl Contender {
    fn round(&mut self, bench: &Bench, round: u16, rate: Option<f64>) -> Result<Round, Failure> {
        let what = match rate {
            None => format!("deliver, round {round}: {}", self.name),
            Some(rate) => format!("deliver at {rate:.0}/s, round {round}: {}", self.name),
        };
        bench.progress.step(&what);
        let deliveries = &self.receiver.deliveries;
        let load = Load {
            rate,
            ahead: (rate.is_none() && bench.args.ahead > 0)
                .then(|| (bench.args.ahead as usize, Arc::clone(deliveries))),
            ..bench.load(&self.server, KIND, 1, &self.numbers)
        };
        let before = deliveries.count();
        // Deliveries, not acceptances, make the rate: counted over the measured time.
        let mut opened = (0, Instant::now());
        let mut delivered = (0, Duration::from_secs(1));
        let outcome = load.run(
            &mut |_| bench.progress.at(deliveries.count() - before),
            &mut |on| {
                deliveries.measure(on);
                if on {
                    opened = (deliveries.count(), Instant::now());
                } else {
                    delivered = (deliveries.count() - opened.0, opened.1.elapsed());
                }
            },
        )?;
        outcome.check(&what)?;
        self.accepted += outcome.accepted;
        await_deliveries(deliveries, self.accepted, PATIENCE, &mut |_| {})?;
        Ok(Round {
            events_per_second: delivered.0 as f64 / delivered.1.as_secs_f64(),
            latency: Latency::of(&deliveries.take_ages()),
        })
    }
}
