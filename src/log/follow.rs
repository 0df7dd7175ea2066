//! Keeps the view up with the journal: folds new frames, checkpoints, rebuilds a view that failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::dedup::HashKey;
use super::shared::Shared;
use super::view::{Applied, Fold, View};
use crate::journal::{Journal, ReadError};
use crate::store::{Store, StoreError, set_aside};

/// How often the view is brought to the disk; a crash costs folding this much again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Frames folded before readers see them: bounds memory, and a batch's time in sled.
const FRAMES_PER_BATCH: usize = 4_096;

/// Frames folded between two checkpoints of a long catch-up.
const FRAMES_PER_CHECKPOINT: usize = 262_144;

/// So many frames at one look mean that more are on their way.
const BUSY_FRAMES: usize = 8;

/// Under load the view looks at the journal this seldom: each look costs a wake-up, and nobody who
/// needs the view notices.
const BUSY_REST: Duration = Duration::from_millis(2);

/// How long a rebuild that failed waits before it is tried again.
const REBUILD_AFTER: Duration = Duration::from_secs(2);

/// Why the view cannot follow.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] ReadError),
}

/// Opens the view in the shared place; one that does not open is set aside and begun anew.
pub(super) fn open_view(
    dir: &std::path::Path,
    cache_bytes: u64,
    new_key: HashKey,
) -> Result<(View, Applied), StoreError> {
    let open = || View::open(Store::open(dir, cache_bytes)?, new_key);
    match open() {
        Ok(opened) => Ok(opened),
        Err(error) => {
            let aside = set_aside(dir).map_err(|io| StoreError::Failed(io.to_string()))?;
            tracing::warn!(%error, set_aside = %aside.display(), "the keyed view did not open and is rebuilt from the journal");
            open()
        }
    }
}

/// Folds everything the journal holds behind `applied`; the view is checkpointed when it returns.
pub(super) fn catch_up(
    journal: &Journal,
    view: &View,
    applied: Applied,
) -> Result<Applied, FollowError> {
    let from = applied.position.max(journal.start());
    let mut reader = journal.reader(from);
    let mut fold = Fold::behind(Applied {
        position: from,
        ..applied
    });
    let mut folded = 0;
    while let Some(frame) = reader.next()? {
        view.fold(&frame, &mut fold)?;
        folded += 1;
        if folded % FRAMES_PER_BATCH == 0 {
            view.apply(&mut fold)?;
        }
        if folded % FRAMES_PER_CHECKPOINT == 0 {
            view.checkpoint(&mut fold)?;
            tracing::info!(frames = folded, "still reading the journal");
        }
    }
    if folded > 0 {
        view.checkpoint(&mut fold)?;
    }
    Ok(fold.applied)
}

/// The view thread: returns when the log is closed and everything is on disk.
pub(super) fn run(shared: &Arc<Shared>, mut applied: Applied) {
    loop {
        let Some(view) = shared.view.load_full() else {
            return;
        };
        let failed = match follow(shared, &view, applied) {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::error!(error = %failed, "the keyed view failed; it is rebuilt from the journal, publishing goes on");
        shared.view.store(None);
        shared.set_view_problem(Some(failed.to_string()));
        drop(view);
        match rebuild(shared) {
            Some(rebuilt) => applied = rebuilt,
            None => return,
        }
    }
}

fn follow(shared: &Shared, view: &View, applied: Applied) -> Result<(), FollowError> {
    let mut reader = shared.journal.reader(applied.position);
    let mut fold = Fold::behind(applied);
    let mut checkpointed = Instant::now();
    let mut is_dirty = false;
    loop {
        // Asked before the frames are read, so that the last ones before a close are folded.
        let stops = shared.stopping.load(Ordering::Acquire);
        let mut folded = 0;
        while folded < FRAMES_PER_BATCH {
            let Some(frame) = reader.next()? else { break };
            view.fold(&frame, &mut fold)?;
            folded += 1;
        }
        if folded > 0 {
            view.apply(&mut fold)?;
            shared.show(fold.applied.sequence);
            is_dirty = true;
        }
        if is_dirty && (checkpointed.elapsed() >= CHECKPOINT_EVERY || (stops && folded == 0)) {
            view.checkpoint(&mut fold)?;
            shared.set_checkpointed(fold.applied);
            checkpointed = Instant::now();
            is_dirty = false;
        }
        if folded == FRAMES_PER_BATCH {
            continue;
        }
        if stops && folded == 0 {
            return Ok(());
        }
        if folded >= BUSY_FRAMES {
            std::thread::park_timeout(BUSY_REST);
        }
        let patience = if is_dirty {
            CHECKPOINT_EVERY.saturating_sub(checkpointed.elapsed())
        } else {
            CHECKPOINT_EVERY
        };
        let _ = shared
            .journal
            .blocking_wait_past(fold.applied.sequence, patience);
    }
}

/// Tries until a new view stands, or the log is closed.
fn rebuild(shared: &Shared) -> Option<Applied> {
    loop {
        if shared.stopping.load(Ordering::Acquire) {
            return None;
        }
        match try_rebuild(shared) {
            Ok(applied) => {
                tracing::info!("the keyed view is rebuilt");
                return Some(applied);
            }
            Err(error) => {
                tracing::error!(%error, "the keyed view could not be rebuilt; trying again");
                shared.set_view_problem(Some(error.to_string()));
                std::thread::park_timeout(REBUILD_AFTER);
            }
        }
    }
}

fn try_rebuild(shared: &Shared) -> Result<Applied, FollowError> {
    let dir = shared.view_dir();
    set_aside(&dir).map_err(|error| StoreError::Failed(error.to_string()))?;
    // A damaged view proves nothing and may be what fills the disk.
    if let Err(error) = std::fs::remove_dir_all(dir.with_extension("set-aside")) {
        tracing::warn!(%error, "the view that was set aside could not be removed");
    }
    let store = Store::open(&dir, shared.config.cache_bytes)?;
    let (view, applied) = View::open(store, shared.hash_key)?;
    let applied = catch_up(&shared.journal, &view, applied)?;
    shared.set_checkpointed(applied);
    shared.view.store(Some(Arc::new(view)));
    shared.set_view_problem(None);
    shared.show(applied.sequence);
    Ok(applied)
}
