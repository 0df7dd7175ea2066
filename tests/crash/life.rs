//! One life of the bus under load: what its publishers and changers share, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE};
use super::ledger::Ledger;

/// How a life ends, once enough events are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Kill,
    Terminate,
}

pub(crate) struct Life {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) client: reqwest::Client,
    pub(crate) base: String,
    bus: Arc<Bus>,
    end: End,
    /// Events to acknowledge before it ends.
    length: u64,
    acknowledged: AtomicU64,
    ending: AtomicBool,
    /// Grows with `acknowledged`.
    progress: watch::Sender<u64>,
}

impl Life {
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        bus: Arc<Bus>,
        client: reqwest::Client,
        address: SocketAddr,
        end: End,
        length: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            client,
            base: format!("http://{address}"),
            bus,
            end,
            length,
            acknowledged: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            progress: watch::channel(0).0,
        })
    }

    /// Counts acknowledged events. The one that makes it enough ends the life here and now: when
    /// anything was acknowledged too early, this is the moment that shows it.
    pub(crate) fn acknowledged(&self, events: u64) {
        let total = self.acknowledged.fetch_add(events, Ordering::AcqRel) + events;
        if total >= self.length && !self.ending.swap(true, Ordering::AcqRel) {
            match self.end {
                End::Kill => self.bus.kill(),
                End::Terminate => self.bus.terminate(),
            }
        }
        self.progress.send_replace(total);
    }

    /// Whether no answer is to be expected any more.
    pub(crate) fn is_over(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.end == End::Terminate && self.is_over()
    }

    /// Waits until that many more events are acknowledged, or the life is over.
    pub(crate) async fn pass(&self, events: u64) {
        let mut progress = self.progress.subscribe();
        let goal = *progress.borrow() + events;
        let reached = progress.wait_for(|total| *total >= goal || self.is_over());
        // The sender lives in `self`.
        let _ = reached.await;
    }

    /// Waits until `/readyz` says yes.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline && !self.bus.has_ended() {
            match self
                .client
                .get(format!("{}/readyz", self.base))
                .send()
                .await
            {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = answer.status().to_string(),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(format!(
            "the bus is not ready ({last}):\n{}",
            self.bus.log()
        ))
    }

    /// Waits until the load has ended the life.
    pub(crate) async fn ended_by_load(&self) -> Result<(), String> {
        let mut progress = self.progress.subscribe();
        let mut seen = 0;
        while !self.is_over() {
            let moved = tokio::time::timeout(PATIENCE, progress.changed()).await;
            let total = *progress.borrow_and_update();
            if self.bus.has_ended() && !self.is_over() {
                return Err(format!("the bus ended by itself:\n{}", self.bus.log()));
            }
            if moved.is_err() && total == seen {
                return Err(format!(
                    "nothing is acknowledged any more after {total} events:\n{}",
                    self.bus.log()
                ));
            }
            seen = total;
        }
        Ok(())
    }

    /// A request whose answer is JSON: its status and body, or `None` when none came.
    pub(crate) async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<String>,
    ) -> Option<(u16, serde_json::Value)> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.ok()?;
        Some((
            status,
            serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null),
        ))
    }
}
