//! The files that hold the lines: appended to, never changed, let go of whole.
//!
//! ```text
//! audit/00000000000000000001.jsonl     named by the first entry that may stand in it
//! audit/00000000000000004711.jsonl     the newest is the one that is written
//! ```

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::entry::{Line, Outcome};
use super::{Page, Query};
use crate::clock::Timestamp;
use crate::limits;

const EXTENSION: &str = "jsonl";

/// A file that is written no more.
struct Whole {
    first: u64,
    bytes: u64,
    /// When its last line was written.
    last: Timestamp,
}

pub(super) struct Files {
    dir: PathBuf,
    /// The oldest first.
    whole: Vec<Whole>,
    current: Option<Current>,
}

struct Current {
    first: u64,
    file: File,
    bytes: u64,
    /// When its last line was written.
    last: Timestamp,
}

impl Files {
    /// The files, and the number of the next entry.
    pub(super) fn open(dir: &Path) -> io::Result<(Files, u64)> {
        fs::create_dir_all(dir)?;
        let mut firsts = Vec::new();
        for found in fs::read_dir(dir)? {
            let path = found?.path();
            let is_ours = path
                .extension()
                .is_some_and(|extension| extension == EXTENSION);
            firsts.extend(first_of(&path).filter(|_| is_ours));
        }
        firsts.sort_unstable();
        let mut files = Files {
            dir: dir.to_owned(),
            whole: Vec::new(),
            current: None,
        };
        let newest = firsts.pop();
        for first in firsts {
            let (bytes, last) = end_of(&files.path(first))?;
            files.whole.push(Whole { first, bytes, last });
        }
        let mut next = 1;
        if let Some(first) = newest {
            let path = files.path(first);
            let (file, newest) = reopen(&path)?;
            next = newest.map_or(first, |newest| newest + 1).max(first);
            let (bytes, last) = end_of(&path)?;
            files.current = Some(Current {
                first,
                file,
                bytes,
                last,
            });
        }
        Ok((files, next))
    }

    /// Appends a line; with `is_flushed` it is on disk when this returns, and all before it. `number`
    /// is that of an entry that is in no file before.
    pub(super) fn write(&mut self, number: u64, line: Line, is_flushed: bool) -> io::Result<()> {
        let is_full = |current: &Current| current.bytes >= limits::AUDIT_FILE_BYTES;
        if self.current.as_ref().is_some_and(is_full) {
            self.close()?;
        }
        let at = line.at();
        let line = line.text();
        let current = match &mut self.current {
            Some(current) => current,
            None => {
                let begun = begin(&self.dir, &self.path(number), number)?;
                self.whole.retain(|file| file.first != number);
                self.current.insert(begun)
            }
        };
        let mut written = current.file.write_all(&line);
        if written.is_ok() && is_flushed {
            written = current.file.sync_data();
        }
        match written {
            Ok(()) => {
                current.bytes += line.len() as u64;
                current.last = at;
                Ok(())
            }
            // What reached the disk is unknown, and a failed flush is not tried again as if nothing
            // had happened: the next line goes into another file.
            Err(error) => {
                if let Err(error) = current.file.set_len(current.bytes) {
                    tracing::debug!(%error, "a line of the audit stays broken off");
                }
                self.put_away();
                Err(error)
            }
        }
    }

    /// Lets go of whole files that are older, and of the oldest while all are larger than `most`.
    pub(super) fn forget(&mut self, oldest: Timestamp, most: u64) -> io::Result<()> {
        loop {
            let current = self.current.as_ref().map_or(0, |current| current.bytes);
            let all = current + self.whole.iter().map(|file| file.bytes).sum::<u64>();
            match self.whole.first() {
                Some(file) if file.last < oldest || all > most => {
                    match fs::remove_file(self.path(file.first)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                    self.whole.remove(0);
                }
                _ => return Ok(()),
            }
        }
    }

    /// All files, the newest first.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let whole = self.whole.iter().map(|file| file.first);
        let current = self.current.as_ref().map(|current| current.first);
        let mut paths: Vec<_> = whole.chain(current).map(|first| self.path(first)).collect();
        paths.reverse();
        paths
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:020}.{EXTENSION}"))
    }

    /// The current file is on disk and is written no more.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let flushed = self
            .current
            .as_ref()
            .map(|current| current.file.sync_data());
        self.put_away();
        flushed.unwrap_or(Ok(()))
    }

    fn put_away(&mut self) {
        if let Some(current) = self.current.take() {
            self.whole.push(Whole {
                first: current.first,
                bytes: current.bytes,
                last: current.last,
            });
        }
    }
}

