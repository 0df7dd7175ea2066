//! The first to see a request: publishing goes straight to its handler, all else to the routes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Api, Config, audit, publish, routes, server};

/// Answers requests until `stop`, then lets each connection finish those it has begun.
pub async fn serve(
    listener: TcpListener,
    api: Arc<Api>,
    config: Config,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let routes = routes(Arc::clone(&api));
    let tls = api.tls.clone();
    let tasks = api.tasks.clone();
    let served = server::serve(listener, config, tls, stop, move |request, peer| {
        answer(Arc::clone(&api), routes.clone(), request, peer)
    });
    served.await?;
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// A way through the routes costs about as much as decoding a small event, so publishing, which
/// is most of what a bus is asked, does not take it.
async fn answer(
    api: Arc<Api>,
    routes: Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Response {
    let bus = match *request.method() {
        Method::POST => publish::bus_of(request.uri().path()),
        _ => None,
    };
    if let Some(bus) = bus {
        let (head, body) = request.into_parts();
        let response = publish::publish(&api, bus, &head.headers, body).await;
        let asked = (&head.method, &head.uri);
        audit::note_refused(&api, asked, &head.headers, peer, response.status()).await;
        return response;
    }
    request.extensions_mut().insert(audit::Peer(peer));
    let asked = (request.method().clone(), request.uri().clone());
    let headers = request.headers().clone();
    let response = match routes.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let asked = (&asked.0, &asked.1);
    audit::note_refused(&api, asked, &headers, peer, response.status()).await;
    response
}
