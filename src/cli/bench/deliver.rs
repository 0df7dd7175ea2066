//! Publish to delivered: the bus, which stores, matches and retries, beside a forwarder that takes a
//! request and sends it on; at full speed, then at half of the forwarder's speed.

use super::Bench;
use super::report::{Aim, Finding, Round, Section, Side, thousands};
use super::route::Route;
use super::server::Server;
use crate::cli::exit::Failure;

const KIND: &str = "bench.deliver";

/// One side of the comparison: what is published to, and where its deliveries arrive.
struct Contender {
    name: &'static str,
    server: Server,
    route: Route,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Section>, Failure> {
    let route = Route::new(KIND)?;
    let url = route.url();
    let mut forwarder = Contender {
        name: "forwarder, no storage",
        server: Server::peer(&["forward", &url], bench.scratch.path())?,
        route,
    };
    let data_dir = bench.scratch.path().join("deliver");
    let mut bus = Contender {
        name: "bus",
        server: Server::bus(&data_dir)?,
        route: Route::new(KIND)?,
    };
    let url = bus.route.url();
    bench.put_rule(&bus.server, KIND, &url)?;

    let before = Connections::of(&bus.server)?;
    let full = compare(bench, &mut forwarder, &mut bus, None)?;
    let at_full_speed = Connections::of(&bus.server)?.since(before);
    let half_rate = bench
        .args
        .rate
        .unwrap_or(full.0.events_per_second / 2.0)
        .max(1.0);
    let before = Connections::of(&bus.server)?;
    let half = compare(bench, &mut forwarder, &mut bus, Some(half_rate))?;
    let at_half_speed = Connections::of(&bus.server)?.since(before);
    let repeats = bus.route.receiver.deliveries.repeats();
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
                at_full_speed.finding(),
            ],
            sides: vec![full.0, full.1],
        },
        Section {
            mode: "deliver",
            title: format!(
                "publish to delivered at {} events/s (half the forwarder's rate), paced by the clock",
                thousands(half_rate)
            ),
            findings: vec![
                Finding {
                    name: "p99, bus / forwarder",
                    value: half.1.ratio(&half.0, |round| round.latency.p99_ms),
                    unit: "",
                    aim: Some(Aim::AtMost(2.0)),
                },
                at_half_speed.finding(),
            ],
            sides: vec![half.0, half.1],
        },
    ])
}

/// What the bus has opened and sent so far.
#[derive(Debug, Clone, Copy)]
struct Connections {
    opened: u64,
    requests: u64,
}

impl Connections {
    fn of(server: &Server) -> Result<Connections, Failure> {
        Ok(Connections {
            opened: server.counter("eventyard_target_connections_total")?,
            requests: server.counter("eventyard_target_requests_total")?,
        })
    }

    fn since(self, before: Connections) -> Connections {
        Connections {
            opened: self.opened - before.opened,
            requests: self.requests - before.requests,
        }
    }

    fn finding(self) -> Finding {
        Finding {
            name: "connections the bus opened for 1,000 requests",
            value: 1_000.0 * self.opened as f64 / (self.requests as f64).max(1.0),
            unit: "",
            aim: None,
        }
    }
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
        let ahead = bench.args.ahead as usize;
        self.route.round(bench, &self.server, &what, rate, ahead)
    }
}
