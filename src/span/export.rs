//! Sends spans to an OTLP receiver over HTTP, in batches, and lets go of what it does not take.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use reqwest::{Client, Url};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::proto::{self, Resource};
use super::{Config, Inner, Span, Spans};
use crate::limits;

/// Where traces go below the base URL (OTLP/HTTP).
const PATH: [&str; 2] = ["v1", "traces"];

/// The task that sends spans. It is to be drained.
pub struct Exporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Task {
    spans: Arc<Inner>,
    queue: mpsc::Receiver<Span>,
    http: Client,
    url: Url,
    resource: Resource,
    stop: CancellationToken,
    /// The receiver did not take the last batch.
    is_away: bool,
}

/// Starts to make and send spans, if there is somebody to send them to.
///
/// # Errors
/// When no HTTP client can be had.
pub fn start(config: &Config, instance: &str) -> reqwest::Result<(Spans, Option<Exporter>)> {
    let Some(endpoint) = &config.endpoint else {
        return Ok((Spans::off(), None));
    };
    let (sender, queue) = mpsc::channel(limits::SPANS_QUEUED);
    let spans = Spans::new(Some(sender), config.sample);
    let mut url = endpoint.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(PATH);
    }
    let http = Client::builder()
        .timeout(limits::SPANS_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(config.headers.clone())
        .build()?;
    let stop = CancellationToken::new();
    let task = Task {
        spans: Arc::clone(&spans.0),
        queue,
        http,
        url,
        resource: Resource {
            attributes: vec![
                ("service.name", env!("CARGO_PKG_NAME").to_owned()),
                ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
                ("service.instance.id", instance.to_owned()),
            ],
        },
        stop: stop.clone(),
        is_away: false,
    };
    let task = tokio::spawn(task.run());
    Ok((spans, Some(Exporter { stop, task })))
}

impl Exporter {
    /// Sends what is queued, if that goes quickly, and stops.
    pub async fn drain(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            warn!(%error, "the task that sends spans panicked");
        }
    }
}

impl Task {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(limits::SPANS_BATCH);
        let stop = self.stop.clone();
        while self.fill(&mut batch).await {
            if stop
                .run_until_cancelled(self.deliver(&batch))
                .await
                .is_none()
            {
                break;
            }
            batch.clear();
        }
        // What is there now, as far as it goes out at once.
        let last = async {
            loop {
                let room = limits::SPANS_BATCH.saturating_sub(batch.len());
                if room > 0 && !self.queue.is_empty() {
                    self.queue.recv_many(&mut batch, room).await;
                }
                if batch.is_empty() || !self.post(&batch).await {
                    return;
                }
                batch.clear();
            }
        };
        let _ = tokio::time::timeout(limits::SPANS_LAST, last).await;
        let left = batch.len() + self.queue.len();
        self.spans.lost.fetch_add(left as u64, Relaxed);
    }

    /// Waits for a full batch, or for as long as a span may wait; `false` when it is to stop.
    async fn fill(&mut self, batch: &mut Vec<Span>) -> bool {
        let stop = self.stop.clone();
        let Some(_) = stop
            .run_until_cancelled(self.queue.recv_many(batch, limits::SPANS_BATCH))
            .await
        else {
            return false;
        };
        let due = Instant::now() + limits::SPANS_WAIT;
        while batch.len() < limits::SPANS_BATCH {
            let room = limits::SPANS_BATCH - batch.len();
            let more = tokio::time::timeout_at(due, self.queue.recv_many(batch, room));
            match stop.run_until_cancelled(more).await {
                Some(Ok(1..)) => {}
                _ => break,
            }
        }
        true
    }

    /// Sends a batch, again if need be; while it waits, the queue fills and then lets go.
    async fn deliver(&mut self, batch: &[Span]) {
        let mut wait = Duration::from_secs(1);
        for _ in 0..limits::SPANS_ATTEMPTS {
            if self.post(batch).await {
                return;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.spans.lost.fetch_add(batch.len() as u64, Relaxed);
    }

    /// Whether nothing more is to be done about these.
    async fn post(&mut self, batch: &[Span]) -> bool {
        let body = proto::request(&self.resource, batch);
        let request = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/x-protobuf")
            .body(body);
        let why = match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                if std::mem::take(&mut self.is_away) {
                    info!(url = %self.url, "the OTLP receiver takes spans again");
                }
                self.spans.exported.fetch_add(batch.len() as u64, Relaxed);
                return true;
            }
            Ok(answer) => {
                let status = answer.status();
                // Those that OTLP/HTTP lets one try again; others would be refused again.
                let passes = matches!(status.as_u16(), 429 | 502..=504);
                if !passes {
                    warn!(url = %self.url, %status, spans = batch.len(), "the OTLP receiver refuses spans");
                    self.spans.lost.fetch_add(batch.len() as u64, Relaxed);
                    return true;
                }
                format!("it answered {status}")
            }
            Err(error) => error.without_url().to_string(),
        };
        if !std::mem::replace(&mut self.is_away, true) {
            warn!(url = %self.url, why, "the OTLP receiver takes no spans: those without room are lost");
        }
        false
    }
}
