//! The durable, ordered event log of all buses, and the state records that ride in it.
//!
//! The journal is the truth; the view (sled) is its fold, kept by key. `append` and `enqueue` put
//! frames into the journal, one thread folds them into the view, another lets go of old segments.
//! A sequence is the number of the event's frame: increasing, not dense, for records are numbered
//! in the same row.

mod answers;
mod append;
mod browse;
mod dedup;
mod follow;
mod hold;
mod index;
mod line;
mod name;
mod read;
mod record;
mod scan;
mod shared;
mod tail;
mod trim;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

pub use answers::{Answer, Answered, Given, Once};
pub use browse::{EventPage, EventQuery};
pub use hold::Held;
pub use line::{Chunk, Line, OrderKey, Queued};
pub use name::{BusName, NameError, RuleName, TargetName};
pub use read::Run;
pub use record::{
    DeadLetter, DeadLetterReason, DisabledFor, LoggedEvent, Parked, Record, Standing, TargetId,
    TargetMark,
};
pub use scan::{Scan, Step};
pub use trim::Trimmed;
pub use view::{BusRecord, RuleRecord};

use crate::clock::{Clock, Timestamp};
use crate::event::Event;
pub use crate::journal::{AppendError, Disk, Figures as JournalFigures, Sequence, State};
use crate::journal::{Journal, OpenError};
use crate::store::StoreError;
use answers::Answers;
use dedup::{Dedup, HashKey};
use shared::{Beginning, Shared};

/// Where the log lives and how large its parts are.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory; `journal` and `view` are made in it.
    pub dir: PathBuf,
    /// Bytes of one journal segment.
    pub segment_bytes: u64,
    /// Bytes of the view's page cache.
    pub cache_bytes: u64,
}

impl Config {
    fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn view_dir(&self) -> PathBuf {
        self.dir.join("view")
    }
}

/// How long and how much a bus keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this may go.
    pub max_age: Duration,
    /// Beyond this many bytes of newer events, older ones may go.
    pub max_bytes: u64,
}

/// What became of one event of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its sequence; the first one's when it is a duplicate.
    pub sequence: Sequence,
    /// Whether the bus had it already.
    pub duplicate: bool,
}

/// Why the log did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    #[error("{}", dir.display())]
    Dir {
        dir: PathBuf,
        source: std::io::Error,
    },
    /// Nothing in the directory was touched.
    #[error("another bus uses this folder; stop it, or name another with --data-dir")]
    InUse,
    #[error(transparent)]
    Journal(#[from] OpenError),
    #[error("the keyed view cannot be built: {0}")]
    View(String),
}

/// Why something could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The view is being rebuilt; ask again later.
    #[error("the keyed view is not available: {0}")]
    ViewUnavailable(String),
    /// The journal could not be read.
    #[error("the journal could not be read: {0}")]
    Read(String),
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        Self::ViewUnavailable(error.to_string())
    }
}

/// How often [`Log::is_kept`] looks again while the log moves; each look takes microseconds.
const LOOKS: usize = 8;

/// A handle; clones share the log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({})", self.shared.config.dir.display())
    }
}

