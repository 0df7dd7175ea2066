//! Rates of the journal alone: group commit at several numbers of waiting submitters, opening and
//! scanning 1,000,000 frames. `cargo bench --bench journal [-- <directory>]`.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventyard::clock::Clock;
use eventyard::journal::{Config, Disk, Journal, NewFrame, Position};
use eventyard::limits;
use hdrhistogram::Histogram;

const FRAME_BYTES: usize = 1_024;
const RUN: Duration = Duration::from_secs(4);
const FRAMES: u64 = 1_000_000;

fn main() -> anyhow::Result<()> {
    let dir = match std::env::args().nth(1) {
        Some(dir) if !dir.starts_with('-') => dir.into(),
        _ => std::env::temp_dir().join("eventyard-journal-bench"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for submitters in [1, 16, 256, 1_024] {
        clear(&dir)?;
        let journal = open(&dir, Position(0))?;
        // The first two segments are made ready before anything is measured.
        runtime.block_on(load(&journal, 1, Duration::from_secs(1)))?;
        let (groups, latency_us) = runtime.block_on(load(&journal, submitters, RUN))?;
        println!(
            "{submitters:>5} submitters: {:>7.0} groups/s, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            groups as f64 / RUN.as_secs_f64(),
            latency_us.value_at_quantile(0.5) as f64 / 1e3,
            latency_us.value_at_quantile(0.99) as f64 / 1e3,
            latency_us.max() as f64 / 1e3,
        );
    }
    clear(&dir)?;
    fill(&dir)?;
    retained(&dir)?;
    clear(&dir)
}

fn open(dir: &Path, scan_from: Position) -> anyhow::Result<Journal> {
    let config = Config {
        dir: dir.to_owned(),
        segment_bytes: limits::SEGMENT_BYTES,
    };
    Ok(Journal::open(
        config,
        Disk::real(),
        Clock::system(),
        scan_from,
    )?)
}

fn clear(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

fn frame() -> NewFrame {
    NewFrame {
        kind: 1,
        payload: Bytes::from(vec![7; FRAME_BYTES]),
    }
}

/// `submitters` tasks, each appending one frame after the other; old segments are trimmed.
async fn load(
    journal: &Journal,
    submitters: usize,
    run: Duration,
) -> anyhow::Result<(u64, Histogram<u64>)> {
    let until = Instant::now() + run;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..submitters {
        let journal = journal.clone();
        tasks.spawn(async move {
            let mut latency_us = Histogram::<u64>::new(3)?;
            let frame = frame();
            while Instant::now() < until {
                let begin = Instant::now();
                let ticket = journal.submit(vec![frame.clone()])?;
                journal.durable(ticket.last).await?;
                latency_us.record(begin.elapsed().as_micros() as u64)?;
            }
            anyhow::Ok(latency_us)
        });
    }
    let mut all = Histogram::<u64>::new(3)?;
    while let Some(latency_us) = tasks.join_next().await {
        all.add(latency_us??)?;
    }
    journal.trim_through(journal.end().segment().saturating_sub(4))?;
    Ok((all.len(), all))
}

fn fill(dir: &Path) -> anyhow::Result<()> {
    let journal = open(dir, Position(0))?;
    let begin = Instant::now();
    let frame = frame();
    for chunk in 0..FRAMES / 100 {
        let ticket = journal.submit(vec![frame.clone(); 100])?;
        if chunk % 100 == 99 {
            let waited = journal.blocking_wait_past(ticket.last - 1, Duration::from_secs(60));
            anyhow::ensure!(waited >= ticket.last, "{:?}", journal.state());
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "fill in groups of 100: {:.0} frames/s",
        FRAMES as f64 / seconds
    );
    Ok(())
}

fn retained(dir: &Path) -> anyhow::Result<()> {
    for (name, scan_from) in [
        ("the tail", Position(u64::MAX)),
        ("everything", Position(0)),
    ] {
        let begin = Instant::now();
        let journal = open(dir, scan_from)?;
        println!(
            "open with {} frames, checking {name}: {:.0} ms",
            journal.durable_through(),
            begin.elapsed().as_secs_f64() * 1e3
        );
        let begin = Instant::now();
        let mut reader = journal.reader(Position(0));
        let mut positions = Vec::new();
        while let Some(frame) = reader.next()? {
            positions.push(frame.position);
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!("scan: {:.0} frames/s", positions.len() as f64 / seconds);

        let begin = Instant::now();
        let reads = 100_000;
        for _ in 0..reads {
            journal.read_at(positions[fastrand::usize(0..positions.len())])?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!("random reads: {:.0}/s", f64::from(reads) / seconds);
    }
    Ok(())
}
