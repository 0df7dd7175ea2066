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
        let result = make_ready(&shared.disk, &shared.config.dir, header, pooled.as_ref());

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
