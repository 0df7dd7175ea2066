//! Opens connections: name, TCP, TLS, all within [`limits::CONNECT_TIMEOUT`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tower::{BoxError, Service};

use super::Ways;
use super::connections::Connections;
use super::phases;
use super::resolver::Resolver;
use super::watched::Watched;
use crate::limits;

/// A target that is gone without a word is noticed on an idle connection after a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;

type Dialled<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// The connector of the client for targets.
#[derive(Clone)]
pub(super) struct Dial {
    https: HttpsConnector<Tcp>,
    connections: Connections,
}

/// Its part below TLS.
#[derive(Clone)]
struct Tcp(HttpConnector<Resolver>);

/// The time for connecting was over.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {:?}", limits::CONNECT_TIMEOUT)]
pub(super) struct ConnectTimedOut;

impl Dial {
    pub(super) fn new(ways: &Ways, tls: ClientConfig) -> Dial {
        let mut http = HttpConnector::new_with_resolver(Resolver::clone(&ways.resolver));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_keepalive_interval(Some(KEEPALIVE));
        http.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        http.set_recv_buffer_size(Some(limits::RECEIVE_BUFFER_BYTES));
        // Shared among the addresses of a name, so that a silent one leaves time for the others.
        http.set_connect_timeout(Some(limits::CONNECT_TIMEOUT));
        Dial {
            https: HttpsConnector::from((Tcp(http), tls)),
            connections: ways.connections.clone(),
        }
    }
}

impl Service<Uri> for Dial {
    type Response = Watched<MaybeHttpsStream<TokioIo<TcpStream>>>;
    type Error = BoxError;
    type Future = Dialled<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let began = Instant::now();
        let dialled = self.https.call(uri);
        let connections = self.connections.clone();
        Box::pin(async move {
            let dialled = timeout(limits::CONNECT_TIMEOUT, dialled).await;
            let stream = dialled.map_err(|_| ConnectTimedOut)??;
            connections.open();
            if matches!(stream, MaybeHttpsStream::Https(_)) {
                phases::note(|phases| {
                    let before =
                        phases.dns.unwrap_or_default() + phases.connect.unwrap_or_default();
                    phases.tls = Some(began.elapsed().saturating_sub(before));
                });
            }
            Ok(Watched::new(stream))
        })
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Dialled<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let began = Instant::now();
        let connected = self.0.call(uri);
        Box::pin(async move {
            let stream = connected.await?;
            phases::note(|phases| {
                let took = began.elapsed();
                phases.connect = Some(took.saturating_sub(phases.dns.unwrap_or_default()));
            });
            Ok(stream)
        })
    }
}
