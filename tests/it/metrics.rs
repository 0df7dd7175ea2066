//! What `/metrics` shows, and whether Prometheus takes it.

use std::time::Duration;

use eventyard::clock::{Clock, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::exposition::Scrape;
use crate::harness::{Reply, TestBus, TestTarget, eventually, send};

pub(crate) async fn scrape(bus: &TestBus) -> Scrape {
    let answer = bus.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    Scrape::read(&answer.text()).unwrap()
}

/// A target that gets one attempt for each event.
fn once(id: &str, url: &str, options: &Value) -> Value {
    let mut target = json!({"id": id, "url": url, "retry": {"max_attempts": 1}});
    for (name, value) in options.as_object().unwrap() {
        target[name] = value.clone();
    }
    target
}

#[tokio::test]
async fn every_end_of_an_attempt_is_counted_in_its_class() {
    let bus = TestBus::start().await;
    let answering = [200, 302, 400, 429, 500].map(|status| TestTarget::replying([status]));
    let slow = TestTarget::replying([Reply::from(204).after(Duration::from_secs(120))]);
    // Bound and let go: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let mut targets: Vec<Value> = answering
        .iter()
        .enumerate()
        .map(|(at, target)| once(&format!("t{at}"), &target.url(), &json!({})))
        .collect();
    targets.push(once("slow", &slow.url(), &json!({"timeout": "100ms"})));
    targets.push(once("closed", &closed, &json!({})));
    let auth = json!({"auth": {"bearer": {"secret": "nowhere"}}});
    targets.push(once("secretive", &slow.url(), &auth));
    let rule = json!({"pattern": {"type": ["order.created"]}, "targets": targets});
    bus.put("/v1/buses/shop", &json!({})).await;
    let put = bus.put("/v1/buses/shop/rules/all", &rule).await;
    assert!(put.status.is_success(), "{put:?}");
    let publish = || {
        bus.request(Method::POST, "/v1/buses/shop/events")
            .header("content-type", "application/cloudevents+json")
            .body(event("1").to_string())
    };
    assert_eq!(send(publish()).await.status, 202);
    assert_eq!(send(publish()).await.status, 202, "a duplicate");
    bus.post("/", &json!({})).await.problem(400);

    let attempts = "eventyard_attempts_total";
    let shown = eventually("all attempts have ended", async || {
        let shown = scrape(&bus).await;
        let outcome = [("bus", "shop"), ("outcome", "dead_lettered")];
        let dead = shown
            .samples()
            .any(|s| s.name == "eventyard_bus_deliveries_total")
            && shown.value("eventyard_bus_deliveries_total", &outcome) >= 6.0;
        let waits = shown.value(attempts, &[("class", "not_prepared")]) >= 1.0;
        let delivered =
            shown.value("eventyard_deliveries_total", &[("outcome", "delivered")]) >= 1.0;
        // While a delivery moves from where it was to where it waits, it is counted in both.
        let secretive = [("bus", "shop"), ("rule", "all"), ("target", "secretive")];
        let rests = || shown.value("eventyard_target_pending", &secretive) <= 1.0;
        (dead && waits && delivered && rests()).then_some(shown)
    })
    .await;

    assert_eq!(shown.faults(), Vec::<String>::new());
    for class in ["2xx", "3xx", "4xx", "429", "5xx", "timeout", "connection"] {
        assert_eq!(shown.value(attempts, &[("class", class)]), 1.0, "{class}");
    }
    assert_eq!(shown.value(attempts, &[("class", "refused")]), 0.0);
    let sum: f64 = shown
        .samples()
        .filter(|sample| sample.name == attempts)
        .map(|sample| sample.value)
        .sum();
    assert_eq!(shown.value("eventyard_attempt_seconds_count", &[]), sum);
    assert!(shown.value("eventyard_attempt_seconds_sum", &[]) >= 0.1);
    assert_eq!(shown.value("eventyard_delivery_seconds_count", &[]), 1.0);

    let target = [("bus", "shop"), ("rule", "all"), ("target", "t4")];
    let [bus_label, rule_label, target_label] = target;
    let of_target = |outcome| [bus_label, rule_label, target_label, ("outcome", outcome)];
    let name = "eventyard_target_deliveries_total";
    assert_eq!(shown.value(name, &of_target("dead_lettered")), 1.0);
    assert_eq!(shown.value(name, &of_target("delivered")), 0.0);
    let secretive = [("bus", "shop"), ("rule", "all"), ("target", "secretive")];
    assert_eq!(shown.value("eventyard_target_pending", &secretive), 1.0);

    let shop = [("bus", "shop")];
    for (name, labels, value) in [
        ("eventyard_events_published_total", &[][..], 1.0),
        ("eventyard_bus_events_published_total", &shop[..], 1.0),
        ("eventyard_bus_events_duplicate_total", &shop[..], 1.0),
        (
            "eventyard_bus_events_published_total",
            &[("bus", "default")][..],
            0.0,
        ),
        ("eventyard_publish_seconds_count", &[][..], 2.0),
        (
            "eventyard_publish_refused_total",
            &[("class", "malformed")][..],
            1.0,
        ),
        (
            "eventyard_publish_refused_total",
            &[("class", "unavailable")][..],
            0.0,
        ),
        ("eventyard_targets_unnamed", &[][..], 0.0),
        ("eventyard_journal_writable", &[][..], 1.0),
    ] {
        assert_eq!(shown.value(name, labels), value, "{name}");
    }
    // The event of the publisher, and those of the bus about dead letters.
    assert!(shown.value("eventyard_match_seconds_count", &[]) >= 1.0);
    assert!(shown.value("eventyard_journal_flush_seconds_count", &[]) >= 2.0);
    let stored = shown.value("eventyard_journal_stored_bytes", &[]);
    let written = shown.value("eventyard_journal_written_bytes_total", &[]);
    assert!(
        stored > 0.0 && written >= stored,
        "{written} written, {stored} stored"
    );
    assert!(shown.value("eventyard_disk_free_bytes", &[]) > 0.0);
    let build = shown
        .samples()
        .find(|sample| sample.name == "eventyard_build_info")
        .unwrap();
    assert_eq!(build.labels["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(build.value, 1.0);
}

#[tokio::test]
async fn a_bus_is_shown_before_its_first_dead_letter() {
    let bus = TestBus::start().await;
    bus.put("/v1/buses/shop", &json!({})).await;
    let shown = scrape(&bus).await;
    for name in ["default", "shop"] {
        let published = "eventyard_bus_events_published_total";
        assert_eq!(shown.value(published, &[("bus", name)]), 0.0);
        for outcome in ["delivered", "retried", "dead_lettered"] {
            let labels = [("bus", name), ("outcome", outcome)];
            assert_eq!(shown.value("eventyard_bus_deliveries_total", &labels), 0.0);
        }
    }
    // There is no room for all: those that are used come first.
    for number in 0..eventyard::limits::METRIC_BUSES {
        bus.put(&format!("/v1/buses/b{number}"), &json!({})).await;
    }
    let shown = scrape(&bus).await;
    let buses = shown
        .samples()
        .filter(|sample| sample.name == "eventyard_bus_events_published_total");
    assert_eq!(buses.count(), 2);
}

#[tokio::test]
async fn the_oldest_pending_delivery_has_its_age() {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let (target, builder) = (TestTarget::accepting(), TestBus::builder());
    let bus = builder.clock(clock.clone()).start().await;
    let start = scrape(&bus).await;
    assert_eq!(
        start.value("process_start_time_seconds", &[]),
        1_800_000_000.0
    );
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let place = "/v1/buses/default/rules/orders/targets/billing";
    bus.post(&format!("{place}/pause"), &json!({})).await;
    bus.publish(&event("1")).await;
    clock.advance(Duration::from_millis(1_500));
    bus.publish(&event("2")).await;
    clock.advance(Duration::from_millis(88_500));
    let age = "eventyard_target_oldest_pending_seconds";
    let labels = [
        ("bus", "default"),
        ("rule", "orders"),
        ("target", "billing"),
    ];
    let all_pending = async || {
        let shown = scrape(&bus).await;
        let is_shown = shown.samples().any(|sample| sample.name == age);
        let pending = is_shown && shown.value("eventyard_target_pending", &labels) == 2.0;
        (pending && shown.value(age, &labels) == 90.0).then_some(shown)
    };
    let shown = eventually("both are pending, the older one for 90 s", all_pending).await;
    assert_eq!(shown.value("eventyard_target_paused", &labels), 1.0);
    let since = shown.value("eventyard_target_stopped_since_seconds", &labels);
    assert_eq!(since, 1_800_000_000.0);

    bus.post(&format!("{place}/resume"), &json!({})).await;
    target.receives(2).await;
    let shown = eventually("nothing is pending", async || {
        let shown = scrape(&bus).await;
        (shown.value(age, &labels) == 0.0).then_some(shown)
    })
    .await;
    // The older one waited for 90 s: above the bucket that ends at 65.536 s.
    let bucket = "eventyard_delivery_seconds_bucket";
    assert_eq!(shown.value(bucket, &[("le", "65.536")]), 0.0);
    assert_eq!(shown.value(bucket, &[("le", "131.072")]), 2.0);
}
