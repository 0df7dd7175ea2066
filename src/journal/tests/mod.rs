//! The journal tested from outside its files: on real directories and on disks that lose power.

mod basics;
mod damage;
mod doctors;
mod failures;
mod power_cuts;

use super::*;

/// A journal that a test may open again.
struct Bench {
    disk: Disk,
    config: Config,
}

impl Bench {
    fn new(disk: Disk, dir: impl Into<PathBuf>, segment_bytes: u64) -> Self {
        let dir = dir.into();
        let config = Config { dir, segment_bytes };
        Self { disk, config }
    }

    fn open(&self) -> Journal {
        self.try_open(Position(0)).unwrap()
    }

    fn try_open(&self, scan_from: Position) -> Result<Journal, OpenError> {
        let clock = Clock::manual(Timestamp::from_millis(1_000));
        Journal::open(self.config.clone(), self.disk.clone(), clock, scan_from)
    }
}

fn group(payloads: &[&[u8]]) -> Vec<NewFrame> {
    let frame = |payload: &&[u8]| NewFrame {
        kind: 7,
        payload: bytes::Bytes::copy_from_slice(payload),
    };
    payloads.iter().map(frame).collect()
}

/// Submits one group and waits until it is on disk.
fn append(journal: &Journal, payloads: &[&[u8]]) -> Ticket {
    let ticket = journal.submit(group(payloads)).unwrap();
    wait(journal, ticket.last);
    ticket
}

fn wait(journal: &Journal, sequence: Sequence) {
    let reached = journal.blocking_wait_past(sequence - 1, Duration::from_secs(20));
    assert!(reached >= sequence, "{reached} < {sequence}, {journal:?}");
}

fn read_all(journal: &Journal, from: Position) -> Vec<Frame> {
    let mut reader = journal.reader(from);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        frames.push(frame);
    }
    frames
}
