//! Secrets: set, generate, list, delete. No answer holds a value but the one that generated it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{self, Filter, Sent};
use super::openapi::{Moment, Name};
use super::page::Page;
use super::revision::{self, Verdict};
use super::{Api, Problem, reading};
use crate::limits;
use crate::rule::parse_duration;
use crate::secret::{Expected, Secret, SecretName, SecretText, SecretsError};
use crate::webhook::{self, SigningKey};

/// How long an earlier value goes on holding unless it is said: a day to change the receivers.
const KEEP_OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time that an earlier value may hold.
const KEEP_OLD_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const KEEP_OLD_WANTED: &str = "must be a duration from `0s` to `365d`";
/// Bytes of a request's JSON around a secret, whose characters may all be escaped.
const BODY_BYTES: usize = 6 * limits::SECRET_BYTES + 4 * 1024;

/// What may be known of a secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Secret)]
pub(super) struct Shown {
    #[schema(value_type = Name)]
    name: SecretName,
    /// `hmac` or `ed25519` when its newest value is a signing key, else `text`.
    kind: &'static str,
    /// What receivers verify with, of an ed25519 key.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    /// Those that hold, the newest first.
    versions: Vec<ShownVersion>,
    /// `bus/rule/target` of every target that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<Vec<String>>,
    /// Only in the answer that generated it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecretVersion)]
struct ShownVersion {
    version: u32,
    #[schema(value_type = Moment)]
    created: String,
    #[schema(value_type = Option<Moment>)]
    expires: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecretList)]
pub(super) struct List {
    secrets: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewSecret)]
#[serde(deny_unknown_fields)]
pub(super) struct Put {
    /// The value; or `generate`.
    value: Option<String>,
    generate: Option<Generate>,
    /// How long earlier values hold on, `365d` at most; a day unless it is said.
    #[schema(value_type = Option<super::openapi::Duration>)]
    keep_old: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Generate {
    Hmac,
    Ed25519,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    /// Also when a rule names it.
    #[serde(default)]
    #[param(example = false)]
    force: bool,
}

fn name(text: &str) -> Result<SecretName, Problem> {
    SecretName::new(text)
        .map_err(|error| Problem::malformed(format!("The path is wrong: {error}.")))
}

/// `GET /v1/secrets`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Filter(page): Filter<Page>,
) -> Result<Json<List>, Problem> {
    let (secrets, next) = page.cut(api.secrets.all(), |(name, _)| name.clone())?;
    let secrets = secrets.iter();
    let secrets = secrets.map(|(name, secret)| shown(&api, name, secret));
    Ok(Json(List {
        secrets: secrets.collect(),
        next,
    }))
}

/// `GET /v1/secrets/{secret}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = name(&text)?;
    let secret = api.secrets.get(&name);
    let secret = secret.ok_or_else(|| SecretsError::NoSecret(name.clone()))?;
    let (body, etag) = with_users(&api, &name, &secret)?;
    if let Some(known) = revision::known(&headers, &etag)? {
        return Ok(known);
    }
    let json = "application/json".to_owned();
    let headers = [(header::ETAG, etag), (header::CONTENT_TYPE, json)];
    Ok((headers, body).into_response())
}

/// A secret as a reader gets it, and its `ETag`: it is of all that is shown.
fn with_users(api: &Api, name: &SecretName, secret: &Secret) -> Result<(Vec<u8>, String), Problem> {
    let mut shown = shown(api, name, secret);
    shown.used_by = Some(used_by(api, name));
    let body = serde_json::to_vec(&shown).map_err(Problem::internal)?;
    let digest = digest(&SHA256, &body);
    let start = digest.as_ref().iter().take(16);
    let text: String = start.map(|byte| format!("{byte:02x}")).collect();
    Ok((body, format!("\"{text}\"")))
}

/// What the headers of a change expect of a secret, and its `ETag` now.
fn expected(
    api: &Api,
    headers: &HeaderMap,
    name: &SecretName,
) -> Result<(Option<Expected>, Option<String>), Problem> {
    let current = api.secrets.get(name);
    let etag = match &current {
        Some(secret) => Some(with_users(api, name, secret)?.1),
        None => None,
    };
    let expected = match (revision::judge(headers, etag.as_deref())?, current) {
        (Verdict::Free, _) => Some(Expected::Anything),
        (Verdict::IfPresent, _) => Some(Expected::Present),
        (Verdict::IfAbsent, _) => Some(Expected::Absent),
        (Verdict::IfSame, Some(current)) => Some(Expected::Same(current)),
        (Verdict::IfSame | Verdict::Known | Verdict::Unmet, _) => None,
    };
    Ok((expected, etag))
}

