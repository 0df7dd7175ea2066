//! The keyed view on disk: the only user of sled.
//!
//! sled 0.34.7's `flush()` ends in `sync_file_range`, which survives a crash of the process but not
//! a power cut; [`Store::checkpoint`] therefore adds an `fdatasync` of its own. And a damaged sled
//! may open with some of its keys gone, so the store keeps a checksum over all it holds, in the same
//! batches, and compares it when it opens. Nothing here is the only copy of anything: a store that
//! fails is set aside and rebuilt from the journal.

mod key;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::hash::Hasher;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use key::Key;

/// sled's segment, and the size of the write buffers of which sled holds three and more. It must be
/// so large that a leaf of 17 values of [`VALUE_BYTES`] stays below a quarter of it, because larger
/// leaves go to side files that sled never syncs.
const SLED_SEGMENT_BYTES: usize = 4 * 1024 * 1024;
const _: () = assert!(17 * (VALUE_BYTES + 64) < SLED_SEGMENT_BYTES / 4);

/// How long a store that was dropped may hold its file; a moment, unless the machine is busy.
const LET_GO_PATIENCE: Duration = Duration::from_secs(10);

/// Largest value, in bytes; see the segment size above.
pub const VALUE_BYTES: usize = 30 * 1024;

/// Why the store did not do what was asked. Every case means: rebuild it from the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// sled or the file system answered with an error.
    #[error("the keyed view failed: {0}")]
    Failed(String),
    /// sled panicked; its files or its memory are damaged.
    #[error("the keyed view is damaged: {0}")]
    Damaged(String),
}

