//! What the log's threads and handles share.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::answers::Answers;
use super::dedup::{Dedup, HashKey};
use super::name::BusName;
use super::read::{CatchUp, ReadAhead};
use super::tail::Tail;
use super::view::{Applied, View};
use super::{Config, LogError, Retention};
use crate::clock::Clock;
use crate::journal::{Journal, Position, Sequence};

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) tail: Tail,
    pub(super) dedup: Mutex<Dedup>,
    pub(super) answers: Mutex<Answers>,
    pub(super) hash_key: HashKey,
    /// Absent while it is rebuilt.
    pub(super) view: ArcSwapOption<View>,
    view_problem: Mutex<Option<String>>,
    visible: watch::Sender<Sequence>,
    /// Where the view would begin after a crash.
    checkpointed: AtomicU64,
    /// Held while state records are queued; holds the last one's sequence. Trimming takes it to
    /// carry records forward while nobody changes them.
    pub(super) state: Mutex<Sequence>,
    pub(super) retention: Mutex<HashMap<BusName, Retention>>,
    pub(super) catch_up: Mutex<Option<CatchUp>>,
    pub(super) read_ahead: Mutex<ReadAhead>,
    pub(super) trimming: Mutex<()>,
    /// Until when nothing is trimmed, if somebody copies the files.
    pub(super) held_until: Mutex<Option<std::time::Instant>>,
    /// Held as long as the log is open.
    pub(super) lock: File,
    pub(super) stopping: AtomicBool,
}

/// What the log begins with.
pub(super) struct Beginning {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) lock: File,
    pub(super) journal: Journal,
    pub(super) view: View,
    pub(super) applied: Applied,
    pub(super) dedup: Dedup,
    pub(super) answers: Answers,
}

impl Shared {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning {
            config,
            clock,
            lock,
            journal,
            view,
            applied,
            dedup,
            answers,
        } = beginning;
        Self {
            tail: Tail::new(journal.durable_through(), crate::limits::TAIL_BYTES),
            hash_key: *view.hash_key(),
            dedup: Mutex::new(dedup),
            answers: Mutex::new(answers),
            view: ArcSwapOption::from_pointee(view),
            view_problem: Mutex::new(None),
            visible: watch::Sender::new(applied.sequence),
            checkpointed: AtomicU64::new(applied.position.0),
            state: Mutex::new(applied.sequence),
            retention: Mutex::new(HashMap::new()),
            catch_up: Mutex::new(None),
            read_ahead: Mutex::new(ReadAhead::default()),
            trimming: Mutex::new(()),
            held_until: Mutex::new(None),
            stopping: AtomicBool::new(false),
            config,
            clock,
            lock,
            journal,
        }
    }

    pub(super) fn view_dir(&self) -> PathBuf {
        self.config.view_dir()
    }

    /// The view, unless it is being rebuilt.
    pub(super) fn view(&self) -> Result<Arc<View>, LogError> {
        self.view.load_full().ok_or_else(|| {
            let problem = self.view_problem.lock().clone();
            LogError::ViewUnavailable(problem.unwrap_or_else(|| "it is closed".to_owned()))
        })
    }

    pub(super) fn view_problem(&self) -> Option<String> {
        self.view_problem.lock().clone()
    }

    pub(super) fn set_view_problem(&self, problem: Option<String>) {
        *self.view_problem.lock() = problem;
        // Whoever waits for the view looks again.
        self.visible.send_modify(|_| ());
    }

    /// Tells everybody that the view shows frames up to `sequence`.
    pub(super) fn show(&self, sequence: Sequence) {
        self.visible.send_replace(sequence);
    }

    pub(super) fn visible(&self) -> watch::Receiver<Sequence> {
        self.visible.subscribe()
    }

    pub(super) fn visible_through(&self) -> Sequence {
        *self.visible.borrow()
    }

    pub(super) fn set_checkpointed(&self, applied: Applied) {
        self.checkpointed
            .store(applied.position.0, std::sync::atomic::Ordering::Release);
    }

    pub(super) fn checkpointed(&self) -> Position {
        Position(self.checkpointed.load(std::sync::atomic::Ordering::Acquire))
    }
}
