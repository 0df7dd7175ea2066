//! What `/metrics` shows: counted while publishing, or read from the parts when asked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::exposition::Exposition;
use crate::clock::Timestamp;
use crate::delivery::{BreakerState, BusFigures, Delivery, Figures, LaneStatus};
use crate::limits;
use crate::log::{Appended, BusName, Log, State};
use crate::measure::{Histogram, Named};
use crate::router::Router;
use crate::rule::Rules;
use crate::tls::{self, Tls};

/// What stands in the place of a name beyond the bound.
const OTHER: &str = "_other";

/// What publishing is refused for, shown from the start: a rule that alerts must see the first one.
pub(super) const REFUSALS: [&str; 10] = [
    "malformed",
    "unauthorized",
    "forbidden",
    "too_fast",
    "unknown_bus",
    "slow",
    "too_large",
    "media_type",
    "unavailable",
    "other",
];
/// Room for more of them than there are.
const REFUSALS_MAX: usize = 32;

/// One server's metrics.
pub(super) struct Metrics {
    sources: Sources,
    started: Timestamp,
    buses: Named<BusName, Published>,
    refused: Named<&'static str, AtomicU64>,
    latency: Histogram,
}

/// The parts that are asked on each scrape.
pub(super) struct Sources {
    pub(super) log: Log,
    pub(super) rules: Rules,
    pub(super) delivery: Delivery,
    pub(super) router: Router,
    pub(super) tls: Option<Tls>,
}

/// What publishers brought to one bus.
#[derive(Debug, Default)]
struct Published {
    events: AtomicU64,
    duplicates: AtomicU64,
}

impl Metrics {
    pub(super) fn new(sources: Sources) -> Self {
        let refused = Named::new(REFUSALS_MAX);
        for class in REFUSALS {
            refused.of(&class);
        }
        let buses = Named::new(limits::METRIC_BUSES);
        buses.of(&BusName::default_bus());
        Self {
            started: sources.delivery.now(),
            sources,
            buses,
            refused,
            // 100 µs to 13 s
            latency: Histogram::new(Duration::from_micros(100), 1, 18),
        }
    }

    pub(super) fn published(&self, bus: &BusName, appended: &[Appended], took: Duration) {
        let duplicates = appended.iter().filter(|event| event.duplicate).count() as u64;
        let of_bus = self.buses.of(bus);
        of_bus
            .events
            .fetch_add(appended.len() as u64 - duplicates, Relaxed);
        if duplicates > 0 {
            of_bus.duplicates.fetch_add(duplicates, Relaxed);
        }
        self.latency.observe(took);
    }

    pub(super) fn refused(&self, class: &'static str) {
        self.refused.of(&class).fetch_add(1, Relaxed);
    }

    /// All of them; `held_bytes` is what request bodies hold.
    pub(super) fn text(&self, held_bytes: u64) -> String {
        self.know_buses();
        let mut out = Exposition::default();
        self.process(&mut out);
        self.publishing(&mut out, held_bytes);
        let tls = self.sources.tls.as_ref();
        handshakes(&mut out, &tls.map(Tls::figures).unwrap_or_default());
        certificates(&mut out, tls.map(Tls::ends));
        self.journal(&mut out);
        self.routing(&mut out);
        let figures = self.sources.delivery.figures();
        attempts(&mut out, &figures);
        let lanes = self.sources.delivery.statuses();
        deliveries(&mut out, &figures);
        self.guard_and_connections(&mut out);
        targets(&mut out, &lanes, self.sources.delivery.now());
        out.text()
    }

    /// All that are there stand with zeros, if there is room for them: an alert must see the first dead
    /// letter of a bus.
    fn know_buses(&self) {
        let buses = self.sources.rules.buses();
        if buses.len() > limits::METRIC_BUSES {
            return;
        }
        for bus in buses {
            self.buses.of(&bus.name);
            self.sources.delivery.knows_bus(&bus.name);
        }
    }

