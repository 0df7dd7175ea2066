//! Deliveries of a target that is pulled: leased to who asks, and what they say of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration as Time;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::extract::{self, Place, Sent};
use super::openapi::{CloudEvent, Duration, Moment};
use super::{Api, Problem, targets};
use crate::access::not_null;
use crate::delivery::{Answered, GiveBack, Pull, PullError, Pulled, Word};
use crate::limits;
use crate::rule::{format_duration, parse_duration};

/// Pieces in which a large answer is written, so that its bytes count for as long as it is held.
const PIECE: usize = 64 * 1024;

/// What is pulled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Pull)]
#[serde(deny_unknown_fields)]
pub(super) struct PullRequest {
    /// Deliveries at most; 10 unless it is said.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 256)]
    max: Option<u64>,
    /// How long to wait for the first of them, 50s at most; not at all unless it is said.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Duration, required = false)]
    wait: Option<String>,
    /// For how long they are leased, 1s to 12h; as the target says unless it is said.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Duration, required = false)]
    lease: Option<String>,
}

/// What was pulled; empty when nothing came in time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deliveries)]
pub(super) struct Deliveries<'a> {
    deliveries: Vec<ShownDelivery<'a>>,
}

/// One delivery, leased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PulledDelivery)]
struct ShownDelivery<'a> {
    /// The same for every attempt of this delivery; a receiver tells repeats by it.
    id: &'a str,
    /// Names the lease in `/ack`, `/nack` and `/extend`.
    token: &'a str,
    /// 1 the first time.
    attempt: u32,
    #[schema(value_type = Moment)]
    leased_until: String,
    /// The event, transformed if the target says so.
    #[schema(value_type = CloudEvent)]
    event: &'a RawValue,
}

/// Deliveries that were done.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Acknowledgement)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledge {
    #[schema(min_items = 1, max_items = 1000)]
    tokens: Vec<String>,
}

/// Deliveries that are given back.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = GiveBack)]
#[serde(deny_unknown_fields)]
pub(super) struct Nack {
    #[schema(min_items = 1, max_items = 1000)]
    tokens: Vec<String>,
    /// When to try again, 12h at most; as the target's `retry` says unless it is said.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Duration, required = false)]
    delay: Option<String>,
    /// Not to be tried again: they become dead letters.
    #[serde(default)]
    give_up: bool,
    /// Why, for the target's status and its dead letters; 1 KiB of it is kept.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = String, required = false)]
    error: Option<String>,
}

/// Deliveries that need more time.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Extension)]
#[serde(deny_unknown_fields)]
pub(super) struct Extend {
    #[schema(min_items = 1, max_items = 1000)]
    tokens: Vec<String>,
    /// How long from now on, 1s to 12h; as the target says unless it is said.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Duration, required = false)]
    lease: Option<String>,
}

/// What became of each token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PullResults)]
pub(super) struct Results {
    results: Vec<Outcome>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PullResult)]
struct Outcome {
    token: String,
    done: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    detail: Option<&'static str>,
}

const NOT_LEASED: &str = "The token names no lease, or one that has ended: the delivery was answered otherwise, or it comes again.";

/// `POST …/targets/{target}/pull`
pub(super) async fn pull(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Sent,
) -> Result<Response, Problem> {
    let key = targets::key(&api, &place)?;
    let request: PullRequest =
        extract::json_or_default(&api, body, limits::PULL_REQUEST_BYTES).await?;
    let pull = request.read()?;
    let pulling = api.delivery.pull(key, pull);
    // A bus that stops lets nobody wait.
    let pulled = match api.draining.run_until_cancelled(pulling).await {
        Some(pulled) => Some(pulled.map_err(|error| refused(&place, error))?),
        None => None,
    };
    Ok(shown(&api, pulled))
}

/// `POST …/targets/{target}/ack`: answered once it is on disk.
pub(super) async fn ack(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Sent,
) -> Result<Json<Results>, Problem> {
    let request: Acknowledge = extract::json(&api, body, limits::PULL_REQUEST_BYTES).await?;
    hear(&api, &place, request.tokens, Word::Acknowledge).await
}

/// `POST …/targets/{target}/nack`
pub(super) async fn nack(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Sent,
) -> Result<Json<Results>, Problem> {
    let request: Nack = extract::json(&api, body, limits::PULL_REQUEST_BYTES).await?;
    let bounds = (Time::ZERO, limits::PULL_DELAY_MAX);
    let word = Word::GiveBack(GiveBack {
        delay: time("/delay", request.delay.as_deref(), bounds)?,
        give_up: request.give_up,
        error: request.error,
    });
    hear(&api, &place, request.tokens, word).await
}

/// `POST …/targets/{target}/extend`
pub(super) async fn extend(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Sent,
) -> Result<Json<Results>, Problem> {
    let request: Extend = extract::json(&api, body, limits::PULL_REQUEST_BYTES).await?;
    let lease = time("/lease", request.lease.as_deref(), LEASES)?;
    hear(&api, &place, request.tokens, Word::Extend(lease)).await
}

