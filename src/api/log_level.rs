//! What the bus logs: shown, changed while it runs, and put back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{self, Sent};
use super::{Api, Problem};
use crate::limits;

/// What is logged.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogLevel)]
pub(super) struct Shown {
    /// A level, or levels by module, as they hold now.
    level: String,
    /// What the configuration says, which holds again after a restart.
    configured: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewLogLevel)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, and others for single modules, parted by
    /// commas.
    level: String,
}

/// `GET /v1/log-level`
pub(super) async fn show(State(api): State<Arc<Api>>) -> Json<Shown> {
    shown(&api)
}

/// `PUT /v1/log-level`: until the bus stops.
pub(super) async fn set(State(api): State<Arc<Api>>, body: Sent) -> Result<Json<Shown>, Problem> {
    let wanted: Wanted = extract::json(&api, body, limits::LOG_LEVEL_BYTES).await?;
    api.log_level.set(&wanted.level).map_err(|wrong| {
        let place = ("/level".to_owned(), wrong.clone());
        Problem::invalid(
            "Not a log level",
            format!("Nothing was changed: {wrong}."),
            [place],
        )
    })?;
    Ok(shown(&api))
}

/// `DELETE /v1/log-level`: what the configuration says holds again.
pub(super) async fn reset(State(api): State<Arc<Api>>) -> Result<Json<Shown>, Problem> {
    let configured = api.log_level.configured().to_owned();
    api.log_level.set(&configured).map_err(Problem::internal)?;
    Ok(shown(&api))
}

fn shown(api: &Api) -> Json<Shown> {
    Json(Shown {
        level: api.log_level.now(),
        configured: api.log_level.configured().to_owned(),
    })
}
