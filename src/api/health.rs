//! Whether the bus is alive, whether it can accept, and its metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, Problem, exposition};
use crate::limits;
use crate::log::State as JournalState;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    status: &'static str,
    version: &'static str,
}

/// The state of each part that accepting depends on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    ready: bool,
    parts: Parts,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadyParts)]
struct Parts {
    /// `writable`, `full`, `failed` or `closed`
    journal: &'static str,
    /// `current`, or why what is looked up lags; publishing goes on
    view: String,
    draining: bool,
}

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive {
        status: "alive",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// `GET /readyz`: the bus can accept events; else 503 with the reason.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Ready>, Problem> {
    let (journal, reason) = match api.log.state() {
        JournalState::Writable => ("writable", None),
        JournalState::Full(cause) => ("full", Some(format!("The disk is full: {cause}."))),
        JournalState::Failed(cause) => (
            "failed",
            Some(format!(
                "The journal failed ({cause}); restart the bus once the disk is well."
            )),
        ),
        JournalState::Closed => ("closed", Some("The journal is closed.".to_owned())),
    };
    let draining = api.is_draining();
    let parts = Parts {
        journal,
        view: api
            .log
            .view_problem()
            .unwrap_or_else(|| "current".to_owned()),
        draining,
    };
    let reason = reason.or_else(|| draining.then(|| "The bus is stopping.".to_owned()));
    match reason {
        None => Ok(Json(Ready { ready: true, parts })),
        Some(reason) => {
            let parts = serde_json::to_value(parts).map_err(Problem::internal)?;
            Err(Problem::unavailable(reason, limits::RETRY_AFTER_SECONDS)
                .with("ready", false.into())
                .with("parts", parts))
        }
    }
}

/// `GET /metrics`, in Prometheus' text format.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let text = api.metrics.text(api.bodies.held_bytes());
    ([(header::CONTENT_TYPE, exposition::MEDIA_TYPE)], text)
}