impl Log {
    /// Opens or creates the log: recovers the journal, brings the view up to it (or rebuilds it),
    /// and starts the threads. Blocking; a rebuild reads the whole journal.
    ///
    /// # Errors
    /// [`OpenLogError`] when the directory, the journal or the view cannot be had.
    pub fn open(config: Config, disk: Disk, clock: Clock) -> Result<Log, OpenLogError> {
        std::fs::create_dir_all(&config.dir).map_err(|source| OpenLogError::Dir {
            dir: config.dir.clone(),
            source,
        })?;
        // Before anything is looked at: what a running bus holds open looks damaged from outside.
        let lock = lock(&config.dir)?;
        let view_failed = |error: StoreError| OpenLogError::View(error.to_string());
        let new_key = HashKey::random();
        let open_view = || follow::open_view(&config.view_dir(), config.cache_bytes, new_key);
        let (mut view, mut applied) = open_view().map_err(view_failed)?;
        let journal_config = crate::journal::Config {
            dir: config.journal_dir(),
            segment_bytes: config.segment_bytes,
        };
        let journal = Journal::open(journal_config, disk, clock.clone(), applied.position)?;
        let is_ahead =
            applied.sequence > journal.durable_through() || applied.position > journal.end();
        let is_behind = applied.sequence > 0 && applied.position < journal.start();
        if is_ahead || is_behind {
            tracing::warn!(
                view = applied.sequence,
                journal = journal.durable_through(),
                "the keyed view belongs to another journal and is rebuilt"
            );
            drop(view);
            crate::store::set_aside(&config.view_dir()).map_err(|source| OpenLogError::Dir {
                dir: config.view_dir(),
                source,
            })?;
            (view, applied) = open_view().map_err(view_failed)?;
        }
        let applied = follow::catch_up(&journal, &view, applied)
            .map_err(|error| OpenLogError::View(error.to_string()))?;
        let dedup = remembered(&view).map_err(view_failed)?;
        let mut answers = Answers::new(crate::limits::IDEMPOTENCY_BYTES);
        let mut remember = |number, answer| answers.insert(number, answer);
        view.each_answer(&mut remember).map_err(view_failed)?;
        let log = Self {
            shared: Arc::new(Shared::new(Beginning {
                config,
                clock,
                lock,
                journal,
                view,
                applied,
                dedup,
                answers,
            })),
            threads: Arc::default(),
        };
        log.start(applied);
        Ok(log)
    }

