//! Lines of deliveries in the view, against a model: random changes, restarts, lost views.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TARGET: TargetId = TargetId(7);

#[derive(Debug, Clone)]
enum Step {
    /// Of delivery, line (0 is none), whether it holds it, and when it is due.
    Park(u64, u8, bool, u64),
    Settle(u64),
    Kill(u64),
    /// What was queued since the last one is committed; records in between share a frame.
    Commit,
    Reopen {
        without_view: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let delivery = 1u64..9;
    prop_oneof![
        6 => (delivery.clone(), 0u8..4, any::<bool>(), 1u64..5)
            .prop_map(|(delivery, line, holds, due)| Step::Park(delivery, line, holds, due)),
        3 => delivery.clone().prop_map(Step::Settle),
        1 => delivery.prop_map(Step::Kill),
        3 => Just(Step::Commit),
        1 => any::<bool>().prop_map(|without_view| Step::Reopen { without_view }),
    ]
}

fn key(line: u8) -> OrderKey {
    match line {
        0 => OrderKey::NONE,
        line => OrderKey::of(&[line]),
    }
}

/// When each parked delivery is due, and the line that it holds.
type Model = BTreeMap<u64, (u64, Option<u8>)>;

fn apply(step: &Step, model: &mut Model) -> Option<Record> {
    let parked = |sequence: u64, due: u64| Parked {
        target: TARGET,
        sequence,
        due: Timestamp::from_millis(due),
        attempts: 1,
        since: Timestamp::from_millis(1),
        last_status: None,
        last_error: None,
    };
    match *step {
        Step::Park(sequence, line, holds, due) => {
            model.insert(
                sequence,
                (due, Some(line).filter(|line| *line > 0 && holds)),
            );
            let line = (line > 0).then(|| Line {
                key: key(line),
                holds,
            });
            Some(Record::parked(parked(sequence, due), line))
        }
        Step::Settle(sequence) => {
            model.remove(&sequence);
            let target = TARGET;
            Some(Record::Settled { target, sequence })
        }
        Step::Kill(sequence) => {
            model.remove(&sequence);
            Some(Record::DeadLettered(DeadLetter {
                target: TARGET,
                sequence,
                bus: BusName::default_bus(),
                rule: RuleName::new("r").unwrap(),
                target_name: TargetName::new("t").unwrap(),
                reason: DeadLetterReason::Refused,
                attempts: 1,
                since: Timestamp::from_millis(1),
                dead_at: Timestamp::from_millis(2),
                last_status: Some(400),
                last_error: None,
            }))
        }
        Step::Commit | Step::Reopen { .. } => None,
    }
}

fn check(log: &Log, model: &Model) -> Result<(), TestCaseError> {
    let mut due: Vec<(u64, u64)> = Vec::new();
    let mut lines: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for (sequence, (at, line)) in model {
        match line {
            None => due.push((*at, *sequence)),
            Some(line) => {
                let line = lines.entry(*line).or_default();
                // Ascending: the first of a line is due, the others are not.
                if line.is_empty() {
                    due.push((*at, *sequence));
                }
                line.push(*sequence);
            }
        }
    }
    due.sort_unstable();
    let found = log.parked_due(TARGET, Timestamp::from_millis(u64::MAX), 100);
    let found: Vec<(u64, u64)> = found
        .unwrap()
        .iter()
        .map(|queued| (queued.parked.due.as_millis(), queued.parked.sequence))
        .collect();
    prop_assert_eq!(found, due);
    for line in 1..4 {
        let found = log.line_after(TARGET, key(line), 0, 100).unwrap();
        let found: Vec<u64> = found.iter().map(|queued| queued.parked.sequence).collect();
        let wanted = lines.remove(&line).unwrap_or_default();
        prop_assert_eq!(
            log.has_line(TARGET, Some(key(line))).unwrap(),
            !wanted.is_empty()
        );
        prop_assert_eq!(found, wanted);
    }
    let counted = log.pending_counts(TARGET).unwrap();
    prop_assert_eq!(counted, (model.len() as u64, 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever happened, and however often the log was opened again: exactly the first of each line
    /// is due, beside those that hold no line.
    #[test]
    fn the_first_of_each_line_is_due_and_nobody_else_of_it(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let config = || Config {
            dir: dir.path().to_owned(),
            segment_bytes: 256 * 1024,
            cache_bytes: 8 << 20,
        };
        let mut log = Log::open(config(), Disk::real(), clock.clone()).unwrap();
        let mut model = Model::new();
        let mut queued = Vec::new();
        for step in steps.into_iter().chain([Step::Commit]) {
            queued.extend(apply(&step, &mut model));
            let reopen = match step {
                Step::Reopen { without_view } => Some(without_view),
                Step::Commit => None,
                _ => continue,
            };
            if !queued.is_empty() {
                runtime.block_on(log.commit(&std::mem::take(&mut queued))).unwrap();
            }
            if let Some(without_view) = reopen {
                log.close();
                drop(log);
                if without_view {
                    std::fs::remove_dir_all(dir.path().join("view")).unwrap();
                }
                log = Log::open(config(), Disk::real(), clock.clone()).unwrap();
            }
            check(&log, &model)?;
        }
        log.close();
    }
}
