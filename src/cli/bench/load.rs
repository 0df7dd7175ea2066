//! The load generator: many connections on one thread, as fast as they go or at a given rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::http::Connection;
use super::receiver::Deliveries;
use super::request::{Request, nanos_at};
use crate::cli::exit::Failure;

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// After this long, of which the first part only warms up.
    Time {
        warm_up: Duration,
        measure: Duration,
    },
    /// After this many events.
    Events(u64),
}

/// What to send, where, and how fast.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) addr: SocketAddr,
    pub(super) request: Request,
    pub(super) connections: usize,
    pub(super) until: Until,
    /// Requests a second, sent by the clock whatever the answers do; `None` is as fast as it goes.
    pub(super) rate: Option<f64>,
    /// Publishers may be this many events ahead of what has arrived.
    pub(super) ahead: Option<(usize, Arc<Deliveries>)>,
    /// Where events take their numbers, so that no number comes twice on one bus.
    pub(super) numbers: Arc<AtomicU64>,
}

/// What came of a load.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Events whose request was answered 202, warm-up included.
    pub(super) accepted: u64,
    /// Events accepted in the measured time.
    pub(super) measured: u64,
    /// The measured time.
    pub(super) elapsed: Duration,
    /// Time to the answer, in nanoseconds, of requests answered in the measured time.
    pub(super) latency: Histogram<u64>,
    /// Requests that failed or were refused.
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

/// From 1 µs to 5 minutes, three digits.
pub(super) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 300_000_000_000, 3).expect("the bounds are valid")
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    measuring: AtomicBool,
    accepted: AtomicU64,
    measured: AtomicU64,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
    latency: Mutex<Histogram<u64>>,
    /// Events still to send, for [`Until::Events`].
    left: AtomicU64,
    /// Requests whose time has come, for a paced load.
    due: Semaphore,
    /// Requests started, for a paced load: gives each its place in the schedule.
    started: AtomicU64,
}

impl Load {
    /// Runs to the end on a thread of its own. `tick` is called a few times a second with the events
    /// accepted so far; `window` when the measured time starts and ends.
    pub(super) fn run(
        self,
        tick: &mut dyn FnMut(u64),
        window: &mut dyn FnMut(bool),
    ) -> Result<Outcome, Failure> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            measuring: AtomicBool::new(matches!(self.until, Until::Events(_))),
            accepted: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            first_error: Mutex::new(None),
            latency: Mutex::new(new_histogram()),
            left: AtomicU64::new(match self.until {
                Until::Events(events) => events,
                Until::Time { .. } => u64::MAX,
            }),
            due: Semaphore::new(0),
            started: AtomicU64::new(0),
        });
        if let Some((ahead, deliveries)) = &self.ahead {
            deliveries.room.forget_permits(Semaphore::MAX_PERMITS);
            deliveries.room.add_permits(*ahead);
        }
        let start = Instant::now();
        let pacer = self.rate.map(|rate| pace(rate, start, Arc::clone(&shared)));
        let until = self.until;
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || self.drive(start, &shared))
        };
        let elapsed = watch(until, &shared, &thread, tick, window);
        shared.stop.store(true, Ordering::Release);
        // Those who wait for their turn must wake to see the end.
        shared.due.close();
        let result = thread.join();
        if let Some(pacer) = pacer {
            let _ = pacer.join();
        }
        result.map_err(|_| Failure::failed("the load generator broke"))??;
        let outcome = Outcome {
            accepted: shared.accepted.load(Ordering::Acquire),
            measured: shared.measured.load(Ordering::Acquire),
            elapsed,
            latency: shared.latency.lock().clone(),
            errors: shared.errors.load(Ordering::Acquire),
            first_error: shared.first_error.lock().clone(),
        };
        Ok(outcome)
    }

    fn drive(self, start: Instant, shared: &Arc<Shared>) -> Result<(), Failure> {
        let failed = |error| Failure::failed(format!("the load generator: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..self.connections {
                let connection = Connection::open(self.addr).await.map_err(failed)?;
                tasks.spawn(send_until_stopped(
                    connection,
                    self.clone(),
                    start,
                    Arc::clone(shared),
                ));
            }
            while tasks.join_next().await.is_some() {}
            Ok(())
        })
    }
}

