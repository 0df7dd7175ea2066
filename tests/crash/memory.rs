//! Targets that answer with more than anybody should read, and what they cost the bus in memory.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};
use super::target::{Hostile, Manner};

const EVENTS: usize = 300;
/// Most that the bus may ever have held, in KiB: an idle one takes some 30 MiB, and each of the
/// targets' answers is larger than this.
const MOST_KIB: u64 = 160 * 1024;

/// The most memory that a process has had, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_answer_without_end_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::within(folder.path());
    let (mut targets, mut hostile) = (Vec::new(), Vec::new());
    for manner in [
        Manner::EndlessErrorBody,
        Manner::GzipBomb,
        Manner::HugeHead,
        Manner::NeverAnswers,
    ] {
        let target = Hostile::start(manner).await.unwrap();
        targets.push(json!({
            "id": format!("{manner:?}"), "url": target.url(), "timeout": "2s", "concurrency": 32,
            "retry": {"initial_delay": "50ms", "max_delay": "200ms", "jitter": false},
        }));
        hostile.push(target);
    }
    let rule = json!({"pattern": {"source": ["/test"]}, "targets": targets});
    place.put("hostile", &rule.to_string()).unwrap();

    let first = hostile[0].url().replace("http://", "").replace('/', "");
    let bus = Bus::spawn(&place, first.parse().unwrap());
    let address = bus.address().await.unwrap();
    let events: Vec<Value> = (0..EVENTS)
        .map(|n| json!({"specversion": "1.0", "id": n.to_string(), "source": "/test", "type": "t"}))
        .collect();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("http://{address}/"))
        .header("content-type", "application/cloudevents-batch+json")
        .body(Value::from(events).to_string());
    assert_eq!(request.send().await.unwrap().status(), 202);
    // A target's breaker opens after ten failures; until then 32 attempts went side by side.
    let deadline = Instant::now() + PATIENCE;
    for target in &hostile {
        while target.requests() < 32 {
            assert!(
                Instant::now() < deadline,
                "{target:?} was not tried:\n{}",
                bus.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let peak = peak_kib(bus.id());
    let written: u64 = hostile.iter().map(Hostile::written).sum();
    println!(
        "at most {} MiB, while {} MiB of answers were written",
        peak / 1024,
        written >> 20
    );
    assert!(written > 64 << 20, "the answers were large ones");
    assert!(peak < MOST_KIB, "the bus had {peak} KiB");
}
