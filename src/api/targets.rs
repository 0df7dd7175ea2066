//! The health of one target.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::extract::Place;
use super::{Api, Problem};
use crate::delivery::{BreakerState, LaneStatus};
use crate::log::{BusName, RuleName, TargetId, TargetName};

/// How a target is doing.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    bus: BusName,
    rule: RuleName,
    target: TargetName,
    breaker: BreakerState,
    throttled_by: Option<&'static str>,
    /// Attempts at once that the target is found to bear; null before the first one.
    concurrency: Option<u64>,
    /// Deliveries not settled yet: waiting in memory, for a retry, or on disk behind the target.
    pending: u64,
    in_flight: u64,
    ready: u64,
    parked: u64,
    backlogged: u64,
    oldest_pending: Option<String>,
    delivered: u64,
    dead_lettered: u64,
    last_status: Option<u16>,
    last_error: Option<String>,
}

/// `GET /v1/buses/{bus}/rules/{rule}/targets/{target}`
pub(super) async fn health(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<Health>, Problem> {
    let key = key(&api, &place)?;
    let (bus, rule) = place.rule();
    let status = api
        .delivery
        .status(key)
        .ok_or_else(|| Problem::no_target(bus, rule, place.target()))?;
    Ok(Json(status.into()))
}

/// The live target that the path names.
fn key(api: &Api, place: &Place) -> Result<TargetId, Problem> {
    let (bus, name) = place.rule();
    api.rules.bus(bus).ok_or_else(|| Problem::no_bus(bus))?;
    let rule = api
        .rules
        .rule(bus, name)
        .ok_or_else(|| Problem::no_rule(bus, name))?;
    rule.target(place.target())
        .map(|target| target.key)
        .ok_or_else(|| Problem::no_target(bus, name, place.target()))
}

impl From<LaneStatus> for Health {
    fn from(lane: LaneStatus) -> Self {
        Self {
            pending: lane.ready + lane.in_flight + lane.parked + lane.backlogged,
            bus: lane.bus,
            rule: lane.rule,
            target: lane.target,
            breaker: lane.breaker,
            throttled_by: lane.throttled_by,
            concurrency: Some(lane.concurrency).filter(|limit| *limit > 0),
            in_flight: lane.in_flight,
            ready: lane.ready,
            parked: lane.parked,
            backlogged: lane.backlogged,
            oldest_pending: lane.oldest_pending.map(|moment| moment.to_string()),
            delivered: lane.delivered,
            dead_lettered: lane.dead_lettered,
            last_status: lane.last_status,
            last_error: lane.last_error,
        }
    }
}
