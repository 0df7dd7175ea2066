//! Looks a closed journal through and, when asked, cuts it where it is damaged.
//!
//! Cutting never deletes: the damaged segment is copied and the later ones are moved into a folder
//! `set-aside-<n>` beside them.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{DirLock, Disk};
use super::frame::{Position, Sequence};
use super::recovery::{lock, read_all};
use super::scan::scan;
use super::segment::{FIRST_FRAME, FileKind, Header, file_name, zero};

/// What [`check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Every segment file, the oldest first.
    pub segments: Vec<SegmentReport>,
    /// Whole frames in all of them.
    pub frames: u64,
    /// Bytes of whole frames in all of them.
    pub bytes: u64,
    /// Where bytes are wrong that had been flushed, in order. Empty: the journal opens.
    pub damage: Vec<Damage>,
    /// Where the last write was torn by a crash: nobody was told of it, and opening cuts it off.
    pub torn: Option<Position>,
}

/// One segment file as [`check`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub id: u32,
    /// Its file.
    pub path: PathBuf,
    /// Whole frames, up to the first damage.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Sequence of the first frame.
    pub first_sequence: Option<Sequence>,
    /// Sequence of the last frame before any damage.
    pub last_sequence: Option<Sequence>,
    /// Closed by the writer: complete.
    pub sealed: bool,
}

/// A place where the journal is not what was flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The first byte that cannot be trusted.
    pub at: Position,
    /// What is wrong.
    pub problem: String,
}

/// What [`cut`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The journal now ends here.
    pub at: Position,
    /// The last sequence that is left.
    pub last_sequence: Option<Sequence>,
    /// Where everything that was cut off is kept.
    pub set_aside: PathBuf,
}

/// Reads every segment in `dir` and reports; changes nothing.
///
/// # Errors
/// When the directory cannot be read, or a process has the journal open.
pub fn check(dir: &Path) -> io::Result<Report> {
    let disk = Disk::real();
    let _lock = lock_existing(&disk, dir)?;
    look(&disk, dir)
}

/// Ends the journal before its first damage, at the end of the last whole group, so that it opens
/// again. Returns `None` when there is no damage.
///
/// # Errors
/// When a file cannot be read, copied or moved; what was set aside until then stays where it is,
/// and the call can be repeated.
pub fn cut(dir: &Path) -> io::Result<Option<Cut>> {
    let disk = Disk::real();
    let _lock = lock_existing(&disk, dir)?;
    let report = look(&disk, dir)?;
    let Some(damage) = report.damage.first() else {
        return Ok(None);
    };
    let id = damage.at.segment();
    let set_aside = new_folder(dir)?;
    // The newest first: should this be interrupted, no gap is left.
    for segment in report
        .segments
        .iter()
        .rev()
        .filter(|segment| segment.id > id)
    {
        std::fs::rename(&segment.path, set_aside.join(file_name(segment.id)))?;
        disk.0.sync_dir(dir)?;
    }
    let mut at = damage.at;
    let damaged = report.segments.iter().find(|segment| segment.id == id);
    if let Some(segment) = damaged {
        let copy = set_aside.join(file_name(id));
        if at.offset() < FIRST_FRAME {
            std::fs::rename(&segment.path, &copy)?;
        } else {
            std::fs::copy(&segment.path, &copy)?;
            std::fs::File::open(&copy)?.sync_all()?;
            at = end_at_last_group(&disk, segment)?;
        }
    }
    disk.0.sync_dir(&set_aside)?;
    disk.0.sync_dir(dir)?;
    let left = report.segments.iter().filter(|segment| segment.id <= id);
    Ok(Some(Cut {
        at,
        last_sequence: left.rev().find_map(|segment| segment.last_sequence),
        set_aside,
    }))
}

fn lock_existing(disk: &Disk, dir: &Path) -> io::Result<DirLock> {
    if !dir.is_dir() {
        let text = format!("there is no journal in {}", dir.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    lock(disk, dir)
}

fn look(disk: &Disk, dir: &Path) -> io::Result<Report> {
    let mut ids: Vec<u32> = Vec::new();
    for name in disk.0.list(dir)? {
        if let FileKind::Segment(id) = FileKind::of(&name) {
            ids.push(id);
        }
    }
    ids.sort_unstable();

    let mut report = Report::default();
    let mut scans = Vec::new();
    let mut previous: Option<Sequence> = None;
    for (index, &id) in ids.iter().enumerate() {
        let path = dir.join(file_name(id));
        let bytes = read_all(disk.0.open(&path)?.as_ref(), u64::from(u32::MAX))?;
        let mut damage = |offset: u32, problem: &str| {
            report.damage.push(Damage {
                at: Position::new(id, offset),
                problem: problem.to_owned(),
            });
        };
        if index > 0 && ids[index - 1] + 1 != id {
            damage(0, "the file of the segment before it is missing");
        }
        let scan = match Header::decode(&bytes, id) {
            Ok(header) => {
                let readable = bytes.len().min(header.capacity as usize);
                Some(scan(&bytes[..readable], header.salt()))
            }
            Err(problem) => {
                damage(0, &problem);
                None
            }
        };
        if let Some(scan) = &scan
            && let (Some(previous), Some(first)) = (previous, scan.first)
            && first <= previous
        {
            damage(
                FIRST_FRAME,
                "its sequences do not follow the segment before",
            );
        }
        let used = scan
            .as_ref()
            .map_or(0, |scan| scan.frames_end - FIRST_FRAME);
        let segment = SegmentReport {
            id,
            path,
            frames: scan.as_ref().map_or(0, |scan| scan.frames),
            bytes: used.into(),
            first_sequence: scan.as_ref().and_then(|scan| scan.first),
            last_sequence: scan.as_ref().and_then(|scan| scan.last),
            sealed: scan.as_ref().is_some_and(|scan| scan.sealed),
        };
        previous = segment.last_sequence.or(previous);
        report.frames += segment.frames;
        report.bytes += segment.bytes;
        report.segments.push(segment);
        scans.push(scan);
    }

    let has_frames = |scan: &Option<_>| scan.as_ref().is_none_or(super::scan::Scan::has_frames);
    let last_used = scans.iter().rposition(has_frames);
    for (index, (id, scan)) in ids.iter().zip(&scans).enumerate() {
        let (Some(scan), Some(last_used)) = (scan, last_used) else {
            continue;
        };
        let at = Position::new(*id, scan.stop);
        if index <= last_used
            && let Some(problem) = scan.problem(index == last_used)
        {
            let problem = problem.to_owned();
            report.damage.push(Damage { at, problem });
        } else if index == last_used && scan.stray_end.is_some() {
            report.torn = Some(at);
        }
    }
    report.damage.sort_by_key(|damage| damage.at);
    Ok(report)
}

/// Zeros from the last whole group on.
fn end_at_last_group(disk: &Disk, segment: &SegmentReport) -> io::Result<Position> {
    let file = disk.0.open(&segment.path)?;
    let end = u64::from(FIRST_FRAME) + segment.bytes;
    zero(file.as_ref(), end, file.bytes()?)?;
    file.sync_data()?;
    Ok(Position::new(segment.id, end as u32))
}

fn new_folder(dir: &Path) -> io::Result<PathBuf> {
    for number in 1..u32::MAX {
        let folder = dir.join(format!("set-aside-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
