//! The HTTP client that all targets share, and its errors in words that a person understands.

use std::error::Error;
use std::io;

use tower::util::BoxCloneSyncService;

use super::connections::Connections;
use super::resolver::Resolver;
use crate::guard::{Guard, Refusal};
use crate::limits;

/// Where requests to targets go: the HTTP client, or something in-process in tests.
pub type TargetService = BoxCloneSyncService<reqwest::Request, reqwest::Response, tower::BoxError>;

/// Builds the client, which connects only to what `guard` admits. Built once: it keeps connections
/// alive per host, and a client per attempt would pay a handshake for each.
pub fn http_client(guard: &Guard, connections: &Connections) -> reqwest::Result<TargetService> {
    let resolver = Resolver::new(guard.clone());
    let client = connections.counting(builder().dns_resolver(resolver));
    Ok(guarded(client.build()?, guard, connections))
}

/// Asks the guard about each request's host: one that is an address is never resolved, so that the
/// resolver does not see it.
fn guarded(client: reqwest::Client, guard: &Guard, connections: &Connections) -> TargetService {
    let guard = guard.clone();
    let connections = connections.clone();
    BoxCloneSyncService::new(tower::service_fn(move |request: reqwest::Request| {
        let admitted = guard.admit(request.url());
        let client = client.clone();
        let connections = connections.clone();
        async move {
            admitted?;
            connections.request();
            client.execute(request).await.map_err(tower::BoxError::from)
        }
    }))
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // A redirect is an answer like any other; following it would carry the event, and the
        // target's headers, to a place that nobody configured.
        .redirect(reqwest::redirect::Policy::none())
        // A proxy would connect for the bus, past the guard.
        .no_proxy()
        // Retries are the lane's to decide.
        .retry(reqwest::retry::never())
        .connect_timeout(limits::CONNECT_TIMEOUT)
        .pool_max_idle_per_host(limits::IDLE_CONNECTIONS_PER_TARGET)
        .pool_idle_timeout(limits::IDLE_CONNECTION_TIMEOUT)
        .tcp_nodelay(true)
}

/// The guard's refusal, where that is at the root of the error.
pub(crate) fn refusal<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref() {
            return Some(refusal);
        }
        next = error.source();
    }
    None
}

/// Whether the error is a timeout of the client's own, such as the one for connecting.
pub(crate) fn is_timeout(error: &tower::BoxError) -> bool {
    error
        .downcast_ref::<reqwest::Error>()
        .is_some_and(reqwest::Error::is_timeout)
}

/// One line: what failed, and why at the root.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let what = match error.downcast_ref::<reqwest::Error>() {
        Some(error) if error.is_connect() => "could not connect",
        Some(error) if error.is_builder() => "the request could not be built",
        Some(error) if error.is_body() || error.is_decode() => "the answer broke off",
        Some(_) => "the connection failed",
        None => "",
    };
    let mut parts = Vec::new();
    if !what.is_empty() {
        parts.push(what.to_owned());
    }
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        // reqwest's and hyper-util's outer layers only say that there is an inner one.
        if error.is::<reqwest::Error>() {
            continue;
        }
        let text = words(error);
        if text.starts_with("client error (") || text.starts_with("error trying to connect") {
            continue;
        }
        // Many errors repeat their source in their own text: keep the longer of the two.
        match parts.last_mut() {
            Some(last) if last.contains(&text) => {}
            Some(last) if text.contains(last.as_str()) => *last = text,
            _ => parts.push(text),
        }
    }
    let mut text = parts.join(": ");
    cut(&mut text);
    text
}

/// Shortens what is kept of an error or an answer to [`limits::RESPONSE_KEPT_BYTES`].
pub(crate) fn cut(text: &mut String) {
    let mut length = text.len().min(limits::RESPONSE_KEPT_BYTES);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    text.truncate(length);
}

fn words(error: &(dyn Error + 'static)) -> String {
    let Some(io_error) = error.downcast_ref::<io::Error>() else {
        return error.to_string();
    };
    let plain = match io_error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by the target",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        io::ErrorKind::BrokenPipe => "connection closed by the target",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::UnexpectedEof => "connection closed early",
        _ => return io_error.to_string(),
    };
    plain.to_owned()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: inner")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] io::Error);

    #[test]
    fn a_chain_is_told_once() {
        let error = Outer(Inner(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!(describe(&error), "outer: inner: connection refused");
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        // A port that was just given back: nobody listens there.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let request = reqwest::Request::new(reqwest::Method::POST, url.parse().unwrap());
        let error = http_client(&Guard::off(), &Connections::default())
            .unwrap()
            .oneshot(request)
            .await
            .unwrap_err();
        let text = describe(&*error);
        assert!(text.starts_with("could not connect"), "{text}");
        assert!(text.ends_with("connection refused"), "{text}");
    }
}