    fn start(&self, applied: view::Applied) {
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .expect("a process that starts can have two more threads")
        };
        let follower = Arc::clone(&self.shared);
        let trimmer = Arc::clone(&self.shared);
        let mut threads = self.threads.lock();
        threads.push(start(
            "log-view",
            Box::new(move || follow::run(&follower, applied)),
        ));
        threads.push(start("log-trim", Box::new(move || trim::run(&trimmer))));
    }

    // ---- events

    /// Appends all events or none, and returns when they are on disk. An event whose (source, id)
    /// the bus has seen within `window` is not appended again and answers with the first one's
    /// sequence.
    ///
    /// # Errors
    /// [`AppendError`] when the journal takes nothing; nothing was appended then, except after
    /// `Failed`, when it is not known.
    pub async fn append(
        &self,
        bus: &BusName,
        events: Vec<Event>,
        window: Duration,
    ) -> Result<Vec<Appended>, AppendError> {
        append::append(&self.shared, bus, events, window, None).await
    }

    /// The same for a request that its sender may send again: what it is answered is remembered, on
    /// disk with the events. Whoever calls has asked [`Log::answered`] before, and sees to it that
    /// nobody else is at the same key.
    ///
    /// # Errors
    /// [`AppendError`], as for [`Log::append`].
    pub async fn append_once(
        &self,
        bus: &BusName,
        events: Vec<Event>,
        window: Duration,
        once: Once,
    ) -> Result<Vec<Appended>, AppendError> {
        append::append(&self.shared, bus, events, window, Some(once)).await
    }

    /// What a request with this key was answered, if that is remembered.
    pub async fn answered(&self, key: u128) -> Option<Answered> {
        answers::answered(&self.shared, key).await
    }

    /// One event of any bus; `None` when there is none or it is trimmed. Recent ones need no disk.
    ///
    /// # Errors
    /// [`LogError`] when it cannot be read.
    pub async fn event(&self, sequence: Sequence) -> Result<Option<Arc<LoggedEvent>>, LogError> {
        read::event(&self.shared, sequence).await
    }

    /// Up to `max` events behind `after`, oldest first; empty at the end of the log.
    ///
    /// # Errors
    /// [`LogError`] when they cannot be read.
    pub async fn read_after(
        &self,
        after: Sequence,
        max: usize,
    ) -> Result<Vec<Arc<LoggedEvent>>, LogError> {
        Ok(self.read_on(after, max).await?.events)
    }

    /// The same, and how far what was asked for is not kept any more.
    ///
    /// # Errors
    /// [`LogError`] when they cannot be read.
    pub async fn read_on(&self, after: Sequence, max: usize) -> Result<Run, LogError> {
        read::read_on(&self.shared, after, max).await
    }

    /// Returns when frames behind `after` are on disk (or never will be), with the last one's
    /// sequence.
    pub async fn wait_past(&self, after: Sequence) -> Sequence {
        self.shared.journal.wait_past(after).await
    }

    /// The last sequence on disk.
    #[must_use]
    pub fn durable_through(&self) -> Sequence {
        self.shared.journal.durable_through()
    }

    /// The first sequence that is kept; `None` while nothing is.
    #[must_use]
    pub fn first_sequence(&self) -> Option<Sequence> {
        self.shared.journal.first_sequence()
    }

    /// A page of a bus's events.
    ///
    /// # Errors
    /// [`LogError`] when they cannot be read.
    pub async fn browse(&self, bus: &BusName, query: EventQuery) -> Result<EventPage, LogError> {
        // What was acknowledged before the question is in the answer.
        wait_visible(&self.shared, self.durable_through()).await;
        let shared = Arc::clone(&self.shared);
        let bus = bus.clone();
        read::blocking(move || browse::browse(&shared, &bus, &query)).await
    }

    /// All events of a bus in the order of the log, up to its end as it is now, taken between these
    /// moments. Blocking.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn scan(
        &self,
        bus: &BusName,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Scan, LogError> {
        Scan::new(&self.shared, bus, since, until)
    }

    /// Sets what a bus keeps. A bus for which nothing is set keeps everything.
    pub fn set_retention(&self, bus: &BusName, retention: Retention) {
        self.shared.retention.lock().insert(bus.clone(), retention);
    }

    /// Lets go of old segments now instead of at the next round. Blocking.
    ///
    /// # Errors
    /// [`LogError`] when something could not be read or carried forward; nothing is lost then.
    pub fn trim(&self) -> Result<Trimmed, LogError> {
        trim::trim(&self.shared)
    }

    /// Keeps all segments in place, for a copy of them; `None` while somebody does already. Blocking.
    #[must_use]
    pub fn hold(&self) -> Option<Held> {
        Held::new(&self.shared)
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.shared.config.dir.clone()
    }

    // ---- state

    /// Queues records in order, without waiting; returns the last one's sequence. No later record
    /// or event is ever on disk without these.
    ///
    /// # Errors
    /// [`AppendError`] when the journal takes nothing.
    pub fn enqueue(&self, records: &[Record]) -> Result<Sequence, AppendError> {
        append::enqueue(&self.shared, records)
    }

    /// Queues records, and returns when they are on disk and shown by the views below.
    ///
    /// # Errors
    /// [`AppendError`] when the journal takes nothing.
    pub async fn commit(&self, records: &[Record]) -> Result<Sequence, AppendError> {
        let sequence = append::enqueue(&self.shared, records)?;
        self.settled(sequence).await?;
        Ok(sequence)
    }

    /// Returns when records that were queued are on disk and shown by the views below.
    ///
    /// # Errors
    /// [`AppendError`] when they never will be.
    pub async fn settled(&self, sequence: Sequence) -> Result<(), AppendError> {
        self.shared.journal.durable(sequence).await?;
        self.visible(sequence).await;
        Ok(())
    }

    /// Returns when the views show everything up to `sequence`, or cannot show anything.
    pub async fn visible(&self, sequence: Sequence) {
        wait_visible(&self.shared, sequence).await;
    }

    /// How far the views are.
    #[must_use]
    pub fn visible_through(&self) -> Sequence {
        self.shared.visible_through()
    }

    // ---- views: what is on disk, by key

    /// Every delivery of the events up to here is settled, parked or dead-lettered.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn checkpoint(&self) -> Result<Sequence, LogError> {
        Ok(self.shared.view()?.routed_through()?.0)
    }

    /// All buses that were put; the default bus may not be among them.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn buses(&self) -> Result<Vec<BusRecord>, LogError> {
        Ok(self.shared.view()?.buses()?)
    }

    /// All rules.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn rules(&self) -> Result<Vec<RuleRecord>, LogError> {
        Ok(self.shared.view()?.rules()?)
    }

    /// The highest target number ever given out, 0 when none was.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn last_target_id(&self) -> Result<u32, LogError> {
        Ok(self.shared.view()?.last_target()?)
    }

    /// Targets that have parked, backlogged or dead deliveries.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn targets_with_state(&self) -> Result<Vec<TargetId>, LogError> {
        Ok(self.shared.view()?.targets_with_state()?)
    }

    /// Parked deliveries of a target that are due, earliest first. Of those that stand in one line
    /// only the first is ever due.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn parked_due(
        &self,
        target: TargetId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Queued>, LogError> {
        Ok(self.shared.view()?.parked_due(target, now, limit)?)
    }

    /// Whether deliveries of a target stand in the line of a key, or in any line.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn has_line(&self, target: TargetId, key: Option<OrderKey>) -> Result<bool, LogError> {
        Ok(self.shared.view()?.has_line(target, key)?)
    }

    /// Deliveries of a target that stand in a key's line behind the sequence `after`, in order.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn line_after(
        &self,
        target: TargetId,
        key: OrderKey,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Queued>, LogError> {
        Ok(self.shared.view()?.line_after(target, key, after, limit)?)
    }

    /// When the earliest parked delivery of a target is due.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn parked_next_due(&self, target: TargetId) -> Result<Option<Timestamp>, LogError> {
        Ok(self.shared.view()?.parked_next_due(target)?)
    }

    /// One parked delivery.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn parked(&self, target: TargetId, sequence: Sequence) -> Result<Option<Parked>, LogError> {
        let queued = self.shared.view()?.parked(target, sequence)?;
        Ok(queued.map(|queued| queued.parked))
    }

    /// Parked deliveries of a target behind the sequence `after`, by sequence.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn parked_after(
        &self,
        target: TargetId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<Queued>, LogError> {
        Ok(self.shared.view()?.parked_after(target, after, limit)?)
    }

    /// Backlog chunks of a target whose first sequence is greater than `after`, oldest first.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn backlog(
        &self,
        target: TargetId,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Chunk>, LogError> {
        Ok(self.shared.view()?.backlog(target, after, limit)?)
    }

    /// How many deliveries of a target are parked and how many are backlogged. Counts them.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn pending_counts(&self, target: TargetId) -> Result<(u64, u64), LogError> {
        let view = self.shared.view()?;
        Ok((view.parked_count(target)?, view.backlogged_count(target)?))
    }

    /// Whether a delivery is parked, backlogged or dead-lettered, or acknowledged by a puller
    /// while the checkpoint has not passed its event.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn is_kept(&self, target: TargetId, sequence: Sequence) -> Result<bool, LogError> {
        let view = self.shared.view()?;
        // On a log that moves without end the answer is no in the end: a delivery may come twice, and
        // nobody waits for ever.
        for _ in 0..LOOKS {
            let seen = self.visible_through();
            // Parked is asked twice: what is moved meanwhile, by a redrive or out of a chunk, comes there.
            let kept = view.parked(target, sequence)?.is_some()
                || view.dead_letter(target, sequence)?.is_some()
                || view.is_acknowledged(target, sequence)?
                || view.is_backlogged(target, sequence)?
                || view.parked(target, sequence)?.is_some();
            // What is moved twice may have been overlooked.
            if kept || self.visible_through() == seen {
                return Ok(kept);
            }
        }
        Ok(false)
    }

    /// Whether a delivery waits on disk, parked or backlogged.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn is_pending(&self, target: TargetId, sequence: Sequence) -> Result<bool, LogError> {
        let view = self.shared.view()?;
        Ok(view.parked(target, sequence)?.is_some() || view.is_backlogged(target, sequence)?)
    }

    /// Dead letters behind `after` in (target, sequence) order, of one target when given.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn dead_letters(
        &self,
        target: Option<TargetId>,
        after: Option<(TargetId, Sequence)>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, LogError> {
        Ok(self.shared.view()?.dead_letters(target, after, limit)?)
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn dead_letter(
        &self,
        target: TargetId,
        sequence: Sequence,
    ) -> Result<Option<DeadLetter>, LogError> {
        Ok(self.shared.view()?.dead_letter(target, sequence)?)
    }

    /// When an event is due that waits for its time; `None` when it does not wait.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn deferred(&self, sequence: Sequence) -> Result<Option<Timestamp>, LogError> {
        Ok(self.shared.view()?.deferred(sequence)?)
    }

    /// Events of all buses that wait and are due before `until`, behind `after`, earliest first.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn deferred_between(
        &self,
        after: Option<(Timestamp, Sequence)>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Sequence)>, LogError> {
        Ok(self.shared.view()?.deferred_between(after, until, limit)?)
    }

    /// The fingerprint of a rule's schedule, and up to when it is dealt with.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn schedule_through(
        &self,
        bus: &BusName,
        rule: &RuleName,
    ) -> Result<Option<(u64, Timestamp)>, LogError> {
        Ok(self.shared.view()?.schedule_through(bus, rule)?)
    }

    /// How all targets stand of which something is known; others are active.
    ///
    /// # Errors
    /// [`LogError`], as for all views.
    pub fn target_marks(&self) -> Result<Vec<TargetMark>, LogError> {
        Ok(self.shared.view()?.target_marks()?)
    }

    // ---- health and life cycle

    /// Whether the journal takes anything.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.journal.state()
    }

    /// Returns when the journal's state is no longer `seen`.
    pub async fn state_changed(&self, seen: &State) -> State {
        self.shared.journal.state_changed(seen).await
    }

    /// How the journal does.
    #[must_use]
    pub fn journal_figures(&self) -> JournalFigures {
        self.shared.journal.figures()
    }

    /// Bytes that are free where the data directory lies; `None` when the system does not tell.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.shared.config.dir).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Why the views are not available, if so.
    #[must_use]
    pub fn view_problem(&self) -> Option<String> {
        self.shared.view_problem()
    }

    /// Writes what is queued, brings the view to the disk and stops the threads. Blocking.
    pub fn close(&self) {
        self.shared.journal.close();
        self.shared.stopping.store(true, Ordering::Release);
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        self.shared.view.store(None);
        if let Err(error) = self.shared.lock.unlock() {
            tracing::warn!(%error, "the data directory could not be unlocked");
        }
    }
}

