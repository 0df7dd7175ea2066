//! The log as a whole, over a real journal and a real store.

use std::path::Path;

use super::*;
use crate::limits;

const SEGMENT_BYTES: u64 = 256 * 1024;
const WINDOW: Duration = Duration::from_secs(600);

fn config(dir: &Path) -> Config {
    Config {
        dir: dir.to_owned(),
        segment_bytes: SEGMENT_BYTES,
        cache_bytes: 8 << 20,
    }
}

struct TestLog {
    log: Log,
    clock: Clock,
    dir: tempfile::TempDir,
}

impl TestLog {
    fn open() -> Self {
        Self::open_in(tempfile::tempdir().unwrap(), Disk::real())
    }

    fn open_in(dir: tempfile::TempDir, disk: Disk) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let log = Log::open(config(dir.path()), disk, clock.clone()).unwrap();
        Self { log, clock, dir }
    }

    /// Stops and starts again, after `between` had the data directory.
    fn reopen(self, between: impl FnOnce(&Path)) -> Self {
        self.log.close();
        drop(self.log);
        between(self.dir.path());
        let log = Log::open(config(self.dir.path()), Disk::real(), self.clock.clone()).unwrap();
        Self { log, ..self }
    }

    async fn publish(&self, id: &str) -> Appended {
        self.publish_bytes(id, 10).await
    }

    async fn publish_bytes(&self, id: &str, bytes: usize) -> Appended {
        let event = event(id, bytes);
        let appended = self.log.append(&bus(), vec![event], WINDOW).await.unwrap();
        appended[0]
    }

    /// Fills segments until at least `segments` are closed behind the one written now.
    async fn fill_segments(&self, segments: usize) {
        let mut n = 0;
        while self.log.shared.journal.segments().len() <= segments {
            self.publish_bytes(
                &format!("filler-{n}-{}", self.log.durable_through()),
                20_000,
            )
            .await;
            n += 1;
        }
    }

    /// Trims, and gives the first segment that is left. How many go now says little: the log trims
    /// by itself every few seconds.
    async fn trim(&self) -> u32 {
        let log = self.log.clone();
        let trimmed = tokio::task::spawn_blocking(move || log.trim()).await;
        trimmed.unwrap().unwrap();
        self.first_segment()
    }

    fn first_segment(&self) -> u32 {
        self.log.shared.journal.start().segment()
    }

    /// Says that everything so far is routed, and waits until a trim would not be held back.
    async fn route_all(&self) {
        let through = self.log.durable_through();
        let record = Record::Checkpoint {
            routed_through: through,
        };
        self.log.commit(&[record]).await.unwrap();
        let active = self.log.shared.journal.end().segment();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while self.log.shared.checkpointed().segment() < active {
            assert!(std::time::Instant::now() < deadline, "no view checkpoint");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn bus() -> BusName {
    BusName::default_bus()
}

fn event(id: &str, bytes: usize) -> Event {
    Event::builder(id, "/test", "com.example.test")
        .data("text/plain", "x".repeat(bytes))
        .build()
        .unwrap()
}

fn dead_letter(sequence: Sequence) -> DeadLetter {
    DeadLetter {
        target: TargetId(7),
        sequence,
        bus: bus(),
        rule: RuleName::new("orders").unwrap(),
        target_name: TargetName::new("billing").unwrap(),
        reason: DeadLetterReason::Refused,
        attempts: 1,
        since: Timestamp::from_millis(1),
        dead_at: Timestamp::from_millis(2),
        last_status: Some(400),
        last_error: Some("no".to_owned()),
    }
}

fn parked(sequence: Sequence, due: u64) -> Parked {
    Parked {
        target: TargetId(7),
        sequence,
        due: Timestamp::from_millis(due),
        attempts: 2,
        since: Timestamp::from_millis(1),
        last_status: None,
        last_error: Some("connection refused".to_owned()),
    }
}

fn rule_put(name: &str, id: u32) -> Record {
    Record::RulePut {
        bus: bus(),
        rule: RuleName::new(name).unwrap(),
        document: "{}".to_owned(),
        targets: vec![(TargetName::new("t").unwrap(), TargetId(id))],
    }
}

fn remove_view(dir: &Path) {
    std::fs::remove_dir_all(dir.join("view")).unwrap();
}

fn damage_view(dir: &Path) {
    let db = dir.join("view").join("db");
    let mut bytes = std::fs::read(&db).unwrap();
    let middle = bytes.len() / 2;
    bytes[..middle].fill(0xA5);
    std::fs::write(&db, bytes).unwrap();
}

#[tokio::test]
async fn what_is_appended_reads_back_in_order_also_after_a_restart() {
    let mut test = TestLog::open();
    let mut sequences = Vec::new();
    for n in 0..700 {
        sequences.push(test.publish(&format!("e-{n}")).await.sequence);
    }
    for restart in 0..3 {
        let events = test.log.read_after(0, 10_000).await.unwrap();
        let read: Vec<Sequence> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(read, sequences, "after {restart} restarts");
        let one = test.log.event(sequences[3]).await.unwrap().unwrap();
        assert_eq!(one.event.id(), "e-3");
        assert!(test.log.event(1 << 50).await.unwrap().is_none());
        test = test.reopen(|dir| match restart {
            0 => {}
            1 => remove_view(dir),
            _ => damage_view(dir),
        });
    }
}

#[tokio::test]
async fn a_second_start_beside_a_running_one_is_refused_and_touches_nothing() {
    let test = TestLog::open();
    test.publish("a").await;
    let again = Log::open(config(test.dir.path()), Disk::real(), test.clock.clone());
    assert!(matches!(again, Err(OpenLogError::InUse)));
    assert!(!test.dir.path().join("view.set-aside").exists());
    let test = test.reopen(|_| {});
    assert!(test.publish("a").await.duplicate);
}

#[tokio::test]
async fn a_duplicate_answers_with_the_first_ones_sequence() {
    let test = TestLog::open();
    let first = test.publish("a").await;
    let again = test.publish("a").await;
    assert!(!first.duplicate && again.duplicate);
    assert_eq!(first.sequence, again.sequence);
    // Also when it comes twice in one batch, or after a restart, with and without the view.
    let batch = vec![event("b", 1), event("a", 1), event("b", 1)];
    let appended = test.log.append(&bus(), batch, WINDOW).await.unwrap();
    let duplicates: Vec<bool> = appended.iter().map(|one| one.duplicate).collect();
    assert_eq!(duplicates, [false, true, true]);
    assert_eq!(appended[2].sequence, appended[0].sequence);
    let test = test.reopen(|_| {});
    assert_eq!(test.publish("a").await, again);
    let test = test.reopen(remove_view);
    assert_eq!(test.publish("a").await, again);
    // A window of nothing looks for nothing.
    let twice = vec![event("c", 1), event("c", 1)];
    let appended = test
        .log
        .append(&bus(), twice, Duration::ZERO)
        .await
        .unwrap();
    assert!(appended.iter().all(|one| !one.duplicate));
    // Another bus is another world, and the window ends.
    let other = BusName::new("other").unwrap();
    let elsewhere = test.log.append(&other, vec![event("a", 1)], WINDOW).await;
    assert!(!elsewhere.unwrap()[0].duplicate);
    test.clock.advance(WINDOW + Duration::from_millis(1));
    assert!(!test.publish("a").await.duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_first() {
    let test = TestLog::open();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let log = test.log.clone();
        tasks.spawn(async move { log.append(&bus(), vec![event("same", 5)], WINDOW).await });
    }
    let mut firsts = 0;
    let mut sequences = std::collections::BTreeSet::new();
    while let Some(done) = tasks.join_next().await {
        let appended = done.unwrap().unwrap()[0];
        firsts += usize::from(!appended.duplicate);
        sequences.insert(appended.sequence);
    }
    assert_eq!((firsts, sequences.len()), (1, 1));
}

/// The writer may have an event on disk before its append goes on; a follower (the router) that
/// believes an empty page must not have passed it by.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_passes_no_event_by() {
    const EVENTS: usize = 100;
    const APPENDS: usize = 40;
    // A disk that flushes at once leaves an append the least time.
    let (disk, _simulation) = Disk::simulated();
    let test = TestLog::open_in(tempfile::tempdir().unwrap(), disk);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let log = test.log.clone();
        tasks.spawn(async move {
            for append in 0..APPENDS {
                let events = (0..EVENTS)
                    .map(|n| event(&format!("{task}-{append}-{n}"), 10))
                    .collect();
                log.append(&bus(), events, WINDOW).await.unwrap();
            }
        });
    }
    let (mut cursor, mut followed) = (0, 0);
    loop {
        let is_over = tasks.is_empty();
        let durable = test.log.durable_through();
        let events = test.log.read_after(cursor, 1_000).await.unwrap();
        followed += events.len();
        match events.last() {
            Some(last) => cursor = last.sequence,
            None if is_over => break,
            None => cursor = cursor.max(durable),
        }
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(followed, 4 * APPENDS * EVENTS);
}

#[tokio::test]
async fn state_folds_to_the_same_views_from_the_journal_alone() {
    let mut test = TestLog::open();
    let a = test.publish("a").await.sequence;
    let b = test.publish("b").await.sequence;
    let c = test.publish("c").await.sequence;
    let records = [
        rule_put("one", 3),
        rule_put("two", 4),
        Record::RuleDeleted {
            bus: bus(),
            rule: RuleName::new("two").unwrap(),
        },
        Record::Parked(parked(a, 500)),
        Record::Parked(parked(a, 400)),
        Record::Parked(parked(b, 300)),
        Record::Settled {
            target: TargetId(7),
            sequence: b,
        },
        Record::Backlogged {
            target: TargetId(7),
            sequences: vec![b, c],
        },
        Record::Backlogged {
            target: TargetId(8),
            sequences: vec![a],
        },
        Record::BacklogDone {
            target: TargetId(8),
            first: a,
        },
        Record::Parked(parked(c, 100)),
        Record::DeadLettered(dead_letter(c)),
        Record::Checkpoint { routed_through: b },
    ];
    test.log.commit(&records).await.unwrap();
    for round in 0..4 {
        let log = &test.log;
        let rules = log.rules().unwrap();
        assert_eq!(rules.len(), 1, "round {round}");
        assert_eq!(rules[0].rule.as_str(), "one");
        assert_eq!(log.last_target_id().unwrap(), 4);
        let due = log.parked_due(TargetId(7), Timestamp::from_millis(400), 10);
        let due: Vec<Parked> = due.unwrap().into_iter().map(|q| q.parked).collect();
        assert_eq!(due, [parked(a, 400)]);
        let now = Timestamp::from_millis(399);
        assert!(log.parked_due(TargetId(7), now, 10).unwrap().is_empty());
        let next = log.parked_next_due(TargetId(7)).unwrap();
        assert_eq!(next, Some(Timestamp::from_millis(400)));
        let chunks = log.backlog(TargetId(7), 0, 10).unwrap();
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].sequences, [b, c]);
        assert_eq!(log.pending_counts(TargetId(7)).unwrap(), (1, 2));
        assert_eq!(log.targets_with_state().unwrap(), [TargetId(7)]);
        assert!(log.is_kept(TargetId(7), b).unwrap());
        assert!(!log.is_kept(TargetId(8), a).unwrap());
        let dead = log.dead_letters(None, None, 10).unwrap();
        assert_eq!(dead, [dead_letter(c)]);
        assert_eq!(log.checkpoint().unwrap(), b);
        test = test.reopen(|dir| match round {
            0 => {}
            1 => remove_view(dir),
            _ => damage_view(dir),
        });
    }
}

