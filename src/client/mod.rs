//! Talks to a bus over its HTTP API (`/v1`): the command line and the tests use it, and so may you.
//!
//! ```no_run
//! # async fn example(event: eventyard::event::Event) -> Result<(), eventyard::client::ClientError> {
//! use eventyard::client::Client;
//!
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let accepted = client.publish("default", event).await?;
//! println!("on disk as number {}", accepted.sequence);
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::publish_until`] goes on while the bus is away, [`Client::publish_all`] makes batches, and
//! [`Client::subscribe`] follows a target that is pulled:
//!
//! ```no_run
//! # async fn example() -> Result<(), eventyard::client::ClientError> {
//! use eventyard::client::{Client, NackOptions, SubscribeOptions};
//!
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let options = SubscribeOptions::default();
//! let mut deliveries = client.subscribe("default", "orders", "worker", options);
//! loop {
//!     let delivery = deliveries.next().await?;
//!     // Its lease is extended for as long as this takes.
//!     let done = !delivery.event().data_bytes().is_empty();
//!     match done {
//!         true => delivery.ack().await?,
//!         false => delivery.nack(&NackOptions::default()).await?,
//!     };
//! }
//! # }
//! ```
//!
//! A receiver of signed deliveries verifies them with [`Verifying`](crate::webhook::Verifying).
//! `examples/` has a program for each of these.
//!
//! Documents (events, rules, dead letters) come as JSON text, [`Json`], so that numbers keep their
//! digits and objects their key order.

mod backtest;
mod builder;
mod compression;
mod error;
mod messages;
mod pull;
mod reason;
mod request;
mod retry;
mod subscribe;
mod tail;
mod types;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::event::Event;

pub use backtest::{BacktestMessage, BacktestOptions, BacktestProgress, RunningBacktest};
pub use builder::ClientBuilder;
pub use compression::Compression;
pub use error::{ClientError, Problem, ProblemPlace};
pub use pull::{Delivery, NackOptions, PullOptions, Puller};
pub use request::{Client, Export};
pub use subscribe::{Handed, SubscribeOptions, Subscription};
pub use tail::{Tail, TailMessage, TailOptions};
pub use types::{
    Accepted, Applied, AppliedDocument, ApplyOptions, AuditFilter, BusConfiguration, Configuration,
    DeadLetterAction, DeadLetterFilter, EventFilter, Json, Page, PatternVerdict, Redriven,
    Selection, Versioned,
};

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
/// Longer than a target's `timeout` may be.
const TEST_TIMEOUT: Duration = Duration::from_secs(16 * 60);
const BACKUP_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const BULK_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Between two tries of a publish.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

#[derive(Deserialize)]
struct AcceptedBody {
    accepted: Vec<Accepted>,
}

/// Publishing and reading events.
impl Client {
    /// Publishes one event; returns once the bus has it on disk. Takes the bus's own [`Event`] or
    /// anything that converts, such as an event of `cloudevents-sdk`.
    pub async fn publish<E>(&self, bus: &str, event: E) -> Result<Accepted, ClientError>
    where
        E: TryInto<Event>,
        E::Error: std::fmt::Display,
    {
        let event = convert(event)?;
        let accepted = self.publish_json(bus, event.to_json()).await?;
        accepted
            .into_iter()
            .next()
            .ok_or_else(|| self.not_a_bus("the list of accepted events is empty"))
    }

    /// Publishes events as one batch: all of them or none (at most `limits::BATCH_EVENTS`).
    pub async fn publish_batch<E>(
        &self,
        bus: &str,
        events: impl IntoIterator<Item = E>,
    ) -> Result<Vec<Accepted>, ClientError>
    where
        E: TryInto<Event>,
        E::Error: std::fmt::Display,
    {
        let mut body = vec![b'['];
        for event in events {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(&convert(event)?.to_json());
        }
        body.push(b']');
        self.publish_json(bus, body).await
    }

    /// Publishes CloudEvents that are JSON text already: an object is one event (structured mode),
    /// an array is a batch. The bytes go out as they are, or compressed.
    pub async fn publish_json(
        &self,
        bus: &str,
        json: impl Into<Vec<u8>>,
    ) -> Result<Vec<Accepted>, ClientError> {
        let json = json.into();
        let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
        let content_type = match first {
            Some(b'[') => BATCH,
            _ => STRUCTURED,
        };
        let body = bytes::Bytes::from(match self.compression {
            None => json,
            Some(compression) => compression.compress(&json)?,
        });
        let key = format!("\"{:032x}\"", fastrand::u128(..));
        let mut wait = self.retries.first_wait;
        for tried in 0.. {
            let mut request = self
                .post(&["buses", bus, "events"])?
                .header("content-type", content_type);
            if let Some(compression) = self.compression {
                request = request.header("content-encoding", compression.coding());
            }
            if self.retries.most > 0 {
                request = request.header("idempotency-key", &key);
            }
            let sent: Result<AcceptedBody, _> = self.send(request.body(body.clone())).await;
            match sent {
                Err(error) if tried < self.retries.most && error.may_pass() => {
                    let said = error.retry_after();
                    tokio::time::sleep(said.unwrap_or(wait).min(LONGEST_WAIT)).await;
                    wait *= 2;
                }
                sent => return sent.map(|body| body.accepted),
            }
        }
        unreachable!("the last try is answered")
    }

