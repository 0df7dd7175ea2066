//! Backups that are cut, changed, in the way of others; and the log that comes of a good one.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::event::Event;
use crate::log::{BusName, Config, Disk, Log};

const NEVER: Duration = Duration::ZERO;

fn open(dir: &Path) -> Log {
    let config = Config {
        dir: dir.to_owned(),
        segment_bytes: 0,
        cache_bytes: 1 << 20,
    };
    Log::open(config, Disk::real(), Clock::system()).unwrap()
}

async fn fill(log: &Log, count: usize) {
    for number in 0..count {
        let event = Event::builder(&number.to_string(), "/s", "t")
            .json("{}")
            .build()
            .unwrap();
        let bus = BusName::default_bus();
        log.append(&bus, vec![event], NEVER).await.unwrap();
    }
}

fn backup_of(log: &Log, dir: &Path) -> Vec<u8> {
    let held = log.hold().unwrap();
    let now = Timestamp::from_millis(1_800_000_000_000);
    let mut backup = Backup::begin(held, dir, log.durable_through(), now).unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = backup.next_part().unwrap() {
        assert!(!part.is_empty());
        bytes.extend(part);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_makes_the_log_of_its_moment_and_a_damaged_one_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = open(&data);
    fill(&log, 300).await;
    std::fs::write(data.join("keys.json"), "{}").unwrap();
    std::fs::write(data.join("secrets.key"), "hunter2").unwrap();
    std::fs::create_dir_all(data.join("audit")).unwrap();
    std::fs::write(data.join("audit/00000000000000000001.jsonl"), "a\n").unwrap();
    // What somebody left there is no part of it.
    std::fs::write(data.join("audit/notes.txt"), "").unwrap();
    let bytes = backup_of(&log, &data);
    assert!(memchr::memmem::find(&bytes, b"hunter2").is_none());
    let last = log.durable_through();
    // What comes behind it is not in it.
    fill(&log, 5).await;
    log.close();

    let again = dir.path().join("again");
    let refused = |bytes: &[u8], what: &str| {
        let error = restore(&mut &bytes[..], &again).unwrap_err();
        assert!(!again.exists(), "{what}");
        assert!(!dir.path().join("again.restoring").exists(), "{what}");
        error.to_string()
    };
    for cut in [
        0,
        1,
        BLOCK,
        BLOCK + 7,
        bytes.len() / 2,
        bytes.len() - 2 * BLOCK - 1,
    ] {
        let error = refused(&bytes[..cut], "cut");
        assert!(error.contains("breaks off"), "{cut}: {error}");
    }
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let header = Entry::read(bytes[..BLOCK].try_into().unwrap())
        .unwrap()
        .unwrap();
    let content = BLOCK..BLOCK + header.bytes as usize;
    for _ in 0..20 {
        let mut changed = bytes.clone();
        changed[random.usize(content.clone())] ^= 1 << random.u32(0..8);
        let error = refused(&changed, &format!("changed, seed {seed}"));
        assert!(error.contains("damaged"), "seed {seed}: {error}");
    }

    let restored = restore(&mut bytes.as_slice(), &again).unwrap();
    assert_eq!((restored.sequence, restored.needs_key), (last, true));
    let error = restore(&mut bytes.as_slice(), &again).unwrap_err();
    assert!(matches!(error, RestoreError::InTheWay(_)), "{error}");
    assert!(!again.join("secrets.key").exists());
    // Where a disk is mounted the folder stays the same one.
    let mounted = dir.path().join("mounted");
    std::fs::create_dir_all(mounted.join(".restoring/journal")).unwrap();
    let before = std::fs::metadata(&mounted).unwrap().ino();
    restore(&mut bytes.as_slice(), &mounted).unwrap();
    assert_eq!(std::fs::metadata(&mounted).unwrap().ino(), before);
    let names = |dir: &Path| {
        let found = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&mounted), names(&again));

    let log = open(&again);
    assert_eq!(log.durable_through(), last);
    let events = log.read_after(0, 1_000).await.unwrap();
    assert_eq!(events.len(), 300);
    // It goes on.
    fill(&log, 5).await;
    assert!(log.durable_through() > last);
    log.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_trimmed_while_a_backup_is_made_and_one_is_made_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let bus = BusName::default_bus();
    let nothing = crate::log::Retention {
        max_age: Duration::ZERO,
        max_bytes: 0,
    };
    log.set_retention(&bus, nothing);
    fill(&log, 600).await;
    let sequence = log.durable_through();
    log.enqueue(&[crate::log::Record::Checkpoint {
        routed_through: sequence,
    }])
    .unwrap();
    let held = log.hold().unwrap();
    assert!(log.hold().is_none());
    let files = held.files().to_vec();
    assert!(files.len() > 2, "{files:?}");
    assert_eq!(log.trim().unwrap().segments, 0);
    assert!(held.still_holds());
    drop(held);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while log.trim().unwrap().segments == 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "segments go once nobody holds them"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!files[0].0.exists());
    drop(log.hold().unwrap());
    log.close();
}