#[tokio::test]
async fn what_outlives_its_segment_is_carried_forward() {
    let test = TestLog::open();
    let dead = test.publish("dead").await.sequence;
    let waiting = test.publish("waiting").await.sequence;
    let late = test.publish("late").await.sequence;
    let gone = test.publish("gone").await.sequence;
    test.log
        .commit(&[
            rule_put("kept", 5),
            rule_put("replaced", 6),
            rule_put("deleted", 9),
            Record::DeadLettered(dead_letter(dead)),
            Record::DeadLettered(dead_letter(gone)),
            Record::Backlogged {
                target: TargetId(7),
                sequences: vec![waiting],
            },
            Record::Parked(parked(late, 77)),
        ])
        .await
        .unwrap();
    let rules = test.log.rules().unwrap();
    let revision = rules
        .iter()
        .find(|rule| rule.rule.as_str() == "kept")
        .unwrap()
        .revision;
    test.fill_segments(2).await;
    test.log
        .commit(&[
            rule_put("replaced", 6),
            Record::RuleDeleted {
                bus: bus(),
                rule: RuleName::new("deleted").unwrap(),
            },
            Record::DeadLetterRemoved {
                target: TargetId(7),
                sequence: gone,
            },
        ])
        .await
        .unwrap();
    test.fill_segments(4).await;
    test.route_all().await;
    let retention = Retention {
        max_age: Duration::from_secs(3600),
        max_bytes: 1,
    };
    test.log.set_retention(&bus(), retention.clone());
    assert!(test.trim().await >= 4, "the first three are gone");

    let mut test = test;
    for round in 0..3 {
        let log = &test.log;
        // While it runs, the tail in memory may still know what the disk no longer does.
        if round > 0 {
            assert!(log.event(gone).await.unwrap().is_none(), "round {round}");
        }
        for (sequence, id) in [(dead, "dead"), (waiting, "waiting"), (late, "late")] {
            let event = log.event(sequence).await.unwrap();
            assert_eq!(event.expect(id).event.id(), id, "round {round}");
        }
        assert_eq!(
            log.dead_letters(None, None, 9).unwrap(),
            [dead_letter(dead)]
        );
        let chunks = log.backlog(TargetId(7), 0, 9).unwrap();
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].sequences, [waiting]);
        let next = log.parked(TargetId(7), late).unwrap();
        assert_eq!(next, Some(parked(late, 77)));
        let rules = log.rules().unwrap();
        let names: Vec<&str> = rules.iter().map(|rule| rule.rule.as_str()).collect();
        assert_eq!(names, ["kept", "replaced"]);
        assert_eq!(rules[0].revision, revision, "a copy keeps the revision");
        assert_eq!(log.last_target_id().unwrap(), 9);
        // Another generation: the copies' own segments go as well.
        test = test.reopen(remove_view);
        let first = test.first_segment();
        test.log.set_retention(&bus(), retention.clone());
        test.fill_segments(4).await;
        test.route_all().await;
        assert!(test.trim().await > first);
    }
}

