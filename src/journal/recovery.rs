//! Opens what a clean stop, a crash or a power cut left: finds the end, cuts what was torn,
//! refuses what is damaged.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{DirLock, Disk, StoredFile};
use super::frame::{Position, Sequence, decode, decode_head};
use super::scan::{Scan, scan};
use super::segment::{FIRST_FRAME, FileKind, Header, Segment, file_name, zero};
use super::status::OpenError;
use super::table::{Known, damage_text};
use super::writer::Active;
use crate::clock::Timestamp;
use crate::limits;

/// The journal as it goes on.
pub(super) struct Recovered {
    pub(super) known: Vec<Known>,
    /// The segment to go on writing; `None` when the last one was sealed, or there is none.
    pub(super) active: Option<Active>,
    /// An empty segment that was made ready before.
    pub(super) ready: Option<Segment>,
    /// Id of the segment to prepare when none is ready.
    pub(super) next_id: u32,
    pub(super) last: Sequence,
    pub(super) last_time: Timestamp,
    /// End of the last frame.
    pub(super) end: Position,
    pub(super) pool: Vec<PathBuf>,
    pub(super) journal_salt: u64,
}

/// A segment file as it was found.
struct Found {
    header: Header,
    file: std::sync::Arc<dyn StoredFile>,
    first: Option<Sequence>,
    scan: Option<Scan>,
}

/// Recovers the journal in `dir`; see [`Journal::open`](super::Journal::open).
pub(super) fn recover(
    disk: &Disk,
    dir: &Path,
    segment_bytes: u64,
    scan_from: Position,
) -> Result<Recovered, OpenError> {
    let (ids, pool) = tidy(disk, dir)?;
    let mut found = open_all(disk, dir, &ids)?;
    scan_tail(&mut found, scan_from)?;
    let used = check_scanned(&found)?;
    let empty = found.split_off(used);
    let mut active = None;
    if let Some(Found {
        header,
        file,
        scan: Some(scan),
        ..
    }) = found.last()
    {
        mend_tail(file.as_ref(), *header, scan)?;
        if !scan.sealed {
            let segment = Segment {
                header: *header,
                file: file.clone(),
            };
            active = Some(Active {
                segment,
                offset: scan.end,
            });
        }
    }
    let next_id = match (found.last(), empty.first()) {
        (Some(last), _) => last.header.id + 1,
        (None, Some(first)) => first.header.id,
        (None, None) => 1,
    };
    let journal_salt = found
        .iter()
        .chain(&empty)
        .map(|found| found.header.journal_salt)
        .next_back();
    let ready = keep_ready(disk, dir, empty, next_id, segment_bytes)?;
    // Names that a crash left unsynced must not vanish later, with acknowledged frames in them.
    disk.0.sync_dir(dir)?;

    let mut scanned = found
        .iter()
        .rev()
        .filter_map(|found| Some((found.header.id, found.scan.as_ref()?)));
    let tail = scanned.find(|(_, scan)| scan.last.is_some());
    let (last, last_time, end) = match tail {
        Some((id, scan)) => (
            scan.last.unwrap_or_default(),
            scan.last_time,
            Position::new(id, scan.frames_end),
        ),
        None => {
            let id = found.first().map_or(next_id, |found| found.header.id);
            (0, Timestamp::default(), Position::new(id, FIRST_FRAME))
        }
    };
    Ok(Recovered {
        known: found.iter().map(Found::known).collect(),
        active,
        next_id: ready
            .as_ref()
            .map_or(next_id, |segment| segment.header.id + 1),
        ready,
        last,
        last_time,
        end,
        pool,
        journal_salt: journal_salt.unwrap_or_else(random_salt),
    })
}

/// Takes `dir` for this process; the error says who has it and what to do.
pub(super) fn lock(disk: &Disk, dir: &Path) -> io::Result<DirLock> {
    disk.0.lock(dir).map_err(|error| {
        let text = match error.kind() {
            io::ErrorKind::WouldBlock => "another process has it open; stop that one, or use \
                                          another data directory"
                .to_owned(),
            _ => error.to_string(),
        };
        let text = format!("the journal in {}: {text}", dir.display());
        io::Error::new(error.kind(), text)
    })
}

