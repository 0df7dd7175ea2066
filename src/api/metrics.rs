//! What `/metrics` shows: counted while publishing, or read from the parts when asked.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::delivery::{BreakerState, Delivery, LaneStatus};
use crate::limits;
use crate::log::{Appended, Log, State};
use crate::router::Router;
use crate::rule::Rules;

type RefusedLabels = [(&'static str, &'static str); 1];

/// One server's metrics; each server has a registry of its own.
pub(super) struct Metrics {
    registry: Registry,
    published: Counter,
    duplicates: Counter,
    refused: Family<RefusedLabels, Counter>,
    latency: Histogram,
}

/// The parts that are asked on each scrape.
pub(super) struct Sources {
    pub(super) log: Log,
    pub(super) rules: Rules,
    pub(super) delivery: Delivery,
    pub(super) router: Router,
}

impl Metrics {
    pub(super) fn new(sources: Sources) -> Self {
        let mut registry = Registry::with_prefix("eventyard");
        let published = Counter::default();
        let duplicates = Counter::default();
        let refused = Family::default();
        // 100 µs to 13 s
        let latency = Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        registry.register(
            "events_published",
            "Events accepted and on disk",
            published.clone(),
        );
        registry.register(
            "events_duplicate",
            "Events that the bus had already, answered with the first one's sequence",
            duplicates.clone(),
        );
        registry.register(
            "publish_refused",
            "Publishing requests refused, by class",
            refused.clone(),
        );
        registry.register(
            "publish_seconds",
            "Time from a publishing request's head to its events being on disk",
            latency.clone(),
        );
        registry.register_collector(Box::new(sources));
        Self {
            registry,
            published,
            duplicates,
            refused,
            latency,
        }
    }

    pub(super) fn published(&self, appended: &[Appended], took: Duration) {
        let duplicates = appended.iter().filter(|event| event.duplicate).count() as u64;
        self.published.inc_by(appended.len() as u64 - duplicates);
        if duplicates > 0 {
            self.duplicates.inc_by(duplicates);
        }
        self.latency.observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, class: &'static str) {
        self.refused.get_or_create(&[("class", class)]).inc();
    }

    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let durable = self.log.durable_through();
        let writable = u64::from(self.log.state() == State::Writable);
        gauge(
            &mut encoder,
            "journal_writable",
            "1 when events can be accepted",
            writable,
        )?;
        gauge(
            &mut encoder,
            "journal_sequence",
            "Highest sequence on disk",
            durable,
        )?;
        let view_current = u64::from(self.log.view_problem().is_none());
        gauge(
            &mut encoder,
            "view_current",
            "1 when what is looked up is current",
            view_current,
        )?;
        gauge(
            &mut encoder,
            "router_lag",
            "Sequences on disk that are not routed yet",
            self.router.lag(),
        )?;
        let help = "Connections for rules that the guard refused, by what the address belongs to";
        let mut family =
            encoder.encode_descriptor("targets_refused", help, None, MetricType::Counter)?;
        for (network, count) in self.rules.guard().refusals() {
            let labels = [("network", network.as_str())];
            encode_series(&mut family, &labels, ConstCounter::new(count))?;
        }
        let connections = self.delivery.connections();
        for (name, help, count) in [
            (
                "target_connections",
                "Connections opened to targets",
                connections.opened(),
            ),
            (
                "target_requests",
                "Requests sent to targets, dead letters that are moved included",
                connections.requests(),
            ),
        ] {
            let counter = ConstCounter::new(count);
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        let counts = self.delivery.notice_counts();
        let help = "Events of the bus's own about targets: published; collapsed into one for many dead letters; lost";
        let mut family =
            encoder.encode_descriptor("own_events", help, None, MetricType::Counter)?;
        for (outcome, count) in [
            ("published", counts.published),
            ("collapsed", counts.collapsed),
            ("lost", counts.lost),
        ] {
            encode_series(
                &mut family,
                &[("outcome", outcome)],
                ConstCounter::new(count),
            )?;
        }
        encode_lanes(&mut encoder, &self.delivery.statuses())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// What one series of a target shows.
type Read = fn(&LaneStatus) -> u64;

const LANE_GAUGES: [(&str, &str, Read); 7] = [
    (
        "target_pending",
        "Deliveries waiting for a target, in memory and on disk",
        |lane| lane.ready + lane.parked + lane.backlogged,
    ),
    (
        "target_in_flight",
        "Attempts in flight to a target",
        |lane| lane.in_flight,
    ),
    (
        "target_breaker_open",
        "1 when a target's breaker is open or probing (for `_other`: how many are)",
        |lane| u64::from(lane.breaker != BreakerState::Closed),
    ),
    (
        "target_paused",
        "1 when an operator has paused a target (for `_other`: how many are)",
        |lane| u64::from(lane.state == "paused"),
    ),
    (
        "target_disabled",
        "1 when the bus has disabled a target (for `_other`: how many are)",
        |lane| u64::from(lane.state == "disabled"),
    ),
    (
        "target_throttled",
        "1 when deliveries wait for a target's rate limit or `Retry-After` (for `_other`: how many do)",
        |lane| u64::from(lane.throttled_by.is_some()),
    ),
    (
        "target_concurrency",
        "Attempts at once that a target is found to bear, up to its `concurrency`",
        |lane| lane.concurrency,
    ),
];

const OUTCOMES: [(&str, Read); 3] = [
    ("delivered", |lane| lane.delivered),
    ("retried", |lane| lane.retried),
    ("dead_lettered", |lane| lane.dead_lettered),
];

fn encode_lanes(
    encoder: &mut DescriptorEncoder<'_>,
    lanes: &[LaneStatus],
) -> Result<(), fmt::Error> {
    let (named, others) = lanes.split_at(lanes.len().min(limits::METRIC_TARGETS));
    for (name, help, read) in LANE_GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for lane in named {
            let labels = [
                ("bus", lane.bus.as_str()),
                ("rule", lane.rule.as_str()),
                ("target", lane.target.as_str()),
            ];
            encode_series(&mut family, &labels, ConstGauge::new(read(lane)))?;
        }
        if !others.is_empty() {
            let labels = [("bus", "_other"), ("rule", "_other"), ("target", "_other")];
            let sum: u64 = others.iter().map(read).sum();
            encode_series(&mut family, &labels, ConstGauge::new(sum))?;
        }
    }
    let help =
        "When a target was paused or disabled, in seconds since 1970; only of those that are";
    let name = "target_stopped_since_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (lane, since) in named
        .iter()
        .filter_map(|lane| Some((lane, lane.state_since?)))
    {
        let labels = [
            ("bus", lane.bus.as_str()),
            ("rule", lane.rule.as_str()),
            ("target", lane.target.as_str()),
        ];
        encode_series(
            &mut family,
            &labels,
            ConstGauge::new(since.as_millis() / 1_000),
        )?;
    }
    let help = "Attempts and deliveries of all targets since the start, by outcome";
    let mut family = encoder.encode_descriptor("deliveries", help, None, MetricType::Counter)?;
    for (outcome, read) in OUTCOMES {
        let sum: u64 = lanes.iter().map(read).sum();
        encode_series(&mut family, &[("outcome", outcome)], ConstCounter::new(sum))?;
    }
    Ok(())
}

fn encode_series(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    metric: impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(family.encode_family(&labels)?)
}