fn mark(target: u32, standing: Standing) -> TargetMark {
    TargetMark {
        target: TargetId(target),
        standing,
        since: Timestamp::from_millis(5),
        failing_since: None,
        url: 1 << 60,
    }
}

#[tokio::test]
async fn how_a_target_stands_outlives_its_segment_and_goes_with_the_target() {
    let paused = mark(5, Standing::Paused);
    let failing = TargetMark {
        failing_since: Some(Timestamp::from_millis(3)),
        ..mark(6, Standing::Active)
    };
    let gone = Standing::Disabled(DisabledFor::Gone);
    let marked = |mark: TargetMark| Record::TargetMarked(mark);
    let mut test = TestLog::open();
    test.log
        .commit(&[
            rule_put("kept", 5),
            rule_put("failing", 6),
            rule_put("resumed", 7),
            rule_put("replaced", 8),
            rule_put("deleted", 9),
            marked(mark(5, gone)),
            marked(paused),
            marked(failing),
            marked(mark(7, Standing::Paused)),
            marked(mark(8, gone)),
            marked(mark(9, gone)),
        ])
        .await
        .unwrap();
    assert_eq!(test.log.target_marks().unwrap().len(), 5);
    test.fill_segments(2).await;
    let deleted = Record::RuleDeleted {
        bus: bus(),
        rule: RuleName::new("deleted").unwrap(),
    };
    let changes = [
        marked(mark(7, Standing::Active)),
        rule_put("replaced", 10),
        deleted,
    ];
    test.log.commit(&changes).await.unwrap();
    assert_eq!(test.log.target_marks().unwrap(), [paused, failing]);
    let retention = Retention {
        max_age: Duration::from_secs(3600),
        max_bytes: 1,
    };
    for round in 0..4 {
        test.log.set_retention(&bus(), retention.clone());
        test.fill_segments(4).await;
        test.route_all().await;
        assert!(test.trim().await > 1, "round {round}");
        test = test.reopen(|dir| match round {
            0 => {}
            1 | 2 => remove_view(dir),
            _ => damage_view(dir),
        });
        let marks = test.log.target_marks().unwrap();
        assert_eq!(marks, [paused, failing], "round {round}");
    }
}

