//! Cut files, flipped bits, stale bytes and arbitrary bytes.

use std::path::Path;

use proptest::prelude::*;

use super::segment::{FIRST_FRAME, file_name};
use super::*;

const SEGMENT_BYTES: u64 = 16 * 1024;

/// A closed journal of `batches` on a disk in memory: one batch is one flush.
fn written(batches: &[&[&[u8]]]) -> (Bench, Simulation) {
    let (disk, simulation) = Disk::simulated();
    let bench = Bench::new(disk, "journal", SEGMENT_BYTES);
    let journal = bench.open();
    for batch in batches {
        append(&journal, batch);
    }
    journal.close();
    (bench, simulation)
}

fn path(id: u32) -> PathBuf {
    Path::new("journal").join(file_name(id))
}

/// A bench on a fresh disk with the same files, one of them replaced.
fn with_file(simulation: &Simulation, id: u32, bytes: Vec<u8>) -> Bench {
    let (disk, copy) = Disk::simulated();
    for name in simulation.paths() {
        copy.put(&name, simulation.file(&name).unwrap());
    }
    copy.put(&path(id), bytes);
    Bench::new(disk, "journal", SEGMENT_BYTES)
}

#[test]
fn a_file_cut_anywhere_in_the_last_batch_recovers_what_was_before() {
    let (bench, simulation) = written(&[&[b"first"], &[b"second", b"group of two"]]);
    let end = bench.open().end().offset() as usize;
    let bytes = simulation.file(&path(1)).unwrap();
    let second = FIRST_FRAME as usize + 40;
    for cut in second..end {
        let bench = with_file(&simulation, 1, bytes[..cut].to_vec());
        let journal = bench.open();
        assert_eq!(journal.durable_through(), 1, "cut at {cut}");
        append(&journal, &[b"goes on"]);
        drop(journal);
        let frames = read_all(&bench.open(), Position(0));
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[1].payload, "goes on");
    }
    for cut in [0, 1, 100, 4_095, 4_096, 4_100] {
        let journal = with_file(&simulation, 1, bytes[..cut].to_vec()).open();
        assert_eq!(journal.durable_through(), 0, "cut at {cut}");
        append(&journal, &[b"goes on"]);
    }
}

#[test]
fn a_flipped_bit_in_a_middle_frame_is_refused_at_open_and_at_reading() {
    let (bench, simulation) = written(&[&[b"before"], &[b"hit", b"me"], &[b"after"]]);
    let frames = read_all(&bench.open(), Position(0));
    let (from, to) = (frames[1].position.offset(), frames[2].next.offset());
    let bytes = simulation.file(&path(1)).unwrap();
    for offset in from as usize..to as usize {
        let mut bytes = bytes.clone();
        bytes[offset] ^= 1 << (offset % 8);
        let error = with_file(&simulation, 1, bytes)
            .try_open(Position(0))
            .unwrap_err();
        let hit = if offset < frames[2].position.offset() as usize {
            1
        } else {
            2
        };
        let place = format!("segment 1, offset {}", frames[hit].position.offset());
        assert!(error.to_string().contains(&place), "{offset}: {error}");
        assert!(error.to_string().contains("eventyard doctor"), "{error}");
    }
    // The same under an open journal, as a reader meets it.
    let journal = bench.open();
    let mut bytes = bytes;
    bytes[from as usize + 33] ^= 4;
    simulation.put(&path(1), bytes);
    let error = journal.read_at(frames[1].position).unwrap_err();
    assert!(matches!(error, ReadError::Damaged(_)), "{error}");
    let mut reader = journal.reader(Position(0));
    assert_eq!(reader.next().unwrap().unwrap().sequence, 1);
    assert!(matches!(reader.next(), Err(ReadError::Damaged(_))));
    assert_eq!(reader.position(), frames[1].position);
}

