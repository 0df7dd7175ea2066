//! A target that is slow, dead or hanging delays nobody, and gets what it was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventyard::clock::Clock;
use eventyard::delivery::{self, BreakerState, TargetService};
use eventyard::limits;
use eventyard::log::RuleName;
use eventyard::rule::IfMatch;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bus::{Bus, name, open, quick_retries, until, until_gone};
use crate::target::{Reply, TestTarget, reply};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_for_a_slow_target_arrives_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([]).await;
    let key = bus.rule("r", &target.url, json!({"concurrency": 1})).await;
    bus.publish("r", 0..6_000).await;
    until("some are on disk", || {
        let status = bus.status(key);
        assert!(status.ready <= (limits::LANE_READY + 2 * limits::BACKLOG_CHUNK) as u64);
        status.backlogged > 1_000
    })
    .await;
    bus.until_settled(key).await;
    let ids: Vec<usize> = target
        .requests()
        .iter()
        .map(|r| r.header("ce-id").parse().unwrap())
        .collect();
    let first_wrong = ids.iter().enumerate().find(|(at, id)| at != *id);
    assert_eq!((ids.len(), first_wrong), (6_000, None));
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_target_delays_nobody_and_gets_everything_once_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dead = bus
        .rule("dead", &format!("http://{address}/"), quick_retries())
        .await;
    let target = TestTarget::replying([]).await;
    let well = bus.rule("well", &target.url, json!({})).await;
    bus.publish("dead", 0..5_000).await;
    bus.publish("well", 0..500).await;
    bus.until_settled(well).await;
    assert_eq!(target.count(), 500);
    until("its breaker opened", || {
        bus.status(dead).breaker == BreakerState::Open
    })
    .await;
    let status = bus.status(dead);
    let error = status.last_error.clone().unwrap();
    assert!(error.contains("connection refused"), "{error}");
    until("it waits on disk", || bus.status(dead).backlogged > 4_900).await;
    let attempts = bus.status(dead).attempts;
    assert!(
        attempts < 200,
        "an open breaker spends no attempts: {attempts}"
    );

    let revived = TestTarget::on(TcpListener::bind(address).await.unwrap(), |_, _| reply(200));
    until_gone("all were delivered", || 5_000 - bus.status(dead).delivered).await;
    bus.until_settled(dead).await;
    let times = revived.times();
    assert_eq!(times.len(), 5_000);
    assert!(times.values().all(|times| *times == 1));
    assert_eq!(bus.status(dead).breaker, BreakerState::Closed);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_target_does_not_hold_the_checkpoint_back() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let hanging = TestTarget::start(|n, _| Reply {
        after: Duration::from_secs(if n < 2 { 600 } else { 0 }),
        ..reply(200)
    })
    .await;
    let key = bus
        .rule(
            "r",
            &hanging.url,
            json!({"timeout": "3s", "concurrency": 2}),
        )
        .await;
    bus.publish("r", 0..5).await;
    let end = bus.log.durable_through();
    until("the checkpoint passes them", || {
        bus.log.checkpoint().unwrap() >= end
    })
    .await;
    assert_eq!(bus.status(key).in_flight, 2);
    assert_eq!(
        bus.pending(key),
        5,
        "each counts once, parked in flight or not"
    );
    until("all were delivered", || bus.status(key).delivered == 5).await;
    bus.until_settled(key).await;
    assert_eq!(hanging.count(), 7);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_time_out_when_they_are_late_are_written_down_once() {
    const MANY: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let hanging = TestTarget::start(|_, _| Reply {
        after: Duration::from_secs(600),
        ..reply(200)
    })
    .await;
    let timeout = limits::LATE_AFTER.as_millis();
    let settings = json!({
        "timeout": format!("{timeout}ms"), "concurrency": MANY,
        "retry": {"initial_delay": "1h", "max_delay": "1h"},
    });
    let key = bus.rule("r", &hanging.url, settings).await;
    bus.publish("r", 0..MANY).await;
    let before = bus.log.durable_through();
    until("all have failed", || bus.status(key).retried == MANY as u64).await;
    // Of what was written, this event is the last; beside the deliveries there are a few checkpoints.
    bus.publish("end", 0..1).await;
    let records = bus.log.durable_through() - before - 1;
    assert!(
        (MANY as u64..MANY as u64 + 50).contains(&records),
        "{records}"
    );
    bus.stop().await;
}

/// Counts the requests that are under way, and the most there were.
#[derive(Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl UnderWay {
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        struct Leaves<'a>(&'a AtomicUsize);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        let _leaves = Leaves(&self.now);
        self.most.fetch_max(now, Ordering::SeqCst);
        work.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_targets_that_hang_have_a_bound_together_and_leave_room_to_the_others() {
    const RULES: usize = 7;
    const EVENTS: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let under_way = Arc::new(UnderWay::default());
    let (let_go, hanging) = tokio::sync::watch::channel(false);
    let hangs = under_way.clone();
    let service = TargetService::new(tower::service_fn(move |request: reqwest::Request| {
        let (hangs, mut hanging) = (hangs.clone(), hanging.clone());
        async move {
            if request.url().path() == "/hangs" {
                hangs.during(hanging.wait_for(|let_go| *let_go)).await?;
            }
            Ok(axum::http::Response::new("").into())
        }
    }));
    let clock = Clock::system();
    let connections = delivery::Connections::default();
    let log = open(dir.path(), &clock);
    let bus = Bus::over(log, clock, service.into(), connections).await;
    let targets: Vec<Value> = (0..limits::TARGETS_PER_RULE)
        .map(|n| json!({"id": format!("t{n}"), "url": "http://t.example/hangs", "timeout": "2m"}))
        .collect();
    for rule in 0..RULES {
        let bus_name = name();
        let document = json!({"pattern": {"type": ["t.hanging"]}, "targets": targets});
        let rule = RuleName::new(&format!("hanging-{rule}")).unwrap();
        let document = document.to_string();
        let put = bus
            .rules
            .put_rule(&bus_name, &rule, &document, IfMatch::Always);
        put.await.unwrap();
    }
    let lanes = bus.rules.current().targets();
    let per_lane = EVENTS.min(limits::TARGET_CONCURRENCY);
    assert!(
        lanes.len() * per_lane > limits::ATTEMPTS,
        "enough to fill it"
    );
    bus.publish("hanging", 0..EVENTS).await;
    until_gone("there is no more room", || {
        let now = under_way.now.load(Ordering::SeqCst);
        limits::ATTEMPTS.saturating_sub(now) as u64
    })
    .await;

    // Others are served meanwhile, old and new.
    let healthy = bus.rule("healthy", "http://t.example/", json!({})).await;
    bus.publish("healthy", 0..500).await;
    bus.until_settled(healthy).await;
    assert_eq!(bus.status(healthy).delivered, 500);
    for lane in &lanes {
        until("each has a little room", || {
            bus.status(lane.key).in_flight >= limits::ATTEMPTS_ALWAYS as u64
        })
        .await;
    }
    // Beyond the bound, each lane's few.
    let most = limits::ATTEMPTS + lanes.len() * limits::ATTEMPTS_ALWAYS;
    assert!(under_way.most.load(Ordering::SeqCst) <= most);

    let_go.send(true).unwrap();
    for lane in &lanes {
        bus.until_settled(lane.key).await;
        assert_eq!(bus.status(lane.key).delivered, EVENTS as u64);
    }
    bus.stop().await;
}
