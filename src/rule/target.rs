//! A target: where matched events go, how, and when a delivery is given up.

use std::time::Duration;

use http::HeaderMap;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::auth::Auth;
use super::dead_letter::DeadLetterPolicy;
use super::duration::{self, format_duration};
use super::ordering::{OnFailure, OrderingKey};
use super::pull::Pull;
use super::rate_limit::RateLimit;
use super::reply::ReplyTo;
use super::request::RequestShape;
use super::signing::Signing;
use super::size::format_size;
use super::tls::Tls;
use super::validation::Validation;
use crate::log::{BusName, RuleName, TargetId, TargetName};
use crate::secret::SecretName;
use crate::transform::Transform;

/// Content mode of a delivery (CloudEvents HTTP binding, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Binary,
    Structured,
    Batch,
}

/// When a failed delivery is tried again, and when it is given up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetryPolicy {
    /// All attempts, the first included. Default 12.
    pub max_attempts: u32,
    /// From the moment the delivery became pending. Default 24h.
    #[serde(serialize_with = "duration::serialize")]
    pub max_age: Duration,
    /// Upper bound of the first wait. Default 1s.
    #[serde(serialize_with = "duration::serialize")]
    pub initial_delay: Duration,
    /// Upper bound of every wait. Default 10m.
    #[serde(serialize_with = "duration::serialize")]
    pub max_delay: Duration,
    /// Full jitter: wait a random part of the bound. Default true.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 12,
            max_age: Duration::from_secs(24 * 60 * 60),
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(10 * 60),
            jitter: true,
        }
    }
}

/// How many events ride in one request of mode batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPolicy {
    /// Default 100.
    pub max_events: usize,
    /// Default 1MiB.
    pub max_bytes: usize,
    /// How long the first event waits for company. Default 100ms.
    pub max_wait: Duration,
}

impl Default for BatchPolicy {
    fn default() -> Self {
        Self {
            max_events: 100,
            max_bytes: 1024 * 1024,
            max_wait: Duration::from_millis(100),
        }
    }
}

impl Serialize for BatchPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("max_events", &self.max_events)?;
        map.serialize_entry("max_bytes", &format_size(self.max_bytes as u64))?;
        map.serialize_entry("max_wait", &format_duration(self.max_wait))?;
        map.end()
    }
}

impl Target {
    /// Every secret that its deliveries need.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let signing = self.signing.iter().flat_map(|signing| &signing.secrets);
        let auth = self.auth.iter().map(Auth::secret);
        signing
            .chain(auth)
            .chain(self.tls.iter().flat_map(Tls::secrets))
    }

    /// The receiver of its dead letters at `url`. What is meant for the target alone, such as its
    /// headers and what it is signed with, must not reach another receiver; every field is written
    /// out, so that a new one is decided about here.
    #[must_use]
    pub fn for_dead_letters(&self, url: &reqwest::Url) -> Target {
        Target {
            key: self.key,
            bus: self.bus.clone(),
            rule: self.rule.clone(),
            id: self.id.clone(),
            url: url.clone(),
            pull: None,
            mode: match self.mode {
                Mode::Binary => Mode::Binary,
                Mode::Structured | Mode::Batch => Mode::Structured,
            },
            headers: HeaderMap::new(),
            request: RequestShape::default(),
            timeout: self.timeout,
            concurrency: self.concurrency,
            rate_limit: None,
            retry: self.retry.clone(),
            batch_events: self.batch_events,
            batch_bytes: self.batch_bytes,
            batch_wait: self.batch_wait,
            transform: None,
            signing: None,
            auth: None,
            validation: None,
            tls: None,
            dead_letter: DeadLetterPolicy::default(),
            disable_after: None,
            reply: None,
            ordering_key: None,
            on_failure: OnFailure::default(),
        }
    }
}

/// Where matched events go.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub key: TargetId,
    pub bus: BusName,
    pub rule: RuleName,
    pub id: TargetName,
    /// Where requests go; `pull:` of a target that is pulled.
    pub url: reqwest::Url,
    /// It is sent nothing: its deliveries are leased to those who ask.
    pub pull: Option<Pull>,
    pub mode: Mode,
    /// The headers that never change.
    pub headers: HeaderMap,
    /// Its method, and what of its URL and headers comes from the event.
    pub request: RequestShape,
    /// Covers connect to the end of the body. Default 10s.
    pub timeout: Duration,
    /// Attempts at once. Default 32.
    pub concurrency: usize,
    /// Requests in a second, minute or hour, retries included. Default none.
    pub rate_limit: Option<RateLimit>,
    pub retry: RetryPolicy,
    /// Only for mode batch: most events of one request (default 100), most bytes (default 1 MiB),
    /// and how long the first waits for company (default 100ms).
    pub batch_events: usize,
    pub batch_bytes: usize,
    pub batch_wait: Duration,
    /// What it receives in the place of an event's data; the event as it is when `None`.
    pub transform: Option<Transform>,
    /// What signs the deliveries; unsigned when `None`.
    pub signing: Option<Signing>,
    /// What lets the deliveries in; nothing when `None`.
    pub auth: Option<Auth>,
    /// It must agree before it is sent anything; not asked when `None`.
    pub validation: Option<Validation>,
    /// The certificates that connections are made with; the usual when `None`.
    pub tls: Option<Tls>,
    pub dead_letter: DeadLetterPolicy,
    /// How long it may accept nothing before it is disabled; never when `None`. Default 5d.
    pub disable_after: Option<Duration>,
    /// Where a CloudEvent that it answers with is published.
    pub reply: Option<ReplyTo>,
    /// By what its deliveries are made one at a time, in the log's order.
    pub ordering_key: Option<OrderingKey>,
    /// Only with an ordering key.
    pub on_failure: OnFailure,
}
