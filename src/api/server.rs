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
use axum::http::{HeaderValue, Request, Version, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::request_id::RequestId;
use super::{Config, Problem};
use crate::limits;
use crate::tls::Tls;

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
    tls: Option<Tls>,
    stop: CancellationToken,
    answer: A,
) -> anyhow::Result<()>
where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let http = Arc::new(http(&config));
    let places = Arc::new(Semaphore::new(config.connections));
    let mut connections = JoinSet::new();
    while let Some(((stream, peer), place)) =
        next(&listener, &places, &mut connections, &stop).await
    {
        let (http, answer, stop) = (Arc::clone(&http), answer.clone(), stop.clone());
        let tls = tls.clone();
        connections.spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "could not turn Nagle's algorithm off");
            }
            let answer = move |request| answer(request, peer);
            match tls {
                None => converse(&http, stream, config.head_timeout, stop, answer).await,
                // Boxed, so that a connection without TLS takes no room for it.
                Some(tls) => {
                    Box::pin(async move {
                        if let Some(stream) = shake_hands(&tls, (stream, peer), &stop).await {
                            converse(&http, stream, config.head_timeout, stop, answer).await;
                        }
                    })
                    .await
                }
            }
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// A connection, and where it is from.
type Accepted = (TcpStream, SocketAddr);

/// The next connection, once there is a place for it; `None` when it is time to stop.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Option<(Accepted, tokio::sync::OwnedSemaphorePermit)> {
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
async fn accept(listener: &TcpListener) -> Accepted {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
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

/// The connection under TLS; `None` when there is none, or it is time to stop.
async fn shake_hands(
    tls: &Tls,
    (stream, peer): Accepted,
    stop: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let shaken = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        shaken = tls.accept(stream) => shaken,
    };
    match shaken {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%peer, %error, "no TLS connection");
            None
        }
    }
}

/// One connection, from its first byte to its end.
async fn converse<A, F>(
    http: &auto::Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    head_timeout: Duration,
    stop: CancellationToken,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            name_host(&mut request);
            let id = RequestId::of(request.headers());
            id.name(request.headers_mut());
            let answered = answered(answer(request)).instrument(id.span());
            answered.map(|response| Ok::<_, Infallible>(id.mark(response)))
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

/// HTTP/2 names the host in `:authority`. Who asks for `Host` finds it there too (RFC 9113, section
/// 8.3.1): what keeps web pages away from an open bus does.
fn name_host(request: &mut Request<Incoming>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    let authority = request.uri().authority();
    let host = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// A panic is our bug: its request is answered, and the others go on.
async fn answered(answer: impl Future<Output = Response>) -> Response {
    let caught = AssertUnwindSafe(answer).catch_unwind().await;
    caught.unwrap_or_else(|_| Problem::internal("a handler panicked").into_response())
}

#[cfg(test)]
mod tests;
