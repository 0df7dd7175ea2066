//! A problem document (RFC 9457): the kinds that there are, each with its status, and how it is sent.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::access::Scope;
use crate::limits;
use crate::log::{BusName, RuleName, TargetName};
use crate::secret::SecretName;

use super::packing;

/// How a key is shown (RFC 6750, section 3).
const REALM: &str = r#"Bearer realm="eventyard""#;

/// An answer that is no success: what happened, where, and how to mend it. Boxed, since it stands
/// beside small values in many results.
#[derive(Debug, Clone)]
pub struct Problem(Box<Document>);

#[derive(Debug, Clone, Serialize)]
struct Document {
    /// A URN: it names the kind, there is no page behind it.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Place>,
    #[serde(flatten)]
    extensions: Map<String, Value>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
    #[serde(skip)]
    closes: bool,
    /// What is to be shown next time (RFC 9110, section 11.6.1).
    #[serde(skip)]
    challenge: Option<String>,
    /// Whether the content coding is at fault: the answer says which are taken.
    #[serde(skip)]
    is_of_coding: bool,
}

/// One refused place of a request's JSON.
#[derive(Debug, Clone, Serialize)]
struct Place {
    pointer: String,
    detail: String,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Document {
            kind: format!("urn:eventyard:problem:{kind}"),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            extensions: Map::new(),
            retry_after_seconds: None,
            closes: false,
            challenge: None,
            is_of_coding: false,
        }))
    }

    /// 400: the request cannot be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "The request cannot be read",
            detail,
        )
    }

    /// 401. `error` is that of RFC 6750, section 3.1, where something was shown.
    pub(super) fn unauthorized(detail: String, error: Option<&str>) -> Self {
        let mut problem = Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "No valid API key",
            detail,
        );
        problem.0.challenge = Some(match error {
            Some(error) => format!(r#"{REALM}, error="{error}""#),
            None => REALM.to_owned(),
        });
        problem
    }

    /// 403: the caller is known, and may not do this. `place` says where it would need the scope.
    pub(super) fn forbidden(scope: Scope, place: &str) -> Self {
        Self::insufficient(
            scope,
            format!(
                "This needs the scope `{scope}` {place}, which the API key has not; use one that has, or have one made."
            ),
        )
    }

    /// 403: the key may publish here, but not this event.
    pub(super) fn forbidden_event(id: &str, kind: &str, bus: &BusName) -> Self {
        Self::insufficient(
            Scope::Publish,
            format!(
                "The API key's pattern does not let in the event {id:?} of the type {kind:?} on the bus `{bus}`; nothing was accepted. Use a key with the scope `publish` for such events, or have one made."
            ),
        )
    }

    /// 429, with `Retry-After`.
    pub(super) fn too_fast(detail: String, seconds: u64) -> Self {
        let mut problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-fast",
            "Too many calls",
            detail,
        );
        problem.0.retry_after_seconds = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        problem
    }

    /// 403: a request that a web page may have made, in the browser of somebody on this machine.
    pub(super) fn web_page(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "web-page",
            "An open bus is not for web pages",
            detail,
        )
    }

    fn insufficient(scope: Scope, detail: String) -> Self {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "The API key does not allow this",
            detail,
        )
        .with("scope", scope.as_str().into());
        let challenge = format!(r#"{REALM}, error="insufficient_scope", scope="{scope}""#);
        problem.0.challenge = Some(challenge);
        problem
    }

    /// 404
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub(super) fn no_bus(bus: &BusName) -> Self {
        Self::not_found(format!(
            "There is no bus `{bus}`; create it with PUT /v1/buses/{bus} and a body of {{}}."
        ))
    }

    pub(super) fn no_rule(bus: &BusName, rule: &RuleName) -> Self {
        Self::not_found(format!("The bus `{bus}` has no rule `{rule}`."))
    }

    pub(super) fn no_target(bus: &BusName, rule: &RuleName, target: &TargetName) -> Self {
        Self::not_found(format!(
            "The rule `{rule}` of the bus `{bus}` has no target `{target}`."
        ))
    }

    /// 405; axum adds `Allow`.
    pub(super) fn wrong_method(method: &Method, path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The method does not apply here",
            format!("{path} does not take {method}; the Allow header lists what it takes."),
        )
    }

    /// 412: it is not at the revision that the request expects.
    pub(super) fn changed(actual: Option<&str>) -> Self {
        let detail = match actual {
            Some(etag) => format!(
                "It exists, at revision {etag}; get it again and send your change with that ETag in `If-Match`."
            ),
            None => {
                "It does not exist (any more); send it without `If-Match` to create it.".to_owned()
            }
        };
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            "Not at the expected revision",
            detail,
        )
    }

    /// 422: valid JSON that does not say what it should. `places` are (pointer, detail).
    pub(super) fn invalid(
        title: &'static str,
        detail: impl Into<String>,
        places: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title, detail);
        problem.0.errors = places
            .into_iter()
            .map(|(pointer, detail)| Place { pointer, detail })
            .collect();
        problem
    }

    /// 422: the event's type is one that only the bus gives.
    pub(super) fn reserved_type(id: &str, kind: &str) -> Self {
        let detail = format!(
            "The event {id:?} has the type {kind:?}; types that begin with `eventyard.` are for events that the bus publishes about itself. Give it a type of your own, such as `com.example.order.placed`."
        );
        let place = ("/type".to_owned(), "is reserved".to_owned());
        Self::invalid("Reserved type", detail, [place])
    }

    /// 409
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "Not possible as things stand",
            detail,
        )
    }

    /// 409: rules name the secret.
    pub(super) fn in_use(secret: &SecretName, users: &[String]) -> Self {
        let shown = users.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = match users.len().saturating_sub(5) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Self::conflict(format!(
            "The secret `{secret}` is used by {shown}{more}; change these rules first, or delete it with ?force=true, and their deliveries wait until it is set again."
        ))
    }

    /// 409: a request with the same idempotency key has no answer yet.
    pub(super) fn under_way() -> Self {
        let mut problem = Self::new(
            StatusCode::CONFLICT,
            "under-way",
            "The same request is under way",
            "A request with this `Idempotency-Key` has no answer yet; send it again shortly, and it is answered as that one.",
        );
        problem.0.retry_after_seconds = Some(limits::RETRY_AFTER_SECONDS);
        problem
    }

    /// 422: an idempotency key came before, with something else.
    pub(super) fn key_reused() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "The idempotency key is another request's",
            "A request with this `Idempotency-Key` came before and asked for something else; nothing was done. Give each request a key of its own, and only its retries the same.",
        )
    }

    /// 503
    pub(super) fn unavailable(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The bus cannot do this just now",
            detail,
        );
        problem.0.retry_after_seconds = Some(retry_after_seconds);
        problem
    }

    /// 500; the cause goes to the log, not to the caller.
    pub(super) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed for a reason of our own");
        Self::failed()
    }

    /// The answer to a failure that is logged.
    pub(super) fn failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The bus failed",
            "The reason is in the bus's log; trying again may help.",
        )
    }

    /// 415
    pub(super) fn media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "The media type is not taken",
            detail,
        )
    }

    /// 413
    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The request is too large",
            detail,
        )
    }

    /// 415, with the codings that are taken (RFC 9110, section 15.5.16).
    pub(super) fn of_coding(detail: String) -> Self {
        let mut problem = Self::media_type(detail);
        problem.0.is_of_coding = true;
        problem
    }

    /// The connection is closed behind the answer.
    pub(super) fn closing(mut self) -> Self {
        self.0.closes = true;
        self
    }

    /// It is about this place of the request's JSON.
    pub(super) fn at(mut self, pointer: Option<String>) -> Self {
        let document = &mut *self.0;
        document.errors.extend(pointer.map(|pointer| Place {
            pointer,
            detail: document.detail.clone(),
        }));
        self
    }

    /// Adds a member of our own (RFC 9457, section 3.2).
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.extensions.insert(name.to_owned(), value);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// As the answer's body holds it, but for the name of the request.
    pub(super) fn to_json(&self) -> Value {
        serde_json::to_value(&self.0).expect("a problem has string keys only")
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("a problem has string keys only")
    }

    /// What `/metrics` counts a refused publish under.
    pub(super) fn class(&self) -> &'static str {
        match self.0.status {
            StatusCode::BAD_REQUEST => "malformed",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::TOO_MANY_REQUESTS => "too_fast",
            StatusCode::NOT_FOUND => "unknown_bus",
            StatusCode::REQUEST_TIMEOUT => "slow",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "other",
        }
    }
}

/// The head of the answer; the body is written by `request_id`, which knows what the request
/// is called.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let media_type = HeaderValue::from_static("application/problem+json");
        let mut response = (self.0.status, [(header::CONTENT_TYPE, media_type)]).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.0.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.0.is_of_coding {
            let taken = HeaderValue::from_static(packing::TAKEN);
            headers.insert(header::ACCEPT_ENCODING, taken);
        }
        let challenge = self.0.challenge.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(challenge)) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::metrics::REFUSALS;

    #[test]
    fn a_refused_publish_is_counted_under_a_class_that_shows_from_the_start() {
        for status in 400..600 {
            let status = StatusCode::from_u16(status).unwrap();
            let class = Problem::new(status, "x", "x", "x").class();
            assert!(REFUSALS.contains(&class), "{status}: {class}");
        }
    }
}
