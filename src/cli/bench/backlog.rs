//! A dead target with a long backlog: what it costs in memory, and what a healthy target notices.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::load::Load;
use super::receiver::Receiver;
use super::report::{Aim, Finding, Latency, Round, Section, Side, thousands};
use super::server::{Server, free_address};
use super::{Bench, await_deliveries};
use crate::cli::exit::Failure;

const DEAD: &str = "bench.dead";
const HEALTHY: &str = "bench.healthy";
const RATE: f64 = 1_000.0;
const PATIENCE: Duration = Duration::from_secs(30);
/// The bus tries a dead target again after a while that grows; it must notice that it lives again.
const REVIVAL_PATIENCE: Duration = Duration::from_secs(700);

/// A bus with a healthy target.
struct HealthyBus {
    server: Server,
    healthy: Receiver,
    numbers: Arc<AtomicU64>,
    accepted: u64,
}

pub(super) fn measure(bench: &Bench) -> Result<Section, Failure> {
    let clear_dir = bench.scratch.path().join("clear");
    let loaded_dir = bench.scratch.path().join("backlog");
    let mut clear = HealthyBus::start(bench, &clear_dir)?;
    let mut loaded = HealthyBus::start(bench, &loaded_dir)?;
    let dead_addr = free_address()?;
    bench.put_rule(&loaded.server, DEAD, &format!("http://{dead_addr}/"))?;

    let idle_bytes = loaded.server.resident_bytes().unwrap_or(0);
    let fill = bench.fill(&loaded.server, DEAD, "backlog: events for the dead target")?;
    let full_bytes = loaded.server.resident_bytes().unwrap_or(0);

    let rate = bench.args.rate.unwrap_or(RATE);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        let what = |name| format!("healthy target, round {round}: {name} backlog");
        without.push(clear.round(bench, rate, &what("without"))?);
        with.push(loaded.round(bench, rate, &what("with"))?);
    }
    let settled_bytes = loaded.server.resident_bytes().unwrap_or(0);
    let accepted = fill.accepted;
    let mut findings = Vec::new();
    if !bench.args.no_drain {
        findings.push(drain(bench, dead_addr, accepted)?);
    }
    clear.server.stop()?;
    loaded.server.stop()?;
    let _ = std::fs::remove_dir_all(&clear_dir);
    let _ = std::fs::remove_dir_all(&loaded_dir);

    let without = Side::of("without a backlog", without);
    let with = Side::of("with the backlog", with);
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let finding = |name, value, unit, aim| Finding {
        name,
        value,
        unit,
        aim,
    };
    let mut all = vec![
        finding(
            "healthy target's p99, with / without",
            with.ratio(&without, |round| round.latency.p99_ms),
            "",
            Some(Aim::AtMost(1.5)),
        ),
        finding(
            "resident memory with the backlog",
            mib(full_bytes.max(settled_bytes)),
            "MiB",
            Some(Aim::AtMost(150.0)),
        ),
        finding("resident memory when idle", mib(idle_bytes), "MiB", None),
        finding("rate into the backlog", fill.rate(), "events/s", None),
    ];
    all.append(&mut findings);
    Ok(Section {
        mode: "backlog",
        title: format!(
            "backlog: {} deliveries wait for a dead target, {} events/s go to a healthy one",
            thousands(accepted as f64),
            thousands(rate)
        ),
        sides: vec![without, with],
        findings: all,
    })
}

impl HealthyBus {
    fn start(bench: &Bench, data_dir: &std::path::Path) -> Result<HealthyBus, Failure> {
        let side = HealthyBus {
            server: Server::bus(data_dir)?,
            healthy: Receiver::start(None)?,
            numbers: Arc::new(AtomicU64::new(1)),
            accepted: 0,
        };
        let url = format!("http://{}/", side.healthy.addr);
        bench.put_rule(&side.server, HEALTHY, &url)?;
        Ok(side)
    }

    fn round(&mut self, bench: &Bench, rate: f64, what: &str) -> Result<Round, Failure> {
        bench.progress.step(what);
        let deliveries = &self.healthy.deliveries;
        let load = Load {
            rate: Some(rate),
            ..bench.load(&self.server, HEALTHY, 1, &self.numbers)
        };
        let outcome = load.run(&mut |at| bench.progress.at(at), &mut |on| {
            deliveries.measure(on);
        })?;
        outcome.check(what)?;
        self.accepted += outcome.accepted;
        await_deliveries(deliveries, self.accepted, PATIENCE, &mut |_| {})?;
        Ok(Round {
            events_per_second: outcome.rate(),
            latency: Latency::of(&deliveries.take_ages()),
        })
    }
}

/// Brings the dead target to life and waits until it has every event: nothing of the backlog is lost.
fn drain(
    bench: &Bench,
    dead_addr: std::net::SocketAddr,
    accepted: u64,
) -> Result<Finding, Failure> {
    bench
        .progress
        .step_of("the dead target lives again", accepted);
    let revived = Receiver::start(Some(dead_addr))?;
    let start = std::time::Instant::now();
    await_deliveries(&revived.deliveries, accepted, REVIVAL_PATIENCE, &mut |at| {
        bench.progress.at(at)
    })?;
    Ok(Finding {
        name: "whole backlog delivered after revival in",
        value: start.elapsed().as_secs_f64(),
        unit: "s",
        aim: None,
    })
}