/// Changes that are applied together or not at all; of two for one key the later holds.
#[derive(Debug, Default)]
pub struct Batch {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: Key, value: impl AsRef<[u8]>) {
        debug_assert!(value.as_ref().len() <= VALUE_BYTES, "a value is too large");
        let value = value.as_ref().to_vec();
        self.changes.insert(key.into_bytes(), Some(value));
    }

    /// Removes a key; absent ones are fine.
    pub fn remove(&mut self, key: Key) {
        self.changes.insert(key.into_bytes(), None);
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// An open store. All keys live in one tree, so that one batch is one atomic change.
#[derive(Debug)]
pub struct Store {
    tree: sled::Tree,
    db: sled::Db,
    file: File,
    /// The sum of [`digest`] over all pairs; changed under this lock, with the pairs.
    sum: Mutex<u64>,
}

/// Where the sum itself stands, outside of what it sums: no record kind has this prefix.
const SUM_KEY: &[u8] = b"\0sum";

/// One pair's part in the sum. Sums do not depend on the order, and a pair can be taken out again.
fn digest(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write_usize(key.len());
    hasher.write(key);
    hasher.write(value);
    hasher.finish()
}

impl Store {
    /// Opens or creates the store in `dir`, with a page cache of `cache_bytes`.
    ///
    /// # Errors
    /// [`StoreError`] when the files cannot be opened or read, sled's panics included.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        wait_until_let_go(dir);
        guarded(|| {
            let db = sled::Config::new()
                .path(dir)
                .cache_capacity(cache_bytes)
                .segment_size(SLED_SEGMENT_BYTES)
                .flush_every_ms(None)
                .open()
                .map_err(failed)?;
            let tree = db.open_tree("view").map_err(failed)?;
            db.flush().map_err(failed)?;
            let file = File::open(dir.join("db")).map_err(failed)?;
            let sum = verified_sum(&tree)?;
            let store = Self {
                tree,
                db,
                file,
                sum: Mutex::new(sum),
            };
            store.file.sync_all().map_err(failed)?;
            sync_dir(dir).map_err(failed)?;
            Ok(store)
        })
    }

    /// Applies a batch: readers see all of it or nothing. Not yet safe from a power cut.
    ///
    /// # Errors
    /// [`StoreError`]; the store is then to be given up.
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        guarded(|| {
            let mut sum = self.sum.lock();
            let mut after = *sum;
            let mut changes = sled::Batch::default();
            for (key, value) in batch.changes {
                if let Some(before) = self.tree.get(&key).map_err(failed)? {
                    after = after.wrapping_sub(digest(&key, &before));
                }
                match value {
                    Some(value) => {
                        after = after.wrapping_add(digest(&key, &value));
                        changes.insert(key, value);
                    }
                    None => changes.remove(key),
                }
            }
            changes.insert(SUM_KEY, &after.to_be_bytes());
            self.tree.apply_batch(changes).map_err(failed)?;
            *sum = after;
            Ok(())
        })
    }

    /// Brings everything applied so far to the disk for good.
    ///
    /// # Errors
    /// [`StoreError`]; the store is then to be given up.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        guarded(|| {
            self.db.flush().map_err(failed)?;
            self.file.sync_data().map_err(failed)
        })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn get(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| {
            let value = self.tree.get(key.into_bytes()).map_err(failed)?;
            Ok(value.map(|value| value.to_vec()))
        })
    }

    /// The first key with `from <= key < to`, as if `changes` had been applied.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn first_key(
        &self,
        from: Key,
        to: Key,
        changes: &Batch,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let range = from.into_bytes()..to.into_bytes();
        let changes = &changes.changes;
        guarded(|| {
            let mut first = changes
                .range(range.clone())
                .find(|(_, value)| value.is_some())
                .map(|(key, _)| key.clone());
            for key in self.tree.range(range).keys() {
                let key = key.map_err(failed)?;
                if !matches!(changes.get(key.as_ref()), Some(None)) {
                    let key = key.to_vec();
                    first = Some(first.map_or(key.clone(), |first| first.min(key)));
                    break;
                }
            }
            Ok(first)
        })
    }

    /// Up to `limit` pairs with `from <= key < to`, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn range(&self, from: Key, to: Key, limit: usize) -> Result<Pairs, StoreError> {
        guarded(|| {
            self.tree
                .range(from.into_bytes()..to.into_bytes())
                .take(limit)
                .map(pair)
                .collect()
        })
    }

    /// Up to `limit` pairs with `from <= key < to`, descending from `to`.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn range_back(&self, from: Key, to: Key, limit: usize) -> Result<Pairs, StoreError> {
        guarded(|| {
            self.tree
                .range(from.into_bytes()..to.into_bytes())
                .rev()
                .take(limit)
                .map(pair)
                .collect()
        })
    }
}

/// Reads every pair and compares the sum with the one that was kept.
fn verified_sum(tree: &sled::Tree) -> Result<u64, StoreError> {
    let mut kept = [0; 8];
    let mut sum = 0_u64;
    for entry in tree.iter() {
        let (key, value) = entry.map_err(failed)?;
        if key == SUM_KEY {
            kept = value.as_ref().try_into().unwrap_or_default();
        } else {
            sum = sum.wrapping_add(digest(&key, &value));
        }
    }
    if u64::from_be_bytes(kept) == sum {
        Ok(sum)
    } else {
        Err(StoreError::Damaged(
            "some of its records are missing or changed".to_owned(),
        ))
    }
}

/// Keys and their values.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pair(
    entry: Result<(sled::IVec, sled::IVec), sled::Error>,
) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let (key, value) = entry.map_err(failed)?;
    Ok((key.to_vec(), value.to_vec()))
}

/// Moves a store that does not open out of the way, so that a new one can be built in its place.
/// Only the last one set aside is kept, for whoever wants to know what happened.
///
/// # Errors
/// The file system's.
pub fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let aside = dir.with_extension("set-aside");
    if aside.exists() {
        std::fs::remove_dir_all(&aside)?;
    }
    if dir.exists() {
        std::fs::rename(dir, &aside)?;
    }
    if let Some(parent) = dir.parent() {
        sync_dir(parent)?;
    }
    Ok(aside)
}