#[tokio::test]
async fn nothing_is_trimmed_that_is_not_routed_or_still_retained() {
    let test = TestLog::open();
    test.publish("a").await;
    test.fill_segments(3).await;
    let keep_all = Retention {
        max_age: Duration::from_secs(3600),
        max_bytes: 1 << 40,
    };
    let keep_none = Retention {
        max_bytes: 1,
        ..keep_all.clone()
    };
    test.log.set_retention(&bus(), keep_none);
    assert_eq!(test.trim().await, 1, "nothing is routed");
    test.log.set_retention(&bus(), keep_all);
    test.route_all().await;
    assert_eq!(test.trim().await, 1, "all is retained");
    test.clock.advance(Duration::from_secs(3601));
    assert!(test.trim().await > 1, "all is old");
}

#[tokio::test]
async fn events_are_browsed_by_what_they_are() {
    let test = TestLog::open();
    for n in 0..1_300 {
        let kind = if n % 100 == 0 { "rare" } else { "common" };
        let event = Event::builder(&format!("{n}"), "/s", kind).build().unwrap();
        let bus = if n % 2 == 0 {
            bus()
        } else {
            BusName::new("odd").unwrap()
        };
        test.log.append(&bus, vec![event], WINDOW).await.unwrap();
    }
    let ids = |page: &EventPage| -> Vec<String> {
        let id = |logged: &Arc<LoggedEvent>| logged.event.id().to_owned();
        page.events.iter().map(id).collect()
    };
    let query = EventQuery {
        limit: 4,
        kind: Some("rare".to_owned()),
        ..EventQuery::default()
    };
    let newest = test.log.browse(&bus(), query.clone()).await.unwrap();
    assert_eq!(ids(&newest), ["1200", "1100", "1000", "900"]);
    let next = EventQuery {
        before: newest.next,
        ..query.clone()
    };
    let next = test.log.browse(&bus(), next).await.unwrap();
    assert_eq!(ids(&next), ["800", "700", "600", "500"]);
    let oldest = EventQuery {
        after: Some(0),
        ..query.clone()
    };
    let oldest = test.log.browse(&bus(), oldest).await.unwrap();
    assert_eq!(ids(&oldest), ["0", "100", "200", "300"]);
    let by_id = EventQuery {
        id: Some("7".to_owned()),
        limit: 10,
        ..EventQuery::default()
    };
    assert!(
        test.log
            .browse(&bus(), by_id.clone())
            .await
            .unwrap()
            .events
            .is_empty()
    );
    let odd = BusName::new("odd").unwrap();
    let found = test.log.browse(&odd, by_id).await.unwrap();
    assert_eq!(ids(&found), ["7"]);
    assert_eq!(found.next, None);
}