#[test]
fn damage_before_later_segments_is_refused_and_found_late_in_trusted_ones() {
    let payload = [5u8; 3_000];
    let batch = [&payload[..]];
    let (bench, simulation) = written(&[&batch[..]; 10]);
    let last_of_first = {
        let journal = bench.open();
        let segment = &journal.segments()[0];
        assert_eq!((segment.id, segment.last_sequence), (1, Some(4)));
        read_all(&journal, Position(0))[3].clone()
    };
    // Its end is lost: without a seal that would pass for a short segment.
    let mut bytes = simulation.file(&path(1)).unwrap();
    bytes[last_of_first.position.offset() as usize..].fill(0);
    let damaged = with_file(&simulation, 1, bytes);
    let error = damaged.try_open(Position(0)).unwrap_err();
    assert!(error.to_string().contains("seal"), "{error}");

    let journal = damaged.try_open(Position(u64::MAX)).unwrap();
    assert_eq!(journal.durable_through(), 10);
    let mut reader = journal.reader(Position(0));
    for _ in 0..3 {
        reader.next().unwrap().unwrap();
    }
    assert!(matches!(reader.next(), Err(ReadError::Damaged(_))));
    drop(journal);

    simulation.delete(&path(2));
    let error = bench.try_open(Position(u64::MAX)).unwrap_err();
    assert!(error.to_string().contains("segment 2"), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn stale_frames_of_a_segment_that_is_written_again_are_never_read() {
    let (disk, simulation) = Disk::simulated();
    let bench = Bench::new(disk, "journal", SEGMENT_BYTES);
    let journal = bench.open();
    let stale_frame_follows = || {
        let end = journal.end();
        let bytes = simulation.file(&path(end.segment())).unwrap();
        let behind = &bytes[end.offset() as usize + 8..];
        behind.iter().any(|byte| *byte != 0)
    };
    // All frames stand at the same offsets in every segment. Which of them are written into old
    // files depends on whether the next one is made ready before or after a trim.
    let mut count = 0;
    while count < 60 || !stale_frame_follows() {
        assert!(count < 1_000, "no file is written again");
        append(&journal, &[&[count as u8; 2_000]]);
        count += 1;
        let oldest = journal.start().segment();
        if journal.segments().len() > 2 {
            journal.trim_through(oldest).unwrap();
        }
    }
    drop(journal);
    let journal = bench.open();
    assert_eq!(journal.durable_through(), count);
    let frames = read_all(&journal, Position(0));
    assert_eq!(frames.last().unwrap().sequence, count);
}

#[test]
fn the_rest_of_a_torn_write_never_comes_back() {
    // Three groups of one size in the last batch, the first of them torn.
    let (disk, simulation) = Disk::simulated();
    let bench = Bench::new(disk, "journal", SEGMENT_BYTES);
    let clock = Clock::manual(Timestamp::from_millis(1_000));
    let (shared, writer) =
        prepare_open(bench.config.clone(), bench.disk.clone(), clock, Position(0)).unwrap();
    for number in 0..3u8 {
        shared.submit(group(&[&[number; 600]])).unwrap();
    }
    Journal::launch(shared, writer).unwrap().close();
    let mut bytes = simulation.file(&path(1)).unwrap();
    bytes[FIRST_FRAME as usize + 100] ^= 1;
    simulation.put(&path(1), bytes);

    let journal = bench.open();
    assert_eq!(journal.durable_through(), 0);
    append(&journal, &[&[0; 600]]);
    drop(journal);
    assert_eq!(bench.open().durable_through(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_bytes_behind_a_header_open_or_are_refused(
        tail in proptest::collection::vec(any::<u8>(), 0..2_000),
        at in 0usize..12_000,
    ) {
        let (_, simulation) = written(&[&[b"one", b"two"], &[b"three"]]);
        let mut bytes = simulation.file(&path(1)).unwrap();
        let end = (at + tail.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&tail[..end - at]);
        if let Ok(journal) = with_file(&simulation, 1, bytes).try_open(Position(0)) {
            for frame in read_all(&journal, Position(0)) {
                prop_assert!([&b"one"[..], b"two", b"three"].contains(&&frame.payload[..]));
            }
        }
    }

    #[test]
    fn arbitrary_positions_are_read_without_panic(position in any::<u64>(), offset in 0u32..20_000) {
        let (bench, _) = written(&[&[b"one", b"two"], &[b"three"]]);
        let journal = bench.open();
        for position in [Position(position), Position::new(1, offset)] {
            let _ = journal.read_at(position);
            let _ = journal.reader(position).next();
        }
    }
}
