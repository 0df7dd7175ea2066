//! The segments that can be read, and their open files.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, StoredFile};
use super::frame::{Position, Sequence};
use super::segment::{FIRST_FRAME, Header, file_name};
use super::status::{ReadError, SegmentInfo};
use crate::limits;

/// What is known of a segment without reading it through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) header: Header,
    pub(super) first: Option<Sequence>,
    /// Of closed segments, when this process wrote or scanned them.
    pub(super) last: Option<Sequence>,
    /// End of the last frame, when this process wrote or scanned it.
    pub(super) frames_end: Option<u32>,
}

impl Known {
    pub(super) fn empty(header: Header) -> Self {
        Self {
            header,
            first: None,
            last: None,
            frames_end: Some(FIRST_FRAME),
        }
    }
}

/// A segment that is open for reading.
#[derive(Clone)]
pub(super) struct Readable {
    pub(super) header: Header,
    pub(super) file: Arc<dyn StoredFile>,
}

pub(super) struct Table {
    disk: Disk,
    dir: PathBuf,
    known: Mutex<BTreeMap<u32, Known>>,
    /// Files opened for reads at a position, the last used at the end.
    open: Mutex<VecDeque<(u32, Readable)>>,
}

impl Table {
    pub(super) fn new(disk: Disk, dir: PathBuf, known: Vec<Known>) -> Self {
        let known = known.into_iter().map(|known| (known.header.id, known));
        Self {
            disk,
            dir,
            known: Mutex::new(known.collect()),
            open: Mutex::default(),
        }
    }

    /// A segment that is about to be written to.
    pub(super) fn add(&self, header: Header) {
        self.known.lock().insert(header.id, Known::empty(header));
    }

    /// `id` got its first frame.
    pub(super) fn set_first(&self, id: u32, first: Sequence) {
        if let Some(known) = self.known.lock().get_mut(&id) {
            known.first = Some(first);
        }
    }

    /// `id` gets no more frames.
    pub(super) fn close(&self, id: u32, last: Sequence, frames_end: u32) {
        if let Some(known) = self.known.lock().get_mut(&id) {
            known.last = known.first.map(|_| last);
            known.frames_end = Some(frames_end);
        }
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        self.known.lock().keys().next().copied()
    }

    /// First sequence of the oldest segment that has one.
    pub(super) fn first_sequence(&self) -> Option<Sequence> {
        self.known.lock().values().find_map(|known| known.first)
    }

    /// Takes the oldest segment off the table when its id is at most `through`.
    pub(super) fn take_oldest(&self, through: u32) -> Option<Header> {
        let mut known = self.known.lock();
        let oldest = known.first_entry()?;
        if *oldest.key() > through {
            return None;
        }
        let header = oldest.remove().header;
        drop(known);
        self.open.lock().retain(|(id, _)| *id != header.id);
        Some(header)
    }

    pub(super) fn is_trimmed(&self, id: u32) -> bool {
        self.oldest().is_some_and(|oldest| id < oldest)
    }

    /// Opens segment `id` for one reader.
    pub(super) fn open(&self, id: u32) -> Result<Readable, ReadError> {
        let known = self.known.lock().get(&id).copied();
        let Some(known) = known else {
            return Err(if self.is_trimmed(id) {
                ReadError::Trimmed
            } else {
                ReadError::Io(format!("the journal has no segment {id}"))
            });
        };
        match self.disk.0.open(&self.dir.join(file_name(id))) {
            Ok(file) => Ok(Readable {
                header: known.header,
                file,
            }),
            Err(_) if self.is_trimmed(id) => Err(ReadError::Trimmed),
            Err(error) => Err(self.read_failed(Position::new(id, 0), &error)),
        }
    }

    /// Segment `id`, opened now or not long ago.
    pub(super) fn opened(&self, id: u32) -> Result<Readable, ReadError> {
        let cached = {
            let mut open = self.open.lock();
            let found = open.iter().position(|(open_id, _)| *open_id == id);
            found.and_then(|index| open.remove(index)).map(|entry| {
                open.push_back(entry.clone());
                entry.1
            })
        };
        if let Some(readable) = cached {
            return Ok(readable);
        }
        let readable = self.open(id)?;
        let mut open = self.open.lock();
        if open.len() >= limits::JOURNAL_OPEN_SEGMENTS {
            open.pop_front();
        }
        open.push_back((id, readable.clone()));
        // Trimmed in between? Then the file may soon be another segment's.
        if self.is_trimmed(id) {
            open.pop_back();
        }
        Ok(readable)
    }

    /// The error for a failed read: a segment that was trimmed meanwhile is no failure.
    pub(super) fn read_failed(&self, at: Position, error: &io::Error) -> ReadError {
        if self.is_trimmed(at.segment()) {
            return ReadError::Trimmed;
        }
        ReadError::Io(format!("the journal cannot be read at {at}: {error}"))
    }

    /// The error for bytes that are not the frame that was written; see [`Table::read_failed`].
    pub(super) fn damaged(&self, at: Position) -> ReadError {
        if self.is_trimmed(at.segment()) {
            return ReadError::Trimmed;
        }
        ReadError::Damaged(damage_text(at, "no whole frame stands there"))
    }

    pub(super) fn infos(&self, durable: Sequence, end: Position) -> Vec<SegmentInfo> {
        let known = self.known.lock();
        let mut infos = Vec::with_capacity(known.len());
        let mut next_first = None;
        for (&id, known) in known.iter().rev() {
            let active = id >= end.segment();
            // Before the first announcement of an active segment its frames are not on disk yet.
            let announced = id <= end.segment();
            let first = known.first.filter(|_| announced);
            let last = if id == end.segment() {
                Some(durable)
            } else {
                known.last.or(next_first.map(|next: Sequence| next - 1))
            };
            let frames_end = if id == end.segment() {
                u64::from(end.offset())
            } else {
                known.frames_end.map_or(known.header.capacity, u64::from)
            };
            infos.push(SegmentInfo {
                id,
                first_sequence: first,
                last_sequence: last.filter(|_| first.is_some()),
                used_bytes: frames_end.saturating_sub(u64::from(FIRST_FRAME)),
                active,
            });
            next_first = first.or(next_first);
        }
        infos.reverse();
        infos
    }
}

/// Says where the journal is damaged and what to do about it.
pub(super) fn damage_text(at: Position, problem: &str) -> String {
    format!(
        "the journal is damaged at {at} (file {}): {problem}. `eventyard doctor` shows what is \
         whole, and can cut the journal there",
        file_name(at.segment())
    )
}
