//! Redrives in the background: how they stand, and their end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::check_place;
use crate::api::extract::{Filter, Place};
use crate::api::openapi::Moment;
use crate::api::page::Page;
use crate::api::{Api, Problem};
use crate::delivery::dead_letter::{Job, JobState};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redrive)]
pub(in crate::api) struct ShownJob {
    id: String,
    /// `running`, `done`, `cancelled` or `failed`
    state: &'static str,
    rate: String,
    chosen: u64,
    redriven: u64,
    /// Their target is gone.
    left: u64,
    #[schema(value_type = Moment)]
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Moment>)]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedriveList)]
pub(in crate::api) struct JobList {
    redrives: Vec<ShownJob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl From<&Job> for ShownJob {
    fn from(job: &Job) -> Self {
        let state = job.state();
        Self {
            id: job.id.to_string(),
            state: match state {
                JobState::Running => "running",
                JobState::Done => "done",
                JobState::Cancelled => "cancelled",
                JobState::Failed(_) => "failed",
            },
            rate: job.rate.to_string(),
            chosen: job.chosen,
            redriven: job.redriven(),
            left: job.left(),
            started: job.started.to_string(),
            ended: job.ended().map(|at| at.to_string()),
            error: match state {
                JobState::Failed(error) => Some(error),
                _ => None,
            },
        }
    }
}

/// 202: the job runs; where it shows is said.
pub(super) fn accepted(job: &Job) -> Response {
    let place = format!("/v1/buses/{}/dead-letters/redrives/{}", job.bus, job.id);
    let mut response = (StatusCode::ACCEPTED, Json(ShownJob::from(job))).into_response();
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// `GET …/dead-letters/redrives`
pub(in crate::api) async fn jobs(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(page): Filter<Page>,
) -> Result<Json<JobList>, Problem> {
    check_place(&api, &place)?;
    let (jobs, next) = page.cut(api.delivery.redrives(&place.bus), |job| job.id)?;
    let redrives = jobs.iter().map(|job| ShownJob::from(&**job)).collect();
    Ok(Json(JobList { redrives, next }))
}

/// `GET …/dead-letters/redrives/{id}`
pub(in crate::api) async fn job(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<ShownJob>, Problem> {
    Ok(Json(ShownJob::from(&*find(&api, &place)?)))
}

/// `DELETE …/dead-letters/redrives/{id}`: it ends after the step in hand.
pub(in crate::api) async fn cancel(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<StatusCode, Problem> {
    find(&api, &place)?.cancel();
    Ok(StatusCode::NO_CONTENT)
}

fn find(api: &Api, place: &Place) -> Result<Arc<Job>, Problem> {
    let jobs = api.delivery.redrives(&place.bus);
    let mut jobs = jobs.into_iter();
    jobs.find(|job| job.id.to_string() == place.id())
        .ok_or_else(|| {
            Problem::not_found(format!(
                "There is no redrive `{}` here. A redrive ends when the bus stops; letters that it had not reached still stand.",
                place.id()
            ))
        })
}