    fn process(&self, out: &mut Exposition) {
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
        ];
        out.gauge("eventyard_build_info", "What runs here; always 1")
            .with(&build, 1);
        out.gauge(
            "process_start_time_seconds",
            "When the bus started, in seconds since 1970",
        )
        .with_fraction(&[], seconds(self.started));
        if let Some(bytes) = resident_bytes() {
            let help = "Memory that the process holds";
            out.gauge("process_resident_memory_bytes", help).is(bytes);
        }
    }

    fn publishing(&self, out: &mut Exposition, held_bytes: u64) {
        let (named, rest) = self.buses.all();
        let rest_is_used = rest.events.load(Relaxed) + rest.duplicates.load(Relaxed) > 0;
        let buses: Vec<(&str, &Published)> = named
            .iter()
            .map(|(bus, counts)| (bus.as_str(), counts.as_ref()))
            .chain(rest_is_used.then_some((OTHER, rest.as_ref())))
            .collect();
        type Count = fn(&Published) -> &AtomicU64;
        let counts: [(&str, &str, &str, &str, Count); 2] = [
            (
                "eventyard_events_published_total",
                "Events accepted from publishers and on disk",
                "eventyard_bus_events_published_total",
                "The same by bus",
                |bus| &bus.events,
            ),
            (
                "eventyard_events_duplicate_total",
                "Events that the bus had already, answered with the first one's sequence",
                "eventyard_bus_events_duplicate_total",
                "The same by bus",
                |bus| &bus.duplicates,
            ),
        ];
        for (name, help, by_bus, by_bus_help, count) in counts {
            let sum = buses.iter().map(|(_, bus)| count(bus).load(Relaxed)).sum();
            out.counter(name, help).is(sum);
            let mut family = out.counter(by_bus, by_bus_help);
            for (bus, counts) in &buses {
                family.with(&[("bus", bus)], count(counts).load(Relaxed));
            }
        }
        let help = "Publishing requests refused, by class";
        let mut family = out.counter("eventyard_publish_refused_total", help);
        for (class, count) in self.refused.all().0 {
            family.with(&[("class", class)], count.load(Relaxed));
        }
        out.histogram(
            "eventyard_publish_seconds",
            "Time from a publishing request's head to its events being on disk",
            &self.latency.times(),
        );
        out.gauge(
            "eventyard_request_bodies_bytes",
            "Bytes of request bodies that arrive or wait for their answer",
        )
        .is(held_bytes);
    }

    fn journal(&self, out: &mut Exposition) {
        let log = &self.sources.log;
        let durable = log.durable_through();
        let figures = log.journal_figures();
        let view_lag = durable.saturating_sub(log.visible_through());
        let gauges = [
            (
                "eventyard_journal_writable",
                "1 when events can be accepted",
                u64::from(log.state() == State::Writable),
            ),
            (
                "eventyard_journal_sequence",
                "Highest sequence on disk",
                durable,
            ),
            (
                "eventyard_journal_segments",
                "Segments of the journal on disk",
                figures.segments,
            ),
            (
                "eventyard_journal_stored_bytes",
                "Bytes of events and records in the journal",
                figures.stored_bytes,
            ),
            (
                "eventyard_journal_queue_groups",
                "Requests and records that wait to be written",
                figures.queued_groups,
            ),
            (
                "eventyard_journal_queue_bytes",
                "Bytes that wait to be written",
                figures.queued_bytes,
            ),
            (
                "eventyard_view_current",
                "1 when what is looked up is current",
                u64::from(log.view_problem().is_none()),
            ),
            (
                "eventyard_view_lag",
                "Sequences on disk that look-ups do not show yet",
                view_lag,
            ),
        ];
        for (name, help, value) in gauges {
            out.gauge(name, help).is(value);
        }
        if let Some(free) = log.free_bytes() {
            let help = "Bytes that are free where the data directory lies";
            out.gauge("eventyard_disk_free_bytes", help).is(free);
        }
        out.counter(
            "eventyard_journal_written_bytes_total",
            "Bytes written to the journal and flushed",
        )
        .is(figures.written_bytes);
        out.histogram(
            "eventyard_journal_flush_seconds",
            "Time of a flush to the disk, which all serve that were written together",
            &figures.flush,
        );
    }

    fn routing(&self, out: &mut Exposition) {
        let router = &self.sources.router;
        let help = "Sequences on disk that are not routed yet";
        out.gauge("eventyard_router_lag", help).is(router.lag());
        out.histogram(
            "eventyard_match_seconds",
            "Time to find the rules that an event matches",
            &router.match_times(),
        );
    }

    fn guard_and_connections(&self, out: &mut Exposition) {
        let Sources {
            rules, delivery, ..
        } = &self.sources;
        let help = "Connections for rules that the guard refused, by what the address belongs to";
        let mut family = out.counter("eventyard_targets_refused_total", help);
        for (network, count) in rules.guard().refusals() {
            family.with(&[("network", network.as_str())], count);
        }
        let connections = delivery.connections();
        out.counter(
            "eventyard_target_connections_total",
            "Connections opened to targets",
        )
        .is(connections.opened());
        out.counter(
            "eventyard_target_requests_total",
            "Requests sent to targets, dead letters that are moved included",
        )
        .is(connections.requests());
        let counts = delivery.notice_counts();
        let help = "Events of the bus's own about targets: published; collapsed into one for many dead letters; lost";
        out.counter("eventyard_own_events_total", help)
            .with(&[("outcome", "published")], counts.published)
            .with(&[("outcome", "collapsed")], counts.collapsed)
            .with(&[("outcome", "lost")], counts.lost);
        let counts = delivery.spans().counts();
        let help =
            "Spans for the OTLP receiver: exported; lost, for want of room or since it was away";
        out.counter("eventyard_spans_total", help)
            .with(&[("outcome", "exported")], counts.exported)
            .with(&[("outcome", "lost")], counts.lost);
    }
}

