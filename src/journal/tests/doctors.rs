//! Checking a closed journal, and cutting it at damage.

use super::doctor::{check, cut};
use super::segment::file_name;
use super::*;

fn damaged_at(offset_in_frame: u32) -> (tempfile::TempDir, Bench, Position) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), 16 * 1024);
    let journal = bench.open();
    for number in 0..20u8 {
        append(&journal, &[&[number; 1_500]]);
    }
    let frames = read_all(&journal, Position(0));
    let hit = frames[10].position;
    assert!(hit.segment() > 1 && hit.segment() < journal.end().segment());
    journal.close();
    let path = dir.path().join(file_name(hit.segment()));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(hit.offset() + offset_in_frame) as usize] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    (dir, bench, hit)
}

#[test]
fn a_sound_journal_is_reported_sound() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), 16 * 1024);
    let journal = bench.open();
    append(&journal, &[b"one", b"two"]);
    let error = check(dir.path()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    drop(journal);
    let report = check(dir.path()).unwrap();
    assert_eq!((report.frames, report.bytes), (2, 80));
    assert_eq!((&report.damage[..], report.torn), (&[][..], None));
    assert_eq!(cut(dir.path()).unwrap(), None);
    assert!(check(&dir.path().join("nowhere")).is_err());
}

#[test]
fn a_damaged_journal_is_cut_and_everything_behind_is_kept_aside() {
    let (dir, bench, hit) = damaged_at(40);
    assert!(bench.try_open(Position(0)).is_err());
    let before = std::fs::read(dir.path().join(file_name(hit.segment()))).unwrap();
    let report = check(dir.path()).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(report.damage[0].at, hit);

    let done = cut(dir.path()).unwrap().unwrap();
    assert_eq!((done.at, done.last_sequence), (hit, Some(10)));
    let copy = std::fs::read(done.set_aside.join(file_name(hit.segment()))).unwrap();
    assert_eq!(copy, before);
    assert!(done.set_aside.join(file_name(hit.segment() + 1)).exists());

    assert!(check(dir.path()).unwrap().damage.is_empty());
    let journal = bench.open();
    assert_eq!(journal.durable_through(), 10);
    append(&journal, &[b"goes on"]);
    assert_eq!(read_all(&journal, Position(0)).len(), 11);
}

#[test]
fn a_segment_with_a_damaged_header_is_set_aside_whole() {
    let (dir, bench, hit) = damaged_at(0);
    let path = dir.path().join(file_name(hit.segment()));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = bench.try_open(Position(0)).unwrap_err();
    assert!(error.to_string().contains("header"), "{error}");
    let done = cut(dir.path()).unwrap().unwrap();
    assert_eq!(done.at, Position::new(hit.segment(), 0));
    assert_eq!(
        std::fs::read(done.set_aside.join(file_name(hit.segment()))).unwrap(),
        bytes
    );
    let journal = bench.open();
    assert_eq!(Some(journal.durable_through()), done.last_sequence);
    append(&journal, &[b"goes on"]);
}

#[test]
fn a_torn_end_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Disk::real(), dir.path(), 16 * 1024);
    let journal = bench.open();
    append(&journal, &[b"one"]);
    append(&journal, &[b"two", &[1; 900], b"three"]);
    let torn = read_all(&journal, Position(0))[2].position;
    drop(journal);
    let path = dir.path().join(file_name(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[torn.offset() as usize + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = check(dir.path()).unwrap();
    assert_eq!((report.frames, report.torn), (1, Some(torn)));
    assert!(report.damage.is_empty());
    assert_eq!(bench.open().durable_through(), 1);
}
