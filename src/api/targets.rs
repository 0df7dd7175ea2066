//! One target: how it stands, and what an operator does with it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Filter, Place};
use super::openapi::{Moment, Name};
use super::page::Page;
use super::{Api, Problem, rules};
use crate::delivery::{BreakerState, LaneStatus, OperateError};
use crate::limits;
use crate::log::{BusName, RuleName, TargetId, TargetName};
use crate::rule::RateLimit;

/// How a target is doing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TargetHealth)]
pub(super) struct Health {
    #[schema(value_type = Name)]
    bus: BusName,
    #[schema(value_type = Name)]
    rule: RuleName,
    #[schema(value_type = Name)]
    target: TargetName,
    /// `active`, `paused` or `disabled`
    state: &'static str,
    #[schema(value_type = Option<Moment>)]
    state_since: Option<String>,
    /// `gone` or `failing`
    disabled_for: Option<&'static str>,
    #[schema(value_type = Option<Moment>)]
    failing_since: Option<String>,
    breaker: BreakerState,
    throttled_by: Option<&'static str>,
    /// Of a target that must agree first: `pending`, `refused` or `granted`.
    validation: Option<&'static str>,
    validation_error: Option<String>,
    /// The most requests that it agreed to.
    #[schema(value_type = Option<String>)]
    allowed_rate: Option<RateLimit>,
    /// Attempts at once that the target is found to bear; null before the first one.
    concurrency: Option<u64>,
    /// Deliveries not settled yet: waiting in memory, for a retry, or on disk behind the target.
    pending: u64,
    in_flight: u64,
    /// Of a target that is pulled: requests that wait for deliveries; null of others.
    pulling: Option<u64>,
    ready: u64,
    parked: u64,
    backlogged: u64,
    #[schema(value_type = Option<Moment>)]
    oldest_pending: Option<String>,
    delivered: u64,
    dead_lettered: u64,
    last_status: Option<u16>,
    last_error: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TargetList {
    targets: Vec<Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /v1/buses/{bus}/rules/{rule}/targets`: by name. One that was put just now may not stand yet.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(page): Filter<Page>,
) -> Result<Json<TargetList>, Problem> {
    let rule = rules::find(&api, &place)?;
    let mut targets = rule.targets.clone();
    targets.sort_by(|one, other| one.id.cmp(&other.id));
    let (targets, next) = page.cut(targets, |target| target.id.clone())?;
    let standing = targets
        .iter()
        .filter_map(|target| api.delivery.status(target.key));
    let targets = standing.map(Health::from).collect();
    Ok(Json(TargetList { targets, next }))
}

/// `GET /v1/buses/{bus}/rules/{rule}/targets/{target}`
pub(super) async fn health(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<Health>, Problem> {
    let key = key(&api, &place)?;
    shown(&api, &place, key)
}

/// `POST …/targets/{target}/pause`: nothing is sent until it is resumed.
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<Health>, Problem> {
    let key = key(&api, &place)?;
    let done = api.delivery.pause(key).await;
    done.map_err(|error| refused(&place, error))?;
    shown(&api, &place, key)
}

/// `POST …/targets/{target}/resume`: it is sent to again, whoever stopped that.
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<Health>, Problem> {
    let key = key(&api, &place)?;
    let done = api.delivery.resume(key).await;
    done.map_err(|error| refused(&place, error))?;
    shown(&api, &place, key)
}

/// What came of a test.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TargetTest)]
pub(super) struct Tested {
    delivered: bool,
    status: Option<u16>,
    /// The start of what the target answered.
    response: Option<String>,
    error: Option<String>,
    took_ms: u64,
    /// The id of the event that was sent.
    event: String,
}

/// `POST …/targets/{target}/test`: sends one event of its own, at once.
pub(super) async fn test(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<Tested>, Problem> {
    let key = key(&api, &place)?;
    let tried = api.delivery.try_target(key).await;
    let trial = tried.map_err(|error| refused(&place, error))?;
    Ok(Json(Tested {
        delivered: trial.delivered,
        status: trial.status,
        response: trial.response,
        error: trial.error,
        took_ms: u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX),
        event: trial.event_id,
    }))
}

fn shown(api: &Api, place: &Place, key: TargetId) -> Result<Json<Health>, Problem> {
    let (bus, rule) = place.rule();
    let status = api
        .delivery
        .status(key)
        .ok_or_else(|| Problem::no_target(bus, rule, place.target()))?;
    Ok(Json(status.into()))
}

/// What the audit says of a target.
pub(super) fn state(
    api: &Api,
    bus: &BusName,
    rule: &RuleName,
    target: &TargetName,
) -> Option<serde_json::Value> {
    let key = api.rules.rule(bus, rule)?.target(target)?.key;
    let status = api.delivery.status(key)?;
    Some(serde_json::json!({"state": status.state, "disabled_for": status.disabled_for}))
}

fn refused(place: &Place, error: OperateError) -> Problem {
    let (bus, rule) = place.rule();
    match error {
        // Deleted just now.
        OperateError::NoTarget => Problem::no_target(bus, rule, place.target()),
        OperateError::TooManyTests => Problem::unavailable(
            format!("{error}: wait until one has its answer."),
            limits::RETRY_AFTER_SECONDS,
        ),
        OperateError::Pulled => Problem::conflict(format!(
            "The target `{}` of the rule `{rule}` is pulled: nothing is sent to it.",
            place.target()
        )),
        OperateError::Append(error) => error.into(),
    }
}

/// The live target that the path names.
pub(super) fn key(api: &Api, place: &Place) -> Result<TargetId, Problem> {
    let (bus, name) = place.rule();
    let rule = rules::find(api, place)?;
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
            state: lane.state,
            state_since: lane.state_since.map(|moment| moment.to_string()),
            disabled_for: lane.disabled_for,
            failing_since: lane.failing_since.map(|moment| moment.to_string()),
            breaker: lane.breaker,
            throttled_by: lane.throttled_by,
            validation: lane.validation,
            validation_error: lane.validation_error,
            allowed_rate: lane.allowed_rate,
            concurrency: Some(lane.concurrency).filter(|limit| *limit > 0),
            in_flight: lane.in_flight,
            pulling: lane.pulling,
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
