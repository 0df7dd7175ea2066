//! Full disks, failing writes and flushes, and what is told to those who wait.

use super::*;

const SEGMENT_BYTES: u64 = 16 * 1024;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(20), future).await };
    runtime.block_on(bounded).expect("resolves in time")
}

/// Submits until the disk is full. One at a time: a writer that comes late to its work would leave
/// the queue full before the disk.
fn fill(journal: &Journal) {
    loop {
        match journal.submit(group(&[&[9; 5_000]])) {
            Ok(ticket) => drop(block_on(journal.durable(ticket.last))),
            Err(AppendError::Full(_)) => return,
            Err(other) => panic!("{other}"),
        }
    }
}

fn faulty() -> (Bench, Faults, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (disk, faults) = Disk::faulty(Disk::real());
    let bench = Bench::new(disk, dir.path().join("journal"), SEGMENT_BYTES);
    (bench, faults, dir)
}

#[test]
fn a_failed_flush_ends_the_journal_for_good() {
    for after in 0..12 {
        let (bench, faults, _dir) = faulty();
        let journal = bench.open();
        let first = append(&journal, &[b"kept"]);
        faults.fail_syncs(after);
        let mut submitted = Vec::new();
        for _ in 0..30 {
            match journal.submit(group(&[&[1; 3_000]])) {
                Ok(ticket) => submitted.push(ticket.last),
                Err(AppendError::Failed(_)) => break,
                Err(other) => panic!("{other}"),
            }
        }
        // None is taken when the next segment's flush fails before the first.
        let last = submitted.last().copied().unwrap_or(first.last + 1);
        let error = block_on(journal.durable(last)).unwrap_err();
        assert!(matches!(&error, AppendError::Failed(text) if text.contains("injected")));
        faults.clear();
        assert!(matches!(
            journal.submit(group(&[b"later"])),
            Err(AppendError::Failed(_))
        ));
        let State::Failed(text) = block_on(journal.state_changed(&State::Writable)) else {
            panic!("{:?}", journal.state());
        };
        assert!(text.contains("injected flush error"), "{text}");
        block_on(journal.durable(first.last)).unwrap();
        assert_eq!(block_on(journal.wait_past(last)), journal.durable_through());
        let announced = journal.durable_through();
        assert!(read_all(&journal, Position(0)).len() as u64 == announced);
        journal.close();
        assert!(matches!(journal.state(), State::Failed(_)));

        let journal = bench.open();
        assert!(journal.durable_through() >= announced);
        append(&journal, &[b"works again"]);
    }
}

