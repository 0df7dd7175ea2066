//! The HTTP face of the bus: parse, call, convert; the only place that knows statuses.

mod access;
mod apply;
mod audit;
mod backtest;
mod backup;
mod body;
mod buses;
mod dead_letters;
mod error;
mod events;
mod exposition;
mod extract;
mod front;
mod health;
mod idempotency;
mod keys;
mod log_level;
mod metrics;
mod openapi;
mod packing;
mod page;
mod patterns;
mod problem;
mod publish;
mod pulls;
mod reading;
mod request_id;
mod revision;
mod routes;
mod rules;
mod rules_folder;
mod scheduled;
mod secrets;
mod server;
mod tail;
mod targets;
mod trace;
mod transforms;
mod warnings;
mod web_page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::access::Access;
use crate::audit::Audit;
use crate::delivery::Delivery;
use crate::limits;
use crate::log::Log;
use crate::rule::Rules;
use crate::schedule::Schedule;
use crate::secret::Secrets;
use crate::telemetry::LogLevel;
use crate::tls::Tls;

pub use access::Need;
pub use front::serve;
pub use openapi::description;
pub use problem::Problem;
pub use routes::{contract, routes};
pub use rules_folder::ensure_folder;
pub use server::bind;

/// How the bus answers HTTP.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// Connections open at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Time for a request's head to arrive, and for a kept-alive connection to bring the next one.
    pub head_timeout: Duration,
    /// Longest silence inside a request's body.
    pub body_idle_timeout: Duration,
    /// Whether `/metrics` answers everybody, also where callers need keys.
    pub metrics_are_open: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            connections: limits::CONNECTIONS,
            head_timeout: limits::REQUEST_HEAD_TIMEOUT,
            body_idle_timeout: limits::REQUEST_BODY_IDLE_TIMEOUT,
            metrics_are_open: false,
        }
    }
}

/// What the handlers work on; shared by all of them.
pub struct Api {
    log: Log,
    rules: Rules,
    delivery: Delivery,
    schedule: Schedule,
    secrets: Secrets,
    access: Access,
    audit: Audit,
    tls: Option<Tls>,
    log_level: LogLevel,
    metrics_are_open: bool,
    metrics: metrics::Metrics,
    bodies: body::Bodies,
    draining: CancellationToken,
    /// Seats of those who follow a bus.
    tails: Arc<Semaphore>,
    /// Seats of backtests.
    backtests: Arc<Semaphore>,
    /// Requests with idempotency keys.
    under_way: idempotency::UnderWay,
    kept_answers: idempotency::KeptAnswers,
    /// What goes on when its caller goes away.
    tasks: TaskTracker,
}

/// The running parts that an API stands on.
pub struct Parts {
    pub log: Log,
    pub rules: Rules,
    pub delivery: Delivery,
    pub router: crate::router::Router,
    pub schedule: Schedule,
    pub secrets: Secrets,
    pub access: Access,
    pub audit: Audit,
    /// What the listener speaks, if it is to speak TLS.
    pub tls: Option<Tls>,
    pub log_level: LogLevel,
}

impl Api {
    /// An API over running parts.
    #[must_use]
    pub fn new(config: &Config, parts: Parts) -> Arc<Self> {
        let Parts {
            log,
            rules,
            delivery,
            router,
            schedule,
            secrets,
            access,
            audit,
            tls,
            log_level,
        } = parts;
        let metrics = metrics::Metrics::new(metrics::Sources {
            log: log.clone(),
            rules: rules.clone(),
            delivery: delivery.clone(),
            router,
            tls: tls.clone(),
        });
        Arc::new(Self {
            log,
            rules,
            delivery,
            schedule,
            secrets,
            access,
            audit,
            tls,
            log_level,
            metrics_are_open: config.metrics_are_open,
            metrics,
            bodies: body::Bodies::new(config.body_idle_timeout),
            draining: CancellationToken::new(),
            tails: Arc::new(Semaphore::new(limits::TAILS)),
            backtests: Arc::new(Semaphore::new(limits::BACKTESTS)),
            under_way: idempotency::UnderWay::default(),
            kept_answers: idempotency::KeptAnswers::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Turns readiness red: the bus is about to stop. What still comes is answered as before; who
    /// follows a bus is sent away.
    pub fn start_draining(&self) {
        self.draining.cancel();
    }

    /// Does its work to the end, also when the caller goes away.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        match self.tasks.spawn(work.instrument(Span::current())).await {
            Ok(done) => Ok(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(Problem::internal(error)),
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }
}
