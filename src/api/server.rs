//! The listener: bounds on connections, heads and silence; a drain that finishes what is under way.
//!
//! `axum::serve` sets no header timeout, and hyper-util's protocol detection waits for the first
//! bytes without one, so the loop is our own.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Config, Problem};
use crate::limits;

/// Listens on the address; an error says what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| match std::net::TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => format!(
                "cannot listen on {address}: another program does already; stop it, or choose \
                 another port with --listen (port 0 takes a free one)"
            ),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => format!(
                "cannot listen on {address}: ports below 1024 need privileges; choose another \
                 with --listen"
            ),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => format!(
                "cannot listen on {address}: this machine has no such address; choose another \
                 with --listen, or 0.0.0.0 for all"
            ),
            _ => format!("cannot listen on {address}; choose another address with --listen"),
        })
}

/// Answers requests until `stop`, then lets each connection finish those it has begun.
pub(super) async fn serve<A, F>(
    listener: TcpListener,
    config: Config,
    stop: CancellationToken,
    answer: A,
) -> anyhow::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let http = Arc::new(http(&config));
    let places = Arc::new(Semaphore::new(config.connections));
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = next(&listener, &places, &mut connections, &stop).await {
        let (http, answer, stop) = (Arc::clone(&http), answer.clone(), stop.clone());
        connections.spawn(async move {
            converse(&http, stream, config.head_timeout, stop, answer).await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// The next connection, once there is a place for it; `None` when it is time to stop.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let accepted = async {
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.expect("the places are never closed");
        (accept(listener).await, place)
    };
    let mut accepted = pin!(accepted);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = &mut accepted => return Some(accepted),
            // Only so that ended connections do not pile up.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Errors here are of one connection, or pass once others have closed (no file descriptors left).
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn http(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(limits::REQUEST_HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .keep_alive_timeout(config.head_timeout)
        .max_concurrent_streams(limits::HTTP2_STREAMS)
        .max_header_list_size(limits::REQUEST_HEADER_BYTES as u32);
    http
}

/// One connection, from its first byte to its end.
async fn converse<A, F>(
    http: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    head_timeout: Duration,
    stop: CancellationToken,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not turn Nagle's algorithm off");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            answered(answer(request))
        })
    };
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    // hyper's own timeout begins with the first byte only.
    let mut first_request = pin!(tokio::time::sleep(head_timeout));
    let (mut waits_for_first, mut stopping) = (true, false);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = first_request.as_mut(), if waits_for_first => {
                if !asked.load(Ordering::Relaxed) {
                    tracing::debug!("a connection brought no request in time");
                    return;
                }
                waits_for_first = false;
            }
            () = stop.cancelled(), if !stopping => {
                connection.as_mut().graceful_shutdown();
                stopping = true;
            }
        }
    }
}

/// A panic is our bug: its request is answered, and the others go on.
async fn answered(answer: impl Future<Output = Response>) -> Result<Response, Infallible> {
    let caught = AssertUnwindSafe(answer).catch_unwind().await;
    Ok(caught.unwrap_or_else(|_| Problem::internal("a handler panicked").into_response()))
}

#[cfg(test)]
mod tests;