fn seconds(moment: Timestamp) -> f64 {
    moment.as_millis() as f64 / 1_000.0
}

/// What Linux tells; `None` elsewhere.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(resident * rustix::param::page_size() as u64)
}

fn handshakes(out: &mut Exposition, figures: &tls::Figures) {
    let help = "TLS handshakes of the listener, by what came of them";
    out.counter("eventyard_tls_handshakes_total", help)
        .with(&[("outcome", "with_certificate")], figures.with_certificate)
        .with(
            &[("outcome", "without_certificate")],
            figures.without_certificate,
        )
        .with(&[("outcome", "failed")], figures.failed)
        .with(&[("outcome", "slow")], figures.slow)
        .with(&[("outcome", "displaced")], figures.displaced);
}

fn certificates(out: &mut Exposition, ends: Option<tls::Ends>) {
    let help = "When the first certificate in a file of the listener's ends, in seconds since 1970; only where the bus speaks TLS";
    let mut family = out.gauge("eventyard_tls_certificate_not_after_seconds", help);
    let Some(ends) = ends else { return };
    for (file, end) in [
        ("tls_cert_file", ends.certificate),
        ("tls_client_ca_file", ends.authorities),
    ] {
        if let Some(end) = end {
            family.with(&[("file", file)], end);
        }
    }
}

fn attempts(out: &mut Exposition, figures: &Figures) {
    let help =
        "Attempts of all targets, by what came of them: the answer's class, or why there was none";
    let mut family = out.counter("eventyard_attempts_total", help);
    for (class, count) in &figures.attempts {
        family.with(&[("class", class.as_str())], *count);
    }
    out.histogram(
        "eventyard_attempt_seconds",
        "Time of an attempt, whatever came of it; leases are not among them",
        &figures.attempt,
    );
    out.histogram(
        "eventyard_delivery_seconds",
        "Time from an event's acceptance, or its `deliverat`, to a target's, where one attempt was enough",
        &figures.first_try,
    );
    let help = "Routed events of which some delivery is in memory only";
    out.gauge("eventyard_router_unsettled", help)
        .is(figures.unsettled);
}

fn deliveries(out: &mut Exposition, figures: &Figures) {
    type Count = fn(&BusFigures) -> u64;
    let outcomes: [(&str, Count); 3] = [
        ("delivered", |bus| bus.delivered),
        ("retried", |bus| bus.retried),
        ("dead_lettered", |bus| bus.dead_lettered),
    ];
    let help = "Deliveries of all targets since the start, by outcome; `retried` are failures that are tried again";
    let mut family = out.counter("eventyard_deliveries_total", help);
    for (outcome, count) in outcomes {
        let sum = figures.buses.iter().map(|(_, bus)| count(bus)).sum();
        family.with(&[("outcome", outcome)], sum);
    }
    let mut family = out.counter("eventyard_bus_deliveries_total", "The same by bus");
    for (bus, counts) in &figures.buses {
        let bus = bus.as_ref().map_or(OTHER, BusName::as_str);
        for (outcome, count) in outcomes {
            family.with(&[("bus", bus), ("outcome", outcome)], count(counts));
        }
    }
}

/// What one series of a target shows.
type Read = fn(&LaneStatus) -> u64;

const LANE_GAUGES: [(&str, &str, Read); 8] = [
    (
        "eventyard_target_pending",
        "Deliveries waiting for a target, in memory and on disk",
        |lane| lane.ready + lane.parked + lane.backlogged,
    ),
    (
        "eventyard_target_in_flight",
        "Attempts in flight to a target, or leases of one that is pulled",
        |lane| lane.in_flight,
    ),
    (
        "eventyard_target_pulling",
        "Requests that wait for deliveries of a target that is pulled",
        |lane| lane.pulling.unwrap_or(0),
    ),
    (
        "eventyard_target_breaker_open",
        "1 when a target's breaker is open or probing (for `_other`: how many are)",
        |lane| u64::from(lane.breaker != BreakerState::Closed),
    ),
    (
        "eventyard_target_paused",
        "1 when an operator has paused a target (for `_other`: how many are)",
        |lane| u64::from(lane.state == "paused"),
    ),
    (
        "eventyard_target_disabled",
        "1 when the bus has disabled a target (for `_other`: how many are)",
        |lane| u64::from(lane.state == "disabled"),
    ),
    (
        "eventyard_target_throttled",
        "1 when deliveries wait for a target's rate limit or `Retry-After` (for `_other`: how many do)",
        |lane| u64::from(lane.throttled_by.is_some()),
    ),
    (
        "eventyard_target_concurrency",
        "Attempts at once that a target is found to bear, up to its `concurrency`",
        |lane| lane.concurrency,
    ),
];

