//! Describes the API as an OpenAPI 3.1 document, and shows it as a page.
//!
//! What is asked and answered is derived from the Rust types (utoipa), what users write is taken from
//! `schemas/`, and who may ask from the table of routes. One file an area says the rest.

mod audit;
mod buses;
mod dead_letters;
mod events;
mod kept;
mod keys;
mod operating;
mod operation;
mod page;
mod pulls;
mod rules;
mod secrets;
mod targets;
mod tools;

use std::sync::LazyLock;

use axum::Json;
use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Need, Problem, contract};
use crate::access::{KeyName, Refused, Scope};
use operation::Operation;

pub(super) use kept::{
    Bus, CloudEvent, DeadLetterId, Duration, KeyPrefix, Moment, Name, Pattern, Reason, Rule,
    Target, Transform,
};
pub(super) use page::page;

/// The name of the security scheme.
const KEY: &str = "apiKey";

/// What is described, area by area in reading order, as (tag, what it is about, its operations).
fn areas() -> Vec<(&'static str, &'static str, Vec<Operation>)> {
    vec![
        (
            "Events",
            "CloudEvents in, and a look at those that were taken.",
            events::operations(),
        ),
        (
            "Buses",
            "What keeps events apart, and for how long each is kept.",
            buses::operations(),
        ),
        ("Rules", "Which events go where.", rules::operations()),
        (
            "Targets",
            "How each receiver is doing.",
            targets::operations(),
        ),
        (
            "Pulling",
            "Deliveries for subscribers that ask for them.",
            pulls::operations(),
        ),
        (
            "Dead letters",
            "Deliveries that were given up.",
            dead_letters::operations(),
        ),
        (
            "Tools",
            "Patterns and transforms, tried without a rule.",
            tools::operations(),
        ),
        (
            "Secrets",
            "Values that rules name and nobody reads.",
            secrets::operations(),
        ),
        ("API keys", "Who may use the bus.", keys::operations()),
        ("Audit", "Who changed what.", audit::operations()),
        (
            "Operating",
            "Whether the bus is well, and this description.",
            operating::operations(),
        ),
    ]
}

/// The OpenAPI 3.1 document of the whole API.
pub fn description() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
    &DOCUMENT
}

/// `GET /openapi.json`
pub(super) async fn openapi() -> Json<&'static Value> {
    Json(description())
}

fn document() -> Value {
    let contract = contract();
    let (mut paths, mut schemas, mut tags) = (Map::new(), kept::schemas(), Vec::new());
    for (tag, about, operations) in areas() {
        tags.push(json!({"name": tag, "description": about}));
        for operation in operations {
            let needed = contract
                .iter()
                .find(|(method, path, _)| *method == operation.method && *path == operation.path);
            let security = needed.and_then(|(_, _, need)| security(*need));
            // What is changed is written down first, which may fail.
            let changes = operation.method != Method::GET && manages(security.as_ref());
            let operation = match changes {
                true => operation.refuses(&[503]),
                false => operation,
            };
            let path = paths
                .entry(operation.path.as_str())
                .or_insert_with(|| json!({}));
            let method = operation.method.as_str().to_ascii_lowercase();
            path[method] = operation.document(tag, security);
            for (name, schema) in operation.schemas {
                schemas.entry(name).or_insert(schema);
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Eventyard",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A serverless event bus: CloudEvents in, JSON event patterns, HTTP targets out.",
            "description": "Lists come in pages: `limit` says how many are wanted, and `next`, where there is more, is the `after` of the page behind, as it is. Every refusal is a problem document (RFC 9457) that says what is wrong, where, and how to mend it. Every GET is a HEAD too, and every path answers OPTIONS with the methods that it takes. Conditions (`If-Match`, `If-None-Match`) are judged before a body is looked at, and after what would be refused without them. Every answer says in `X-Request-Id` what the bus calls the request, in its log lines too: the request's own, where that is one word of printable ASCII of at most 128 characters. Bodies may come in `Content-Encoding: gzip` or `zstd`; their bounds hold of what they unpack to. A bus whose `access` is off, or that only its own machine reaches, asks for no key.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {
                KEY: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `eyk_…`, or, where the bus knows an identity provider, a token of it (JWT). The names beside it are the scopes that an operation needs, on the bus of its path or on all buses.",
                },
            },
            "headers": {
                "RequestId": {
                    "description": "What the bus calls the request.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
                },
            },
            "responses": problems(),
            "schemas": schemas,
        },
    })
}

