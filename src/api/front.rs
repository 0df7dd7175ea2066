//! The first to see a request: publishing goes straight to its handler, all else to the routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Api, Config, publish, routes, server};

/// Answers requests until `stop`, then lets each connection finish those it has begun.
pub async fn serve(
    listener: TcpListener,
    api: Arc<Api>,
    config: Config,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let routes = routes(Arc::clone(&api));
    let tls = api.tls.clone();
    server::serve(listener, config, tls, stop, move |request| {
        answer(Arc::clone(&api), routes.clone(), request)
    })
    .await
}

/// A way through the routes costs about as much as decoding a small event, so publishing, which
/// is most of what a bus is asked, does not take it.
async fn answer(api: Arc<Api>, routes: Router, request: Request<Incoming>) -> Response {
    let bus = match *request.method() {
        Method::POST => publish::bus_of(request.uri().path()),
        _ => None,
    };
    if let Some(bus) = bus {
        let (head, body) = request.into_parts();
        return publish::publish(&api, bus, &head.headers, body).await;
    }
    match routes.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
