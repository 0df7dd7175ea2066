//! A copy of the data folder that is made while the bus runs, and the way back.
//!
//! The journal is the truth, so its files up to a moment are a bus of that moment; the view is built
//! anew. With them go the sealed secrets, the hashes of API keys and the audit. The key that seals the
//! secrets does not: a copy that lies about gives nothing away.
//!
//! ```text
//! journal/0000000001.seg …   secrets.json   keys.json   audit/….jsonl
//! manifest.json              last: every file with its size and SHA-256
//! ```

mod restore;
mod tar;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

pub use self::restore::{RestoreError, Restored, restore};

use self::restore::is_ours;
use self::tar::{BLOCK, Entry};
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{Held, Sequence};

/// The version of what a backup holds.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// Of the data folder, beside the journal and the audit.
const FILES: [&str; 2] = ["secrets.json", "keys.json"];
const AUDIT: &str = "audit";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// Of the program that made it.
    version: String,
    time: String,
    /// All that was acknowledged up to this is in it.
    sequence: Sequence,
    files: Vec<Listed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// A backup that is read part by part. Reads files: not on a thread that others wait for.
pub struct Backup {
    held: Held,
    begun: Timestamp,
    sequence: Sequence,
    /// What is still to be read, the last first.
    left: Vec<Source>,
    open: Option<Open>,
    done: Vec<Listed>,
    is_ended: bool,
}

struct Source {
    name: String,
    path: PathBuf,
    /// `None`: all of it, which is little; it may be replaced at any time.
    bytes: Option<u64>,
}

struct Open {
    file: File,
    left: u64,
    entry: Entry,
    digest: Context,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backup(through {})", self.sequence)
    }
}

impl Backup {
    /// Of the journal that is held, which reaches through `sequence` at least, and of what stands
    /// beside it in `data_dir`.
    pub fn begin(
        held: Held,
        data_dir: &Path,
        sequence: Sequence,
        now: Timestamp,
    ) -> io::Result<Backup> {
        let mut sources = Vec::new();
        for (path, bytes) in held.files() {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            sources.push(Source {
                name: format!("journal/{name}"),
                path: path.clone(),
                bytes: Some(*bytes),
            });
        }
        // After the journal: a rule in it finds the secrets that it names.
        for name in FILES {
            sources.push(Source {
                name: name.to_owned(),
                path: data_dir.join(name),
                bytes: None,
            });
        }
        sources.extend(audit_files(data_dir)?);
        sources.reverse();
        Ok(Backup {
            held,
            begun: now,
            sequence,
            left: sources,
            open: None,
            done: Vec::new(),
            is_ended: false,
        })
    }

    /// The next part; `None` behind the last.
    ///
    /// # Errors
    /// When a file cannot be read, or was let go of since the copy took too long. What was read is
    /// then no backup, and has no manifest.
    pub fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut part = Vec::new();
        // Nothing came of a file that is not there.
        while part.is_empty() {
            if self.is_ended {
                return Ok(None);
            }
            match self.open.take() {
                Some(open) => self.read_on(open, &mut part)?,
                None => match self.left.pop() {
                    Some(source) => self.open(source, &mut part)?,
                    None => self.end(&mut part),
                },
            }
        }
        Ok(Some(part))
    }

    fn open(&mut self, source: Source, part: &mut Vec<u8>) -> io::Result<()> {
        let file = match File::open(&source.path) {
            Ok(file) => file,
            // Nobody made one yet, or it is past the audit's retention by now.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && !source.name.starts_with("journal") =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let bytes = match source.bytes {
            Some(bytes) => bytes,
            None => file.metadata()?.len(),
        };
        let entry = Entry {
            name: source.name,
            bytes,
        };
        part.extend_from_slice(&entry.header(self.begun.as_millis() / 1_000));
        let digest = Context::new(&SHA256);
        let open = Open {
            file,
            left: bytes,
            entry,
            digest,
        };
        self.read_on(open, part)
    }

    fn read_on(&mut self, mut open: Open, part: &mut Vec<u8>) -> io::Result<()> {
        let from = part.len();
        let most = open.left.min(limits::BACKUP_PART_BYTES);
        let read = (&mut open.file).take(most).read_to_end(part)? as u64;
        if !self.held.still_holds() {
            return Err(io::Error::other(
                "it took too long, and the journal's files were let go of",
            ));
        }
        if read < most {
            return Err(io::Error::other(format!(
                "{} became shorter",
                open.entry.name
            )));
        }
        open.digest.update(&part[from..]);
        open.left -= read;
        if open.left > 0 {
            self.open = Some(open);
            return Ok(());
        }
        part.resize(part.len() + open.entry.padding(), 0);
        self.done.push(Listed {
            sha256: hex(open.digest.finish().as_ref()),
            name: open.entry.name,
            bytes: open.entry.bytes,
        });
        Ok(())
    }

    fn end(&mut self, part: &mut Vec<u8>) {
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: self.begun.to_string(),
            sequence: self.sequence,
            files: std::mem::take(&mut self.done),
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("names are strings");
        let entry = Entry {
            name: MANIFEST.to_owned(),
            bytes: text.len() as u64,
        };
        part.extend_from_slice(&entry.header(self.begun.as_millis() / 1_000));
        part.extend_from_slice(&text);
        // Two empty blocks end it.
        part.resize(part.len() + entry.padding() + 2 * BLOCK, 0);
        self.is_ended = true;
    }
}

/// The files of the audit, by name. What else lies in its folder is not ours, and a backup with it
/// would not be restored.
fn audit_files(data_dir: &Path) -> io::Result<Vec<Source>> {
    let found = match std::fs::read_dir(data_dir.join(AUDIT)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut sources = Vec::new();
    for entry in found {
        let entry = entry?;
        let name = format!("{AUDIT}/{}", entry.file_name().to_string_lossy());
        if !is_ours(&name) {
            continue;
        }
        let bytes = match entry.metadata() {
            // It grows: so much of it as there is now.
            Ok(metadata) => metadata.len(),
            // It is past the audit's retention.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        sources.push(Source {
            name,
            path: entry.path(),
            bytes: Some(bytes),
        });
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sources)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
