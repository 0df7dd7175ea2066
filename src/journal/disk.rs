//! The file layer under the journal: the real file system, and the seam for faults and simulation.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::faults::{Faults, FaultyStorage};
use super::simulated::{SimulatedStorage, Simulation};

/// Where a journal keeps its files. Clones share the disk.
#[derive(Clone)]
pub struct Disk(pub(super) Arc<dyn Storage>);

impl Disk {
    /// The operating system's file system.
    #[must_use]
    pub fn real() -> Disk {
        Disk(Arc::new(RealStorage))
    }

    /// A disk in memory whose power can be cut, and the handle that cuts it.
    #[must_use]
    pub fn simulated() -> (Disk, Simulation) {
        SimulatedStorage::empty()
    }

    /// `inner` with errors on demand: the handle says which calls fail, and how much room there is.
    #[must_use]
    pub fn faulty(inner: Disk) -> (Disk, Faults) {
        let faults = Faults::default();
        let storage = FaultyStorage::new(inner, faults.clone());
        (Disk(Arc::new(storage)), faults)
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

/// What is held while a directory is locked; dropping it unlocks.
pub(super) type DirLock = Box<dyn Send + Sync>;

/// The calls on names. Nothing here survives a power cut before [`Storage::sync_dir`] returned.
pub(super) trait Storage: Send + Sync {
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// File names directly in `dir`, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates an empty file, or empties one that exists.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    /// Opens for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the directory for this journal alone; `WouldBlock` when someone holds it.
    fn lock(&self, dir: &Path) -> io::Result<DirLock>;
}

/// The calls on one open file. Nothing written survives a power cut before
/// [`StoredFile::sync_data`] returned.
pub(super) trait StoredFile: Send + Sync {
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; fewer bytes than asked only at the file's end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Past the data (and the length, when it changed) on stable storage: `fdatasync`.
    fn sync_data(&self) -> io::Result<()>;
}

struct RealStorage;

impl Storage for RealStorage {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(dir)?;
        // The directory's own name must survive as well; further up it is the operator's.
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, dir: &Path) -> io::Result<DirLock> {
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl StoredFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}