/// Takes the data directory for this process.
fn lock(dir: &std::path::Path) -> Result<std::fs::File, OpenLogError> {
    let failed = |source| OpenLogError::Dir {
        dir: dir.to_owned(),
        source,
    };
    let lock = std::fs::File::create(dir.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenLogError::InUse),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn wait_visible(shared: &Shared, sequence: Sequence) {
    let mut visible = shared.visible();
    while *visible.borrow_and_update() < sequence {
        let is_hopeless = shared.view.load().is_none() || shared.journal.is_lost(sequence);
        if is_hopeless || visible.changed().await.is_err() {
            return;
        }
    }
}

/// Fills the memory of duplicates from the newest index blocks.
fn remembered(view: &view::View) -> Result<Dedup, StoreError> {
    let mut dedup = Dedup::default();
    let mut before = Sequence::MAX;
    while let Some(block) = view.block_with(before)? {
        for entry in block.entries.iter().rev() {
            if !dedup.insert_oldest(entry.identity, entry.sequence) {
                return Ok(dedup);
            }
        }
        match block.first().and_then(|first| first.checked_sub(1)) {
            Some(earlier) => before = earlier,
            None => break,
        }
    }
    Ok(dedup)
}

#[cfg(test)]
mod lines_tests;
#[cfg(test)]
mod tests;
