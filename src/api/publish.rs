//! Takes events in: decode, append, answer once they are on disk. The hottest path of the bus.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::Instant;

use super::extract::Place;
use super::idempotency::{self, IdempotencyKey};
use super::packing::Packing;
use super::{Api, Problem, access, events, scheduled};
use crate::access::{Caller, Scope};
use crate::event::{self, Event};
use crate::limits;
use crate::log::{Appended, BusName, Once};

/// `POST /v1/buses/{bus}/events`
pub(super) async fn to_bus(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
    body: Body,
) -> Response {
    publish(&api, Ok(place.bus), &headers, body).await
}

/// `POST /`: the bus `default`, so that a sender of CloudEvents needs nothing but the address.
pub(super) async fn to_default(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    publish(&api, Ok(BusName::default_bus()), &headers, body).await
}

/// `OPTIONS /`: a webhook sender asks whether it may deliver here (CloudEvents webhook specification,
/// section 4).
pub(super) async fn handshake(headers: HeaderMap) -> HeaderMap {
    event::consent(&headers)
}

/// `OPTIONS /v1/buses/{bus}/events`: the same, for a bus that is there. It is asked without a key, and
/// who may not look at the bus is not told whether it is: a sender without a key is refused later.
pub(super) async fn handshake_of_bus(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
) -> Result<HeaderMap, Problem> {
    let bus = &place.bus;
    if api.may_know_of(&headers, bus) {
        events::known_bus(&api, bus)?;
    }
    let mut answer = event::consent(&headers);
    // What a GET is asked for is the list of events.
    let allow = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
    answer.insert(header::ALLOW, allow);
    Ok(answer)
}

/// The bus that a `POST` to `path` publishes to; `None` when it is no publishing at all.
pub(super) fn bus_of(path: &str) -> Option<Result<BusName, Problem>> {
    if path == "/" {
        return Some(Ok(BusName::default_bus()));
    }
    let name = path.strip_prefix("/v1/buses/")?.strip_suffix("/events")?;
    let plain = !name.contains(['/', '%']);
    plain.then(|| BusName::new(name).map_err(Problem::from))
}

/// Answers one publishing request and counts it.
pub(super) async fn publish<B>(
    api: &Api,
    bus: Result<BusName, Problem>,
    headers: &HeaderMap,
    body: B,
) -> Response
where
    B: HttpBody<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let started = Instant::now();
    let accepted = match admitted(api, bus, headers).await {
        Ok((caller, bus)) => accept(api, &caller, &bus, headers, body)
            .await
            .map(|accepted| (bus, accepted)),
        Err(problem) => Err(problem),
    };
    match accepted {
        Ok((bus, accepted)) => {
            let took = started.elapsed();
            api.metrics.published(&bus, &accepted.counted(), took);
            if api.delivery.spans().is_on() && !accepted.is_replayed {
                record(api, &bus, &accepted.events, &accepted.appended, took);
            }
            accepted.response()
        }
        Err(problem) => {
            api.metrics.refused(problem.class());
            problem.into_response()
        }
    }
}

/// Who publishes, and that it may on this bus; asked before the body is read.
async fn admitted(
    api: &Api,
    bus: Result<BusName, Problem>,
    headers: &HeaderMap,
) -> Result<(Caller, BusName), Problem> {
    let caller = api.admit(headers).await?;
    let bus = bus?;
    access::check(&caller, Scope::Publish, &bus)?;
    Ok((caller, bus))
}

/// What became of the events of a request.
struct Accepted {
    events: Vec<Event>,
    appended: Vec<Appended>,
    /// Whether it was so before: the request had come with its idempotency key already.
    is_replayed: bool,
}

impl Accepted {
    /// As it is counted: what came before is a duplicate.
    fn counted(&self) -> Cow<'_, [Appended]> {
        if !self.is_replayed {
            return Cow::Borrowed(&self.appended);
        }
        let appended = self.appended.iter().map(|one| Appended {
            duplicate: true,
            ..*one
        });
        Cow::Owned(appended.collect())
    }

    fn response(&self) -> Response {
        let response = response(&self.events, &self.appended);
        match self.is_replayed {
            true => idempotency::replayed(response),
            false => response,
        }
    }
}

