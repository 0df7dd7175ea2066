//! How requests leave the bus: one HTTP client for what is guarded, watched and measured alike.
//!
//! The client is hyper's, over a connector of our own. reqwest's client stands on the same one but
//! seals its connections, and two things are done on a connection itself: what a target sends before
//! its answer is bounded ([`watched`]), and the phases of connecting are measured ([`phases`]).
//! Requests and answers stay reqwest's.

mod connections;
mod dial;
mod frames;
mod interim;
mod names;
mod phases;
mod resolver;
pub(super) mod trust;
mod watched;
mod words;

use std::mem;
use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_LENGTH};
use http::{HeaderValue, Method, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::{Body, ResponseBuilderExt as _, Url};
use rustls::ClientConfig;
use tower::util::BoxCloneSyncService;

pub use self::connections::Connections;
use self::dial::Dial;
pub(crate) use self::phases::measured;
pub(super) use self::resolver::Resolver;
pub(crate) use self::words::{cut, describe, is_connect_timeout, refusal};
use crate::guard::Guard;
use crate::limits;

/// Where requests to targets go: the HTTP client, or something in-process in tests.
pub type TargetService = BoxCloneSyncService<reqwest::Request, reqwest::Response, tower::BoxError>;

/// What all clients have in common.
#[derive(Clone)]
pub(super) struct Ways {
    pub(super) guard: Guard,
    /// Shared, so that its bounds hold for all clients together.
    pub(super) resolver: Arc<Resolver>,
    pub(super) connections: Connections,
}

impl Ways {
    pub(super) fn new(guard: &Guard, connections: &Connections) -> Ways {
        Ways {
            guard: guard.clone(),
            resolver: Resolver::new(guard.clone()),
            connections: connections.clone(),
        }
    }

    /// Builds a client, which connects only to what the guard admits. It follows no redirect: that
    /// would carry the event, and the target's headers, to a place that nobody configured. It knows
    /// no proxy, which would connect for the bus, past the guard; and it tries nothing again but what
    /// an idle connection's end kept from being sent: that is the lane's to decide.
    ///
    /// Built once and kept: a client per attempt would pay a handshake for each.
    pub(super) fn client(&self, tls: ClientConfig) -> TargetService {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::IDLE_CONNECTION_TIMEOUT)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS_PER_TARGET);
        let client: Client<Dial, Body> = builder.build(Dial::new(self, tls));
        let Ways {
            guard, connections, ..
        } = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: reqwest::Request| {
            // A host that is an address is never resolved, so that the resolver does not see it.
            let admitted = guard.admit(request.url());
            let (client, connections) = (client.clone(), connections.clone());
            async move {
                admitted?;
                connections.request();
                let (request, url) = outgoing(request)?;
                let (mut parts, body) = client.request(request).await?.into_parts();
                parts.extensions.extend(named(url)?);
                let response = http::Response::from_parts(parts, Body::wrap(body));
                Ok(reqwest::Response::from(response))
            }
        }))
    }
}

/// The request as hyper has it, and its address as reqwest does.
fn outgoing(mut request: reqwest::Request) -> Result<(http::Request<Body>, Url), http::Error> {
    let body = request.body_mut().take().unwrap_or_default();
    let says_nothing = body.as_bytes().is_some_and(<[u8]>::is_empty);
    let mut outgoing = http::Request::new(body);
    *outgoing.uri_mut() = Uri::try_from(request.url().as_str())?;
    *outgoing.method_mut() = request.method().clone();
    let mut headers = mem::take(request.headers_mut());
    headers
        .entry(ACCEPT)
        .or_insert(const { HeaderValue::from_static("*/*") });
    // hyper leaves it out, and servers refuse what does not say how long it is (411).
    if says_nothing && !matches!(*request.method(), Method::GET | Method::OPTIONS) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *outgoing.headers_mut() = headers;
    Ok((outgoing, request.url().clone()))
}

/// What tells reqwest whose answer it is.
fn named(url: Url) -> Result<http::Extensions, http::Error> {
    let (parts, ()) = http::Response::builder().url(url).body(())?.into_parts();
    Ok(parts.extensions)
}

#[cfg(test)]
mod tests;
