//! What the numbers were reached on: processor, memory, and how long the disk takes to flush.

use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::load::new_histogram;
use crate::cli::exit::Failure;

/// The machine, as a reader of a benchmark table wants to know it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) memory_gib: Option<f64>,
    pub(super) kernel: String,
    pub(super) disk: Disk,
}

/// A 4 KiB write and `fdatasync`, over and over, in the folder of the bench's data.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Disk {
    pub(super) fdatasync_p50_ms: f64,
    pub(super) fdatasync_p99_ms: f64,
    /// Memory, not a disk: nothing measured there says anything about durability.
    pub(super) in_memory: bool,
}

impl Machine {
    pub(super) fn probe(folder: &Path) -> Result<Machine, Failure> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        Ok(Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&cpu, "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            memory_gib: field(&memory, "MemTotal")
                .and_then(|total| total.split(' ').next()?.parse::<f64>().ok())
                .map(|kib| (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk: Disk::probe(folder)?,
        })
    }
}

impl Disk {
    const ROUNDS: usize = 200;

    fn probe(folder: &Path) -> Result<Disk, Failure> {
        let path = folder.join("fdatasync-probe");
        let probe = || -> std::io::Result<_> {
            let mut file = std::fs::File::create(&path)?;
            // Written over in place, as the journal's segments are.
            file.write_all(&[0; 4096])?;
            file.sync_all()?;
            let mut times = new_histogram();
            for round in 0..Self::ROUNDS {
                file.rewind()?;
                file.write_all(&[round as u8; 4096])?;
                let start = Instant::now();
                file.sync_data()?;
                times.saturating_record(start.elapsed().as_nanos() as u64);
            }
            std::fs::remove_file(&path)?;
            Ok(times)
        };
        let times = probe().map_err(|error| {
            Failure::failed(format!("no benchmark in {}: {error}", folder.display()))
        })?;
        Ok(Disk {
            fdatasync_p50_ms: times.value_at_quantile(0.5) as f64 / 1e6,
            fdatasync_p99_ms: times.value_at_quantile(0.99) as f64 / 1e6,
            in_memory: is_in_memory(folder),
        })
    }
}

fn is_in_memory(folder: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    rustix::fs::statfs(folder).is_ok_and(|fs| matches!(fs.f_type, TMPFS | RAMFS))
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (line_name, value) = line.split_once(':')?;
        (line_name.trim() == name).then(|| value.trim().to_owned())
    })
}
