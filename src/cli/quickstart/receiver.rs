//! The built-in receiver: takes every delivery, refuses those to `/refuse`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::limits;

/// The port that the sample rules name.
pub(super) const PORT: u16 = 8081;
/// Deliveries that wait to be shown; a reader who publishes more sees that some were left out.
const WAITING: usize = 1_024;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) path: String,
    /// The event's id.
    pub(super) id: String,
    /// The event's type.
    pub(super) kind: String,
    pub(super) mode: &'static str,
    pub(super) delivery_id: String,
    pub(super) body: String,
    /// What it was answered.
    pub(super) status: StatusCode,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    received: mpsc::Receiver<Received>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Receiver {
    pub(super) fn start(listener: TcpListener) -> Receiver {
        let (sender, received) = mpsc::channel(WAITING);
        let routes = Router::new().fallback(take).with_state(sender);
        let task = tokio::spawn(async move { axum::serve(listener, routes).await });
        Receiver { received, task }
    }

    /// The next delivery; `None` when the receiver has stopped.
    pub(super) async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(sender): State<mpsc::Sender<Received>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, limits::BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = head.uri.path().to_owned();
    let status = if path.starts_with("/refuse") {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    let received = read(path, &head.headers, &body, status);
    // Full means that nobody reads along fast enough: the delivery counts, the line does not.
    let _ = sender.try_send(received);
    let answer = if status == StatusCode::OK {
        "thank you"
    } else {
        "I refuse this on principle"
    };
    (status, answer).into_response()
}

fn read(path: String, headers: &http::HeaderMap, body: &Bytes, status: StatusCode) -> Received {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let content_type = header("content-type").to_ascii_lowercase();
    let (mode, id, kind) = if content_type.starts_with("application/cloudevents-batch") {
        ("batch", String::new(), "a batch".to_owned())
    } else if content_type.starts_with("application/cloudevents") {
        let event: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        ("structured", text("id"), text("type"))
    } else {
        ("binary", header("ce-id"), header("ce-type"))
    };
    Received {
        path,
        id,
        kind,
        mode,
        delivery_id: header("webhook-id"),
        body: String::from_utf8_lossy(body).into_owned(),
        status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> http::HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, http::HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn every_mode_is_read() {
        let read = |pairs, body: &'static str| {
            read(
                "/".into(),
                &headers(pairs),
                &Bytes::from(body),
                StatusCode::OK,
            )
        };
        let binary = read(
            &[
                ("ce-id", "1"),
                ("ce-type", "a"),
                ("content-type", "application/json"),
            ],
            "{}",
        );
        assert_eq!((binary.mode, binary.id.as_str()), ("binary", "1"));
        let structured = read(
            &[(
                "content-type",
                "application/cloudevents+json; charset=utf-8",
            )],
            r#"{"id":"2","type":"b"}"#,
        );
        assert_eq!(
            (structured.mode, structured.id.as_str()),
            ("structured", "2")
        );
    }
}
