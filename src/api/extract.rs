//! Path, query and JSON bodies as typed values; what does not fit is a problem, not axum's text.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::packing::Packing;
use super::{Api, Problem, reading};
use crate::log::{BusName, RuleName, TargetName};

/// What a path names; the deeper parts only where the route has them.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    pub(super) bus: BusName,
    pub(super) rule: Option<RuleName>,
    pub(super) target: Option<TargetName>,
    /// The last segment of a dead letter or an event.
    id: Option<String>,
    sequence: Option<String>,
}

impl Place {
    /// The bus and the rule, on routes that have both.
    pub(super) fn rule(&self) -> (&BusName, &RuleName) {
        let rule = self.rule.as_ref().expect("the route has a rule");
        (&self.bus, rule)
    }

    /// The target, on routes that have one.
    pub(super) fn target(&self) -> &TargetName {
        self.target.as_ref().expect("the route has a target")
    }

    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    pub(super) fn sequence(&self) -> Result<u64, Problem> {
        let text = self.sequence.as_deref().unwrap_or_default();
        text.parse().map_err(|_| {
            Problem::malformed(format!("{text:?} is no sequence; a sequence is a number."))
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<Self>::from_request_parts(parts, state).await {
            Ok(Path(place)) => Ok(place),
            Err(rejection) => Err(Problem::malformed(format!(
                "The path is wrong: {}.",
                reason(&rejection.body_text())
            ))),
        }
    }
}

/// A query string read into `T`, which refuses what it does not know.
#[derive(Debug)]
pub(super) struct Filter<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Filter<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(filter)) => Ok(Self(filter)),
            Err(rejection) => Err(Problem::malformed(format!(
                "The query is wrong: {}.",
                reason(&rejection.body_text())
            ))),
        }
    }
}

/// What is left of axum's text without its own opening.
fn reason(text: &str) -> &str {
    let openings = ["Invalid URL: ", "Failed to deserialize query string: "];
    let rest = openings
        .iter()
        .find_map(|opening| text.strip_prefix(opening));
    rest.unwrap_or(text)
}

/// A body that is not read yet, and how it is packed.
pub(super) struct Sent {
    packing: Option<Packing>,
    body: Body,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Ok(Self {
            packing: Packing::of(request.headers())?,
            body: request.into_body(),
        })
    }
}

async fn text(api: &Api, sent: Sent, limit: usize) -> Result<String, Problem> {
    let whole = api.bodies.read_packed(sent.packing, sent.body, limit);
    let whole = whole.await?;
    String::from_utf8(whole.bytes.into())
        .map_err(|error| Problem::malformed(format!("The body is not UTF-8: {error}.")))
}

/// Reads a body that is a document kept as it was sent; its JSON is checked, its fields are not.
pub(super) async fn json_text(api: &Api, sent: Sent, limit: usize) -> Result<String, Problem> {
    let text = text(api, sent, limit).await?;
    reading::json(&text)?;
    Ok(text)
}

/// Reads a body that is a JSON document of ours.
pub(super) async fn json<T: DeserializeOwned>(
    api: &Api,
    sent: Sent,
    limit: usize,
) -> Result<T, Problem> {
    reading::document(&text(api, sent, limit).await?)
}

/// The same, where an empty body says nothing in particular.
pub(super) async fn json_or_default<T: DeserializeOwned + Default>(
    api: &Api,
    sent: Sent,
    limit: usize,
) -> Result<T, Problem> {
    let text = text(api, sent, limit).await?;
    match text.trim().is_empty() {
        true => Ok(T::default()),
        false => reading::document(&text),
    }
}
