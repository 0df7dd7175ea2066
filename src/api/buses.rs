//! Buses: get, put, delete, list.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::extract::{self, Filter, Place, Sent};
use super::openapi::{Bus, Name};
use super::page::Page;
use super::{Api, Problem, revision};
use crate::access::{Caller, Scope};
use crate::limits;
use crate::log::{BusName, Sequence};

/// A bus in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedBus {
    #[schema(value_type = Name)]
    name: BusName,
    revision: Sequence,
    #[schema(value_type = Bus)]
    document: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BusList {
    buses: Vec<ListedBus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /v1/buses`: those that the caller may read.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Filter(page): Filter<Page>,
) -> Result<Json<BusList>, Problem> {
    let buses = api.rules.buses();
    let readable = buses
        .iter()
        .filter(|bus| caller.may(Scope::Read, &bus.name));
    let (page, next) = page.cut(readable, |bus| bus.name.clone())?;
    let listed = page.into_iter().map(|bus| {
        Ok(ListedBus {
            name: bus.name.clone(),
            revision: bus.revision,
            document: document(bus.document.text())?,
        })
    });
    let buses = listed.collect::<Result<_, Problem>>()?;
    Ok(Json(BusList { buses, next }))
}

/// `GET /v1/buses/{bus}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bus = api
        .rules
        .bus(&place.bus)
        .ok_or_else(|| Problem::no_bus(&place.bus))?;
    revision::shown(&headers, bus.revision, bus.document.text())
}

/// `PUT /v1/buses/{bus}`
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
    body: Sent,
) -> Result<Response, Problem> {
    let current = api.rules.bus(&place.bus).map(|bus| bus.revision);
    let expected = revision::expected_before_body(&headers, current)?;
    let text = extract::json_text(&api, body, limits::RULE_BYTES).await?;
    let (outcome, revision) = api.rules.put_bus(&place.bus, &text, expected).await?;
    let status = revision::put_status(outcome);
    Ok(revision::document(status, revision, &text))
}

/// `DELETE /v1/buses/{bus}`
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let current = api.rules.bus(&place.bus).map(|bus| bus.revision);
    let expected = revision::expected(&headers, current)?;
    api.rules.delete_bus(&place.bus, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A stored document as it was put.
pub(super) fn document(text: &str) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(text.to_owned()).map_err(Problem::internal)
}
