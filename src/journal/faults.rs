//! A disk that fails on demand: I/O errors at a chosen call, and a limit on its room.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{DirLock, Disk, Storage, StoredFile};

/// Says what a faulty disk refuses. Clones share the plan, which may change at any time.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Default)]
struct Plan {
    writes_before_failure: Option<u64>,
    syncs_before_failure: Option<u64>,
    capacity_bytes: Option<u64>,
}

impl Faults {
    /// Lets `after` writes pass and fails the next one and all later ones with an I/O error.
    pub fn fail_writes(&self, after: u64) {
        self.0.lock().writes_before_failure = Some(after);
    }

    /// Lets `after` flushes (of files and directories) pass and fails the next one and all later
    /// ones with an I/O error.
    pub fn fail_syncs(&self, after: u64) {
        self.0.lock().syncs_before_failure = Some(after);
    }

    /// All files of one directory together may take `bytes`; growing beyond fails with "no space
    /// left on device". `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// Nothing fails any more.
    pub fn clear(&self) {
        *self.0.lock() = Plan::default();
    }

    fn before_write(&self) -> io::Result<()> {
        count_down(&mut self.0.lock().writes_before_failure, "write")
    }

    fn before_sync(&self) -> io::Result<()> {
        count_down(&mut self.0.lock().syncs_before_failure, "flush")
    }
}

fn count_down(left: &mut Option<u64>, call: &str) -> io::Result<()> {
    match left {
        None => Ok(()),
        Some(0) => Err(io::Error::other(format!("injected {call} error"))),
        Some(count) => {
            *count -= 1;
            Ok(())
        }
    }
}

pub(super) struct FaultyStorage {
    inner: Disk,
    faults: Faults,
}

impl FaultyStorage {
    pub(super) fn new(inner: Disk, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn wrap(&self, path: &Path, file: Arc<dyn StoredFile>) -> Arc<dyn StoredFile> {
        Arc::new(FaultyFile {
            file,
            disk: self.inner.clone(),
            dir: path.parent().unwrap_or(Path::new(".")).to_owned(),
            faults: self.faults.clone(),
        })
    }
}

impl Storage for FaultyStorage {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.0.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.0.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        self.faults.before_write()?;
        Ok(self.wrap(path, self.inner.0.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        Ok(self.wrap(path, self.inner.0.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.before_write()?;
        self.inner.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.0.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.before_sync()?;
        self.inner.0.sync_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<DirLock> {
        self.inner.0.lock(dir)
    }
}

struct FaultyFile {
    file: Arc<dyn StoredFile>,
    disk: Disk,
    dir: PathBuf,
    faults: Faults,
}

impl FaultyFile {
    fn before_growing_to(&self, bytes: u64) -> io::Result<()> {
        let Some(capacity) = self.faults.0.lock().capacity_bytes else {
            return Ok(());
        };
        let grown_by = bytes.saturating_sub(self.file.bytes()?);
        if grown_by == 0 {
            return Ok(());
        }
        let mut used = 0;
        for name in self.disk.0.list(&self.dir)? {
            used += self.disk.0.open(&self.dir.join(name))?.bytes()?;
        }
        if used + grown_by > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StoredFile for FaultyFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.before_write()?;
        self.before_growing_to(offset + bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.before_sync()?;
        self.file.sync_data()
    }
}
