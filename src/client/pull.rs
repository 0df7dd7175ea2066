//! Pulls deliveries of a target, and says what became of them.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::ClientError;
use super::request::Client;
use super::types::Json;
use crate::event::{self, Event};

const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// A target that is pulled; see [`Client::puller`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Puller {
    client: Client,
    bus: String,
    rule: String,
    target: String,
}

/// What to pull; the default takes up to ten deliveries that are there, for as long as the target says.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Deliveries at most; 10 when `None`, at most 256.
    pub max: Option<usize>,
    /// How long the bus waits for the first of them, at most 50 s.
    pub wait: Duration,
    /// For how long they are leased; as the target says when `None`.
    pub lease: Option<Duration>,
}

/// How deliveries are given back; the default leaves everything to the target's `retry`.
#[derive(Debug, Clone, Default)]
pub struct NackOptions {
    /// When to try again.
    pub delay: Option<Duration>,
    /// No retry mends it: it becomes a dead letter at once.
    pub give_up: bool,
    /// Why, for people.
    pub error: Option<String>,
}

/// One delivery, leased.
#[derive(Debug, Clone, Deserialize)]
pub struct Delivery {
    /// The same for every attempt; tell repeats by it.
    pub id: String,
    /// Names this lease.
    pub token: String,
    /// 1 the first time.
    pub attempt: u32,
    /// When the lease ends, by the bus's clock (RFC 3339).
    pub leased_until: String,
    /// The event in the JSON format.
    #[serde(rename = "event")]
    pub json: Json,
}

impl Delivery {
    /// The event.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] when a transform has made something of it that is no CloudEvent.
    pub fn event(&self) -> Result<Event, ClientError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, STRUCTURED)]);
        let body = bytes::Bytes::copy_from_slice(self.json.get().as_bytes());
        let received = event::decode(&headers, body);
        let read = received.map_err(|error| ClientError::Invalid(error.to_string()))?;
        let mut events = read.events.into_iter();
        events
            .next()
            .ok_or_else(|| ClientError::Invalid("the delivery holds no event".to_owned()))
    }
}

#[derive(Serialize)]
struct PullRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<usize>,
    wait: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
}

#[derive(Serialize)]
struct WordRequest<'a> {
    tokens: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    give_up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Deserialize)]
struct Deliveries {
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Done>,
}

#[derive(Deserialize)]
struct Done {
    done: bool,
}

impl Client {
    /// The deliveries of a target that has `pull`.
    #[must_use]
    pub fn puller(&self, bus: &str, rule: &str, target: &str) -> Puller {
        Puller {
            client: self.clone(),
            bus: bus.to_owned(),
            rule: rule.to_owned(),
            target: target.to_owned(),
        }
    }
}

impl Puller {
    /// Leases deliveries: what is there, or, after `options.wait` at most, what comes first.
    pub async fn pull(&self, options: &PullOptions) -> Result<Vec<Delivery>, ClientError> {
        let request = PullRequest {
            max: options.max,
            wait: text(options.wait),
            lease: options.lease.map(text),
        };
        let sent = self.post("pull")?.json(&request);
        // The bus answers in time; a network that does not is noticed soon after.
        let sent = sent.timeout(options.wait + Duration::from_secs(30));
        let answer: Deliveries = self.client.send(sent).await?;
        Ok(answer.deliveries)
    }

    /// Says that deliveries are done; once this returns they do not come again. Of each token whether
    /// its lease still held: if not, the delivery may come again.
    pub async fn ack(&self, tokens: &[String]) -> Result<Vec<bool>, ClientError> {
        self.say("ack", tokens, |_| {}).await
    }

    /// Gives deliveries back, to be tried again or given up.
    pub async fn nack(
        &self,
        tokens: &[String],
        options: &NackOptions,
    ) -> Result<Vec<bool>, ClientError> {
        self.say("nack", tokens, |word| {
            word.delay = options.delay.map(text);
            word.give_up = options.give_up;
            word.error = options.error.as_deref();
        })
        .await
    }

    /// Makes leases last so long from now on; as long as the target says when `None`.
    pub async fn extend(
        &self,
        tokens: &[String],
        lease: Option<Duration>,
    ) -> Result<Vec<bool>, ClientError> {
        self.say("extend", tokens, |word| word.lease = lease.map(text))
            .await
    }

    async fn say<'a>(
        &self,
        verb: &str,
        tokens: &'a [String],
        complete: impl FnOnce(&mut WordRequest<'a>),
    ) -> Result<Vec<bool>, ClientError> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let mut word = WordRequest {
            tokens,
            delay: None,
            lease: None,
            give_up: false,
            error: None,
        };
        complete(&mut word);
        let answer: Results = self.client.send(self.post(verb)?.json(&word)).await?;
        Ok(answer.results.iter().map(|result| result.done).collect())
    }

    fn post(&self, verb: &str) -> Result<reqwest::RequestBuilder, ClientError> {
        let (bus, rule, target) = (&self.bus, &self.rule, &self.target);
        self.client
            .post(&["buses", bus, "rules", rule, "targets", target, verb])
    }
}

/// As the bus reads durations, in whole milliseconds.
fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_reads_as_an_event_with_its_digits() {
        let delivery: Delivery = serde_json::from_str(
            r#"{"id":"a","token":"t","attempt":2,"leased_until":"2026-01-01T00:00:00.000Z",
                "event":{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n":1.50}}}"#,
        )
        .unwrap();
        let event = delivery.event().unwrap();
        assert_eq!((event.id(), delivery.attempt), ("1", 2));
        assert_eq!(event.data_bytes(), r#"{"n":1.50}"#);
    }
}
