//! What is pending when its rule goes, its target moves, its time is over, or the bus stops.

use std::collections::HashMap;
use std::time::Duration;

use eventyard::delivery::BreakerState;
use eventyard::delivery::dead_letter::{self, DeadLetterError, Which};
use eventyard::log::DeadLetterReason;
use serde_json::json;

use crate::bus::{Bus, dead_url, quick_retries, until, until_gone};
use crate::target::{Reply, TestTarget, reply};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_rule_makes_what_is_pending_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let key = bus.rule("r", &dead_url().await, quick_retries()).await;
    bus.publish("r", 0..3_000).await;
    until("they wait", || {
        bus.delivery
            .status(key)
            .is_some_and(|s| s.backlogged > 2_000)
    })
    .await;
    bus.delete_rule("r").await;
    let letters = bus.until_dead(3_000).await;
    assert_eq!(letters.len(), 3_000);
    assert!(
        letters
            .iter()
            .all(|l| l.reason == DeadLetterReason::TargetRemoved && l.rule.as_str() == "r")
    );
    until("the lane ended", || bus.delivery.status(key).is_none()).await;
    let ids = [(key, letters[0].sequence)];
    let redriven = dead_letter::redrive(&bus.delivery, Which::Ids(&ids)).await;
    assert!(matches!(redriven, Err(DeadLetterError::TargetGone(..))));
    let purged = dead_letter::purge(&bus.delivery, Which::Targets(&[key])).await;
    assert_eq!(purged.unwrap(), 3_000);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_target_gets_what_was_pending() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let key = bus.rule("r", &dead_url().await, quick_retries()).await;
    bus.publish("r", 0..100).await;
    until("its breaker opened", || {
        bus.delivery
            .status(key)
            .is_some_and(|s| s.breaker == BreakerState::Open)
    })
    .await;
    let target = TestTarget::replying([]).await;
    assert_eq!(bus.rule("r", &target.url, quick_retries()).await, key);
    until("all were delivered", || bus.status(key).delivered == 100).await;
    assert_eq!(target.times().len(), 100);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_a_dead_target_dies_of_age_without_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let mut settings = quick_retries();
    settings["retry"]["max_age"] = json!("2s");
    let key = bus.rule("r", &dead_url().await, settings).await;
    bus.publish("r", 0..2_000).await;
    let letters = bus.until_dead(2_000).await;
    assert!(
        letters.iter().all(|l| l.reason == DeadLetterReason::TooOld
            || l.reason == DeadLetterReason::AttemptsExhausted)
    );
    bus.until_settled(key).await;
    assert!(bus.status(key).attempts < 200);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_restart_repeats_nothing_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = TestTarget::start(|n, _| Reply {
        after: Duration::from_millis(1),
        ..reply(if n % 7 == 0 { 500 } else { 200 })
    })
    .await;
    let accepted = |target: &TestTarget| {
        let mut times: HashMap<String, usize> = HashMap::new();
        for (n, request) in target.requests().iter().enumerate() {
            if n % 7 != 0 {
                *times.entry(request.header("ce-id").to_owned()).or_default() += 1;
            }
        }
        times
    };
    let bus = Bus::start(dir.path()).await;
    let mut settings = quick_retries();
    settings["concurrency"] = json!(4);
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..4_000).await;
    until_gone("some were delivered", || {
        700u64.saturating_sub(bus.status(key).delivered)
    })
    .await;
    let log = bus.stop().await;
    let so_far = accepted(&target).len();
    assert!(so_far < 4_000, "the test stops in the middle");
    log.close();
    drop(log);

    let bus = Bus::start(dir.path()).await;
    let rest = (4_000 - so_far) as u64;
    until_gone("the rest was delivered", || {
        let status = bus.delivery.status(key);
        rest.saturating_sub(status.map_or(0, |status| status.delivered))
    })
    .await;
    bus.until_settled(key).await;
    let accepted = accepted(&target);
    assert_eq!(accepted.len(), 4_000);
    assert!(accepted.values().all(|times| *times == 1));
    bus.stop().await;
}
