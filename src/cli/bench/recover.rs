//! Start-up with many events kept: after a stop, after a kill, and without the keyed view.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::report::{Aim, Finding, Section, median, thousands};
use super::server::Server;
use super::{Bench, ask};
use crate::cli::exit::Failure;
use crate::client::EventFilter;

const KIND: &str = "bench.recover";
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn measure(bench: &Bench) -> Result<Section, Failure> {
    let data_dir = bench.scratch.path().join("recover");
    let bus = Server::bus(&data_dir)?;
    let fill = bench.fill(&bus, KIND, "recover: events to keep")?;
    let accepted = fill.accepted;
    // The view may trail what is on disk; it is measured from here on, not while it catches up.
    await_visible(&bus, accepted)?;
    bus.stop()?;

    let (mut stopped, mut killed, mut rebuilt) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        let step = |what: &str| {
            let what = format!("recover, round {round}: {what}");
            bench.progress.step(&what);
        };
        step("start after a stop");
        let bus = start(&data_dir, accepted, &mut stopped)?;
        bus.kill();
        step("start after a kill");
        let bus = start(&data_dir, accepted, &mut killed)?;
        bus.stop()?;
        remove_view(&data_dir)?;
        step("start without the view");
        let bus = start(&data_dir, accepted, &mut rebuilt)?;
        bus.stop()?;
    }
    let _ = std::fs::remove_dir_all(&data_dir);
    let finding = |name, times: &[Start], of: fn(&Start) -> Duration, aim: Option<f64>| Finding {
        name,
        value: median(times.iter().map(|start| of(start).as_secs_f64())),
        unit: "s",
        aim: aim.map(Aim::AtMost),
    };
    Ok(Section {
        mode: "recover",
        title: format!(
            "start-up with {} events of {} bytes kept",
            thousands(accepted as f64),
            bench.args.event_bytes
        ),
        sides: Vec::new(),
        findings: vec![
            finding("ready after a stop", &stopped, |s| s.ready, Some(2.0)),
            finding("ready after a kill", &killed, |s| s.ready, Some(2.0)),
            finding("ready without the view", &rebuilt, |s| s.ready, None),
            finding(
                "view rebuilt from the journal",
                &rebuilt,
                |s| s.visible,
                Some(15.0),
            ),
        ],
    })
}

/// One start's times, from the start of the process.
struct Start {
    /// To the first 200 of `/readyz`.
    ready: Duration,
    /// Until the newest event is found through the view.
    visible: Duration,
}

fn start(data_dir: &Path, accepted: u64, starts: &mut Vec<Start>) -> Result<Server, Failure> {
    let began = Instant::now();
    let bus = Server::bus(data_dir)?;
    let ready = bus.ready_after;
    await_visible(&bus, accepted)?;
    starts.push(Start {
        ready,
        visible: began.elapsed(),
    });
    Ok(bus)
}

/// Waits until the bus lists the newest and the oldest of the events.
fn await_visible(bus: &Server, accepted: u64) -> Result<(), Failure> {
    let newest = EventFilter {
        kind: Some(KIND.to_owned()),
        limit: Some(1),
        ..EventFilter::default()
    };
    let oldest = EventFilter {
        after: Some("0".to_owned()),
        ..newest.clone()
    };
    let began = Instant::now();
    ask(bus, async |client| {
        loop {
            let mut seen = 0;
            for filter in [&newest, &oldest] {
                // While the view is rebuilt the bus answers 503: not yet.
                match client.events("default", filter).await {
                    Ok(page) => seen += page.items.len(),
                    Err(error) if error.status() == Some(503) => {}
                    Err(error) => return Err(error),
                }
            }
            if seen == 2 {
                return Ok(true);
            }
            if began.elapsed() > VISIBLE_TIMEOUT {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })?
    .then_some(())
    .ok_or_else(|| {
        Failure::failed(format!(
            "{accepted} events were accepted, but the bus does not list them after {} s",
            VISIBLE_TIMEOUT.as_secs()
        ))
    })
}

/// Deletes the folder of the keyed view: the one that sled made.
fn remove_view(data_dir: &Path) -> Result<(), Failure> {
    let view = find_view(data_dir).ok_or_else(|| {
        Failure::failed(format!("there is no keyed view in {}", data_dir.display()))
    })?;
    std::fs::remove_dir_all(&view)
        .map_err(|error| Failure::failed(format!("{}: {error}", view.display())))
}

/// sled's folder holds the files `db` and `conf`; it may lie one folder deeper.
fn find_view(folder: &Path) -> Option<PathBuf> {
    let folders = || {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
    };
    folders()
        .find(|path| path.join("db").is_file() && path.join("conf").is_file())
        .or_else(|| folders().find_map(|path| find_view(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_is_found_by_its_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find_view(dir.path()), None);
        let view = dir.path().join("view");
        std::fs::create_dir_all(dir.path().join("journal")).unwrap();
        std::fs::create_dir(&view).unwrap();
        std::fs::write(view.join("db"), b"").unwrap();
        std::fs::write(view.join("conf"), b"").unwrap();
        assert_eq!(find_view(dir.path()), Some(view));
    }
}