impl Found {
    fn known(&self) -> Known {
        let scanned = self.scan.as_ref();
        Known {
            header: self.header,
            first: scanned.map_or(self.first, |scan| scan.first),
            last: scanned.and_then(|scan| scan.last),
            frames_end: scanned.map(|scan| scan.frames_end),
        }
    }
}

/// Removes what was not finished; returns the segments' ids in order and the files to write again.
fn tidy(disk: &Disk, dir: &Path) -> io::Result<(Vec<u32>, Vec<PathBuf>)> {
    let mut ids = Vec::new();
    let mut pool = Vec::new();
    for name in disk.0.list(dir)? {
        let path = dir.join(&name);
        match FileKind::of(&name) {
            FileKind::Segment(id) => ids.push(id),
            FileKind::Pooled if pool.len() < limits::JOURNAL_POOL_SEGMENTS => pool.push(path),
            FileKind::Pooled | FileKind::Unfinished => disk.0.remove(&path)?,
            FileKind::Other => {}
        }
    }
    ids.sort_unstable();
    Ok((ids, pool))
}

/// Opens every segment and looks at its header and first frame.
fn open_all(disk: &Disk, dir: &Path, ids: &[u32]) -> Result<Vec<Found>, OpenError> {
    let mut found: Vec<Found> = Vec::with_capacity(ids.len());
    for (index, &id) in ids.iter().enumerate() {
        if index > 0 && ids[index - 1] + 1 != id {
            let missing = Position::new(ids[index - 1] + 1, 0);
            return Err(damaged(
                missing,
                "the file is missing, though later segments exist",
            ));
        }
        let path = dir.join(file_name(id));
        let file = disk.0.open(&path)?;
        let mut block = vec![0; FIRST_FRAME as usize];
        let count = file.read_at(&mut block, 0)?;
        match Header::decode(&block[..count], id) {
            Ok(header) => {
                let first = first_sequence(file.as_ref(), header)?;
                found.push(Found {
                    header,
                    file,
                    first,
                    scan: None,
                });
            }
            // Cut off in its header and with nothing behind it: made anew, if nothing was written
            // after it.
            Err(_) if is_blank(file.as_ref())? && are_empty(disk, dir, &ids[index + 1..])? => {
                for id in &ids[index..] {
                    disk.0.remove(&dir.join(file_name(*id)))?;
                }
                break;
            }
            Err(problem) => return Err(damaged(Position::new(id, 0), &problem)),
        }
    }
    Ok(found)
}

/// Whether the file ends in its header or has only zeros behind it.
fn is_blank(file: &dyn StoredFile) -> io::Result<bool> {
    let bytes = read_all(file, u64::MAX)?;
    Ok(bytes
        .iter()
        .skip(FIRST_FRAME as usize)
        .all(|byte| *byte == 0))
}

/// Whether no frame was ever written to these segments.
fn are_empty(disk: &Disk, dir: &Path, ids: &[u32]) -> io::Result<bool> {
    for &id in ids {
        let bytes = read_all(disk.0.open(&dir.join(file_name(id)))?.as_ref(), u64::MAX)?;
        let empty = match Header::decode(&bytes, id) {
            Ok(header) => !scan(&bytes, header.salt()).has_frames(),
            Err(_) => bytes.len() < FIRST_FRAME as usize,
        };
        if !empty {
            return Ok(false);
        }
    }
    Ok(true)
}

fn first_sequence(file: &dyn StoredFile, header: Header) -> io::Result<Option<Sequence>> {
    let mut bytes = vec![0; 4 * 1024];
    let count = file.read_at(&mut bytes, FIRST_FRAME.into())?;
    bytes.truncate(count);
    let Some(head) = decode_head(&bytes, header.salt()) else {
        return Ok(None);
    };
    if head.stored_bytes() > bytes.len() && head.stored_bytes() as u64 <= header.capacity {
        bytes.resize(head.stored_bytes(), 0);
        let count = file.read_at(&mut bytes, FIRST_FRAME.into())?;
        bytes.truncate(count);
    }
    let whole = decode(&bytes, header.salt());
    Ok(whole
        .filter(|(head, _)| !head.is_seal())
        .map(|(head, _)| head.sequence))
}

