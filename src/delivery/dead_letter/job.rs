//! Redrives dead letters at a rate, in the background. A job lives in memory; what it does is on
//! disk step by step: after a restart the letters that it redrove are redriven, the others stand.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::choice::{Choice, Walk};
use super::{Action, DeadLetterError, step};
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::limits;
use crate::log::{BusName, DeadLetter, Sequence, TargetId};
use crate::rule::{RateLimit, Target};

/// First wait after the log took nothing; it doubles.
const WAIT: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often a job does its share: few enough that a step is worth its flush.
const STEP_EVERY: Duration = Duration::from_millis(100);

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    Running,
    Done,
    Cancelled,
    /// Says why; what was redriven before stays so.
    Failed(String),
}

/// A redrive in the background.
#[derive(Debug)]
pub struct Job {
    pub id: u64,
    pub bus: BusName,
    pub rate: RateLimit,
    /// How many were chosen when it began.
    pub chosen: u64,
    pub started: Timestamp,
    redriven: AtomicU64,
    /// Those left standing, since their target is gone.
    left: AtomicU64,
    end: Mutex<Option<(JobState, Timestamp)>>,
    cancel: CancellationToken,
}

impl Job {
    #[must_use]
    pub fn redriven(&self) -> u64 {
        self.redriven.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn state(&self) -> JobState {
        let end = self.end.lock();
        end.as_ref()
            .map_or(JobState::Running, |(state, _)| state.clone())
    }

    /// When it ended.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        self.end.lock().as_ref().map(|(_, at)| *at)
    }

    /// Ends it after the step in hand. One that has ended stays as it is.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// Why a job was not begun.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("{} redrives run already; cancel one or wait", limits::REDRIVE_JOBS)]
    TooMany,
    #[error("the bus is shutting down")]
    Closing,
}

/// The jobs of this run, the oldest first; ended ones are forgotten when there are many.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Jobs(Mutex<VecDeque<Arc<Job>>>);

impl Jobs {
    fn add(
        &self,
        bus: &BusName,
        rate: RateLimit,
        chosen: u64,
        started: Timestamp,
        cancel: CancellationToken,
    ) -> Result<Arc<Job>, JobError> {
        let mut jobs = self.0.lock();
        let running = jobs.iter().filter(|job| job.ended().is_none()).count();
        if running >= limits::REDRIVE_JOBS {
            return Err(JobError::TooMany);
        }
        if jobs.len() >= limits::REDRIVE_JOBS_KEPT
            && let Some(ended) = jobs.iter().position(|job| job.ended().is_some())
        {
            jobs.remove(ended);
        }
        // By the time, so that a job of an earlier run is not taken for one of this.
        let last = jobs.back().map_or(0, |job| job.id);
        let job = Arc::new(Job {
            id: started.as_millis().max(last + 1),
            bus: bus.clone(),
            rate,
            chosen,
            started,
            redriven: AtomicU64::new(0),
            left: AtomicU64::new(0),
            end: Mutex::new(None),
            cancel,
        });
        jobs.push_back(Arc::clone(&job));
        Ok(job)
    }
}

/// What a job is to redrive.
#[derive(Debug, Clone)]
pub enum Work {
    Ids(Vec<(TargetId, Sequence)>),
    Chosen(Choice),
}

impl Delivery {
    /// Begins to redrive at a rate, to the letters' own targets or to another one.
    ///
    /// # Errors
    /// [`JobError`] when there are too many jobs, or the bus stops.
    pub fn redrive_at_rate(
        &self,
        bus: &BusName,
        work: Work,
        chosen: u64,
        rate: RateLimit,
        to: Option<&Arc<Target>>,
    ) -> Result<Arc<Job>, JobError> {
        let inner = &self.0;
        if inner.stop.is_cancelled() {
            return Err(JobError::Closing);
        }
        let started = self.clock().now();
        let job = inner
            .jobs
            .add(bus, rate, chosen, started, inner.stop.child_token())?;
        let action = Action::Redrive(to.map(|target| target.key));
        let (delivery, running) = (self.clone(), Arc::clone(&job));
        inner.tasks.spawn(async move {
            let end = run(&delivery, &running, work, action).await;
            info!(
                bus = %running.bus, job = running.id, redriven = running.redriven(), ?end,
                "a redrive ended"
            );
            *running.end.lock() = Some((end, delivery.clock().now()));
        });
        Ok(job)
    }

    /// The redrives of a bus that run or ended not long ago, oldest first.
    #[must_use]
    pub fn redrives(&self, bus: &BusName) -> Vec<Arc<Job>> {
        let jobs = self.0.jobs.0.lock();
        jobs.iter().filter(|job| job.bus == *bus).cloned().collect()
    }
}

