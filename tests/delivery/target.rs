//! A receiver on a real socket that records what it gets and answers by its script.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) after: Duration,
    pub(crate) retry_after: Option<&'static str>,
    pub(crate) body: String,
}

pub(crate) fn reply(status: u16) -> Reply {
    Reply {
        status,
        after: Duration::ZERO,
        retry_after: None,
        body: String::new(),
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

pub(crate) type Script = Box<dyn Fn(usize, &Request) -> Reply + Send + Sync>;

/// A receiver on a real socket that records what it gets and answers by its script.
pub(crate) struct TestTarget {
    pub(crate) url: String,
    pub(crate) shared: Arc<Received>,
    pub(crate) server: JoinHandle<()>,
}

pub(crate) struct Received {
    pub(crate) requests: Mutex<Vec<Request>>,
    pub(crate) script: Mutex<Script>,
}

impl TestTarget {
    pub(crate) async fn start(
        script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, script)
    }

    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let shared = Arc::new(Received {
            requests: Mutex::default(),
            script: Mutex::new(Box::new(script)),
        });
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            shared,
            server,
        }
    }

    /// Answers with these in turn, then 200.
    pub(crate) async fn replying<const N: usize>(statuses: [u16; N]) -> Self {
        Self::start(move |n, _| reply(statuses.get(n).copied().unwrap_or(200))).await
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.requests.lock().len()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().clone()
    }

    /// How often each event came.
    pub(crate) fn times(&self) -> HashMap<String, usize> {
        let mut times = HashMap::new();
        for request in self.shared.requests.lock().iter() {
            *times.entry(request.header("ce-id").to_owned()).or_default() += 1;
        }
        times
    }
}

impl Drop for TestTarget {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(received): State<Arc<Received>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let request = Request {
        headers,
        body,
        at: Instant::now(),
    };
    let reply = {
        let mut requests = received.requests.lock();
        requests.push(request.clone());
        (received.script.lock())(requests.len() - 1, &request)
    };
    if !reply.after.is_zero() {
        tokio::time::sleep(reply.after).await;
    }
    let mut headers = HeaderMap::new();
    if let Some(value) = reply.retry_after {
        headers.insert("retry-after", HeaderValue::from_static(value));
    }
    let status = StatusCode::from_u16(reply.status).unwrap();
    (status, headers, reply.body)
}
