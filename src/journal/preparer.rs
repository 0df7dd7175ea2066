//! The thread that makes the next segment ready ahead of the writer.

use std::io;
use std::sync::Arc;

use super::segment::{Header, make_ready};
use super::shared::{Desk, NextSegment, Shared};
use crate::limits;

/// Until the writer is done.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut desk = shared.desk.lock();
    while !desk.writer_done {
        let Some(id) = wanted(&desk) else {
            shared.prepare.wait(&mut desk);
            continue;
        };
        let pooled = desk.pool.pop();
        drop(desk);
        let header = Header {
            id,
            journal_salt: shared.journal_salt,
            capacity: shared.config.segment_bytes,
        };
        let dir = &shared.config.dir;
        let result = make_ready(&shared.disk, dir, header, pooled.as_ref(), &|done| {
            rest(shared, header, done);
        });

        desk = shared.desk.lock();
        match result {
            Ok(segment) => desk.next_segment = NextSegment::Ready(segment),
            Err(error) if is_full(&error) => {
                let text = format!("no room for the next journal segment: {error}");
                desk.next_segment = NextSegment::NoRoom(id, text);
            }
            Err(error) => {
                drop(desk);
                shared.fail(format!("cannot prepare segment {id}: {error}"));
                return;
            }
        }
        shared.work.notify_all();
        if matches!(desk.next_segment, NextSegment::NoRoom(..)) && !desk.writer_done {
            shared
                .prepare
                .wait_for(&mut desk, limits::JOURNAL_FULL_RETRY);
        }
    }
}

/// Leaves the disk to the writer for a while, unless the writer may soon need the segment: it must
/// not have filled half as much of its own as is `done` of this one.
fn rest(shared: &Shared, header: Header, done: u64) {
    let end = shared.progress.end();
    if end.segment() == 0 || shared.desk.lock().closing {
        return; // the very first is waited for
    }
    let filled = match end.segment() + 1 == header.id {
        true => u64::from(end.offset()),
        false => 0, // nothing is in it yet
    };
    if filled * 2 < done {
        std::thread::sleep(limits::JOURNAL_PREPARE_REST);
    }
}

fn wanted(desk: &Desk) -> Option<u32> {
    match desk.next_segment {
        NextSegment::Wanted(id) | NextSegment::NoRoom(id, _) => Some(id),
        NextSegment::Ready(_) => None,
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