async fn hear(
    api: &Api,
    place: &Place,
    tokens: Vec<String>,
    word: Word,
) -> Result<Json<Results>, Problem> {
    let key = targets::key(api, place)?;
    if !(1..=limits::PULL_TOKENS).contains(&tokens.len()) {
        let detail = format!(
            "{} tokens are given; it takes 1 to {}",
            tokens.len(),
            limits::PULL_TOKENS
        );
        return Err(wrong("/tokens", detail));
    }
    let heard = api.delivery.hear(key, &tokens, &word).await;
    let heard = heard.map_err(|error| refused(place, error))?;
    let results = tokens.into_iter().zip(heard).map(|(token, answered)| {
        let done = answered == Answered::Done;
        Outcome {
            token,
            done,
            detail: (!done).then_some(NOT_LEASED),
        }
    });
    Ok(Json(Results {
        results: results.collect(),
    }))
}

const LEASES: (Time, Time) = (limits::PULL_LEASE_MIN, limits::PULL_LEASE_MAX);

impl PullRequest {
    fn read(&self) -> Result<Pull, Problem> {
        let most = match self.max {
            None => limits::PULL_DELIVERIES_DEFAULT,
            Some(max) => usize::try_from(max)
                .ok()
                .filter(|max| (1..=limits::PULL_DELIVERIES).contains(max))
                .ok_or_else(|| {
                    let most = limits::PULL_DELIVERIES;
                    wrong("/max", format!("must be from 1 to {most}, not {max}"))
                })?,
        };
        let wait = time(
            "/wait",
            self.wait.as_deref(),
            (Time::ZERO, limits::PULL_WAIT_MAX),
        )?;
        Ok(Pull {
            most,
            wait: wait.unwrap_or_default(),
            lease: time("/lease", self.lease.as_deref(), LEASES)?,
        })
    }
}

fn time(
    pointer: &'static str,
    text: Option<&str>,
    (least, most): (Time, Time),
) -> Result<Option<Time>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let read = parse_duration(text).ok();
    let read = read.filter(|time| (least..=most).contains(time));
    read.map(Some).ok_or_else(|| {
        let (least, most) = (format_duration(least), format_duration(most));
        let detail = format!("must be a duration from {least} to {most}, such as \"30s\"");
        wrong(pointer, detail)
    })
}

fn wrong(pointer: &'static str, detail: String) -> Problem {
    Problem::invalid(
        "Invalid pull",
        "Nothing was done; mend what `errors` lists and send it again.",
        [(pointer.to_owned(), detail)],
    )
}

fn shown(api: &Api, pulled: Option<Pulled>) -> Response {
    let now = api.delivery.now();
    let leased = pulled.as_ref().map_or(&[][..], |pulled| &pulled.deliveries);
    let deliveries = leased
        .iter()
        .filter_map(|leased| {
            // Our own JSON: it is passed over, not read.
            let event = serde_json::from_slice(&leased.event).ok()?;
            Some(ShownDelivery {
                id: &leased.id,
                token: &leased.token,
                attempt: leased.attempt,
                leased_until: now.plus(leased.lease).to_string(),
                event,
            })
        })
        .collect();
    let text = serde_json::to_vec(&Deliveries { deliveries });
    let text = Bytes::from(text.expect("a string and a number are JSON"));
    let body = if text.len() <= PIECE {
        Body::from(text)
    } else {
        in_pieces(text, pulled)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body that holds `pulled` until almost all of it is written.
fn in_pieces(text: Bytes, pulled: Option<Pulled>) -> Body {
    let held = pulled.map(Pulled::without_events);
    Body::from_stream(stream::unfold(
        (text, held),
        |(mut rest, held)| async move {
            let piece = rest.split_to(rest.len().min(PIECE));
            (!piece.is_empty()).then_some((Ok::<Bytes, Infallible>(piece), (rest, held)))
        },
    ))
}

fn refused(place: &Place, error: PullError) -> Problem {
    let (bus, rule) = place.rule();
    match error {
        // Deleted just now.
        PullError::NoTarget => Problem::no_target(bus, rule, place.target()),
        PullError::NotPulled => Problem::conflict(format!(
            "The target `{}` of the rule `{rule}` is sent requests; only one with `pull` in the place of `url` is pulled.",
            place.target()
        )),
        PullError::NotSafe => Problem::unavailable(
            "What you acknowledged is not on disk yet, and may never be: those deliveries may come again. The bus's log tells why.",
            limits::RETRY_AFTER_SECONDS,
        ),
        PullError::TooMany | PullError::Changing => Problem::unavailable(
            format!("Nothing was leased: {error}."),
            limits::RETRY_AFTER_SECONDS,
        ),
        PullError::Append(error) => error.into(),
    }
}
