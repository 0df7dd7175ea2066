//! The journal: append-only segments of checksummed frames, group commit, recovery. It knows bytes,
//! no meaning.
//!
//! [`Journal::submit`] numbers a group of frames and queues it. One writer thread takes all that
//! wait, writes them in one piece, flushes once, and wakes who waits in [`Journal::durable`]. What
//! it announced survives a power cut at any instant; a group that was not announced survives whole
//! or not at all. [`Reader`]s follow what is announced.
//!
//! In reading order: `frame` and `segment` are the format, `scan` reads a segment's bytes,
//! `recovery` opens what a crash left, `shared` is the desk where `writer` and `preparer` work,
//! `progress` announces, `table` and `reader` read back, `doctor` checks and mends by hand; `disk`
//! is the file layer, with `faults` and `simulated` for tests.

mod disk;
pub mod doctor;
mod faults;
mod frame;
mod measures;
mod preparer;
mod progress;
mod reader;
mod recovery;
mod scan;
mod segment;
mod shared;
mod simulated;
mod status;
mod table;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub use disk::Disk;
pub use faults::Faults;
pub use frame::{Frame, NewFrame, Position, Sequence};
pub use measures::Figures;
pub use reader::Reader;
pub use simulated::Simulation;
pub use status::{AppendError, OpenError, ReadError, SegmentInfo, State};

use crate::clock::{Clock, Timestamp};
use crate::limits;
use measures::Measures;
use progress::Progress;
use shared::{Desk, NextSegment, Shared};
use table::Table;
use writer::Writer;

/// Where the journal lives and how it is cut into files.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory, created if it is not there. It belongs to one journal alone.
    pub dir: PathBuf,
    /// Size of new segments, within [`limits::SEGMENT_BYTES_MIN`] and
    /// [`limits::SEGMENT_BYTES_MAX`]; existing ones keep theirs.
    pub segment_bytes: u64,
}

/// The numbers that a submitted group was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Sequence of the group's first frame.
    pub first: Sequence,
    /// Sequence of its last frame: what to wait for.
    pub last: Sequence,
    /// When it was submitted; the time of all its frames.
    pub time: Timestamp,
}

/// A handle on an open journal; clones share it. The last one to go closes it.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal in `config.dir`, or creates it. A write that a crash tore is cut off: the
    /// journal goes on after the last whole group. The segments from `scan_from` on are read and
    /// checked, older ones are trusted until someone reads them. (Those needed to find the end are
    /// always checked, so `Position(u64::MAX)` checks as little as possible.)
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when bytes that had been flushed are not whole; [`OpenError::Io`] when
    /// the directory cannot be used, or another process has it. A full disk is no error here: the
    /// journal opens for reading and is [`State::Full`] to the first group that needs room.
    pub fn open(
        config: Config,
        disk: Disk,
        clock: Clock,
        scan_from: Position,
    ) -> Result<Journal, OpenError> {
        let (shared, writer) = prepare_open(config, disk, clock, scan_from)?;
        Self::launch(shared, writer)
    }

    fn launch(shared: Arc<Shared>, writer: Writer) -> Result<Journal, OpenError> {
        let handle = Handle {
            shared: Arc::clone(&shared),
            threads: Mutex::default(),
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run)
        };
        let mut threads = handle.threads.lock();
        threads.push(spawn("journal-writer", Box::new(move || writer.run()))?);
        threads.push(spawn(
            "journal-prepare",
            Box::new(move || preparer::run(&shared)),
        )?);
        drop(threads);
        Ok(Journal(Arc::new(handle)))
    }

    /// Queues a group (all frames or none survive) and numbers its frames; never waits for I/O.
    /// Numbers follow queue order. An empty group takes no number.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is queued then.
    pub fn submit(&self, frames: Vec<NewFrame>) -> Result<Ticket, AppendError> {
        self.0.shared.submit(frames)
    }

    /// Waits until the frame `sequence` is on disk (past `fdatasync`), or says why it never will
    /// be. Forgets nothing when it is dropped.
    ///
    /// # Errors
    /// [`AppendError::Full`] for a number that a full disk lost, [`AppendError::Failed`] or
    /// [`AppendError::Closed`] when the journal stopped before it.
    pub async fn durable(&self, sequence: Sequence) -> Result<(), AppendError> {
        self.0.shared.progress.wait_durable(sequence).await
    }

    /// Highest sequence on disk; 0 when there is none.
    #[must_use]
    pub fn durable_through(&self) -> Sequence {
        self.0.shared.progress.durable()
    }

    /// Whether this number was given to a group that never reached the disk, since it was full.
    /// Only numbers of this run that are not trimmed away are remembered.
    #[must_use]
    pub fn is_lost(&self, sequence: Sequence) -> bool {
        self.0.shared.progress.is_lost(sequence)
    }

    /// Resolves once `durable_through() > after`, or the journal closes or fails; gives
    /// `durable_through()`.
    pub async fn wait_past(&self, after: Sequence) -> Sequence {
        self.0.shared.progress.wait_past(after).await
    }

    /// [`Journal::wait_past`] for threads; gives up after `timeout`.
    #[must_use]
    pub fn blocking_wait_past(&self, after: Sequence, timeout: Duration) -> Sequence {
        self.0.shared.progress.blocking_wait_past(after, timeout)
    }

    /// Reads durable frames from `from` on, in order, over segment ends. `from` is a frame's
    /// position or `next`, or a segment's start; `Position(0)` stands for the oldest frame. The
    /// reader stays usable, for what is durable by then, when the journal is closed.
    #[must_use]
    pub fn reader(&self, from: Position) -> Reader {
        Reader::new(Arc::clone(&self.0.shared), from)
    }

    /// Reads the one frame at `position`.
    ///
    /// # Errors
    /// [`ReadError`], also when no frame begins at `position`.
    pub fn read_at(&self, position: Position) -> Result<Frame, ReadError> {
        reader::read_at(&self.0.shared, position)
    }

    /// Start of the oldest segment.
    #[must_use]
    pub fn start(&self) -> Position {
        self.0.shared.start()
    }

    /// End of the durable frames: where a reader that has read everything stands.
    #[must_use]
    pub fn end(&self) -> Position {
        self.0.shared.progress.end()
    }

    /// The first sequence that is kept; `None` while nothing is.
    #[must_use]
    pub fn first_sequence(&self) -> Option<Sequence> {
        self.0.shared.table.first_sequence()
    }

    /// All segments, the oldest first. An empty one that is only made ready is not among them.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let progress = &self.0.shared.progress;
        let end = progress.end();
        self.0.shared.table.infos(progress.durable(), end)
    }

    /// The files with all durable frames, the oldest first, and how much of each is such: of the last
    /// the bytes up to the end. Trimmed ones are written again: see [`Journal::trim_through`].
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let shared = &self.0.shared;
        let end = shared.progress.end();
        let infos = shared.table.infos(shared.progress.durable(), end);
        let with_frames = infos.iter().filter(|info| info.id <= end.segment());
        let files = with_frames.map(|info| {
            let path = shared.config.dir.join(segment::file_name(info.id));
            let bytes = match info.id == end.segment() {
                true => u64::from(end.offset()),
                false => path.metadata().map_or(0, |metadata| metadata.len()),
            };
            (path, bytes)
        });
        files.collect()
    }

    /// What it wrote, what it holds and what waits for it.
    #[must_use]
    pub fn figures(&self) -> Figures {
        measures::figures(&self.0.shared)
    }

    /// Gives up all segments up to and including `segment`: their files are written again or
    /// removed. The segment of the last durable frame and those after it always stay.
    ///
    /// # Errors
    /// When a file cannot be renamed or removed; the journal has failed then.
    pub fn trim_through(&self, segment: u32) -> io::Result<()> {
        self.0.shared.trim_through(segment)
    }

    /// Whether it takes groups.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.shared.progress.state()
    }

    /// Resolves when the state differs from `seen`; gives it.
    pub async fn state_changed(&self, seen: &State) -> State {
        self.0.shared.progress.state_changed(seen).await
    }

    /// Takes no more groups, writes what is queued, stops the threads and lets go of the
    /// directory. Blocking; returns when all that is done, also to a second caller. Reading goes on.
    pub fn close(&self) {
        self.0.close();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("dir", &self.0.shared.config.dir)
            .field("durable_through", &self.durable_through())
            .field("state", &self.state())
            .finish()
    }
}