async fn accept<B>(
    api: &Api,
    caller: &Caller,
    bus: &BusName,
    headers: &HeaderMap,
    body: B,
) -> Result<Accepted, Problem>
where
    B: HttpBody<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let window = api.rules.window(bus).ok_or_else(|| Problem::no_bus(bus))?;
    let packing = Packing::of(headers)?;
    let key = IdempotencyKey::of(headers)?;
    let body = api.bodies.read_packed(packing, body, limits::BODY_BYTES);
    let body = body.await?;
    let events = match packing {
        None => event::decode(headers, body.bytes.clone())?.events,
        Some(_) => {
            let mut unpacked = headers.clone();
            unpacked.remove(header::CONTENT_ENCODING);
            event::decode(&unpacked, body.bytes.clone())?.events
        }
    };
    caller.brought(events.len());
    check_types(&events)?;
    if let Some(event) = events.iter().find(|event| !caller.may_publish(event, bus)) {
        return Err(Problem::forbidden_event(event.id(), event.kind(), bus));
    }
    scheduled::check_horizon(&events, api.delivery.now())?;
    // Before they are in the log: they may be routed before the answer goes out.
    api.delivery.spans().brought(headers, bus.as_str(), &events);
    let Some(key) = key else {
        let appended = api.log.append(bus, events.clone(), window).await?;
        return Ok(Accepted {
            events,
            appended,
            is_replayed: false,
        });
    };
    let once = Once {
        key: key.known_as(caller, &["publish", bus.as_str()]),
        request: idempotency::fingerprint(events.iter().map(|event| &**event.stored())),
    };
    let _turn = api.under_way.begin(once.key)?;
    let (appended, is_replayed) = match api.log.answered(once.key).await {
        Some(before) if before.request != once.request => return Err(Problem::key_reused()),
        Some(before) => (before.appended, true),
        None => {
            let append = api.log.append_once(bus, events.clone(), window, once);
            (append.await?, false)
        }
    };
    Ok(Accepted {
        events,
        appended,
        is_replayed,
    })
}

/// Hands over a span for each event that was taken.
fn record(api: &Api, bus: &BusName, events: &[Event], appended: &[Appended], took: Duration) {
    let spans = api.delivery.spans();
    let now = api.delivery.now();
    for (event, appended) in events.iter().zip(appended) {
        let traced = spans.of(bus.as_str(), event);
        if traced.is_sampled() && !appended.duplicate {
            let span = traced
                .publish()
                .ended(format!("publish {bus}"), now, took)
                .about(bus.as_str(), appended.sequence, event)
                .with("http.request.method", "POST")
                .with("http.response.status_code", 202_u64);
            spans.record(span);
        }
    }
}

/// Refuses types that are the bus's own: who gets such an event relies on where it is from.
fn check_types(events: &[Event]) -> Result<(), Problem> {
    let reserved = |event: &&Event| event::is_reserved(event.kind());
    match events.iter().find(reserved) {
        None => Ok(()),
        Some(event) => Err(Problem::reserved_type(event.id(), event.kind())),
    }
}

/// `202 {"accepted":[{"id","source","sequence","duplicate"?}]}`, written by hand into one buffer.
fn response(events: &[Event], appended: &[Appended]) -> Response {
    let mut body = Vec::with_capacity(16 + 160 * events.len());
    body.extend_from_slice(br#"{"accepted":["#);
    for (index, (event, appended)) in events.iter().zip(appended).enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(br#"{"id":"#);
        write_string(&mut body, event.id());
        body.extend_from_slice(br#","source":"#);
        write_string(&mut body, event.source());
        body.extend_from_slice(br#","sequence":"#);
        write_number(&mut body, appended.sequence);
        if appended.duplicate {
            body.extend_from_slice(br#","duplicate":true"#);
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::ACCEPTED;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn write_string(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("a string is written to memory");
}

fn write_number(body: &mut Vec<u8>, number: u64) {
    serde_json::to_writer(body, &number).expect("a number is written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_paths_name_their_bus() {
        let check = |path: &str| bus_of(path).map(|bus| bus.map(String::from).ok());
        assert_eq!(check("/"), Some(Some("default".to_owned())));
        assert_eq!(check("/v1/buses/a/events"), Some(Some("a".to_owned())));
        assert_eq!(check("/v1/buses/-/events"), Some(None));
        for other in [
            "/v1/buses/events",
            "/v1/buses/a/events/",
            "/v1/buses/a/b/events",
            "/x",
        ] {
            assert_eq!(check(other), None, "{other}");
        }
    }
}