    /// One event by its sequence.
    pub async fn event(&self, bus: &str, sequence: u64) -> Result<Json, ClientError> {
        self.send(self.get(&["buses", bus, "events", &sequence.to_string()])?)
            .await
    }

    /// What became of an event: rules, deliveries, attempts; and why `explain`, a rule, matches it or
    /// does not.
    pub async fn trace(
        &self,
        bus: &str,
        sequence: u64,
        explain: Option<&str>,
    ) -> Result<Json, ClientError> {
        let query: Vec<_> = explain
            .map(|rule| ("explain", rule.to_owned()))
            .into_iter()
            .collect();
        let path = ["buses", bus, "events", &sequence.to_string(), "trace"];
        self.send(self.get_with(&path, &query)?).await
    }

    /// A page of events: the newest, or those after `filter.after` in ascending order.
    pub async fn events(&self, bus: &str, filter: &EventFilter) -> Result<Page, ClientError> {
        let request = self.get_with(&["buses", bus, "events"], &filter.pairs())?;
        self.send_page(request, "events").await
    }
}

/// Buses and rules.
impl Client {
    /// The first page of buses, which are all of them where there are not many.
    pub async fn buses(&self) -> Result<Page, ClientError> {
        self.buses_after(None).await
    }

    /// A page of buses, behind the `next` of the page before.
    pub async fn buses_after(&self, after: Option<&str>) -> Result<Page, ClientError> {
        self.send_page(self.get_with(&["buses"], &behind(after))?, "buses")
            .await
    }

    /// One bus's document and revision.
    pub async fn bus(&self, bus: &str) -> Result<Versioned, ClientError> {
        self.send_versioned(self.get(&["buses", bus])?).await
    }

    /// Creates or replaces a bus with this document.
    pub async fn put_bus(&self, bus: &str, document: &str) -> Result<Versioned, ClientError> {
        let request = self.put(&["buses", bus])?.body(document.to_owned());
        self.send_versioned(request).await
    }

    /// Deletes a bus.
    pub async fn delete_bus(&self, bus: &str) -> Result<(), ClientError> {
        self.send_empty(self.delete(&["buses", bus])?).await
    }

    /// A page of a bus's rules.
    pub async fn rules(&self, bus: &str, after: Option<&str>) -> Result<Page, ClientError> {
        let request = self.get_with(&["buses", bus, "rules"], &behind(after))?;
        self.send_page(request, "rules").await
    }

    /// One rule's document and revision.
    pub async fn rule(&self, bus: &str, rule: &str) -> Result<Versioned, ClientError> {
        self.send_versioned(self.get(&["buses", bus, "rules", rule])?)
            .await
    }

    /// Creates or replaces a rule. With `if_match` (an `ETag` from before) only when nobody has
    /// changed it since; otherwise the bus answers 412.
    pub async fn put_rule(
        &self,
        bus: &str,
        rule: &str,
        document: &str,
        if_match: Option<&str>,
    ) -> Result<Versioned, ClientError> {
        let mut request = self.put(&["buses", bus, "rules", rule])?;
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        self.send_versioned(request.body(document.to_owned())).await
    }

    /// Deletes a rule; what is still pending for its targets becomes dead letters.
    pub async fn delete_rule(&self, bus: &str, rule: &str) -> Result<(), ClientError> {
        self.send_empty(self.delete(&["buses", bus, "rules", rule])?)
            .await
    }

    /// Makes the bus hold these buses and rules, whole or not at all.
    pub async fn apply(
        &self,
        configuration: &Configuration,
        options: ApplyOptions,
    ) -> Result<Applied, ClientError> {
        let request = types::ApplyRequest {
            buses: &configuration.buses,
            prune: options.prune,
            dry_run: options.dry_run,
        };
        let request = self.post(&["apply"])?.timeout(BULK_TIMEOUT).json(&request);
        self.send(request).await
    }

    /// Health of one target, where the bus offers it: state, backlog, oldest pending delivery.
    pub async fn target(&self, bus: &str, rule: &str, target: &str) -> Result<Json, ClientError> {
        self.send(self.get(&["buses", bus, "rules", rule, "targets", target])?)
            .await
    }