/// `PUT /v1/secrets/{secret}`: a new value, given or generated. The answer has no `ETag`, since what it
/// shows is not what was sent (RFC 9110, section 9.3.4).
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
    headers: HeaderMap,
    body: Sent,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let name = name(&text)?;
    let (expected, etag) = expected(&api, &headers, &name)?;
    let expected = expected.ok_or_else(|| Problem::changed(etag.as_deref()))?;
    let put = read(&extract::json_text(&api, body, BODY_BYTES).await?)?;
    let keep_old = match &put.keep_old {
        None => KEEP_OLD,
        Some(text) => parse_duration(text)
            .ok()
            .filter(|keep| *keep <= KEEP_OLD_MAX)
            .ok_or_else(|| wrong("/keep_old", KEEP_OLD_WANTED))?,
    };
    let (value, generated) = match (put.value, put.generate) {
        (Some(value), None) => (SecretText::new(value), false),
        (None, Some(kind)) => {
            let key = match kind {
                Generate::Hmac => webhook::new_symmetric_key(),
                Generate::Ed25519 => webhook::new_ed25519_key(),
            };
            let key = key.ok_or(SecretsError::NoRandomness)?;
            (SecretText::new(key.to_string()), true)
        }
        _ => {
            return Err(wrong(
                "",
                r#"must hold either `value` or `generate` ("hmac" or "ed25519")"#,
            ));
        }
    };
    let to_show = generated.then(|| value.expose().to_owned());
    let existed = api.secrets.get(&name).is_some();
    let (secrets, set) = (api.secrets.clone(), name.clone());
    let secret = blocking(move || secrets.set_if(&set, value, keep_old, &expected)).await?;
    let mut shown = shown(&api, &name, &secret);
    shown.value = to_show;
    let status = if existed {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(shown)))
}

/// `DELETE /v1/secrets/{secret}`: refused while a rule names it, unless forced.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
    headers: HeaderMap,
    Filter(deletion): Filter<Deletion>,
) -> Result<StatusCode, Problem> {
    let name = name(&text)?;
    if api.secrets.get(&name).is_none() {
        return Err(SecretsError::NoSecret(name).into());
    }
    let users = used_by(&api, &name);
    if !users.is_empty() && !deletion.force {
        return Err(Problem::in_use(&name, &users));
    }
    let (expected, etag) = expected(&api, &headers, &name)?;
    let expected = expected.ok_or_else(|| Problem::changed(etag.as_deref()))?;
    let secrets = api.secrets.clone();
    blocking(move || secrets.remove(&name, &expected)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/secrets/{secret}/versions/{version}`
pub(super) async fn delete_version(
    State(api): State<Arc<Api>>,
    Path((text, version)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let name = name(&text)?;
    let version = version.parse::<u32>().map_err(|_| {
        Problem::malformed("A secret's version is a number, as its list of versions shows it.")
    })?;
    let secrets = api.secrets.clone();
    blocking(move || secrets.remove_version(&name, version)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the request without ever repeating what it holds: a value may stand where a name should.
fn read(text: &str) -> Result<Put, Problem> {
    reading::fitting(text)?.map_err(|misfit| match &*misfit.pointer {
        "/value" => wrong("/value", "must be a string"),
        "/generate" => wrong("/generate", r#"must be "hmac" or "ed25519""#),
        "/keep_old" => wrong("/keep_old", KEEP_OLD_WANTED),
        _ => wrong(
            "",
            r#"must be {"value": "<the secret>"} or {"generate": "hmac" or "ed25519"}, perhaps with "keep_old": "24h""#,
        ),
    })
}

fn wrong(pointer: &str, detail: &str) -> Problem {
    let what = match pointer.strip_prefix('/') {
        Some(name) => format!("`{name}`"),
        None => "The body".to_owned(),
    };
    Problem::invalid(
        "Invalid secret",
        format!("{what} {detail}."),
        [(pointer.to_owned(), detail.to_owned())],
    )
}

async fn blocking<T: Send + 'static>(
    change: impl FnOnce() -> Result<T, SecretsError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(change).await;
    Ok(done.map_err(Problem::internal)??)
}

fn shown(api: &Api, name: &SecretName, secret: &Secret) -> Shown {
    let key = SigningKey::parse(secret.newest().value.expose()).ok();
    let public_key = key.as_ref().and_then(SigningKey::public);
    let versions = secret
        .holding(api.secrets.now())
        .map(|version| ShownVersion {
            version: version.number,
            created: version.created.to_string(),
            expires: version.expires.map(|until| until.to_string()),
        });
    Shown {
        name: name.clone(),
        kind: match (&key, &public_key) {
            (None, _) => "text",
            (Some(_), None) => "hmac",
            (Some(_), Some(_)) => "ed25519",
        },
        public_key,
        versions: versions.collect(),
        used_by: None,
        value: None,
    }
}

/// What the audit says of a secret.
pub(super) fn state(api: &Api, text: &str) -> Option<serde_json::Value> {
    let name = SecretName::new(text).ok()?;
    let secret = api.secrets.get(&name)?;
    serde_json::to_value(shown(api, &name, &secret)).ok()
}

fn used_by(api: &Api, name: &SecretName) -> Vec<String> {
    let targets = api.rules.current().targets();
    let users = targets
        .iter()
        .filter(|target| target.secrets().any(|used| used == name));
    users
        .map(|target| format!("{}/{}/{}", target.bus, target.rule, target.id))
        .collect()
}
