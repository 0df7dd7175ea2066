//! Publishes until the bus has it: over restarts, a full disk, a network that is away.

use std::time::Duration;

use super::request::Client;
use super::types::Accepted;
use super::{ClientError, convert};
use crate::event::Event;

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(10);

/// Events and bytes of one batch, within what a bus takes.
const BATCH_EVENTS: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The pauses between tries: each twice the one before, with jitter, or as long as the bus asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pauses {
    tries: u32,
}

impl Pauses {
    /// How long to wait after this error; `None` when trying again would not help.
    pub(super) fn after(&mut self, error: &ClientError) -> Option<Duration> {
        let asked = match error {
            ClientError::Unreachable { .. } => None,
            ClientError::Problem(problem) if matches!(problem.status, 408 | 429 | 500..) => {
                problem.retry_after_seconds.map(Duration::from_secs)
            }
            _ => return None,
        };
        let bound = FIRST.saturating_mul(1 << self.tries.min(10)).min(MOST);
        self.tries += 1;
        let jittered = bound.mul_f64(0.5 + fastrand::f64() / 2.0);
        Some(asked.map_or(jittered, |asked| asked.min(MOST).max(jittered)))
    }
}

impl Client {
    /// Publishes one event, and tries again for up to `patience` while the bus cannot be reached or
    /// cannot take it. Safe: the bus knows an event that it has by its source and id, so give every
    /// event an id of its own.
    pub async fn publish_until<E>(
        &self,
        bus: &str,
        event: E,
        patience: Duration,
    ) -> Result<Accepted, ClientError>
    where
        E: TryInto<Event>,
        E::Error: std::fmt::Display,
    {
        let json = convert(event)?.to_json();
        let accepted = self.publish_json_until(bus, json, patience).await?;
        accepted
            .into_iter()
            .next()
            .ok_or_else(|| self.not_a_bus("the list of accepted events is empty"))
    }

    /// Publishes any number of events in batches, in order, each batch as
    /// [`publish_until`](Client::publish_until) does. An error leaves the batches before it published.
    pub async fn publish_all<E>(
        &self,
        bus: &str,
        events: impl IntoIterator<Item = E>,
        patience: Duration,
    ) -> Result<Vec<Accepted>, ClientError>
    where
        E: TryInto<Event>,
        E::Error: std::fmt::Display,
    {
        let mut accepted = Vec::new();
        let mut batch = Batch::default();
        for event in events {
            let json = convert(event)?.to_json();
            if !batch.has_room(json.len()) {
                let full = std::mem::take(&mut batch);
                accepted.extend(self.publish_json_until(bus, full.json(), patience).await?);
            }
            batch.push(&json);
        }
        if batch.events > 0 {
            accepted.extend(self.publish_json_until(bus, batch.json(), patience).await?);
        }
        Ok(accepted)
    }

    async fn publish_json_until(
        &self,
        bus: &str,
        json: Vec<u8>,
        patience: Duration,
    ) -> Result<Vec<Accepted>, ClientError> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut pauses = Pauses::default();
        loop {
            let error = match self.publish_json(bus, json.clone()).await {
                Ok(accepted) => return Ok(accepted),
                Err(error) => error,
            };
            let Some(pause) = pauses.after(&error) else {
                return Err(error);
            };
            if tokio::time::Instant::now() + pause > deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// A batch in the JSON format.
#[derive(Debug, Default)]
struct Batch {
    json: Vec<u8>,
    events: usize,
}

impl Batch {
    fn has_room(&self, bytes: usize) -> bool {
        self.events == 0 || self.events < BATCH_EVENTS && self.json.len() + bytes + 2 <= BATCH_BYTES
    }

    fn push(&mut self, event: &[u8]) {
        self.json.push(if self.events == 0 { b'[' } else { b',' });
        self.json.extend_from_slice(event);
        self.events += 1;
    }

    fn json(mut self) -> Vec<u8> {
        self.json.push(b']');
        self.json
    }
}

#[cfg(test)]
mod tests {
    use super::super::Problem;
    use super::*;

    fn problem(status: u16, retry_after_seconds: Option<u64>) -> ClientError {
        ClientError::Problem(Box::new(Problem {
            status,
            retry_after_seconds,
            ..Problem::default()
        }))
    }

    #[test]
    fn pauses_grow_and_only_what_may_mend_is_tried_again() {
        let away = ClientError::Unreachable {
            url: String::new(),
            reason: String::new(),
        };
        let mut pauses = Pauses::default();
        for expected in [100, 200, 400, 800] {
            let pause = pauses.after(&away).unwrap().as_millis();
            assert!((expected / 2..=expected).contains(&pause), "{pause}");
        }
        for _ in 0..100 {
            assert!(pauses.after(&away).unwrap() <= MOST);
        }
        let asked = Pauses::default().after(&problem(503, Some(7)));
        assert_eq!(asked, Some(Duration::from_secs(7)));
        let asked = Pauses::default().after(&problem(429, Some(3_600)));
        assert_eq!(asked, Some(MOST));
        for status in [400, 401, 403, 404, 409, 413, 422] {
            assert_eq!(Pauses::default().after(&problem(status, None)), None);
        }
    }

    #[test]
    fn batches_are_full_and_no_fuller() {
        let mut batch = Batch::default();
        assert!(batch.has_room(2 * BATCH_BYTES), "one always fits");
        while batch.has_room(3) {
            batch.push(b"{}");
        }
        assert_eq!(batch.events, BATCH_EVENTS);
        let json: Vec<serde_json::Value> = serde_json::from_slice(&batch.json()).unwrap();
        assert_eq!(json.len(), BATCH_EVENTS);
        let mut batch = Batch::default();
        batch.push(&[b' '; BATCH_BYTES - 10]);
        assert!(batch.has_room(7) && !batch.has_room(8));
    }
}