/// Scans from the segment of `scan_from` on, and from further back where that is needed to know
/// the last sequence.
fn scan_tail(found: &mut [Found], scan_from: Position) -> io::Result<()> {
    let with_frames = found.iter().rposition(|found| found.first.is_some());
    let asked = found.partition_point(|found| found.header.id < scan_from.segment());
    let from = asked.min(with_frames.unwrap_or(0));
    let mut has_last = false;
    let mut bytes = Vec::new();
    for (index, found) in found.iter_mut().enumerate().rev() {
        if index < from && has_last {
            break;
        }
        read_into(&mut bytes, found.file.as_ref(), found.header.capacity)?;
        let scan = scan(&bytes, found.header.salt());
        has_last |= scan.last.is_some();
        found.scan = Some(scan);
    }
    Ok(())
}

/// The file's bytes, at most `at_most` of them.
pub(super) fn read_all(file: &dyn StoredFile, at_most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, file, at_most)?;
    Ok(bytes)
}

fn read_into(buffer: &mut Vec<u8>, file: &dyn StoredFile, at_most: u64) -> io::Result<()> {
    let bytes = usize::try_from(file.bytes()?.min(at_most)).map_err(io::Error::other)?;
    if buffer.is_empty() {
        // Not by `resize`: zeroed pages come free of charge from the system.
        *buffer = vec![0; bytes];
    }
    buffer.resize(bytes, 0);
    let count = file.read_at(buffer, 0)?;
    buffer.truncate(count);
    Ok(())
}

/// Refuses damage; returns how many segments hold frames. Those behind are empty.
fn check_scanned(found: &[Found]) -> Result<usize, OpenError> {
    let has_frames = |found: &Found| found.scan.as_ref().is_none_or(Scan::has_frames);
    let used = found
        .iter()
        .rposition(has_frames)
        .map_or(0, |last| last + 1);
    let mut previous: Option<Sequence> = None;
    for (index, found) in found[..used].iter().enumerate() {
        let Some(scan) = &found.scan else {
            continue;
        };
        if let Some(problem) = scan.problem(index + 1 == used) {
            return Err(damaged(Position::new(found.header.id, scan.stop), problem));
        }
        if let (Some(previous), Some(first)) = (previous, scan.first)
            && first <= previous
        {
            let at = Position::new(found.header.id, FIRST_FRAME);
            return Err(damaged(
                at,
                "its sequences do not follow the segment before",
            ));
        }
        previous = scan.last.or(previous);
    }
    Ok(used)
}

/// Makes what was found the whole truth, on disk too: writes the last batch again (after a crash
/// or a failed flush its bytes may be in the page cache only, and marked clean there), and zeros
/// over the rest of a torn one, so that it never passes for something later.
fn mend_tail(file: &dyn StoredFile, header: Header, scan: &Scan) -> io::Result<()> {
    let found_bytes = file.bytes()?;
    if found_bytes < header.capacity {
        zero(file, found_bytes, header.capacity)?;
    }
    let mut batch = vec![0; (scan.end - scan.last_batch) as usize];
    file.read_at(&mut batch, scan.last_batch.into())?;
    file.write_all_at(&batch, scan.last_batch.into())?;
    if !scan.sealed {
        let end = u64::from(scan.end);
        let dirty_end = u64::from(scan.stray_end.unwrap_or(scan.end))
            .max(end + limits::JOURNAL_WRITE_BYTES as u64)
            .min(header.capacity);
        let mut rest = vec![0; (dirty_end - end) as usize];
        file.read_at(&mut rest, end)?;
        if rest.iter().any(|byte| *byte != 0) {
            zero(file, end, dirty_end)?;
        }
    }
    file.sync_data()
}

/// The empty segment that comes next, if it is fit; the others are removed.
fn keep_ready(
    disk: &Disk,
    dir: &Path,
    empty: Vec<Found>,
    next_id: u32,
    segment_bytes: u64,
) -> io::Result<Option<Segment>> {
    let mut ready = None;
    for Found { header, file, .. } in empty {
        let whole = header.capacity == segment_bytes && file.bytes()? == segment_bytes;
        if whole && header.id == next_id {
            ready = Some(Segment { header, file });
        } else {
            disk.0.remove(&dir.join(file_name(header.id)))?;
        }
    }
    Ok(ready)
}

fn damaged(at: Position, problem: &str) -> OpenError {
    OpenError::Damaged(damage_text(at, problem))
}

/// From the keys that the standard library draws for its hash maps.
fn random_salt() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("journal")
}
