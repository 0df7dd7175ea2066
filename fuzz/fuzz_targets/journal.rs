//! Opens, reads and continues a journal whose bytes the fuzzer chose: it may refuse, never panic,
//! and never show a frame that was not written.
#![no_main]

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use eventyard::clock::{Clock, Timestamp};
use eventyard::journal::{Config, Disk, Journal, NewFrame, Position, Simulation};
use eventyard::limits;
use libfuzzer_sys::fuzz_target;

const WRITTEN: [&[u8]; 4] = [b"one", b"two of the first group", b"three", b""];
const FIRST_SEGMENT: &str = "journal/0000000001.seg";

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let (disk, simulation) = Disk::simulated();
    if mode % 2 == 0 {
        simulation.put(&PathBuf::from(FIRST_SEGMENT), rest.to_vec());
    } else {
        write(&disk);
        mutate(&simulation, rest);
    }
    let Some(journal) = open(&disk, Position(0)) else {
        return;
    };
    let mut reader = journal.reader(Position(0));
    while let Ok(Some(frame)) = reader.next() {
        assert!(WRITTEN.contains(&&frame.payload[..]));
        assert_eq!(
            journal.read_at(frame.position).expect("just read").payload,
            frame.payload
        );
    }
    let position = rest.iter().fold(1 << 32, |sum: u64, byte| {
        sum.rotate_left(5) ^ u64::from(*byte)
    });
    let _ = journal.read_at(Position(position));
    let _ = journal.reader(Position(position)).next();

    let before = journal.durable_through();
    if let Ok(ticket) = journal.submit(vec![new_frame(WRITTEN[0])]) {
        let after = journal.blocking_wait_past(ticket.last - 1, Duration::from_secs(10));
        assert!(after > before);
    }
});

fn open(disk: &Disk, scan_from: Position) -> Option<Journal> {
    let config = Config {
        dir: PathBuf::from("journal"),
        segment_bytes: limits::SEGMENT_BYTES_MIN,
    };
    let clock = Clock::manual(Timestamp::from_millis(1_000));
    Journal::open(config, disk.clone(), clock, scan_from).ok()
}

fn new_frame(payload: &'static [u8]) -> NewFrame {
    NewFrame {
        kind: 1,
        payload: Bytes::from_static(payload),
    }
}

/// A journal of three batches.
fn write(disk: &Disk) {
    let journal = open(disk, Position(0)).expect("a new journal opens");
    for group in [&WRITTEN[..2], &WRITTEN[2..3], &WRITTEN[3..]] {
        let frames = group.iter().copied().map(new_frame).collect();
        let ticket = journal.submit(frames).expect("an open journal takes it");
        let _ = journal.blocking_wait_past(ticket.last - 1, Duration::from_secs(10));
    }
}

/// Changes bytes around the frames as the input says (two of place, one of value), and cuts the
/// file where it ends with a half change.
fn mutate(simulation: &Simulation, input: &[u8]) {
    let path = PathBuf::from(FIRST_SEGMENT);
    let mut bytes = simulation.file(&path).expect("it was written");
    let changes = input.chunks_exact(3);
    let rest = changes.remainder();
    for change in changes {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % 4_608;
        bytes[place] ^= change[2];
    }
    if let [low, high] = rest {
        bytes.truncate(usize::from(u16::from_le_bytes([*low, *high])));
    }
    simulation.put(&path, bytes);
}
