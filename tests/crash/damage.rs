//! What happens to the files between two lives: a torn end of the journal, a lost or broken view.
//!
//! Only what a real crash may leave, seen from outside, is done to the journal: bytes may be cut or
//! overwritten from any place behind the last frame that somebody knows of, by an acknowledgement
//! or a delivery. (Frames behind it are on disk only because a kill spares the page cache.) To the
//! view, anything may happen.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use eventyard::clock::Clock;
use eventyard::journal::{self, Disk, Journal, Position};

use super::bus::Place;
use super::events::numbers_in;
use super::ledger::Ledger;

/// What was done, for the closing line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    None,
    JournalScribbled,
    JournalCut,
    ViewDeleted,
    ViewScribbled,
    ViewFileCut,
    ViewFileLost,
    ViewFileReplaced,
}

/// Draws a damage and does it.
pub(crate) fn inflict(
    place: &Place,
    ledger: &Ledger,
    random: &mut fastrand::Rng,
) -> io::Result<Damage> {
    if !place.journal().is_dir() {
        // Killed before there was anything.
        return Ok(Damage::None);
    }
    Ok(match random.u32(0..100) {
        0..=29 => Damage::None,
        30..=44 => scribble_behind(place, random)?,
        45..=64 => cut_unwitnessed(place, ledger, random)?,
        // Killed before there was a view.
        65..=76 if !place.view().is_dir() => Damage::None,
        65..=76 => {
            fs::remove_dir_all(place.view())?;
            Damage::ViewDeleted
        }
        roll => match (random_file(&place.view(), random)?, roll) {
            (None, _) => Damage::None,
            (Some(file), 77..=84) => {
                scribble(&file, random)?;
                Damage::ViewScribbled
            }
            (Some(file), 85..=91) => {
                let file = OpenOptions::new().write(true).open(file)?;
                file.set_len(random.u64(..=file.metadata()?.len()))?;
                Damage::ViewFileCut
            }
            (Some(file), 92..=96) => {
                fs::remove_file(file)?;
                Damage::ViewFileLost
            }
            (Some(file), _) => {
                fs::write(file, random.u64(..).to_le_bytes())?;
                Damage::ViewFileReplaced
            }
        },
    })
}

/// Overwrites a few bytes anywhere in the file.
fn scribble(path: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    for _ in 0..random.u32(1..4) {
        let bytes = noise(random.usize(1..4096), random);
        let offset = random.u64(..=length.saturating_sub(bytes.len() as u64));
        file.write_all_at(&bytes, offset)?;
    }
    Ok(())
}

fn noise(length: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

fn random_file(folder: &Path, random: &mut fastrand::Rng) -> io::Result<Option<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(random.choice(files))
}

/// The end of the journal: the last segment that holds frames.
struct Tail {
    file: File,
    /// Offset behind its last frame.
    end: u64,
    /// Offset behind the last frame that somebody outside knows of; at least the first frame's.
    witnessed: u64,
    copied: Vec<u8>,
}

/// Finds the end through the library, on a copy: opening a journal mends it.
fn tail(place: &Place, is_witnessed: impl Fn(usize) -> bool) -> io::Result<Option<Tail>> {
    let copy = tempfile::tempdir()?;
    for entry in fs::read_dir(place.journal())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
    }
    let config = journal::Config {
        dir: copy.path().to_owned(),
        segment_bytes: 1 << 20,
    };
    let journal = Journal::open(config, Disk::real(), Clock::system(), Position(u64::MAX))
        .map_err(io::Error::other)?;
    let segments = journal.segments();
    let mut filled = segments.iter().rev();
    let Some(last) = filled.find(|info| info.last_sequence.is_some()) else {
        return Ok(None);
    };
    if segments.last().is_some_and(|newest| newest.id != last.id) {
        // The next segment was begun, and its first batch torn: this one is sealed, and its seal was
        // flushed before that batch was begun, so no crash may harm it.
        return Ok(None);
    }
    let mut reader = journal.reader(Position::new(last.id, 0));
    let (mut end, mut witnessed) = (None, None);
    while let Some(frame) = reader.next().map_err(io::Error::other)? {
        if frame.position.segment() != last.id {
            break;
        }
        let start = u64::from(frame.position.offset());
        end = Some(start + stored_bytes(frame.payload.len()));
        witnessed = witnessed.or(Some(start));
        if numbers_in(&frame.payload).any(&is_witnessed) {
            witnessed = end;
        }
    }
    journal.close();
    let (Some(end), Some(witnessed)) = (end, witnessed) else {
        return Ok(None);
    };
    let Some(path) = segment_file(&place.journal(), last.id)? else {
        return Ok(None);
    };
    Ok(Some(Tail {
        copied: fs::read(&path)?,
        file: OpenOptions::new().write(true).open(path)?,
        end,
        witnessed,
    }))
}

/// Upper bound of a frame's bytes on disk: head, payload, padding.
fn stored_bytes(payload: usize) -> u64 {
    (32 + payload).next_multiple_of(8) as u64
}

fn segment_file(folder: &Path, id: u32) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if stem.and_then(|stem| stem.parse().ok()) == Some(id) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A write that never became whole: bytes behind the last frame.
fn scribble_behind(place: &Place, random: &mut fastrand::Rng) -> io::Result<Damage> {
    let Some(tail) = tail(place, |_| true)? else {
        return Ok(Damage::None);
    };
    torn_write(&tail, tail.end, random)?;
    Ok(Damage::JournalScribbled)
}

/// Cuts the journal at a random byte behind the last witnessed frame. The view goes too: it never
/// holds more than the journal.
fn cut_unwitnessed(
    place: &Place,
    ledger: &Ledger,
    random: &mut fastrand::Rng,
) -> io::Result<Damage> {
    if !ledger.changes_are_covered() {
        return Ok(Damage::None);
    }
    let Some(tail) = tail(place, |number| ledger.is_witnessed(number))? else {
        return Ok(Damage::None);
    };
    let cut = random.u64(tail.witnessed..=tail.end);
    if random.bool() {
        tail.file.set_len(cut)?;
    } else {
        let rest = usize::try_from(tail.copied.len() as u64 - cut).unwrap_or(0);
        tail.file.write_all_at(&vec![0; rest], cut)?;
        if random.bool() {
            torn_write(&tail, cut, random)?;
        }
    }
    if place.view().is_dir() {
        fs::remove_dir_all(place.view())?;
    }
    ledger.journal_was_cut();
    Ok(Damage::JournalCut)
}

/// Noise, or the beginning of an old frame, at `offset`.
fn torn_write(tail: &Tail, offset: u64, random: &mut fastrand::Rng) -> io::Result<()> {
    let room = usize::try_from((tail.copied.len() as u64).saturating_sub(offset)).unwrap_or(0);
    let length = random.usize(0..=room.min(20_000));
    let bytes = if random.bool() {
        noise(length, random)
    } else {
        let from = random.usize(0..=tail.copied.len() - length);
        tail.copied[from..from + length].to_vec()
    };
    tail.file.write_all_at(&bytes, offset)
}
