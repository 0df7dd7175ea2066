//! Publishing: the bus, which has each event on disk before it answers, beside a handler that reads
//! the request and does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::load::Outcome;
use super::report::{Aim, Finding, Latency, Round, Section, Side, thousands};
use super::server::Server;
use super::{Bench, ask};
use crate::cli::exit::Failure;
use crate::client::EventFilter;

const KIND: &str = "bench.publish";

pub(super) fn measure(bench: &Bench, batch: usize) -> Result<Section, Failure> {
    let noop = Server::peer(&["noop"], bench.scratch.path())?;
    let data_dir = bench.scratch.path().join(format!("publish-{batch}"));
    let bus = Server::bus(&data_dir)?;
    let numbers = Arc::new(AtomicU64::new(1));
    let (mut noop_rounds, mut bus_rounds) = (Vec::new(), Vec::new());
    let mut accepted = 0;
    for round in 1..=bench.args.rounds {
        let run = |server: &Server, name: &str| -> Result<Outcome, Failure> {
            bench
                .progress
                .step(&format!("publish, batch {batch}, round {round}: {name}"));
            let load = bench.load(server, KIND, batch, &numbers);
            let outcome = load.run(&mut |at| bench.progress.at(at), &mut |_| {})?;
            outcome.check(name)?;
            Ok(outcome)
        };
        noop_rounds.push(round_of(&run(&noop, "no-op handler")?));
        let outcome = run(&bus, "bus")?;
        accepted += outcome.accepted;
        bus_rounds.push(round_of(&outcome));
    }
    check_kept(&bus, numbers.load(Ordering::Acquire))?;
    bus.stop()?;
    let _ = std::fs::remove_dir_all(&data_dir);

    let noop = Side::of("no-op handler", noop_rounds);
    let bus = Side::of("bus, on disk", bus_rounds);
    let mut findings = vec![Finding {
        name: "bus / no-op handler",
        value: bus.ratio(&noop, |round| round.events_per_second),
        unit: "",
        aim: (batch == 1).then_some(Aim::AtLeast(0.75)),
    }];
    if batch >= 100 {
        findings.push(Finding {
            name: "durable rate in batches",
            value: bus.events_per_second,
            unit: "events/s",
            aim: Some(Aim::AtLeast(150_000.0)),
        });
    }
    Ok(Section {
        mode: "publish",
        title: format!(
            "publish, {batch} event{} a request, {} connections, {} bytes of data ({} accepted)",
            if batch == 1 { "" } else { "s" },
            bench.connections(),
            bench.args.event_bytes,
            thousands(accepted as f64),
        ),
        sides: vec![noop, bus],
        findings,
    })
}

pub(super) fn round_of(outcome: &Outcome) -> Round {
    Round {
        events_per_second: outcome.rate(),
        latency: Latency::of(&outcome.latency),
    }
}

/// The newest events are there to be read: what was accepted was kept.
fn check_kept(bus: &Server, next_number: u64) -> Result<(), Failure> {
    let filter = EventFilter {
        kind: Some(KIND.to_owned()),
        limit: Some(100),
        ..EventFilter::default()
    };
    let page = ask(bus, async |client| client.events("default", &filter).await)?;
    let expected = next_number.saturating_sub(1).min(100);
    if (page.items.len() as u64) < expected {
        return Err(Failure::failed(format!(
            "of the last {expected} accepted events the bus lists {}",
            page.items.len()
        )));
    }
    Ok(())
}