    /// Stops sending to a target until it is resumed; what comes for it waits. Its health.
    pub async fn pause_target(
        &self,
        bus: &str,
        rule: &str,
        target: &str,
    ) -> Result<Json, ClientError> {
        self.send(self.post(&["buses", bus, "rules", rule, "targets", target, "pause"])?)
            .await
    }

    /// Sends to a target again that is paused or disabled. Its health.
    pub async fn resume_target(
        &self,
        bus: &str,
        rule: &str,
        target: &str,
    ) -> Result<Json, ClientError> {
        self.send(self.post(&["buses", bus, "rules", rule, "targets", target, "resume"])?)
            .await
    }

    /// Sends a target one event of the bus's own, at once; what it answered.
    pub async fn test_target(
        &self,
        bus: &str,
        rule: &str,
        target: &str,
    ) -> Result<Json, ClientError> {
        let request = self.post(&["buses", bus, "rules", rule, "targets", target, "test"])?;
        // The target's own timeout ends it.
        self.send(request.timeout(TEST_TIMEOUT)).await
    }

    /// Whether an event pattern matches an event (any JSON object), and why.
    pub async fn test_pattern(
        &self,
        pattern: &str,
        event: &str,
    ) -> Result<PatternVerdict, ClientError> {
        let pattern = types::raw("the pattern", pattern)?;
        let event = types::raw("the event", event)?;
        let request = self
            .post(&["patterns", "test"])?
            .json(&types::PatternQuestion { pattern, event });
        self.send(request).await
    }
}

/// Dead letters.
impl Client {
    /// A page of a bus's dead letters that fit the filter.
    pub async fn dead_letters(
        &self,
        bus: &str,
        filter: &DeadLetterFilter,
        limit: Option<usize>,
        after: Option<&str>,
    ) -> Result<Page, ClientError> {
        let mut pairs = filter.pairs();
        if let Some(limit) = limit {
            pairs.push(("limit", limit.to_string()));
        }
        if let Some(after) = after {
            pairs.push(("after", after.to_owned()));
        }
        let path = ["buses", bus, "dead-letters"];
        self.send_page(self.get_with(&path, &pairs)?, "dead_letters")
            .await
    }

    /// One dead letter with its event.
    pub async fn dead_letter(&self, bus: &str, id: &str) -> Result<Json, ClientError> {
        self.send(self.get(&["buses", bus, "dead-letters", id])?)
            .await
    }

    /// Deletes one dead letter.
    pub async fn delete_dead_letter(&self, bus: &str, id: &str) -> Result<(), ClientError> {
        self.send_empty(self.delete(&["buses", bus, "dead-letters", id])?)
            .await
    }

