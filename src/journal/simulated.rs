//! A disk in memory that knows what was flushed, so that a test can cut its power at any call.
//!
//! The model is harsher than most file systems: of a file's unflushed writes any subset of
//! 512-byte sectors survives, of unsynced directory changes any subset happened, and flushing a
//! file does not keep its name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{DirLock, Disk, Storage, StoredFile};

const SECTOR_BYTES: usize = 512;

/// The handle on a simulated disk: cuts its power, and looks at its files.
#[derive(Clone)]
pub struct Simulation(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    names_synced: BTreeMap<PathBuf, usize>,
    names_changed: Vec<NameChange>,
    locked: BTreeSet<PathBuf>,
    calls_before_cut: Option<u64>,
    calls: u64,
    off: bool,
    ignores_syncs: bool,
}

/// One file: what every reader sees, what is on the platter, and the changes between the two.
#[derive(Default, Clone)]
struct Contents {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
struct Change {
    offset: usize,
    bytes: Vec<u8>,
}

enum NameChange {
    Add(PathBuf, usize),
    Move(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

impl Simulation {
    /// Cuts the power at the call (write, flush or directory change) after the next `calls` ones:
    /// that one and every later one fail. A write that meets the cut may still be found in parts.
    pub fn cut_power_after(&self, calls: u64) {
        self.0.lock().calls_before_cut = Some(calls);
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// Writes, flushes and directory changes so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// A disk that lies: flushes return at once and keep nothing. For showing that tests notice.
    pub fn ignore_syncs(&self) {
        self.0.lock().ignores_syncs = true;
    }

    /// Cuts the power now and gives the disk as it is found afterwards; the same `seed` keeps the
    /// same subset of what was not flushed.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> (Disk, Simulation) {
        let mut state = self.0.lock();
        state.off = true;
        let mut random = fastrand::Rng::with_seed(seed);
        // Half of the cuts keep everything or nothing: what real disks do most of the time.
        let odds = [0, 128, 128, 256][random.usize(0..4)];
        let mut survives = || random.u32(0..256) < odds;

        let mut names = state.names_synced.clone();
        for change in &state.names_changed {
            if survives() {
                change.apply(&mut names);
            }
        }
        let files: Vec<Contents> = state
            .files
            .iter()
            .map(|contents| Contents::settled(contents.after_power_cut(&mut survives)))
            .collect();
        SimulatedStorage::with(State {
            files,
            names_synced: names.clone(),
            names,
            ..State::default()
        })
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// The bytes of a file as readers see them.
    #[must_use]
    pub fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        let file = *state.names.get(path)?;
        Some(state.files[file].now.clone())
    }

    /// Puts a file there, flushed, in the place of one that may exist.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let file = state.files.len();
        state.files.push(Contents::settled(bytes));
        state.names.insert(path.to_owned(), file);
        state.names_synced.insert(path.to_owned(), file);
    }

    /// Takes a file away, for good.
    pub fn delete(&self, path: &Path) {
        let mut state = self.0.lock();
        state.names.remove(path);
        state.names_synced.remove(path);
    }
}

impl State {
    /// Counts a call that changes something; `Err` when the power goes with it or is gone.
    fn count(&mut self) -> io::Result<()> {
        self.calls += 1;
        match &mut self.calls_before_cut {
            Some(0) => self.off = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.check_power()
    }

    fn check_power(&self) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    fn change_names(&mut self, change: NameChange) -> io::Result<()> {
        let was_on = !self.off;
        let power = self.count();
        if was_on {
            change.apply(&mut self.names);
            self.names_changed.push(change);
        }
        power
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Add(path, file) => {
                names.insert(path.clone(), *file);
            }
            NameChange::Move(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Contents {
    fn settled(bytes: Vec<u8>) -> Self {
        Self {
            now: bytes.clone(),
            synced: bytes,
            unsynced: Vec::new(),
        }
    }

    fn change(&mut self, change: Change) {
        put(&mut self.now, change.offset, &change.bytes);
        self.unsynced.push(change);
    }

    fn after_power_cut(&self, survives: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut found = self.synced.clone();
        for Change { offset, bytes } in &self.unsynced {
            let mut from = 0;
            while from < bytes.len() {
                let in_sector = SECTOR_BYTES - (offset + from) % SECTOR_BYTES;
                let to = (from + in_sector).min(bytes.len());
                if survives() {
                    put(&mut found, offset + from, &bytes[from..to]);
                }
                from = to;
            }
        }
        found
    }
}

fn put(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(bytes);
}

pub(super) struct SimulatedStorage(Arc<Mutex<State>>);

impl SimulatedStorage {
    pub(super) fn empty() -> (Disk, Simulation) {
        Self::with(State::default())
    }

    fn with(state: State) -> (Disk, Simulation) {
        let state = Arc::new(Mutex::new(state));
        let storage = SimulatedStorage(Arc::clone(&state));
        (Disk(Arc::new(storage)), Simulation(state))
    }

    fn handle(&self, file: usize) -> Arc<dyn StoredFile> {
        Arc::new(SimulatedFile {
            state: Arc::clone(&self.0),
            file,
        })
    }
}

impl Storage for SimulatedStorage {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.0.lock().check_power()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.check_power()?;
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.0.lock();
        let file = state.files.len();
        state.files.push(Contents::default());
        state.change_names(NameChange::Add(path.to_owned(), file))?;
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let state = self.0.lock();
        state.check_power()?;
        match state.names.get(path) {
            Some(file) => Ok(self.handle(*file)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let Some(file) = state.names.get(from).copied() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        state.change_names(NameChange::Move(from.to_owned(), to.to_owned(), file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(NameChange::Remove(path.to_owned()))
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.count()?;
        if !state.ignores_syncs {
            state.names_synced = state.names.clone();
            state.names_changed.clear();
        }
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<DirLock> {
        if !self.0.lock().locked.insert(dir.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedLock {
            state: Arc::clone(&self.0),
            dir: dir.to_owned(),
        }))
    }
}

struct SimulatedLock {
    state: Arc<Mutex<State>>,
    dir: PathBuf,
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.state.lock().locked.remove(&self.dir);
    }
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl SimulatedFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.state.lock();
        let was_on = !state.off;
        let power = state.count();
        if was_on {
            state.files[self.file].change(change);
        }
        power
    }
}

impl StoredFile for SimulatedFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().files[self.file].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state.lock();
        let contents = &state.files[self.file].now;
        let from = usize::try_from(offset).map_or(contents.len(), |from| from.min(contents.len()));
        let to = (from + buffer.len()).min(contents.len());
        buffer[..to - from].copy_from_slice(&contents[from..to]);
        Ok(to - from)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.change(Change {
            offset,
            bytes: bytes.to_vec(),
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.count()?;
        if !state.ignores_syncs {
            let contents = &mut state.files[self.file];
            for change in std::mem::take(&mut contents.unsynced) {
                put(&mut contents.synced, change.offset, &change.bytes);
            }
        }
        Ok(())
    }
}
