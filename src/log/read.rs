//! Reads events back: from the tail, or from the journal where the index says they stand.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::record::{LoggedEvent, Meaning, read_frame};
use super::shared::Shared;
use super::{LogError, Sequence};
use crate::journal::{Position, ReadError, Reader};

/// Events read beyond the one asked for: deliveries of a backlog go through the log in order.
const READ_AHEAD_EVENTS: usize = 64;

/// Bytes read beyond the event asked for.
const READ_AHEAD_BYTES: usize = 512 * 1024;

/// Events kept that were read ahead.
const READ_AHEAD_KEPT: usize = 4_096;

/// Bytes of events kept that were read ahead.
const READ_AHEAD_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Frames looked at for one page when a slow reader catches up; most may be state records.
const CATCH_UP_FRAMES: usize = 4_096;

/// A reader that follows the log behind the tail.
pub(super) struct CatchUp {
    after: Sequence,
    reader: Reader,
}

/// Events that were read because their neighbour was.
#[derive(Default)]
pub(super) struct ReadAhead {
    events: HashMap<Sequence, Arc<LoggedEvent>>,
    order: VecDeque<Sequence>,
    bytes: usize,
}

impl ReadAhead {
    fn insert(&mut self, logged: Arc<LoggedEvent>) {
        let sequence = logged.sequence;
        self.bytes += logged.event.stored().len();
        if let Some(before) = self.events.insert(sequence, logged) {
            self.bytes -= before.event.stored().len();
            return;
        }
        self.order.push_back(sequence);
        while self.order.len() > READ_AHEAD_KEPT || self.bytes > READ_AHEAD_KEPT_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(gone) = self.events.remove(&oldest) {
                self.bytes -= gone.event.stored().len();
            }
        }
    }
}

/// One event that is on disk.
pub(super) async fn event(
    shared: &Arc<Shared>,
    sequence: Sequence,
) -> Result<Option<Arc<LoggedEvent>>, LogError> {
    if sequence > shared.journal.durable_through() || shared.journal.is_lost(sequence) {
        return Ok(None);
    }
    if let Some(logged) = shared.tail.get(sequence) {
        return Ok(Some(logged));
    }
    if let Some(logged) = shared.read_ahead.lock().events.get(&sequence) {
        return Ok(Some(Arc::clone(logged)));
    }
    super::wait_visible(shared, sequence).await;
    let shared = Arc::clone(shared);
    blocking(move || read_event(&shared, sequence)).await
}

/// Runs work that may wait for the disk where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => Err(LogError::Read(failed.to_string())),
    }
}

fn read_event(shared: &Shared, sequence: Sequence) -> Result<Option<Arc<LoggedEvent>>, LogError> {
    let view = shared.view()?;
    if let Some(position) = view.place(sequence)?
        && let Some(found) = read_run(shared, position, sequence)?
    {
        return Ok(Some(found));
    }
    // Its segment is trimmed; a copy may have been carried forward.
    match view.carried_place(sequence)? {
        Some(position) => read_at(shared, position),
        None => Ok(None),
    }
}

/// Reads the event at `position`, and keeps those that follow.
fn read_run(
    shared: &Shared,
    position: Position,
    sequence: Sequence,
) -> Result<Option<Arc<LoggedEvent>>, LogError> {
    let mut reader = shared.journal.reader(position);
    let mut found = None;
    let mut bytes = 0;
    for _ in 0..READ_AHEAD_EVENTS {
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(ReadError::Trimmed) => break,
            // Only the event that was asked for matters.
            Err(_) if found.is_some() => break,
            Err(error) => return Err(LogError::Read(error.to_string())),
        };
        let Ok(Meaning::Event(logged)) = read_frame(&frame) else {
            if found.is_none() {
                return Ok(None);
            }
            continue;
        };
        let logged = Arc::new(logged);
        bytes += frame.payload.len();
        if found.is_none() {
            if logged.sequence != sequence {
                return Ok(None);
            }
            found = Some(logged);
        } else {
            shared.read_ahead.lock().insert(logged);
        }
        if bytes > READ_AHEAD_BYTES {
            break;
        }
    }
    Ok(found)
}