/// A thread of sled's pool may hold the file, and with it the lock, for a moment after the store was
/// dropped. No other process has it: who opens a store has locked the folder that it stands in.
fn wait_until_let_go(dir: &Path) {
    let Ok(file) = File::open(dir.join("db")) else {
        return; // a new store
    };
    let deadline = Instant::now() + LET_GO_PATIENCE;
    // At the deadline sled is left to say what is wrong.
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// sled panics on damaged files ("tried to serialize Uninitialized") where it should answer.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "sled panicked".to_owned());
        Err(StoreError::Damaged(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::new(b'x').u64(n)
    }

    #[test]
    fn what_was_checkpointed_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("view");
        let store = Store::open(&path, 1 << 20).unwrap();
        let mut batch = Batch::default();
        for n in 0..100 {
            batch.put(key(n), n.to_be_bytes());
        }
        store.apply(batch).unwrap();
        store.checkpoint().unwrap();
        drop(store);
        let store = Store::open(&path, 1 << 20).unwrap();
        assert_eq!(store.get(key(42)).unwrap().unwrap(), 42u64.to_be_bytes());
        let pairs = store.range_back(key(10), key(20), 3).unwrap();
        assert_eq!(pairs[0].0, key(19).into_bytes());
        assert_eq!(pairs.len(), 3);
    }

    #[test]
    fn a_store_opens_once_the_one_before_has_let_go_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("view");
        drop(Store::open(&path, 1 << 20).unwrap());
        // As a thread of sled's pool would that has not ended yet.
        wait_until_let_go(&path);
        let held = File::open(path.join("db")).unwrap();
        held.try_lock().unwrap();
        let opening = std::thread::spawn(move || Store::open(&path, 1 << 20));
        for _ in 0..100 {
            std::thread::yield_now();
        }
        drop(held);
        opening.join().unwrap().unwrap();
    }

    /// sled may open what is left of a damaged file. What opens must be a state that once was:
    /// folding the journal from where that state stood then sets it right.
    #[test]
    fn a_damaged_store_opens_in_a_state_that_once_was_or_not_at_all() {
        let seed = std::env::var("EVENTYARD_SEED").map_or(7, |seed| seed.parse().unwrap());
        println!("EVENTYARD_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for round in 0..16 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("view");
            let store = Store::open(&path, 1 << 20).unwrap();
            let mut model = BTreeMap::new();
            let mut states = vec![model.clone()];
            for n in 0..120_u64 {
                let mut batch = Batch::default();
                let value = vec![n as u8; 600];
                batch.put(key(n / 2), [1, 2, 3]);
                batch.put(key(n), &value);
                batch.remove(key(n / 3));
                store.apply(batch).unwrap();
                model.insert(key(n / 2).into_bytes(), vec![1, 2, 3]);
                model.insert(key(n).into_bytes(), value);
                model.remove(&key(n / 3).into_bytes());
                states.push(model.clone());
            }
            store.checkpoint().unwrap();
            drop(store);
            let db = path.join("db");
            let mut bytes = std::fs::read(&db).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            if random.bool() {
                bytes.truncate(random.usize(..used));
            } else {
                let from = random.usize(..used);
                let to = (from + random.usize(1..20_000)).min(used);
                random.fill(&mut bytes[from..to]);
            }
            std::fs::write(&db, bytes).unwrap();
            if let Ok(store) = Store::open(&path, 1 << 20) {
                let all = store.range(key(0), Key::new(b'x').end(), 1_000).unwrap();
                let read = BTreeMap::from_iter(all);
                assert!(states.contains(&read), "round {round}");
            }
        }
    }

    #[test]
    fn a_damaged_store_is_an_error_and_can_be_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("view");
        std::fs::create_dir(&path).unwrap();
        std::fs::create_dir(path.join("db")).unwrap();
        assert!(Store::open(&path, 1 << 20).is_err());
        let aside = set_aside(&path).unwrap();
        assert!(aside.join("db").exists());
        Store::open(&path, 1 << 20).unwrap();
    }
}
