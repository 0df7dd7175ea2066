//! The HTTP face of the bus: parse, call, convert; the only place that knows statuses.

mod apply;
mod body;
mod buses;
mod dead_letters;
mod error;
mod events;
mod exposition;
mod extract;
mod front;
mod health;
mod metrics;
mod patterns;
mod publish;
mod revision;
mod rules;
mod scheduled;
mod secrets;
mod server;
mod targets;
mod transforms;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{delete, get, post};

use crate::delivery::Delivery;
use crate::limits;
use crate::log::Log;
use crate::rule::Rules;
use crate::schedule::Schedule;
use crate::secret::Secrets;

pub use error::Problem;
pub use front::serve;
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            connections: limits::CONNECTIONS,
            head_timeout: limits::REQUEST_HEAD_TIMEOUT,
            body_idle_timeout: limits::REQUEST_BODY_IDLE_TIMEOUT,
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
    metrics: metrics::Metrics,
    bodies: body::Bodies,
    draining: AtomicBool,
}

impl Api {
    /// An API over running parts.
    #[must_use]
    pub fn new(
        config: &Config,
        log: Log,
        rules: Rules,
        delivery: Delivery,
        router: crate::router::Router,
        schedule: Schedule,
        secrets: Secrets,
    ) -> Arc<Self> {
        let metrics = metrics::Metrics::new(metrics::Sources {
            log: log.clone(),
            rules: rules.clone(),
            delivery: delivery.clone(),
            router,
        });
        Arc::new(Self {
            log,
            rules,
            delivery,
            schedule,
            secrets,
            metrics,
            bodies: body::Bodies::new(config.body_idle_timeout),
            draining: AtomicBool::new(false),
        })
    }

    /// Turns readiness red: the bus is about to stop. What still comes is answered as before.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Every route of the contract. Publishing goes past it (see [`front`]), but works here too.
pub fn routes(api: Arc<Api>) -> Router {
    let dead_letters = Router::new()
        .route("/", get(dead_letters::list))
        .route("/groups", get(dead_letters::groups))
        .route("/export", get(dead_letters::export))
        .route("/redrive", post(dead_letters::redrive))
        .route("/redrives", get(dead_letters::jobs))
        .route(
            "/redrives/{id}",
            get(dead_letters::job).delete(dead_letters::cancel),
        )
        .route("/purge", post(dead_letters::purge))
        .route("/{id}", get(dead_letters::one).delete(dead_letters::delete));
    let rule = Router::new()
        .route("/", get(rules::one).put(rules::put).delete(rules::delete))
        .route("/enable", post(rules::enable))
        .route("/disable", post(rules::disable))
        .route("/targets/{target}", get(targets::health))
        .route("/targets/{target}/pause", post(targets::pause))
        .route("/targets/{target}/resume", post(targets::resume))
        .route("/targets/{target}/test", post(targets::test))
        .nest("/targets/{target}/dead-letters", dead_letters.clone());
    let bus = Router::new()
        .route("/", get(buses::one).put(buses::put).delete(buses::delete))
        .route(
            "/events",
            post(publish::to_bus)
                .options(publish::handshake)
                .get(events::browse),
        )
        .route(
            "/events/{sequence}",
            get(events::one).delete(scheduled::cancel),
        )
        .route("/scheduled", get(scheduled::list))
        .route("/rules", get(rules::list))
        .nest("/rules/{rule}", rule)
        .nest("/dead-letters", dead_letters);
    Router::new()
        .route("/", post(publish::to_default).options(publish::handshake))
        .route("/v1/buses", get(buses::list))
        .nest("/v1/buses/{bus}", bus)
        .route("/v1/apply", post(apply::apply))
        .route("/v1/secrets", get(secrets::list))
        .route(
            "/v1/secrets/{secret}",
            get(secrets::one).put(secrets::put).delete(secrets::delete),
        )
        .route(
            "/v1/secrets/{secret}/versions/{version}",
            delete(secrets::delete_version),
        )
        .route("/v1/patterns/test", post(patterns::test))
        .route("/v1/transforms/preview", post(transforms::preview))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::not_found(format!(
        "There is nothing at {}; events go to /v1/buses/<bus>/events or, for the bus `default`, to /.",
        uri.path()
    ))
}

/// axum adds the `Allow` header to what this answers.
async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::wrong_method(&method, uri.path())
}