/// Reads the event, first or copied, that stands at `position`.
pub(super) fn read_at(
    shared: &Shared,
    position: Position,
) -> Result<Option<Arc<LoggedEvent>>, LogError> {
    let frame = match shared.journal.read_at(position) {
        Ok(frame) => frame,
        Err(ReadError::Trimmed) => return Ok(None),
        Err(error) => return Err(LogError::Read(error.to_string())),
    };
    match read_frame(&frame) {
        Ok(Meaning::Event(logged) | Meaning::CarriedEvent(logged)) => Ok(Some(Arc::new(logged))),
        Ok(Meaning::State(..)) => Ok(None),
        Err(error) => Err(LogError::Read(error.to_string())),
    }
}

/// Events behind a place in the log, and what was not there to be read.
#[derive(Debug, Default)]
pub struct Run {
    /// Oldest first; empty at the end of the log.
    pub events: Vec<Arc<LoggedEvent>>,
    /// What was asked for up to here is not kept any more.
    pub gone_through: Option<Sequence>,
}

/// Up to `max` events behind `after`. What is gone is told by the read itself: whoever asks before or
/// after it may have a trim between the two.
pub(super) async fn read_on(
    shared: &Arc<Shared>,
    after: Sequence,
    max: usize,
) -> Result<Run, LogError> {
    let through = shared.journal.durable_through();
    if let Some(mut events) = shared.tail.after(after, through, max) {
        events.retain(|logged| !shared.journal.is_lost(logged.sequence));
        return Ok(Run {
            events,
            gone_through: None,
        });
    }
    let shared = Arc::clone(shared);
    blocking(move || catch_up(&shared, after, max)).await
}

fn catch_up(shared: &Shared, after: Sequence, max: usize) -> Result<Run, LogError> {
    let mut slot = shared.catch_up.lock();
    let mut run = Run::default();
    // A follower's next frame is the one behind `after`; a new reader's may be a later one.
    let (mut reader, mut begins) = match slot.take() {
        Some(follower) if follower.after == after => (follower.reader, false),
        _ => (begin_behind(shared, after)?, true),
    };
    let mut frames = 0;
    // However many state records stand between: an empty page means the end of the log.
    while run.events.len() < max && (run.events.is_empty() || frames < CATCH_UP_FRAMES) {
        frames += 1;
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            // The next read says what went.
            Err(ReadError::Trimmed) if !run.events.is_empty() => break,
            // Each time the log begins later, so that this comes to an end.
            Err(ReadError::Trimmed) if reader.position() < shared.journal.start() => {
                (reader, begins) = (begin_behind(shared, after)?, true);
                continue;
            }
            Err(error) => return Err(LogError::Read(error.to_string())),
        };
        if std::mem::take(&mut begins) && frame.sequence > after.saturating_add(1) {
            run.gone_through = Some(frame.sequence - 1);
        }
        if frame.sequence <= after {
            continue;
        }
        match read_frame(&frame) {
            Ok(Meaning::Event(logged)) => run.events.push(Arc::new(logged)),
            Ok(_) => {}
            Err(error) => return Err(LogError::Read(error.to_string())),
        }
    }
    let after = run.events.last().map_or(after, |last| last.sequence);
    *slot = Some(CatchUp { after, reader });
    Ok(run)
}

fn begin_behind(shared: &Shared, after: Sequence) -> Result<Reader, LogError> {
    Ok(shared.journal.reader(place_behind(shared, after)?))
}

/// A position at or before the first event behind `after`.
fn place_behind(shared: &Shared, after: Sequence) -> Result<Position, LogError> {
    let start = shared.journal.start();
    let view = shared.view()?;
    let indexed = view.block_with(after)?.and_then(|block| {
        let before = block
            .entries
            .partition_point(|entry| entry.sequence <= after);
        block.entries[..before].last().map(|entry| entry.position)
    });
    Ok(indexed.unwrap_or(start).max(start))
}
