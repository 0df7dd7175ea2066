//! What the journal's threads and handles share: the queue, the state, and trimming.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::disk::{DirLock, Disk};
use super::frame::{NewFrame, Position, Sequence, stored_bytes};
use super::measures::Measures;
use super::progress::Progress;
use super::segment::{FIRST_FRAME, SEAL_BYTES, Segment, file_name, pooled_name};
use super::status::{AppendError, State};
use super::table::Table;
use super::{Config, Ticket};
use crate::clock::{Clock, Timestamp};
use crate::limits;

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) journal_salt: u64,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    pub(super) progress: Progress,
    pub(super) table: Table,
    pub(super) desk: Mutex<Desk>,
    /// Wakes the writer.
    pub(super) work: Condvar,
    /// Wakes the preparer.
    pub(super) prepare: Condvar,
    pub(super) measures: Measures,
    /// One trim at a time; `None` once the journal let go of its directory.
    pub(super) trim: Mutex<Option<DirLock>>,
}

/// Where submitters, the writer and the preparer hand work over. Nobody does I/O while holding it.
pub(super) struct Desk {
    pub(super) queue: VecDeque<Group>,
    pub(super) queued_bytes: usize,
    pub(super) next_sequence: Sequence,
    pub(super) last_time: Timestamp,
    pub(super) state: State,
    /// What another thread found broken; the writer ends the journal over it.
    pub(super) failure: Option<String>,
    pub(super) closing: bool,
    pub(super) writer_done: bool,
    pub(super) next_segment: NextSegment,
    /// Trimmed files that may be written again.
    pub(super) pool: Vec<PathBuf>,
}

/// The segment after the one being written.
pub(super) enum NextSegment {
    /// The preparer is to make it, or is at it.
    Wanted(u32),
    /// No room for it; the preparer tries again.
    NoRoom(u32, String),
    Ready(Segment),
}

/// Frames that survive together or not at all.
pub(super) struct Group {
    pub(super) first: Sequence,
    pub(super) time: Timestamp,
    pub(super) bytes: usize,
    pub(super) frames: Vec<NewFrame>,
}

impl Group {
    pub(super) fn last(&self) -> Sequence {
        self.first + self.frames.len() as u64 - 1
    }
}

impl Shared {
    pub(super) fn submit(&self, frames: Vec<NewFrame>) -> Result<Ticket, AppendError> {
        let bytes = frames
            .iter()
            .map(|frame| stored_bytes(frame.payload.len()))
            .sum();
        let limit = self.largest_group();
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let mut desk = self.desk.lock();
        if let Some(refusal) = desk.state.refusal() {
            return Err(refusal);
        }
        if let Some(text) = &desk.failure {
            return Err(AppendError::Failed(text.clone()));
        }
        if desk.closing {
            return Err(AppendError::Closed);
        }
        if desk.queued_bytes + bytes > limits::JOURNAL_QUEUE_BYTES {
            return Err(AppendError::Busy);
        }
        // Under the lock, and never backwards: times ascend as sequences do.
        let time = self.clock.now().max(desk.last_time);
        desk.last_time = time;
        let first = desk.next_sequence;
        if frames.is_empty() {
            // Nothing to keep: as durable as what came before it.
            let last = first - 1;
            return Ok(Ticket { first, last, time });
        }
        let group = Group {
            first,
            time,
            bytes,
            frames,
        };
        let last = group.last();
        desk.next_sequence = last + 1;
        desk.queued_bytes += bytes;
        desk.queue.push_back(group);
        drop(desk);
        self.work.notify_one();
        Ok(Ticket { first, last, time })
    }

    /// Start of the oldest segment.
    pub(super) fn start(&self) -> Position {
        match self.table.oldest() {
            Some(oldest) => Position::new(oldest, FIRST_FRAME),
            None => self.progress.end(),
        }
    }

    /// The most bytes that one group may take on disk.
    fn largest_group(&self) -> usize {
        let room = self.config.segment_bytes - u64::from(FIRST_FRAME) - SEAL_BYTES;
        usize::try_from(room)
            .unwrap_or(usize::MAX)
            .min(limits::JOURNAL_QUEUE_BYTES)
    }

    pub(super) fn set_state(&self, desk: &mut MutexGuard<'_, Desk>, state: State) {
        desk.state = state.clone();
        self.progress.announce_state(state);
    }

    /// Tells the writer that the disk cannot be trusted any more. Nothing is taken from here on;
    /// the state follows when the writer has announced the batch that it may be writing, so that
    /// nothing becomes durable in a journal that is said to have failed.
    pub(super) fn fail(&self, text: String) {
        let mut desk = self.desk.lock();
        desk.failure.get_or_insert(text);
        drop(desk);
        self.work.notify_all();
    }

    /// The writer's last word: nothing is written from here on. A failed flush is never repeated,
    /// since the kernel may have dropped the bytes and call the next one a success.
    pub(super) fn end(&self, text: String) {
        let mut desk = self.desk.lock();
        if matches!(desk.state, State::Failed(_) | State::Closed) {
            return;
        }
        tracing::error!(error = %text, "the journal failed and takes nothing until a restart");
        desk.queue.clear();
        desk.queued_bytes = 0;
        self.set_state(&mut desk, State::Failed(text));
        drop(desk);
        self.prepare.notify_all();
    }

    /// See [`Journal::trim_through`](super::Journal::trim_through).
    pub(super) fn trim_through(&self, segment: u32) -> io::Result<()> {
        let lock = self.trim.lock();
        if lock.is_none() {
            return Err(io::Error::other("the journal is closed"));
        }
        // The segment with the last durable frame stays: it holds the sequence to go on from.
        let through = segment.min(self.progress.end().segment().saturating_sub(1));
        while let Some(header) = self.table.take_oldest(through) {
            if let Err(error) = self.give_up(header.id, header.capacity) {
                self.fail(format!("cannot trim segment {}: {error}", header.id));
                return Err(error);
            }
        }
        if let Some(first) = self.table.first_sequence() {
            self.progress.forget_lost_below(first);
        }
        Ok(())
    }

    /// Takes the file out of the journal. The directory is synced for each one, so that after a
    /// power cut the segments that remain have no gap.
    fn give_up(&self, id: u32, capacity: u64) -> io::Result<()> {
        let path = self.config.dir.join(file_name(id));
        let pooled = self.config.dir.join(pooled_name(id));
        let keep = capacity == self.config.segment_bytes
            && self.desk.lock().pool.len() < limits::JOURNAL_POOL_SEGMENTS;
        if keep {
            self.disk.0.rename(&path, &pooled)?;
        } else {
            self.disk.0.remove(&path)?;
        }
        self.disk.0.sync_dir(&self.config.dir)?;
        if keep {
            self.desk.lock().pool.push(pooled);
        }
        self.prepare.notify_all();
        Ok(())
    }
}