#[tokio::test]
async fn a_reader_behind_the_tail_reads_on_from_the_disk() {
    let test = TestLog::open();
    let body = 200_000;
    let count = limits::TAIL_BYTES / body + 40;
    for n in 0..count {
        let event = event(&format!("{n}"), body);
        test.log.append(&bus(), vec![event], WINDOW).await.unwrap();
    }
    let mut after = 0;
    let mut seen = 0;
    loop {
        let events = test.log.read_after(after, 7).await.unwrap();
        let Some(last) = events.last() else { break };
        after = last.sequence;
        for logged in &events {
            assert_eq!(logged.event.id(), seen.to_string());
            seen += 1;
        }
    }
    assert_eq!(seen, count);
}

#[tokio::test]
async fn an_event_that_waits_outlives_retention_trimming_and_the_view() {
    let test = TestLog::open();
    let sequence = test.publish("waits").await.sequence;
    let due = Timestamp::from_millis(9_000_000);
    let other = test.publish("cancelled").await.sequence;
    test.log
        .commit(&[
            Record::Deferred { sequence, due },
            Record::Deferred {
                sequence: other,
                due,
            },
            Record::DeferredDone {
                sequence: other,
                due,
            },
        ])
        .await
        .unwrap();
    test.fill_segments(3).await;
    test.route_all().await;
    let retention = Retention {
        max_age: Duration::from_secs(3600),
        max_bytes: 1,
    };
    test.log.set_retention(&bus(), retention);
    assert!(test.trim().await > 1, "the first segment went");
    let test = test.reopen(|dir| std::fs::remove_dir_all(dir.join("view")).unwrap());
    assert_eq!(test.log.deferred(sequence).unwrap(), Some(due));
    assert_eq!(test.log.deferred(other).unwrap(), None);
    let waiting = test.log.deferred_between(None, due, 10).unwrap();
    assert_eq!(waiting, []);
    let until = due.plus(Duration::from_millis(1));
    let waiting = test.log.deferred_between(None, until, 10).unwrap();
    assert_eq!(waiting, [(due, sequence)]);
    let event = test.log.event(sequence).await.unwrap().unwrap();
    assert_eq!(event.event.id(), "waits");
    assert!(test.log.event(other).await.unwrap().is_none());
}