/// One connection's work.
async fn send_until_stopped(
    mut connection: Connection,
    mut load: Load,
    start: Instant,
    shared: Arc<Shared>,
) {
    let events = load.request.events();
    while let Some(sent_at) = next_turn(&load, start, &shared).await {
        let first = load.numbers.fetch_add(events, Ordering::AcqRel);
        let bytes = load.request.stamped(first, nanos_at(sent_at));
        match connection.call(bytes).await {
            Ok(202) => {
                shared.accepted.fetch_add(events, Ordering::AcqRel);
                if shared.measuring.load(Ordering::Acquire) {
                    shared.measured.fetch_add(events, Ordering::AcqRel);
                    let nanos = sent_at.elapsed().as_nanos();
                    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                    shared.latency.lock().saturating_record(nanos);
                }
            }
            other => {
                shared.errors.fetch_add(1, Ordering::AcqRel);
                let mut first_error = shared.first_error.lock();
                let text = match other {
                    Ok(status) => format!("answered {status}"),
                    Err(error) => error.to_string(),
                };
                first_error.get_or_insert(text);
                // One error fails the bench: more of the same tells nothing new.
                return;
            }
        }
    }
}

/// Waits until the connection may send; the moment the request counts from. A paced request counts
/// from its place in the schedule, so a server that stalls is charged for all who had to wait.
async fn next_turn(load: &Load, start: Instant, shared: &Shared) -> Option<Instant> {
    if shared.stop.load(Ordering::Acquire) {
        return None;
    }
    let events = load.request.events();
    if matches!(load.until, Until::Events(_)) {
        let take = |left: u64| left.checked_sub(events);
        shared
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .ok()?;
    }
    if let Some((_, deliveries)) = &load.ahead {
        // A second's patience at a time: whoever waits for room must notice the end.
        loop {
            let room = deliveries.room.acquire_many(events as u32);
            match tokio::time::timeout(Duration::from_secs(1), room).await {
                Ok(Ok(permits)) => {
                    permits.forget();
                    break;
                }
                Ok(Err(_)) => return None,
                Err(_) if shared.stop.load(Ordering::Acquire) => return None,
                Err(_) => {}
            }
        }
    }
    let Some(rate) = load.rate else {
        return Some(Instant::now());
    };
    shared.due.acquire().await.ok()?.forget();
    let place = shared.started.fetch_add(1, Ordering::AcqRel);
    Some(start + Duration::from_secs_f64(place as f64 / rate))
}

/// A thread that lets requests go when their time has come: finer than a runtime's timers, which
/// round up to a millisecond.
fn pace(rate: f64, start: Instant, shared: Arc<Shared>) -> std::thread::JoinHandle<()> {
    const NAP: Duration = Duration::from_micros(200);
    std::thread::spawn(move || {
        let mut released = 0;
        while !shared.stop.load(Ordering::Acquire) {
            let due = (start.elapsed().as_secs_f64() * rate) as usize + 1;
            shared.due.add_permits(due - released);
            released = due;
            std::thread::sleep(NAP);
        }
    })
}

/// Follows the load from outside: opens and closes the measured time; returns its length.
fn watch(
    until: Until,
    shared: &Shared,
    thread: &std::thread::JoinHandle<Result<(), Failure>>,
    tick: &mut dyn FnMut(u64),
    window: &mut dyn FnMut(bool),
) -> Duration {
    const STEP: Duration = Duration::from_millis(20);
    let start = Instant::now();
    let mut wait = |until: Option<Instant>| {
        while !thread.is_finished() && until.is_none_or(|until| Instant::now() < until) {
            std::thread::sleep(STEP);
            tick(shared.accepted.load(Ordering::Acquire));
        }
    };
    match until {
        Until::Events(_) => {
            window(true);
            wait(None);
            window(false);
            start.elapsed()
        }
        Until::Time { warm_up, measure } => {
            wait(Some(start + warm_up));
            shared.measuring.store(true, Ordering::Release);
            window(true);
            let start = Instant::now();
            wait(Some(start + measure));
            let elapsed = start.elapsed();
            window(false);
            shared.measuring.store(false, Ordering::Release);
            elapsed
        }
    }
}
