//! Makes a data folder of a backup: into a new folder, checked whole, and only then under its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::tar::{BLOCK, Entry};
use super::{AUDIT, FILES, FORMAT, Listed, MANIFEST, Manifest, hex};
use crate::limits;

/// Why nothing was restored; the data folder is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{} is there already, and a backup is never restored over it; move it away, or name another folder", .0.display())]
    InTheWay(PathBuf),
    #[error("the backup cannot be used: {0}")]
    Backup(String),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub files: usize,
    pub bytes: u64,
    /// When the backup was begun.
    pub time: String,
    /// All that was acknowledged up to this is there.
    pub sequence: u64,
    /// Whether the key is needed that sealed its secrets.
    pub needs_key: bool,
}

/// Restores a backup into `data_dir`, which must not be there, or be empty: a disk may be mounted there.
pub fn restore(backup: &mut dyn Read, data_dir: &Path) -> Result<Restored, RestoreError> {
    // What an earlier one left, which was cut off, is not in the way.
    let is_left =
        |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == RESTORING);
    let is_free = match fs::read_dir(data_dir) {
        Ok(mut found) => found.all(is_left),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(RestoreError::InTheWay(data_dir.to_owned()));
    }
    // Inside of one that is there, or else beside it: on the same disk.
    let is_there = data_dir.is_dir();
    let new = match is_there {
        true => data_dir.join(RESTORING),
        false => new_folder(data_dir),
    };
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Write { path, source }
    };
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write(&new)(error)),
        _ => {}
    }
    fs::create_dir_all(&new).map_err(write(&new))?;
    let unpacked = unpack(backup, &new).and_then(|(manifest, found)| {
        check(&manifest, &found)?;
        Ok((manifest, found))
    });
    let (manifest, found) = match unpacked {
        Ok(unpacked) => unpacked,
        Err(error) => {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
    };
    for folder in [new.join("journal"), new.join(AUDIT), new.clone()] {
        if folder.is_dir() {
            sync(&folder).map_err(write(&folder))?;
        }
    }
    if is_there {
        move_up(&new, data_dir).map_err(write(data_dir))?;
    } else {
        fs::rename(&new, data_dir).map_err(write(data_dir))?;
    }
    if let Some(parent) = parent(data_dir) {
        sync(parent).map_err(write(parent))?;
    }
    Ok(Restored {
        files: found.len(),
        bytes: found.iter().map(|file| file.bytes).sum(),
        time: manifest.time,
        sequence: manifest.sequence,
        needs_key: found.iter().any(|file| FILES.contains(&file.name.as_str())),
    })
}

/// Of a folder in which it is unpacked.
const RESTORING: &str = ".restoring";

/// Moves all that was unpacked to where it belongs, the journal last.
fn move_up(new: &Path, data_dir: &Path) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(new)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort_by_key(|name| name == "journal");
    for name in names {
        fs::rename(new.join(&name), data_dir.join(&name))?;
    }
    fs::remove_dir(new)?;
    sync(data_dir)
}

fn new_folder(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.as_os_str().to_owned();
    name.push(RESTORING);
    PathBuf::from(name)
}

fn parent(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        other => other,
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes all files, and what they are.
fn unpack(backup: &mut dyn Read, new: &Path) -> Result<(Manifest, Vec<Listed>), RestoreError> {
    let mut found = Vec::new();
    let mut manifest = None;
    while let Some(entry) = header(backup)? {
        if manifest.is_some() {
            return Err(RestoreError::Backup(
                "it goes on behind its manifest".to_owned(),
            ));
        }
        if entry.name == MANIFEST {
            manifest = Some(read_manifest(backup, &entry)?);
        } else {
            found.push(unpack_file(backup, &entry, new)?);
        }
        let mut padding = vec![0; entry.padding()];
        read(backup, &mut padding)?;
    }
    let manifest = manifest.ok_or_else(broken_off)?;
    Ok((manifest, found))
}

fn header(backup: &mut dyn Read) -> Result<Option<Entry>, RestoreError> {
    let mut block = [0; BLOCK];
    read(backup, &mut block)?;
    Entry::read(&block).map_err(RestoreError::Backup)
}

fn read(backup: &mut dyn Read, into: &mut [u8]) -> Result<(), RestoreError> {
    backup.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => broken_off(),
        _ => RestoreError::Backup(error.to_string()),
    })
}

fn broken_off() -> RestoreError {
    RestoreError::Backup("it breaks off; it was not fetched to its end".to_owned())
}

fn read_manifest(backup: &mut dyn Read, entry: &Entry) -> Result<Manifest, RestoreError> {
    let wrong = |cause: String| RestoreError::Backup(format!("its manifest: {cause}"));
    let bytes = usize::try_from(entry.bytes).ok();
    let bytes = bytes.filter(|bytes| *bytes <= limits::BACKUP_MANIFEST_BYTES);
    let mut text = vec![0; bytes.ok_or_else(|| wrong("it is too large".to_owned()))?];
    read(backup, &mut text)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    match manifest.format {
        FORMAT => Ok(manifest),
        other => Err(wrong(format!(
            "it has format {other}, this version reads {FORMAT}"
        ))),
    }
}

fn unpack_file(backup: &mut dyn Read, entry: &Entry, new: &Path) -> Result<Listed, RestoreError> {
    if !is_ours(&entry.name) {
        return Err(RestoreError::Backup(format!(
            "it holds {:?}, which no backup does",
            entry.name
        )));
    }
    let path = new.join(&entry.name);
    let failed = |source| RestoreError::Write {
        path: path.clone(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // A name that comes twice is refused here.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    let mut file = file.map_err(failed)?;
    let mut digest = Context::new(&SHA256);
    let mut part = vec![0; limits::BACKUP_PART_BYTES as usize];
    let mut left = entry.bytes;
    while left > 0 {
        let count = left.min(limits::BACKUP_PART_BYTES) as usize;
        read(backup, &mut part[..count])?;
        digest.update(&part[..count]);
        file.write_all(&part[..count]).map_err(failed)?;
        left -= count as u64;
    }
    file.sync_all().map_err(failed)?;
    Ok(Listed {
        name: entry.name.clone(),
        bytes: entry.bytes,
        sha256: hex(digest.finish().as_ref()),
    })
}

/// Names that lead where a backup's files go, and nowhere else.
pub(super) fn is_ours(name: &str) -> bool {
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match name.split_once('/') {
        None => FILES.contains(&name),
        Some(("journal", file)) => file.strip_suffix(".seg").is_some_and(|id| digits(id, 10)),
        Some((AUDIT, file)) => file.strip_suffix(".jsonl").is_some_and(|id| digits(id, 20)),
        Some(_) => false,
    }
}

fn check(manifest: &Manifest, found: &[Listed]) -> Result<(), RestoreError> {
    let differs = |name: &str| {
        RestoreError::Backup(format!(
            "{name} is not what the manifest says: it was damaged"
        ))
    };
    if manifest.files.len() != found.len() {
        return Err(differs("the list of files"));
    }
    for (listed, found) in manifest.files.iter().zip(found) {
        if listed != found {
            return Err(differs(&found.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for ours in [
            "secrets.json",
            "keys.json",
            "journal/0000000001.seg",
            "audit/00000000000000000001.jsonl",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../keys.json",
            "journal/../keys.json",
            "journal/",
            "journal",
            "journal/1.seg",
            "journal/0000000001.seg/x",
            "secrets.key",
            "view/x",
            "./keys.json",
            "audit/..",
            "manifest.json",
            "journal/000000000a.seg",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