#[tokio::test]
async fn a_read_says_itself_what_is_gone() {
    let test = TestLog::open();
    let first = test.publish("first").await.sequence;
    let second = test.publish("second").await.sequence;
    test.fill_segments(3).await;
    // Only what is not in memory can be gone.
    let test = test.reopen(|_| {});
    let run = test.log.read_on(first, 1).await.unwrap();
    assert_eq!((run.events[0].sequence, run.gone_through), (second, None));
    test.log.set_retention(
        &bus(),
        Retention {
            max_age: Duration::from_secs(3_600),
            max_bytes: 1,
        },
    );
    test.route_all().await;
    test.trim().await;
    let kept = test.log.first_sequence().unwrap();
    assert!(kept > second + 1, "nothing was trimmed");
    let run = test.log.read_on(first, 10).await.unwrap();
    assert_eq!(run.gone_through, Some(kept - 1));
    assert!(run.events[0].sequence >= kept);
    // Behind what is gone there is nothing to be said.
    let run = test.log.read_on(kept - 1, 10).await.unwrap();
    assert_eq!(run.gone_through, None);
}

#[tokio::test]
async fn an_acknowledgement_holds_until_the_checkpoint_has_passed_it() {
    let test = TestLog::open();
    let first = test.publish("first").await.sequence;
    let second = test.publish("second").await.sequence;
    let (target, other) = (TargetId(1), TargetId(2));
    let record = Record::Acknowledged {
        target,
        sequences: vec![first, second],
    };
    test.log.commit(&[record]).await.unwrap();
    let check = |test: &TestLog, expected: [bool; 2]| {
        for (sequence, expected) in [first, second].into_iter().zip(expected) {
            let kept = test.log.is_kept(target, sequence).unwrap();
            assert_eq!(kept, expected, "{sequence}");
            assert!(!test.log.is_kept(other, sequence).unwrap());
        }
    };
    check(&test, [true, true]);
    let test = test.reopen(|dir| std::fs::remove_dir_all(dir.join("view")).unwrap());
    check(&test, [true, true]);
    let checkpoint = |routed_through| [Record::Checkpoint { routed_through }];
    test.log.commit(&checkpoint(first)).await.unwrap();
    check(&test, [false, true]);
    test.log.commit(&checkpoint(second)).await.unwrap();
    check(&test, [false, false]);
}

async fn publish_once(test: &TestLog, key: u128, ids: &[&str]) -> Vec<Appended> {
    let events = ids.iter().map(|id| event(id, 10)).collect();
    let (bus, once) = (bus(), Once { key, request: 1 });
    let appended = test.log.append_once(&bus, events, WINDOW, once);
    appended.await.unwrap()
}