#[test]
fn a_failed_write_ends_the_journal_for_good() {
    for after in 0..12 {
        let (bench, faults, _dir) = faulty();
        let journal = bench.open();
        append(&journal, &[b"kept"]);
        faults.fail_writes(after);
        while journal.submit(group(&[&[1; 3_000]])).is_ok() {}
        let State::Failed(text) = block_on(journal.state_changed(&State::Writable)) else {
            panic!("{:?}", journal.state());
        };
        assert!(text.contains("injected write error"), "{text}");
        faults.clear();
        drop(journal);
        append(&bench.open(), &[b"works again"]);
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let (bench, faults, _dir) = faulty();
    faults.set_capacity(Some(3 * SEGMENT_BYTES + 1_000));
    let journal = bench.open();
    let payload = [9; 5_000];
    let mut tickets = Vec::new();
    loop {
        match journal.submit(group(&[&payload])) {
            Ok(ticket) => tickets.push(ticket),
            Err(AppendError::Full(_)) => break,
            Err(other) => panic!("{other}"),
        }
        if journal.state() == State::Writable && tickets.len() > 20 {
            // Let the writer find out.
            let _ = journal.blocking_wait_past(u64::MAX, Duration::from_millis(1));
        }
    }
    let State::Full(text) = journal.state() else {
        panic!("{:?}", journal.state());
    };
    assert!(text.contains("space"), "{text}");
    let durable = journal.durable_through();
    for ticket in &tickets {
        let told = block_on(journal.durable(ticket.last));
        assert_eq!(told.is_ok(), ticket.last <= durable, "{told:?}");
        assert_eq!(journal.is_lost(ticket.last), ticket.last > durable);
    }
    assert_eq!(read_all(&journal, Position(0)).len() as u64, durable);

    // A bus that starts on the full disk reads, refuses, and goes on as well.
    drop(journal);
    let journal = bench.open();
    assert_eq!(journal.durable_through(), durable);
    fill(&journal);
    let lost = journal.durable_through() + 1;
    assert!(journal.is_lost(lost));
    faults.set_capacity(None);
    let full = journal.state();
    assert_eq!(block_on(journal.state_changed(&full)), State::Writable);
    let ticket = append(&journal, &[&payload]);
    block_on(journal.durable(ticket.last)).unwrap();
    assert!(journal.is_lost(lost) && !journal.is_lost(ticket.first));
    assert!(matches!(
        block_on(journal.durable(lost)),
        Err(AppendError::Full(_))
    ));
    let sequences: Vec<_> = read_all(&journal, Position(0))
        .iter()
        .map(|f| f.sequence)
        .collect();
    assert_eq!(sequences.last(), Some(&ticket.last));
    assert!(!sequences.contains(&lost));
}

#[test]
fn trimming_makes_room_on_a_full_disk() {
    let (bench, faults, _dir) = faulty();
    faults.set_capacity(Some(3 * SEGMENT_BYTES + 1_000));
    let journal = bench.open();
    fill(&journal);
    let full = journal.state();
    assert!(matches!(full, State::Full(_)), "{full:?}");
    journal.trim_through(journal.start().segment()).unwrap();
    assert_eq!(block_on(journal.state_changed(&full)), State::Writable);
    append(&journal, &[b"goes on"]);
}

#[test]
fn groups_that_are_too_large_or_too_many_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), SEGMENT_BYTES);
    let journal = bench.open();
    let error = journal.submit(group(&[&[0; 16 * 1024]])).unwrap_err();
    assert!(
        matches!(error, AppendError::TooLarge { limit: 12_256, .. }),
        "{error}"
    );
    append(&journal, &[&[0; 12_256 - 32]]);
    append(&journal, &[&[1; 12_256 - 32]]);
    assert_eq!(read_all(&journal, Position(0)).len(), 2);
    let before = journal.durable_through();
    let empty = journal.submit(Vec::new()).unwrap();
    assert_eq!((empty.first, empty.last), (before + 1, before));
}

#[test]
fn a_busy_queue_refuses_instead_of_growing() {
    let (disk, simulation) = Disk::simulated();
    let bench = Bench::new(disk, "journal", 1024 * 1024);
    // Opened by halves: no writer drains the queue.
    let clock = Clock::system();
    let (shared, writer) =
        prepare_open(bench.config.clone(), bench.disk.clone(), clock, Position(0)).unwrap();
    let mut taken = 0;
    let refused = loop {
        match shared.submit(group(&[&[0; 500_000]])) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Busy);
    assert_eq!(taken, limits::JOURNAL_QUEUE_BYTES / 500_032);
    drop(writer);
    assert_eq!(simulation.calls(), 1);
}

#[test]
fn closing_writes_what_is_queued_and_tells_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), SEGMENT_BYTES);
    let journal = bench.open();
    let tickets: Vec<_> = (0..50)
        .map(|_| journal.submit(group(&[&[3; 2_000]])).unwrap())
        .collect();
    let other = journal.clone();
    journal.close();
    other.close();
    assert_eq!(journal.durable_through(), tickets[49].last);
    block_on(journal.durable(tickets[49].last)).unwrap();
    assert_eq!(block_on(journal.durable(51)), Err(AppendError::Closed));
    assert_eq!(block_on(journal.wait_past(50)), 50);
    assert_eq!(read_all(&journal, Position(0)).len(), 50);
}

#[test]
fn many_tasks_wait_and_each_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), 64 * 1024);
    let journal = bench.open();
    block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..100u8 {
            let journal = journal.clone();
            tasks.spawn(async move {
                for _ in 0..20 {
                    let ticket = journal.submit(group(&[&[task; 300]])).unwrap();
                    journal.durable(ticket.last).await.unwrap();
                    assert!(journal.durable_through() >= ticket.last);
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
    assert_eq!(journal.durable_through(), 2_000);
}
