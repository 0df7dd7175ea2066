//! API keys: make, show, list, revoke. A key's text goes out once, when it is made.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{self, Filter, Sent};
use super::openapi::{Duration, KeyPrefix, Moment};
use super::page::Page;
use super::{Api, Problem};
use crate::access::{self, AccessError, ApiKey, Grant, GrantDocument, KeyId, KeyName, NewKey};
use crate::limits;
use crate::rule::{RateLimit, RateLimitError, parse_duration};

/// What may be known of a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct Shown {
    #[schema(value_type = KeyPrefix)]
    prefix: KeyId,
    #[schema(value_type = String)]
    name: KeyName,
    /// `active`, `expired` or `revoked`
    state: &'static str,
    grants: Vec<GrantDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    rate_limit: Option<RateLimit>,
    #[schema(value_type = Moment)]
    created: String,
    #[schema(value_type = Option<Moment>)]
    expires: Option<String>,
    #[schema(value_type = Option<Moment>)]
    revoked: Option<String>,
    /// Within a minute.
    #[schema(value_type = Option<Moment>)]
    last_used: Option<String>,
    /// Only in the answer that made it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeyList)]
pub(super) struct List {
    keys: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApiKey)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[schema(min_items = 1, max_items = 20)]
    grants: Vec<GrantDocument>,
    /// Ten years at most; without it the key holds until it is revoked.
    #[schema(value_type = Duration, required = false)]
    #[serde(default, deserialize_with = "access::not_null")]
    expires_in: Option<String>,
    /// Calls that it may make, such as `200/s`.
    #[schema(value_type = String, required = false, pattern = "^[0-9]+/(s|m|h)$")]
    #[serde(default, deserialize_with = "access::not_null")]
    rate_limit: Option<String>,
}

fn id(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text).map_err(|error| Problem::malformed(format!("The path is wrong: {error}.")))
}

/// `GET /v1/keys`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Filter(page): Filter<Page>,
) -> Result<Json<List>, Problem> {
    let (keys, next) = page.cut(api.access.all(), |key| key.id)?;
    let keys = keys.iter().map(|key| shown(&api, key)).collect();
    Ok(Json(List { keys, next }))
}

/// `GET /v1/keys/{key}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
) -> Result<Json<Shown>, Problem> {
    let id = id(&text)?;
    let key = api.access.get(id).ok_or(AccessError::NoKey(id))?;
    Ok(Json(shown(&api, &key)))
}

/// `POST /v1/keys`
pub(super) async fn create(State(api): State<Arc<Api>>, body: Sent) -> Result<Response, Problem> {
    let create: Create = extract::json(&api, body, limits::API_KEY_REQUEST_BYTES).await?;
    let new = checked(create)?;
    let access = api.access.clone();
    let (key, text) = blocking(move || access.create(new)).await?;
    let mut shown = shown(&api, &key);
    shown.key = Some(text.expose().to_owned());
    let mut response = (StatusCode::CREATED, Json(shown)).into_response();
    let headers = response.headers_mut();
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    if let Ok(place) = HeaderValue::try_from(format!("/v1/keys/{}", key.id)) {
        headers.insert(header::LOCATION, place);
    }
    Ok(response)
}

/// `DELETE /v1/keys/{key}`: it is let in no more; the list shows it for some time yet.
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id(&text)?;
    let access = api.access.clone();
    blocking(move || access.revoke(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All that is wrong with a request is told at once.
fn checked(create: Create) -> Result<NewKey, Problem> {
    let mut places = Vec::new();
    let mut wrong = |pointer: &str, detail: String| places.push((pointer.to_owned(), detail));
    let name = KeyName::new(&create.name);
    let name = name.map_err(|error| wrong("/name", error.to_string()));
    let count = create.grants.len();
    if !(1..=limits::API_KEY_GRANTS).contains(&count) {
        let detail = format!(
            r#"has {count} grants; 1 to {} are taken, such as [{{"scope": "publish"}}]"#,
            limits::API_KEY_GRANTS
        );
        wrong("/grants", detail);
    }
    let mut grants = Vec::new();
    for (index, document) in create
        .grants
        .into_iter()
        .enumerate()
        .take(limits::API_KEY_GRANTS)
    {
        match Grant::new(document) {
            Ok(grant) => grants.push(grant),
            Err(error) => {
                for (place, detail) in error.places() {
                    wrong(&format!("/grants/{index}{place}"), detail);
                }
            }
        }
    }
    let expires_in = create.expires_in.as_deref().and_then(|text| {
        let time = parse_duration(text).ok();
        let time = time.filter(|time| !time.is_zero() && *time <= limits::API_KEY_LIFE_MAX);
        if time.is_none() {
            let detail = "must be a duration such as `90d`, of ten years at most";
            wrong("/expires_in", detail.to_owned());
        }
        time
    });
    let rate_limit = create.rate_limit.as_deref().map(str::parse).transpose();
    let rate_limit =
        rate_limit.map_err(|error: RateLimitError| wrong("/rate_limit", error.to_string()));
    match (name, rate_limit) {
        (Ok(name), Ok(rate_limit)) if places.is_empty() => Ok(NewKey {
            name,
            expires_in,
            rate_limit,
            grants,
        }),
        _ => Err(Problem::invalid(
            "Invalid API key",
            "No key was made; mend what `errors` lists and send it again.",
            places,
        )),
    }
}

async fn blocking<T: Send + 'static>(
    change: impl FnOnce() -> Result<T, AccessError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(change).await;
    Ok(done.map_err(Problem::internal)??)
}

/// What the audit says of a key; when it was used is no change.
pub(super) fn state(api: &Api, text: &str) -> Option<serde_json::Value> {
    let key = api.access.get(KeyId::parse(text).ok()?)?;
    let mut shown = shown(api, &key);
    shown.last_used = None;
    serde_json::to_value(shown).ok()
}

fn shown(api: &Api, key: &ApiKey) -> Shown {
    Shown {
        prefix: key.id,
        name: key.name.clone(),
        state: key.state(api.access.now()),
        grants: key
            .grants
            .iter()
            .map(|one| one.document().clone())
            .collect(),
        rate_limit: key.rate_limit(),
        created: key.created.to_string(),
        expires: key.expires.map(|at| at.to_string()),
        revoked: key.revoked.map(|at| at.to_string()),
        last_used: key.last_used().map(|at| at.to_string()),
        key: None,
    }
}
