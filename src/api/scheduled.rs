//! Events that wait for the time that their `deliverat` names: listed, cancelled.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::events::{self, ShownEvent};
use super::extract::{Filter, Place};
use super::page::{Cursor, Page};
use super::{Api, Problem};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::limits;
use crate::log::Sequence;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScheduledList {
    scheduled: Vec<ShownEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Refuses events that are to be routed too far ahead.
pub(super) fn check_horizon(events: &[Event], now: Timestamp) -> Result<(), Problem> {
    let latest = now.plus(limits::DELIVER_AT_HORIZON);
    for (index, event) in events.iter().enumerate() {
        let due = event.deliver_at_millis().map(Timestamp::from_millis);
        if due.is_some_and(|due| due > latest) {
            return Err(Problem::malformed(format!(
                "`deliverat` of event {index} (id {:?}) lies beyond {latest}, the latest that is taken now: {} days ahead.",
                event.id(),
                limits::DELIVER_AT_HORIZON.as_secs() / 86_400
            )));
        }
    }
    Ok(())
}

/// `GET /v1/buses/{bus}/scheduled`: the events that wait, the earliest due first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(page): Filter<Page>,
) -> Result<Json<ScheduledList>, Problem> {
    let limit = page.limit()?;
    let mut after = page
        .after::<Due>()?
        .map(|Due(due, sequence)| (due, sequence));
    events::known_bus(&api, &place.bus)?;
    let (mut scheduled, mut looked_at) = (Vec::new(), 0);
    let mut next = None;
    let forever = Timestamp::from_millis(u64::MAX);
    'pages: loop {
        let waiting = api
            .log
            .deferred_between(after, forever, limits::BULK_RECORDS)?;
        if waiting.is_empty() {
            break;
        }
        for (due, sequence) in waiting {
            if scheduled.len() == limit || looked_at == limits::SCHEDULED_PER_PAGE {
                next = after.map(|(due, sequence)| Due(due, sequence).write());
                break 'pages;
            }
            looked_at += 1;
            after = Some((due, sequence));
            let event = api.log.event(sequence).await?;
            if let Some(event) = event.filter(|event| event.bus == place.bus) {
                scheduled.push(events::show_waiting(&event, Some(due))?);
            }
        }
    }
    Ok(Json(ScheduledList { scheduled, next }))
}

/// `DELETE /v1/buses/{bus}/events/{sequence}`: an event that waits is not routed then.
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<StatusCode, Problem> {
    let sequence = place.sequence()?;
    events::of_bus(&api, &place.bus, sequence).await?;
    api.schedule.cancel(sequence).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An event's place in the row of those that wait.
struct Due(Timestamp, Sequence);

impl Cursor for Due {
    fn write(&self) -> String {
        format!("{}-{}", self.0.as_millis(), self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (due, sequence) = text.split_once('-')?;
        let due = Timestamp::from_millis(due.parse().ok()?);
        Some(Self(due, sequence.parse().ok()?))
    }
}