#[tokio::test]
async fn an_answer_is_remembered_over_restarts_trimming_and_rebuilt_views() {
    let mut test = TestLog::open();
    test.publish("known").await;
    let mixed = publish_once(&test, 1, &["known", "a", "a", "b"]).await;
    let duplicates: Vec<bool> = mixed.iter().map(|one| one.duplicate).collect();
    assert_eq!(duplicates, [true, false, true, false]);
    // Nothing new, and an answer all the same.
    let nothing = publish_once(&test, 2, &["a"]).await;
    assert!(nothing[0].duplicate);
    let check = async |test: &TestLog| {
        for (key, appended) in [(1, &mixed), (2, &nothing)] {
            let answered = test.log.answered(key).await.unwrap();
            assert_eq!((answered.request, &answered.appended), (1, appended));
        }
        assert_eq!(test.log.answered(3).await, None);
    };
    check(&test).await;
    for remove in [false, true] {
        test = test.reopen(|dir| {
            if remove {
                remove_view(dir);
            }
        });
        check(&test).await;
    }
    test.fill_segments(3).await;
    test.route_all().await;
    let retention = Retention {
        max_age: Duration::from_secs(3_600),
        max_bytes: 1,
    };
    test.log.set_retention(&bus(), retention);
    assert!(test.trim().await > 1, "the first segment went");
    assert!(test.log.event(mixed[1].sequence).await.unwrap().is_none());
    check(&test).await;
    test = test.reopen(remove_view);
    check(&test).await;
    // Until its time is over: then the key is as good as new.
    let day = Duration::from_secs(24 * 60 * 60 + 1);
    test.clock.advance(day);
    assert_eq!(test.log.answered(1).await, None);
    answers::tidy(&test.log.shared).unwrap();
    assert_eq!(publish_once(&test, 1, &["new"]).await.len(), 1);
    let test = test.reopen(|_| {});
    let answered = test.log.answered(1).await.unwrap();
    assert_eq!(answered.appended.len(), 1);
    assert_eq!(test.log.answered(2).await, None);
}

#[tokio::test]
async fn a_delivery_is_found_in_chunks_that_overlap() {
    let test = TestLog::open();
    let target = TargetId(1);
    // As two restarts leave them: each wrote down what the one before had in memory.
    let chunks: [&[Sequence]; 3] = [&[1, 9, 20], &[3, 4, 12], &[5, 6]];
    let records = chunks.map(|sequences| Record::Backlogged {
        target,
        sequences: sequences.to_vec(),
    });
    test.log.commit(&records).await.unwrap();
    for sequence in 0..25 {
        let expected = chunks.iter().any(|chunk| chunk.contains(&sequence));
        let kept = test.log.is_kept(target, sequence).unwrap();
        assert_eq!(kept, expected, "{sequence}");
        assert!(!test.log.is_kept(TargetId(2), sequence).unwrap());
    }
}

/// Who looks while a dead letter is parked anew must find it, in the one place or the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_found_while_it_is_redriven() {
    let test = TestLog::open();
    let sequence = test.publish("a").await.sequence;
    let (target, letter) = (TargetId(7), dead_letter(sequence));
    let dies = [Record::DeadLettered(letter)];
    let comes_back = [
        Record::DeadLetterRemoved { target, sequence },
        Record::Parked(parked(sequence, 400)),
    ];
    test.log.commit(&dies).await.unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut looks, mut missed) = (0, 0);
            while !over.load(std::sync::atomic::Ordering::Acquire) {
                looks += 1;
                missed += u32::from(!test.log.is_kept(target, sequence).unwrap());
            }
            (looks, missed)
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for _ in 0..200 {
                    test.log.commit(&comes_back).await.unwrap();
                    test.log.commit(&dies).await.unwrap();
                }
            });
        });
        over.store(true, std::sync::atomic::Ordering::Release);
        let (looks, missed) = looking.join().unwrap();
        assert_eq!(missed, 0, "of {looks} looks");
    });
}
