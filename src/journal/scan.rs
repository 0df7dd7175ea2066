//! Walks over one segment's bytes and tells what is whole, what was torn and what is damaged.
//!
//! The writer flushes each batch before it writes the next. So a bad place within the last batch
//! is a write that a crash tore, which nobody was told of; but when a frame of a *later* batch
//! stands behind the bad place, the bad place had been flushed once, and is damage.

use super::frame::{ALIGN, HEAD_BYTES, Head, Salt, Sequence, decode, decode_head};
use super::segment::FIRST_FRAME;
use crate::clock::Timestamp;

static ZEROS: [u8; 4096] = [0; 4096];

/// What stands in one segment. Offsets are bytes from the segment's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) first: Option<Sequence>,
    pub(super) last: Option<Sequence>,
    /// Frames of whole groups, the seal not counted.
    pub(super) frames: u64,
    pub(super) groups: u64,
    /// When the last frame of the last whole group was submitted.
    pub(super) last_time: Timestamp,
    /// End of the last whole group.
    pub(super) frames_end: u32,
    /// The same, or the end of the seal behind it.
    pub(super) end: u32,
    /// Start of the write that brought what stands before `end`.
    pub(super) last_batch: u32,
    pub(super) sealed: bool,
    /// The first place after which no whole frame follows as it should.
    pub(super) stop: u32,
    /// A frame of a later batch, behind `stop`: what stands at `stop` was flushed once.
    pub(super) later_batch: Option<u32>,
    /// End of the last frame behind `end` that is whole, if any: a rest of a torn write.
    pub(super) stray_end: Option<u32>,
}

impl Scan {
    /// Whether any frame was ever written here.
    pub(super) fn has_frames(&self) -> bool {
        self.end > FIRST_FRAME || self.stop > FIRST_FRAME || self.stray_end.is_some()
    }

    /// What at `stop` is no torn write; `is_last` when no later segment holds a frame.
    pub(super) fn problem(&self, is_last: bool) -> Option<&'static str> {
        if self.later_batch.is_some() {
            return Some("no whole frame stands there, though later ones do");
        }
        if !is_last && !self.sealed {
            return Some("the segment ends there without its seal, though later segments go on");
        }
        None
    }
}

/// Scans a segment's bytes (the file from its start, possibly cut short).
pub(super) fn scan(bytes: &[u8], salt: Salt) -> Scan {
    let mut scan = Scan {
        first: None,
        last: None,
        frames: 0,
        groups: 0,
        last_time: Timestamp::default(),
        frames_end: FIRST_FRAME,
        end: FIRST_FRAME,
        last_batch: FIRST_FRAME,
        sealed: false,
        stop: FIRST_FRAME,
        later_batch: None,
        stray_end: None,
    };
    let mut walk = Walk::default();
    while let Some(head) = walk.next(bytes, scan.stop, salt) {
        scan.stop += head.stored_bytes() as u32;
        if head.has_more() {
            continue;
        }
        scan.end = scan.stop;
        scan.last_batch = head.batch_start;
        if head.is_seal() {
            scan.sealed = true;
            return scan;
        }
        scan.first = scan.first.or(walk.group_first);
        scan.frames_end = scan.end;
        scan.last = Some(head.sequence);
        scan.last_time = head.time;
        scan.frames += walk.group_frames;
        scan.groups += 1;
        walk.start_group();
    }
    look_behind(bytes, salt, &mut scan);
    scan
}

/// What the next frame must agree with.
#[derive(Default)]
struct Walk {
    last: Sequence,
    batch_start: u32,
    group_first: Option<Sequence>,
    group_frames: u64,
}

impl Walk {
    fn start_group(&mut self) {
        self.group_first = None;
        self.group_frames = 0;
    }

    /// The frame at `offset` if it is whole and continues what came before.
    fn next(&mut self, bytes: &[u8], offset: u32, salt: Salt) -> Option<Head> {
        let (head, _) = decode(bytes.get(offset as usize..)?, salt)?;
        let in_group = self.group_frames > 0;
        let same_batch = head.batch_start == self.batch_start;
        let new_batch = head.batch_start == offset && !in_group;
        let in_order = head.sequence > self.last;
        let seals = head.is_seal() && !in_group && head.sequence >= self.last;
        if !(same_batch || new_batch) || !(in_order || seals) {
            return None;
        }
        self.batch_start = head.batch_start;
        self.last = head.sequence;
        self.group_first = self.group_first.or(Some(head.sequence));
        self.group_frames += 1;
        Some(head)
    }
}

/// Looks for whole frames behind `scan.stop`, at every place where one could begin.
fn look_behind(bytes: &[u8], salt: Salt, scan: &mut Scan) {
    if scan.stop > scan.end {
        scan.stray_end = Some(scan.stop);
    }
    let mut offset = scan.stop as usize;
    while offset + HEAD_BYTES <= bytes.len() {
        let rest = &bytes[offset..];
        // No head stands wholly in zeros; most of a segment that is not full is nothing else.
        if rest.first_chunk() == Some(&ZEROS) {
            offset += ZEROS.len() - HEAD_BYTES;
            continue;
        }
        let whole = decode_head(rest, salt).and_then(|_| decode(rest, salt));
        let Some((head, _)) = whole else {
            offset += ALIGN;
            continue;
        };
        let starts_batch_here = offset == scan.stop as usize && head.batch_start == scan.stop;
        if (head.batch_start > scan.stop || starts_batch_here) && scan.later_batch.is_none() {
            scan.later_batch = Some(offset as u32);
        }
        offset += head.stored_bytes();
        scan.stray_end = Some(offset as u32);
    }
}