const LANE_OUTCOMES: [(&str, Read); 3] = [
    ("delivered", |lane| lane.delivered),
    ("retried", |lane| lane.retried),
    ("dead_lettered", |lane| lane.dead_lettered),
];

/// The first [`limits::METRIC_TARGETS`] one by one, by their age. Of the others gauges are summed
/// (of ages the greatest is shown), and counters left to the totals: a sum over whoever is not
/// among the first would fall when one moves up, and a counter that falls is read as a restart.
fn targets(out: &mut Exposition, lanes: &[LaneStatus], now: Timestamp) {
    let (named, others) = lanes.split_at(lanes.len().min(limits::METRIC_TARGETS));
    let other = [("bus", OTHER), ("rule", OTHER), ("target", OTHER)];
    for (name, help, read) in LANE_GAUGES {
        let mut family = out.gauge(name, help);
        for lane in named {
            family.with(&labels(lane), read(lane));
        }
        if !others.is_empty() {
            family.with(&other, others.iter().map(read).sum());
        }
    }
    let age = |lane: &LaneStatus| {
        let since = lane.oldest_pending.unwrap_or(now);
        now.since(since).as_millis() as f64 / 1_000.0
    };
    let help = "How long a target's oldest delivery has been pending, to about a second; 0 when none is (for `_other`: the longest)";
    let mut family = out.gauge("eventyard_target_oldest_pending_seconds", help);
    for lane in named {
        family.with_fraction(&labels(lane), age(lane));
    }
    if !others.is_empty() {
        family.with_fraction(&other, others.iter().map(age).fold(0.0, f64::max));
    }
    let help =
        "When a target was paused or disabled, in seconds since 1970; only of those that are";
    let mut family = out.gauge("eventyard_target_stopped_since_seconds", help);
    for lane in named {
        if let Some(since) = lane.state_since {
            family.with(&labels(lane), since.as_millis() / 1_000);
        }
    }
    let help = "Deliveries of a target, by outcome";
    let mut family = out.counter("eventyard_target_deliveries_total", help);
    for lane in named {
        let [bus, rule, target] = labels(lane);
        for (outcome, read) in LANE_OUTCOMES {
            family.with(&[bus, rule, target, ("outcome", outcome)], read(lane));
        }
    }
    let help = "Targets that are shown together as `_other`";
    out.gauge("eventyard_targets_unnamed", help)
        .is(others.len() as u64);
}

fn labels(lane: &LaneStatus) -> [(&'static str, &str); 3] {
    [
        ("bus", lane.bus.as_str()),
        ("rule", lane.rule.as_str()),
        ("target", lane.target.as_str()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Names;
    use crate::log::{RuleName, TargetId, TargetName};

    #[test]
    fn targets_beyond_the_bound_are_shown_together() {
        let now = Timestamp::from_millis(100_000);
        let lanes: Vec<LaneStatus> = (0..limits::METRIC_TARGETS as u32 + 2)
            .map(|id| {
                let names = Names {
                    bus: BusName::default_bus(),
                    rule: RuleName::new(&format!("r{id}")).unwrap(),
                    target: TargetName::new("t").unwrap(),
                };
                LaneStatus {
                    parked: 3,
                    delivered: 5,
                    breaker: BreakerState::Open,
                    oldest_pending: Some(now.minus(Duration::from_millis(1_500 + u64::from(id)))),
                    ..LaneStatus::idle(TargetId(id), names)
                }
            })
            .collect();
        let mut out = Exposition::default();
        targets(&mut out, &lanes, now);
        let text = out.text();
        let last = r#"bus="default",rule="r499",target="t""#;
        let other = r#"bus="_other",rule="_other",target="_other""#;
        for line in [
            format!("eventyard_target_pending{{{last}}} 3"),
            format!("eventyard_target_pending{{{other}}} 6"),
            format!("eventyard_target_breaker_open{{{other}}} 2"),
            format!("eventyard_target_oldest_pending_seconds{{{last}}} 1.999"),
            format!("eventyard_target_oldest_pending_seconds{{{other}}} 2.001"),
            format!("eventyard_target_deliveries_total{{{last},outcome=\"delivered\"}} 5"),
            "eventyard_targets_unnamed 2".to_owned(),
        ] {
            assert!(text.lines().any(|shown| shown == line), "no {line}");
        }
        let counters = text.lines().filter(|line| line.contains("outcome="));
        assert_eq!(counters.count(), 3 * limits::METRIC_TARGETS);
        assert!(!text.contains("r500"));
    }
}
