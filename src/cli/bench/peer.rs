//! The programs that the bus is measured against: a handler that does nothing, a forwarder without
//! storage, a target that misbehaves. Each runs in a process of its own, on the HTTP library that the bus uses (hyper under axum),
//! without the bus's timeouts.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;

use super::hostile::{self, Manner};
use crate::cli::exit::{Exit, Failure};
use crate::limits;

/// Be the peer that a benchmark compares with (started by `bench` itself).
#[derive(Debug, clap::Args)]
pub(crate) struct PeerArgs {
    #[command(subcommand)]
    kind: PeerKind,
    /// Where to listen.
    #[arg(long, global = true, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum PeerKind {
    /// Read a request, do nothing, answer 202.
    Noop,
    /// Send what comes on to a URL, then answer 202.
    Forward { url: reqwest::Url },
    /// Be a target that misbehaves, on a port of its own choice.
    Hostile { manner: Manner },
}

pub(crate) async fn run(args: PeerArgs) -> Result<Exit, Failure> {
    let routes = match args.kind {
        PeerKind::Noop => Router::new().route("/v1/buses/{bus}/events", post(accept)),
        PeerKind::Forward { url } => Router::new()
            .route("/v1/buses/{bus}/events", post(forward))
            .with_state((reqwest::Client::new(), url)),
        PeerKind::Hostile { manner } => return hostile::run(manner).await,
    };
    let routes = routes
        .route("/readyz", get(|| async { "ready" }))
        .layer(axum::extract::DefaultBodyLimit::max(limits::BODY_BYTES));
    let failed = |error| Failure::failed(format!("{}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    // As the bus does: an answer does not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, routes).await.map_err(failed)?;
    Ok(Exit::Ok)
}

/// Does what any HTTP server must: reads the whole body, and answers as many bytes as the bus does
/// for one event.
async fn accept(
    body: Bytes,
) -> (
    StatusCode,
    [(http::HeaderName, &'static str); 1],
    &'static str,
) {
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    if body.is_empty() {
        return (StatusCode::BAD_REQUEST, json, "{}");
    }
    let answer = r#"{"accepted":[{"id":"0000000000-000000000000000","source":"/bench","sequence":1000000}]}"#;
    (StatusCode::ACCEPTED, json, answer)
}

/// Passes an event on and waits for the answer, as the plainest webhook relay does.
async fn forward(
    State((client, url)): State<(reqwest::Client, reqwest::Url)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut request = client.post(url).body(body);
    for (name, value) in &headers {
        if name.as_str().starts_with("ce-") || name == http::header::CONTENT_TYPE {
            request = request.header(name, value);
        }
    }
    match request.send().await {
        Ok(response) if response.status().is_success() => match response.bytes().await {
            Ok(_) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::BAD_GATEWAY,
        },
        _ => StatusCode::BAD_GATEWAY,
    }
}
