//! The targets: one server that takes down all it gets, and now and then misbehaves.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::Target;
use super::ledger::{Arrival, Ledger};

/// The targets' timeout in the rules.
pub(crate) const TIMEOUT: &str = "400ms";

/// Starts the receiver; it lives as long as the test's runtime.
pub(crate) async fn start(ledger: Arc<Ledger>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port of the loopback is free");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let routes = Router::new()
        .route("/{target}", post(receive))
        .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
        .with_state(ledger);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// The members that the test looks at.
#[derive(Deserialize)]
struct Structured<'a> {
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<&'a str>,
}

impl Structured<'_> {
    fn data(&self) -> Vec<u8> {
        match (self.data, self.data_base64) {
            (Some(json), _) => json.get().as_bytes().to_vec(),
            (None, Some(base64)) => BASE64_STANDARD.decode(base64).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }
}

async fn receive(
    State(ledger): State<Arc<Ledger>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(target) = Target::parse(&name) else {
        ledger.violation(format!("a delivery to {name:?}, which no rule names"));
        return StatusCode::OK;
    };
    let ids = match take_down(&ledger, target, &headers, &body) {
        Ok(ids) => ids,
        Err(error) => {
            ledger.violation(format!("{target:?} got what is no event: {error}"));
            return StatusCode::OK;
        }
    };
    let answer = match target {
        Target::Refusing => StatusCode::BAD_REQUEST,
        Target::Stubborn if !ids.iter().all(|id| ledger.is_mended(id)) => StatusCode::BAD_REQUEST,
        _ => match fastrand::u32(0..100) {
            0..=2 => StatusCode::SERVICE_UNAVAILABLE,
            3 => {
                // Until the sender gives up and closes. An answer, however late, might still be seen
                // by a bus that is starved, and count.
                std::future::pending::<()>().await;
                unreachable!("nothing ends it but the connection's end")
            }
            _ => StatusCode::OK,
        },
    };
    if answer == StatusCode::OK {
        for id in &ids {
            ledger.taken(target, id);
        }
    }
    answer
}

/// Tells the ledger of all events in a request; gives their ids.
fn take_down(
    ledger: &Ledger,
    target: Target,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<String>, String> {
    let header = |name: &str| {
        let value = headers.get(name).ok_or(format!("there is no {name}"))?;
        value.to_str().map_err(|error| error.to_string())
    };
    let webhook_id = header("webhook-id")?;
    let content_type = header("content-type").unwrap_or_default();
    if content_type.starts_with("application/cloudevents") {
        let is_batch = content_type.starts_with("application/cloudevents-batch");
        let events: Vec<Structured<'_>> = if is_batch {
            serde_json::from_slice(body).map_err(|error| error.to_string())?
        } else {
            vec![serde_json::from_slice(body).map_err(|error| error.to_string())?]
        };
        for event in &events {
            let arrival = Arrival {
                id: event.id,
                source: event.source,
                kind: event.r#type,
                data: &event.data(),
                webhook_id: (!is_batch).then_some(webhook_id),
            };
            ledger.arrived(target, &arrival);
        }
        return Ok(events.iter().map(|event| event.id.to_owned()).collect());
    }
    let id = header("ce-id")?;
    let arrival = Arrival {
        id,
        source: header("ce-source")?,
        kind: header("ce-type")?,
        data: body,
        webhook_id: Some(webhook_id),
    };
    ledger.arrived(target, &arrival);
    Ok(vec![id.to_owned()])
}
