//! Applies the rules folder again when it changes, and when asked to.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::change::RuleError;
use super::files::{Folder, FolderError, Report, read_folder};
use super::rules::Rules;
use crate::limits;

/// Why a folder was not applied; the rules are as they were.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReloadError {
    /// Its display shows every problem with file, line and column.
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Rules(#[from] RuleError),
    #[error("what the folder changes cannot be written down: {0}")]
    NotWrittenDown(String),
    #[error("the folder is watched no more: the bus is shutting down")]
    Closing,
}

/// Reads the folder and makes the bus hold what it describes.
pub type Ensure = Box<dyn Fn() -> BoxFuture<'static, Result<Report, ReloadError>> + Send>;

/// Watches a rules folder; one task, which [`FolderWatch::drain`] ends.
#[derive(Debug)]
pub struct FolderWatch {
    requests: mpsc::Sender<oneshot::Sender<Result<Report, ReloadError>>>,
    task: JoinHandle<()>,
}

/// A change that never rests is applied after so many rests all the same.
const MOST_RESTS: u32 = 10;

impl FolderWatch {
    /// Starts to watch, also for a folder that does not exist yet. Where the system cannot watch (no
    /// watches are left) this is logged, and [`FolderWatch::reload`] still works.
    #[must_use]
    pub fn start(folder: PathBuf, ensure: Ensure) -> FolderWatch {
        let (requests, asked) = mpsc::channel(8);
        let task = tokio::spawn(run(folder, ensure, asked));
        FolderWatch { requests, task }
    }

    /// Reads and applies the folder now.
    pub async fn reload(&self) -> Result<Report, ReloadError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(answer).await;
        sent.map_err(|_| ReloadError::Closing)?;
        answered.await.map_err(|_| ReloadError::Closing)?
    }

    /// Stops watching; a reload under way is finished.
    pub async fn drain(self) {
        drop(self.requests);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the watch over the rules folder ended badly");
        }
    }
}

async fn run(
    folder: PathBuf,
    ensure: Ensure,
    mut asked: mpsc::Receiver<oneshot::Sender<Result<Report, ReloadError>>>,
) {
    // One signal waiting says it all.
    let (signal, mut changed) = mpsc::channel::<()>(1);
    let watched = std::path::absolute(&folder).unwrap_or_else(|_| folder.clone());
    let mut watcher = watcher(signal, watched.clone());
    watch(watcher.as_mut(), &watched);
    loop {
        let answer = tokio::select! {
            request = asked.recv() => match request {
                Some(answer) => Some(answer),
                None => return,
            },
            Some(()) = changed.recv() => {
                rest(&mut changed).await;
                None
            }
        };
        // The folder may be a new one under the old name.
        watch(watcher.as_mut(), &watched);
        let outcome = ensure().await;
        show(&folder, &outcome);
        if let Some(answer) = answer {
            // Who asked may be gone; what happened is in the log as well.
            let _ = answer.send(outcome);
        }
    }
}

/// Waits until changes have rested for [`limits::RELOAD_REST`], at most [`MOST_RESTS`] times that.
async fn rest(changed: &mut mpsc::Receiver<()>) {
    let latest = Instant::now() + limits::RELOAD_REST * MOST_RESTS;
    loop {
        let rested = latest.min(Instant::now() + limits::RELOAD_REST);
        match timeout_at(rested, changed.recv()).await {
            Ok(Some(())) if Instant::now() < latest => {}
            _ => return,
        }
    }
}

fn watcher(signal: mpsc::Sender<()>, folder: PathBuf) -> Option<RecommendedWatcher> {
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| matters(&event, &folder)) {
            // Full means that a signal waits already.
            let _ = signal.try_send(());
        }
    });
    match made {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "changes of the rules folder are not seen; reload it by SIGHUP");
            None
        }
    }
}

fn matters(event: &notify::Event, folder: &Path) -> bool {
    // Reading the folder makes access events: following those would never end. The folder beside it
    // may be where our own log is written.
    let is_inside = |path: &PathBuf| path.starts_with(folder);
    let is_access = matches!(event.kind, EventKind::Access(_));
    !is_access && (event.paths.is_empty() || event.paths.iter().any(is_inside))
}

/// Watches all below the folder, and where it stands: it may be created, removed or replaced.
fn watch(watcher: Option<&mut RecommendedWatcher>, folder: &Path) {
    let Some(watcher) = watcher else { return };
    let place = folder.parent().unwrap_or(folder);
    let watched = watcher.watch(place, RecursiveMode::NonRecursive);
    let watched = watched.and_then(|()| match watcher.watch(folder, RecursiveMode::Recursive) {
        // Its creation will be seen.
        Err(_) if !folder.exists() => Ok(()),
        watched => watched,
    });
    if let Err(error) = watched {
        tracing::warn!(
            folder = %folder.display(), %error,
            "changes of the rules folder are not seen; reload it by SIGHUP"
        );
    }
}

/// Reads a folder whose targets the guard of these rules admits.
pub async fn read_admitted(rules: &Rules, folder: &Path) -> Result<Folder, ReloadError> {
    let path = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || read_folder(&path)).await;
    let read = read.map_err(|_| ReloadError::Closing)??;
    Ok(read.admitted(folder, rules.guard())?)
}

fn show(folder: &Path, outcome: &Result<Report, ReloadError>) {
    let folder = folder.display();
    match outcome {
        Ok(report) if report.changed() => tracing::info!(%folder, "rules applied: {report}"),
        Ok(report) => tracing::debug!(%folder, "rules read: {report}"),
        Err(error) => tracing::error!(%folder, "rules kept as they were:\n{error}"),
    }
}