fn manages(security: Option<&Value>) -> bool {
    security.is_some_and(|security| security[KEY][0] == Scope::Manage.as_str())
}

/// What a route needs, as its operation says it.
fn security(need: Need) -> Option<Value> {
    let scope = match need {
        Need::Nothing => return None,
        Need::Publish => Scope::Publish,
        Need::Consume => Scope::Consume,
        Need::OnBus(scope) | Need::OnAll(scope) | Need::OnAny(scope) => scope,
    };
    Some(json!({KEY: [scope.as_str()]}))
}

/// Every status that a problem document has, as `Problem<status>`.
fn problems() -> Map<String, Value> {
    let examples = [
        (
            "The request cannot be read.",
            Problem::malformed("`limit` is 0; it goes from 1 to 1000."),
        ),
        ("No valid API key was shown.", Refused::NoKey.into()),
        (
            "The API key does not allow this.",
            Problem::forbidden(Scope::Manage, "on the bus `default`"),
        ),
        (
            "It is not there.",
            Problem::not_found("The bus `default` has no rule `large-orders`."),
        ),
        (
            "The body did not arrive in time.",
            super::body::BodyError::Slow.into(),
        ),
        (
            "It is not possible as things stand.",
            crate::rule::RuleError::DefaultBusStays.into(),
        ),
        (
            "It is at another revision.",
            Problem::changed(Some("\"17\"")),
        ),
        (
            "The request is too large.",
            super::body::BodyError::TooLarge {
                limit: crate::limits::BODY_BYTES,
            }
            .into(),
        ),
        (
            "The media type is not taken.",
            Problem::media_type(
                "The event format `application/cloudevents+xml` is not one the bus reads.",
            ),
        ),
        (
            "It is JSON, but does not say what it should; `errors` tells where.",
            Problem::invalid(
                "Invalid document",
                "Nothing was changed; mend what `errors` lists and send it again.",
                [("/targets/0/url".to_owned(), "is missing".to_owned())],
            ),
        ),
        (
            "The API key is used faster than its rate; `Retry-After` says when to try again.",
            too_fast().into(),
        ),
        (
            "The bus failed; the reason is in its log.",
            Problem::failed(),
        ),
        (
            "Not just now; `Retry-After` says when to try again.",
            Problem::unavailable(
                "Too many large bodies are arriving at once; try again shortly.",
                1,
            ),
        ),
    ];
    examples
        .into_iter()
        .map(|(about, problem)| described(about, problem))
        .collect()
}

fn too_fast() -> Refused {
    let name = KeyName::new("shop").expect("a valid name");
    let rate = "200/s".parse().expect("a valid rate");
    Refused::TooFast(name, rate, std::time::Duration::from_millis(5))
}

fn described(about: &str, problem: Problem) -> (String, Value) {
    let problem = problem.with("request_id", "5f0c6c1d2b8e4a7f9d3e1b0a6c4d8e2f".into());
    let example = problem.to_json();
    let status = problem.status();
    let mut answer = json!({
        "description": about,
        "content": {"application/problem+json": {"schema": named("Problem"), "example": example}},
    });
    let header = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some((
            "WWW-Authenticate",
            "What is to be shown (RFC 6750).",
            "string",
        )),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Some(("Retry-After", "Seconds.", "integer"))
        }
        _ => None,
    };
    if let Some((name, about, kind)) = header {
        answer["headers"] = json!({name: {"description": about, "schema": {"type": kind}}});
    }
    add_request_id(&mut answer);
    (format!("Problem{}", status.as_u16()), answer)
}

/// Every answer has it.
fn add_request_id(answer: &mut Value) {
    answer["headers"]["X-Request-Id"] = json!({"$ref": "#/components/headers/RequestId"});
}

/// A reference to a schema of the document.
fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests;
