//! How fast a rule goes over what the bus holds, and what publishing notices of it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde::Deserialize;

use super::publish::round_of;
use super::report::{Finding, Section, Side, median, thousands};
use super::server::Server;
use super::{Bench, ask};
use crate::cli::exit::Failure;
use crate::client::{BacktestMessage, BacktestOptions, ClientError};

const KIND: &str = "bench.backtest";

/// Nothing matches but what it takes to say so is looked at: the type, then the data.
const RULE: &str = r#"{
    "pattern": {"type": [{"prefix": "bench."}], "data": {"nothing": [{"exists": true}]}},
    "targets": [{"id": "nobody", "url": "http://127.0.0.1:9/"}]
}"#;

#[derive(Debug, Deserialize)]
struct Found {
    events: u64,
    bytes: u64,
    took_ms: u64,
}

pub(super) fn measure(bench: &Bench) -> Result<Section, Failure> {
    let data_dir = bench.scratch.path().join("backtest");
    let bus = Server::bus(&data_dir)?;
    let filled = bench.fill(&bus, KIND, "backtest: events to keep")?;
    let (mut speeds, mut megabytes, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        bench.progress.step(&format!("backtest, round {round}"));
        let found = run(&bus, None)?;
        if found.events < filled.accepted {
            return Err(Failure::failed(format!(
                "{} events were accepted, but the backtest looked at {}",
                filled.accepted, found.events
            )));
        }
        let seconds = (found.took_ms as f64 / 1_000.0).max(0.001);
        speeds.push(found.events as f64 / seconds);
        let speed = found.bytes as f64 / seconds / 1e6;
        megabytes.push(speed);
        ratios.push(speed / reading(&data_dir.join("journal"))?);
    }
    let (alone, beside) = publishing(bench, &bus)?;
    bus.stop()?;
    let _ = std::fs::remove_dir_all(&data_dir);
    let finding = |name, value, unit| Finding {
        name,
        value,
        unit,
        aim: None,
    };
    Ok(Section {
        mode: "backtest",
        title: format!(
            "a rule over {} events of {} bytes of data, and publishing beside it",
            thousands(filled.accepted as f64),
            bench.args.event_bytes
        ),
        findings: vec![
            finding("events", median(speeds.into_iter()), "events/s"),
            finding(
                "bytes of the journal",
                median(megabytes.into_iter()),
                "MB/s",
            ),
            finding(
                "bytes, backtest / reading the files and nothing else",
                median(ratios.into_iter()),
                "",
            ),
            finding(
                "publish rate, beside a backtest / alone",
                beside.ratio(&alone, |round| round.events_per_second),
                "",
            ),
            finding(
                "publish p99, beside a backtest / alone",
                beside.ratio(&alone, |round| round.latency.p99_ms),
                "",
            ),
        ],
        sides: vec![alone, beside],
    })
}

/// How fast the journal's files can be read at all, from the disk or from the kernel's memory; in MB/s.
fn reading(dir: &Path) -> Result<f64, Failure> {
    let failed = |error| Failure::failed(format!("reading {}: {error}", dir.display()));
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    let began = Instant::now();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.is_file() {
            continue;
        }
        let mut file = File::open(path).map_err(failed)?;
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                count => bytes += count,
            }
        }
    }
    Ok(bytes as f64 / began.elapsed().as_secs_f64() / 1e6)
}

/// Publishing alone and beside backtests, in turn.
fn publishing(bench: &Bench, bus: &Server) -> Result<(Side, Side), Failure> {
    let numbers = Arc::new(AtomicU64::new(1));
    let publish = |what: &str| {
        bench.progress.step(what);
        let load = bench.load(bus, "bench.publish", 1, &numbers);
        let outcome = load.run(&mut |at| bench.progress.at(at), &mut |_| {})?;
        outcome.check(what)?;
        Ok::<_, Failure>(round_of(&outcome))
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        alone.push(publish(&format!("publish alone, round {round}"))?);
        let stop = AtomicBool::new(false);
        let measured = std::thread::scope(|scope| {
            let backtests = scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    run(bus, Some(&stop))?;
                }
                Ok::<_, Failure>(())
            });
            let measured = publish(&format!("publish beside a backtest, round {round}"));
            stop.store(true, Ordering::Release);
            match backtests.join() {
                Ok(Ok(())) => measured,
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::failed("the backtest beside publishing panicked")),
            }
        });
        beside.push(measured?);
    }
    Ok((
        Side::of("alone", alone),
        Side::of("beside a backtest", beside),
    ))
}

/// One backtest, to its end or until it is to stop.
fn run(bus: &Server, stop: Option<&AtomicBool>) -> Result<Found, Failure> {
    let nothing = Found {
        events: 0,
        bytes: 0,
        took_ms: 0,
    };
    let text = ask(bus, async |client| {
        let options = BacktestOptions::default();
        let mut backtest = client.backtest("default", RULE, &options).await?;
        loop {
            match backtest.next().await? {
                BacktestMessage::Result(result) => return Ok::<_, ClientError>(Some(result)),
                BacktestMessage::Progress(_)
                    if stop.is_some_and(|stop| stop.load(Ordering::Acquire)) =>
                {
                    return Ok(None);
                }
                BacktestMessage::Progress(_) => {}
            }
        }
    })?;
    match text {
        None => Ok(nothing),
        Some(text) => serde_json::from_str(text.get())
            .map_err(|error| Failure::failed(format!("the backtest's result: {error}"))),
    }
}