impl Handle {
    fn close(&self) {
        // Held to the end: a second caller waits for the first.
        let mut threads = self.threads.lock();
        self.shared.desk.lock().closing = true;
        self.shared.work.notify_all();
        for thread in threads.drain(..) {
            // A panic in it has already been turned into `State::Failed`.
            let _ = thread.join();
        }
        self.shared.trim.lock().take();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// All of opening but the threads.
fn prepare_open(
    mut config: Config,
    disk: Disk,
    clock: Clock,
    scan_from: Position,
) -> Result<(Arc<Shared>, Writer), OpenError> {
    config.segment_bytes = config
        .segment_bytes
        .clamp(limits::SEGMENT_BYTES_MIN, limits::SEGMENT_BYTES_MAX);
    let dir = &config.dir;
    let in_dir = |error: io::Error| {
        let text = format!("the journal in {}: {error}", dir.display());
        io::Error::new(error.kind(), text)
    };
    disk.0.create_dir(dir).map_err(in_dir)?;
    let lock = recovery::lock(&disk, dir)?;
    let recovered = recovery::recover(&disk, dir, config.segment_bytes, scan_from);
    let recovered = recovered.map_err(|error| match error {
        OpenError::Io(error) => OpenError::Io(in_dir(error)),
        damaged @ OpenError::Damaged(_) => damaged,
    })?;
    let shared = Arc::new(Shared {
        journal_salt: recovered.journal_salt,
        progress: Progress::new(recovered.last, recovered.end),
        table: Table::new(disk.clone(), dir.clone(), recovered.known),
        desk: Mutex::new(Desk {
            queue: VecDeque::new(),
            queued_bytes: 0,
            next_sequence: recovered.last + 1,
            last_time: recovered.last_time,
            state: State::Writable,
            failure: None,
            closing: false,
            writer_done: false,
            next_segment: match recovered.ready {
                Some(segment) => NextSegment::Ready(segment),
                None => NextSegment::Wanted(recovered.next_id),
            },
            pool: recovered.pool,
        }),
        work: Condvar::new(),
        prepare: Condvar::new(),
        measures: Measures::default(),
        trim: Mutex::new(Some(lock)),
        config,
        disk,
        clock,
    });
    let writer = Writer::new(Arc::clone(&shared), recovered.active);
    Ok((shared, writer))
}

#[cfg(test)]
mod tests;
