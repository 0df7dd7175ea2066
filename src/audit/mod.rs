//! Who changed what: a line for each management call, on disk before the call has any effect.
//!
//! A call is two lines: what is about to be done, flushed to the disk before it is, and what came of
//! it. Where the second is missing nobody knows: the bus was killed, or the caller went away. The
//! lines stand in files of their own and not in the journal: some of what they tell of (secrets, keys)
//! is not there either, and they are to be written when the journal takes nothing.
//!
//! Changes take turns ([`Audit::turn`]), so that what one finds before and leaves behind is its own.

mod entry;
mod files;
mod refusals;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

pub use self::entry::{Actor, Call, Entry, MASK, Outcome, document, masked};

use self::entry::{Ending, Line};
use self::files::Files;
use self::refusals::Refusals;
use crate::clock::{Clock, Timestamp};
use crate::limits;

/// Where the lines stand, and for how long.
#[derive(Debug, Clone)]
pub struct Config {
    pub dir: PathBuf,
    pub retention: Duration,
}

/// Why nothing could be written down, or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read or write the audit in {dir}: {cause}")]
pub struct AuditError {
    dir: PathBuf,
    cause: String,
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub limit: usize,
    /// Only those before this one.
    pub before: Option<u64>,
    /// A key's prefix or name, or a kind of actor.
    pub actor: Option<String>,
    /// What the path begins with.
    pub subject: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Some entries, the newest first.
#[derive(Debug, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Where to go on, if there may be more.
    pub next: Option<u64>,
}

/// What is written down. Clones share it. Everything here reads or writes files: not for a thread that
/// others wait for.
#[derive(Clone)]
pub struct Audit(Arc<Shared>);

struct Shared {
    config: Config,
    clock: Clock,
    writing: Mutex<Writing>,
    /// Held while a page is read: it may be many megabytes.
    reading: Mutex<()>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// While one holds it nobody else changes what the audit shows before and after.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "it is held")] OwnedMutexGuard<()>);

struct Writing {
    files: Files,
    next: u64,
    refusals: Refusals,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Audit({})", self.0.config.dir.display())
    }
}

impl Audit {
    /// Goes on behind what was written before; a line that broke off is cut.
    pub fn open(config: Config, clock: Clock) -> Result<Audit, AuditError> {
        let failed = |cause: std::io::Error| AuditError {
            dir: config.dir.clone(),
            cause: cause.to_string(),
        };
        let (files, next) = Files::open(&config.dir).map_err(failed)?;
        let audit = Audit(Arc::new(Shared {
            writing: Mutex::new(Writing {
                files,
                next,
                refusals: Refusals::new(clock.now()),
            }),
            reading: Mutex::default(),
            turn: Arc::default(),
            config,
            clock,
        }));
        audit.forget()?;
        Ok(audit)
    }

    /// Waits until nobody else changes what the audit shows before and after.
    pub async fn turn(&self) -> Turn {
        Turn(Arc::clone(&self.0.turn).lock_owned().await)
    }

    /// Writes down what is about to be done; on disk when this returns. Its number is for
    /// [`Audit::end`].
    pub fn begin(&self, call: Call) -> Result<u64, AuditError> {
        let mut writing = self.0.writing.lock();
        let begun = writing.begin(call, self.now(), true);
        begun.map_err(|error| self.failed(&error))
    }

    /// The same for changes that are made in one step: one flush is for all of them.
    pub fn begin_all(&self, calls: impl IntoIterator<Item = Call>) -> Result<Vec<u64>, AuditError> {
        let mut writing = self.0.writing.lock();
        let mut calls = calls.into_iter().peekable();
        let mut entries = Vec::new();
        while let Some(call) = calls.next() {
            let is_last = calls.peek().is_none();
            let begun = writing.begin(call, self.now(), is_last);
            entries.push(begun.map_err(|error| self.failed(&error))?);
        }
        Ok(entries)
    }

    /// Writes down what came of it. Not flushed: a power cut may take it, and leaves what was about to
    /// be done.
    pub fn end(&self, entry: u64, outcome: Outcome) {
        let line = Line::Ending(Ending {
            ends: entry,
            at: self.now(),
            outcome,
        });
        let mut writing = self.0.writing.lock();
        let next = writing.next;
        if let Err(error) = writing.files.write(next, line, false) {
            let error = self.failed(&error);
            tracing::error!(%error, entry, "what came of a management call is not written down");
        }
    }

    /// Writes down a call that was refused for want of a right, if there have not been too many: who
    /// tries wrong keys must not fill the disk. Those beyond are counted. Not flushed: it changed
    /// nothing.
    pub fn refused(&self, call: Call, status: u16) {
        let now = self.now();
        let mut writing = self.0.writing.lock();
        let Some(left_out) = writing.refusals.admit(now) else {
            return;
        };
        let number = writing.number();
        let mut entry = call.entry(number, now);
        entry.status = Some(status);
        entry.refusals_left_out = Some(left_out).filter(|count| *count > 0);
        let line = Line::Entry(Box::new(entry));
        if let Err(error) = writing.files.write(number, line, false) {
            let error = self.failed(&error);
            tracing::error!(%error, "a refused call is not written down");
        }
    }

    /// Lets go of what is older than the retention, and of the oldest beyond the bound of bytes, a
    /// file at a time.
    pub fn forget(&self) -> Result<(), AuditError> {
        let oldest = self.now().minus(self.0.config.retention);
        let mut writing = self.0.writing.lock();
        let forgotten = writing.files.forget(oldest, limits::AUDIT_BYTES);
        forgotten.map_err(|error| self.failed(&error))
    }

    /// The newest entries that fit.
    pub fn page(&self, query: &Query) -> Result<Page, AuditError> {
        let _reading = self.0.reading.lock();
        let files = self.0.writing.lock().files.paths();
        files::page(files, query).map_err(|error| self.failed(&error))
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn failed(&self, error: &std::io::Error) -> AuditError {
        AuditError {
            dir: self.0.config.dir.clone(),
            cause: error.to_string(),
        }
    }
}

impl Writing {
    fn begin(&mut self, call: Call, now: Timestamp, is_flushed: bool) -> std::io::Result<u64> {
        let number = self.number();
        let line = Line::Entry(Box::new(call.entry(number, now)));
        self.files.write(number, line, is_flushed)?;
        Ok(number)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

impl Query {
    fn fits(&self, entry: &Entry) -> bool {
        let actor = self.actor.as_deref();
        let subject = self.subject.as_deref();
        actor.is_none_or(|actor| entry.call.actor.is(actor))
            && subject.is_none_or(|subject| entry.is_about(subject))
            && self.before.is_none_or(|before| entry.entry < before)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

#[cfg(test)]
mod tests;