    /// Dead letters that fit the filter, counted by target, reason and class of status.
    pub async fn dead_letter_groups(
        &self,
        bus: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Json, ClientError> {
        let path = ["buses", bus, "dead-letters", "groups"];
        let request = self.get_with(&path, &filter.pairs())?;
        self.send(request.timeout(BULK_TIMEOUT)).await
    }

    /// The events of dead letters that fit the filter, as one CloudEvents batch that is read part by
    /// part.
    pub async fn export_dead_letters(
        &self,
        bus: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Export, ClientError> {
        let path = ["buses", bus, "dead-letters", "export"];
        let request = self.get_with(&path, &filter.pairs())?;
        self.send_stream(request.timeout(BULK_TIMEOUT)).await
    }

    /// Makes dead letters pending again.
    pub async fn redrive(
        &self,
        bus: &str,
        action: &DeadLetterAction<'_>,
    ) -> Result<Redriven, ClientError> {
        self.act(bus, "redrive", action).await
    }

    /// Deletes dead letters.
    pub async fn purge(
        &self,
        bus: &str,
        action: &DeadLetterAction<'_>,
    ) -> Result<Redriven, ClientError> {
        self.act(bus, "purge", action).await
    }

    /// The redrives in the background, those that ended not long ago included.
    pub async fn redrives(&self, bus: &str) -> Result<Page, ClientError> {
        let path = ["buses", bus, "dead-letters", "redrives"];
        self.send_page(self.get(&path)?, "redrives").await
    }

    /// Ends a redrive in the background.
    pub async fn cancel_redrive(&self, bus: &str, id: &str) -> Result<(), ClientError> {
        let path = ["buses", bus, "dead-letters", "redrives", id];
        self.send_empty(self.delete(&path)?).await
    }

    async fn act(
        &self,
        bus: &str,
        verb: &str,
        action: &DeadLetterAction<'_>,
    ) -> Result<Redriven, ClientError> {
        let request = self
            .post(&["buses", bus, "dead-letters", verb])?
            // A million dead letters take their time.
            .timeout(BULK_TIMEOUT)
            .json(action);
        let answer: Json = self.send(request).await?;
        if action.dry_run {
            return Ok(Redriven::Counted(answer));
        }
        if action.rate.is_some() {
            return Ok(Redriven::Job(answer));
        }
        // One number is all the answer holds; its key says what was done with the letters.
        let counts: BTreeMap<String, u64> = serde_json::from_str(answer.get())
            .map_err(|error| self.not_a_bus(&error.to_string()))?;
        Ok(Redriven::Now(counts.into_values().next().unwrap_or(0)))
    }
}

/// Secrets. Values go in; none comes out but of a generated one, once.
impl Client {
    /// A page of secrets, without their values.
    pub async fn secrets(&self, after: Option<&str>) -> Result<Page, ClientError> {
        self.send_page(self.get_with(&["secrets"], &behind(after))?, "secrets")
            .await
    }

    /// One secret's versions and users.
    pub async fn secret(&self, name: &str) -> Result<Json, ClientError> {
        self.send(self.get(&["secrets", name])?).await
    }

    /// Sets or generates a value: `{"value": …}` or `{"generate": "hmac" | "ed25519"}`, and
    /// `keep_old`.
    pub async fn put_secret(
        &self,
        name: &str,
        body: &serde_json::Value,
    ) -> Result<Json, ClientError> {
        self.send(self.put(&["secrets", name])?.json(body)).await
    }

    /// Deletes a secret; `force` although rules use it.
    pub async fn delete_secret(&self, name: &str, force: bool) -> Result<(), ClientError> {
        let query = [("force", force.to_string())];
        self.send_empty(self.delete_with(&["secrets", name], &query)?)
            .await
    }

    /// Deletes an earlier value of a secret.
    pub async fn delete_secret_version(&self, name: &str, version: u32) -> Result<(), ClientError> {
        let version = version.to_string();
        self.send_empty(self.delete(&["secrets", name, "versions", &version])?)
            .await
    }
}

/// Backups.
impl Client {
    /// All data of the bus, as a tar archive that is read part by part: a day at most.
    pub async fn backup(&self) -> Result<Export, ClientError> {
        let request = self.post(&["backup"])?.timeout(BACKUP_TIMEOUT);
        self.send_stream(request).await
    }
}

/// The audit.
impl Client {
    /// A page of what was changed and by whom, the newest first.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Page, ClientError> {
        let request = self.get_with(&["audit"], &filter.pairs())?;
        self.send_page(request, "entries").await
    }
}

/// API keys. A key's text comes out once, when it is made.
impl Client {
    /// A page of keys.
    pub async fn api_keys(&self, after: Option<&str>) -> Result<Page, ClientError> {
        self.send_page(self.get_with(&["keys"], &behind(after))?, "keys")
            .await
    }

    /// Makes a key: `{"name": …, "grants": [{"scope": …, "buses": […], "pattern": {…}}]}`, and
    /// `expires_in`, `rate_limit`.
    pub async fn create_api_key(&self, body: &serde_json::Value) -> Result<Json, ClientError> {
        self.send(self.post(&["keys"])?.json(body)).await
    }

    /// Ends a key, named by its prefix.
    pub async fn revoke_api_key(&self, prefix: &str) -> Result<(), ClientError> {
        self.send_empty(self.delete(&["keys", prefix])?).await
    }
}

/// Health, and what is logged.
impl Client {
    /// What the bus logs.
    pub async fn log_level(&self) -> Result<Json, ClientError> {
        self.send(self.get(&["log-level"])?).await
    }

    /// Changes what the bus logs, until it stops.
    pub async fn set_log_level(&self, level: &str) -> Result<Json, ClientError> {
        let body = BTreeMap::from([("level", level)]);
        self.send(self.put(&["log-level"])?.json(&body)).await
    }

    /// Lets the bus log by its configuration again.
    pub async fn reset_log_level(&self) -> Result<Json, ClientError> {
        self.send(self.delete(&["log-level"])?).await
    }

    /// Whether the bus accepts events now; the error says why not.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send_empty(self.get_root("readyz")?).await
    }
}

/// The query of a page behind this place.
fn behind(after: Option<&str>) -> Vec<(&'static str, String)> {
    let after = after.map(|after| ("after", after.to_owned()));
    after.into_iter().collect()
}

fn convert<E>(event: E) -> Result<Event, ClientError>
where
    E: TryInto<Event>,
    E::Error: std::fmt::Display,
{
    event
        .try_into()
        .map_err(|error| ClientError::Invalid(format!("not a valid CloudEvent: {error}")))
}