fn begin(dir: &Path, path: &Path, first: u64) -> io::Result<Current> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    File::open(dir)?.sync_all()?;
    let bytes = file.metadata()?.len();
    Ok(Current {
        first,
        file,
        bytes,
        last: Timestamp::default(),
    })
}

/// Opens the newest file to be appended to, cut behind its last whole line; and the last entry in it.
fn reopen(path: &Path) -> io::Result<(File, Option<u64>)> {
    let text = fs::read(path)?;
    let whole = memchr::memrchr(b'\n', &text).map_or(0, |end| end + 1);
    let file = OpenOptions::new().append(true).open(path)?;
    if whole < text.len() {
        file.set_len(whole as u64)?;
        file.sync_all()?;
    }
    let last = lines(&text[..whole]).filter_map(|line| match line {
        Line::Entry(entry) => Some(entry.entry),
        Line::Ending(_) => None,
    });
    Ok((file, last.max()))
}

/// The size of a file and the time of its last line that reads.
fn end_of(path: &Path) -> io::Result<(u64, Timestamp)> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    // Two documents fit into a line.
    let tail = 4 * limits::AUDIT_DOCUMENT_BYTES as u64;
    file.seek(SeekFrom::Start(bytes.saturating_sub(tail)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let last = lines(&text).next_back();
    Ok((bytes, last.map(|line| line.at()).unwrap_or_default()))
}

/// Those that read.
fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = Line> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(Line::read)
}

/// The newest entries that fit, of these files, the newest first. Of a long search only a bound of
/// files is read: one for what is not there must end too.
pub(super) fn page(paths: Vec<PathBuf>, query: &Query) -> io::Result<Page> {
    let mut page = Page::default();
    let mut outcomes: HashMap<u64, Outcome> = HashMap::new();
    let mut paths = relevant(paths, query.before).into_iter().peekable();
    let mut read = 0;
    while let Some(path) = paths.next() {
        let text = match fs::read(&path) {
            Ok(text) => text,
            // It was let go of meanwhile, and so were all older ones.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        for line in lines(&text).rev() {
            let mut entry = match line {
                Line::Entry(entry) => entry,
                Line::Ending(ending) => {
                    outcomes.insert(ending.ends, ending.outcome);
                    continue;
                }
            };
            if let Some(outcome) = outcomes.remove(&entry.entry) {
                entry.status = Some(outcome.status);
                entry.after = outcome.after;
            }
            if query.since.is_some_and(|since| entry.at < since) {
                return Ok(page);
            }
            if !query.fits(&entry) {
                continue;
            }
            if page.entries.len() == query.limit {
                page.next = page.entries.last().map(|last| last.entry);
                return Ok(page);
            }
            page.entries.push(*entry);
        }
        read += 1;
        if read >= limits::AUDIT_FILES_PER_PAGE && paths.peek().is_some() {
            page.next = first_of(&path);
            return Ok(page);
        }
    }
    Ok(page)
}

/// Those that hold entries before `before`, and the one behind them: what came of a call may stand in
/// the next file.
fn relevant(paths: Vec<PathBuf>, before: Option<u64>) -> Vec<PathBuf> {
    let Some(before) = before else { return paths };
    let is_newer = |path: &PathBuf| first_of(path).is_some_and(|first| first >= before);
    let newer = paths.iter().take_while(|path| is_newer(path)).count();
    paths.into_iter().skip(newer.saturating_sub(1)).collect()
}

fn first_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Call};
    use super::*;

    fn line(number: u64) -> Line {
        let call = Call {
            actor: Actor::Root,
            peer: None,
            request_id: None,
            method: "PUT".to_owned(),
            route: String::new(),
            path: "/v1/buses/b".to_owned(),
            before: None,
            asked: None,
        };
        Line::Entry(Box::new(call.entry(number, Timestamp::default())))
    }

    #[test]
    fn a_full_file_is_flushed_before_the_next_one_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, _) = Files::open(dir.path()).unwrap();
        files.write(1, line(1), true).unwrap();
        // It takes every line, and can flush none.
        let unflushable = OpenOptions::new().write(true).open("/dev/null").unwrap();
        files.current.as_mut().unwrap().file = unflushable;
        files.write(2, line(2), false).unwrap();
        files.current.as_mut().unwrap().bytes = limits::AUDIT_FILE_BYTES;
        // A flush of the third would say that the second is on disk too.
        files.write(3, line(3), true).unwrap_err();
        files.write(3, line(3), true).unwrap();
        assert_eq!(files.paths(), [files.path(3), files.path(1)]);
    }
}
