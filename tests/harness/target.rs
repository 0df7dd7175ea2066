//! A target that answers by a script and records each request whole.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::eventually;

/// A recording HTTP target on a free port.
pub(crate) struct TestTarget {
    addr: SocketAddr,
    state: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

/// One scripted answer. `503.into()` is one without delay, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) delay: Duration,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

struct Script {
    answers: Answers,
    received: Vec<Received>,
}

enum Answers {
    Queue(VecDeque<Reply>),
    By(Box<dyn FnMut(&Received) -> Reply + Send>),
}

impl Answers {
    fn queue<R: Into<Reply>>(replies: impl IntoIterator<Item = R>) -> Answers {
        Answers::Queue(replies.into_iter().map(Into::into).collect())
    }

    fn next(&mut self, request: &Received) -> Reply {
        match self {
            Answers::By(answer) => answer(request),
            Answers::Queue(replies) => match replies.len() {
                0 => Reply::from(204),
                1 => replies[0].clone(),
                _ => replies.pop_front().expect("there are two at least"),
            },
        }
    }
}

impl From<u16> for Reply {
    fn from(status: u16) -> Self {
        Self {
            status,
            delay: Duration::ZERO,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
}

impl Reply {
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl TestTarget {
    /// Answers with these in turn, and with the last one from then on.
    pub(crate) fn replying<R: Into<Reply>>(replies: impl IntoIterator<Item = R>) -> TestTarget {
        Self::start(Answers::queue(replies))
    }

    /// Answers each request as `answer` says, which is asked for one at a time.
    pub(crate) fn answering(answer: impl FnMut(&Received) -> Reply + Send + 'static) -> TestTarget {
        Self::start(Answers::By(Box::new(answer)))
    }

    fn start(answers: Answers) -> TestTarget {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let state = Arc::new(Mutex::new(Script {
            answers,
            received: Vec::new(),
        }));
        let routes = axum::Router::new()
            .fallback(answer)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        TestTarget { addr, state, task }
    }

    /// Takes everything.
    pub(crate) fn accepting() -> TestTarget {
        Self::replying([204])
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Answers so from now on.
    pub(crate) fn now_replying<R: Into<Reply>>(&self, replies: impl IntoIterator<Item = R>) {
        self.state.lock().answers = Answers::queue(replies);
    }

    /// Everything received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.lock().received.clone()
    }

    /// Waits for at least so many requests, and returns all.
    pub(crate) async fn receives(&self, count: usize) -> Vec<Received> {
        eventually(&format!("{count} requests at a target"), async || {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

impl Drop for TestTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn answer(State(state): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    let reply = {
        let mut script = state.lock();
        let request = Received {
            method: head.method.to_string(),
            path: head.uri.to_string(),
            headers: head.headers,
            body,
            at: Instant::now(),
        };
        let reply = script.answers.next(&request);
        script.received.push(request);
        reply
    };
    tokio::time::sleep(reply.delay).await;
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    response.headers_mut().extend(reply.headers);
    response
}