async fn run(delivery: &Delivery, job: &Job, work: Work, action: Action) -> JobState {
    match redrive(delivery, job, work, action).await {
        Ok(()) if job.cancel.is_cancelled() => JobState::Cancelled,
        Ok(()) => JobState::Done,
        Err(error) => JobState::Failed(error.to_string()),
    }
}

/// Ends between two steps when cancelled: a step that the log has taken must be told to its lane.
async fn redrive(
    delivery: &Delivery,
    job: &Job,
    work: Work,
    action: Action,
) -> Result<(), DeadLetterError> {
    let mut source = Source::new(delivery, job, work);
    let began = Instant::now();
    while !job.cancel.is_cancelled() {
        let allowed = job.rate.due_after(began.elapsed());
        let room = allowed.saturating_sub(job.redriven());
        if room == 0 {
            let gap = job.rate.interval();
            rest(job, gap.clamp(Duration::from_millis(1), STEP_EVERY)).await;
            continue;
        }
        let most = usize::try_from(room).unwrap_or(usize::MAX);
        let Some(mut letters) = source.take(most.min(limits::BULK_RECORDS)).await? else {
            return Ok(());
        };
        let rules = delivery.rules().current();
        let all = letters.len();
        letters.retain(|letter| action.can(letter, &rules));
        job.left
            .fetch_add((all - letters.len()) as u64, Ordering::AcqRel);
        let done = patient_step(delivery, job, letters, action).await?;
        job.redriven.fetch_add(done as u64, Ordering::AcqRel);
        if done > 0 {
            // Large rates are served in steps that are worth a flush.
            rest(job, STEP_EVERY.min(job.rate.interval() * 64)).await;
        }
    }
    Ok(())
}

/// Waits for a log that takes nothing: the disk may have room again.
async fn patient_step(
    delivery: &Delivery,
    job: &Job,
    letters: Vec<DeadLetter>,
    action: Action,
) -> Result<usize, DeadLetterError> {
    let mut wait = WAIT;
    loop {
        match step(delivery, letters.clone(), action).await {
            Err(DeadLetterError::Append(error)) if !job.cancel.is_cancelled() => {
                warn!(bus = %job.bus, job = job.id, %error, "a redrive waits for the log");
                rest(job, wait).await;
                wait = (wait * 2).min(WAIT_MAX);
            }
            Err(DeadLetterError::Append(_)) => return Ok(0),
            other => return other,
        }
    }
}

async fn rest(job: &Job, wait: Duration) {
    let sleep = tokio::time::sleep(wait);
    let _ = job.cancel.run_until_cancelled(sleep).await;
}

/// Where a job's letters come from.
struct Source {
    log: crate::log::Log,
    walk: Option<Walk>,
    ids: VecDeque<(TargetId, Sequence)>,
    read: VecDeque<DeadLetter>,
    /// What dies after the job began is not its business, or it might never end.
    until: Timestamp,
}

impl Source {
    fn new(delivery: &Delivery, job: &Job, work: Work) -> Self {
        let log = delivery.log().clone();
        let until = job.started.plus(Duration::from_millis(1));
        let (walk, ids) = match work {
            Work::Ids(ids) => (None, ids.into()),
            Work::Chosen(choice) => (Some(Walk::new(log.clone(), choice, None)), VecDeque::new()),
        };
        Self {
            log,
            walk,
            ids,
            read: VecDeque::new(),
            until,
        }
    }

    /// Up to `most` letters that still stand; `None` at the end.
    async fn take(&mut self, most: usize) -> Result<Option<Vec<DeadLetter>>, DeadLetterError> {
        let mut letters = Vec::new();
        while letters.len() < most {
            if let Some((target, sequence)) = self.ids.pop_front() {
                letters.extend(self.log.dead_letter(target, sequence)?);
            } else if let Some(letter) = self.read.pop_front() {
                // It was read some time ago: somebody may have purged or redriven it since.
                letters.extend(self.log.dead_letter(letter.target, letter.sequence)?);
            } else if let Some(walk) = &mut self.walk {
                match walk.next().await? {
                    Some(page) => self.read.extend(page),
                    None => self.walk = None,
                }
            } else {
                break;
            }
        }
        letters.retain(|letter| letter.dead_at < self.until);
        let ended = self.ids.is_empty() && self.read.is_empty() && self.walk.is_none();
        Ok((!letters.is_empty() || !ended).then_some(letters))
    }
}
