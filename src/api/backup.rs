//! A backup, made while it is fetched.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::{Api, Problem};
use crate::backup::Backup;
use crate::limits;

pub(super) const MEDIA_TYPE: &str = "application/x-tar";

/// `POST /v1/backup`: with all that was acknowledged before.
pub(super) async fn backup(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let (log, now) = (api.log.clone(), api.delivery.now());
    let begun = tokio::task::spawn_blocking(move || {
        let sequence = log.durable_through();
        let held = log.hold()?;
        Some(Backup::begin(held, &log.data_dir(), sequence, now))
    });
    let begun = begun.await.map_err(Problem::internal)?;
    let backup = begun.ok_or_else(|| {
        Problem::unavailable(
            "Another backup is being fetched; wait for its end.",
            limits::RETRY_AFTER_FULL_SECONDS,
        )
    })?;
    let backup = backup.map_err(Problem::internal)?;
    tracing::info!(?backup, "a backup is being fetched");
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    // Its reader's pace is its own; when the reader goes, so does it.
    let parts = stream::try_unfold(backup, |backup| async {
        next(backup).await.inspect_err(|error| {
            tracing::error!(%error, "a backup breaks off");
        })
    });
    Ok((headers, Body::from_stream(parts)).into_response())
}

async fn next(mut backup: Backup) -> io::Result<Option<(Bytes, Backup)>> {
    let read = tokio::task::spawn_blocking(move || {
        let part = backup.next_part()?;
        Ok(part.map(|part| (Bytes::from(part), backup)))
    });
    read.await.map_err(io::Error::other)?
}
