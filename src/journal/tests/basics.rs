//! Append, read, roll, trim, close and open again.

use super::*;

#[test]
fn what_was_appended_is_read_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path().join("journal"), 64 * 1024);
    let journal = bench.open();
    assert_eq!(journal.durable_through(), 0);
    assert!(read_all(&journal, Position(0)).is_empty());
    let ticket = append(&journal, &[b"one", b"two"]);
    assert_eq!((ticket.first, ticket.last), (1, 2));
    append(&journal, &[b"three"]);
    journal.close();
    assert_eq!(journal.state(), State::Closed);
    assert_eq!(journal.submit(group(&[b"x"])), Err(AppendError::Closed));

    let journal = bench.open();
    append(&journal, &[b""]);
    let frames = read_all(&journal, Position(0));
    let seen: Vec<_> = frames
        .iter()
        .map(|f| (f.sequence, &f.payload[..]))
        .collect();
    assert_eq!(
        seen,
        [(1, &b"one"[..]), (2, b"two"), (3, b"three"), (4, b"")]
    );
    for frame in &frames {
        let again = journal.read_at(frame.position).unwrap();
        assert_eq!(again.payload, frame.payload);
        assert_eq!((again.kind, again.next), (7, frame.next));
    }
    assert_eq!(frames.last().map(|frame| frame.next), Some(journal.end()));
}

#[test]
fn groups_go_on_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), 16 * 1024);
    let journal = bench.open();
    let mut tickets = Vec::new();
    for number in 0..100u8 {
        let payload = vec![number; 1_000];
        tickets.push(journal.submit(group(&[&payload, &payload])).unwrap());
    }
    wait(&journal, 200);
    let check = |journal: &Journal| {
        let frames = read_all(journal, Position(0));
        assert_eq!(frames.len(), 200);
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame.sequence, index as u64 + 1);
            assert_eq!(frame.payload, vec![index as u8 / 2; 1_000]);
        }
    };
    check(&journal);
    let segments = journal.segments();
    assert!(segments.len() > 15, "{segments:?}");
    assert!(segments.iter().rev().skip(1).all(|segment| !segment.active));
    for pair in segments.windows(2) {
        assert_eq!(
            pair[0].last_sequence.map(|last| last + 1),
            pair[1].first_sequence
        );
    }
    journal.close();
    check(&bench.try_open(Position(u64::MAX)).unwrap());
    check(&bench.open());
}

#[test]
fn a_trimmed_journal_starts_later_and_its_files_are_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), 16 * 1024);
    let journal = bench.open();
    for number in 0..100u8 {
        append(&journal, &[&vec![number; 1_000]]);
        let segments = journal.segments();
        if segments.len() > 3 {
            journal.trim_through(segments[0].id).unwrap();
        }
    }
    let start = journal.start();
    assert!(start.segment() > 3);
    assert_eq!(
        journal.read_at(Position::new(1, 4096)).unwrap_err(),
        ReadError::Trimmed
    );
    assert_eq!(
        journal.reader(Position::new(1, 4096)).next().unwrap_err(),
        ReadError::Trimmed
    );
    journal.trim_through(u32::MAX).unwrap();
    let left = read_all(&journal, Position(0));
    assert_eq!(left.last().unwrap().sequence, 100);
    drop(journal);
    let journal = bench.open();
    assert_eq!(journal.durable_through(), 100);
    assert_eq!(read_all(&journal, Position(0)).len(), left.len());
    assert!(std::fs::read_dir(dir.path()).unwrap().count() <= 8);
}

#[test]
fn a_second_opener_is_told_that_the_directory_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), 16 * 1024);
    let journal = bench.open();
    let error = bench.try_open(Position(0)).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    journal.close();
    bench.open();
}
