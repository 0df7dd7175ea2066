//! Several events in one request.

use serde_json::{Value, json};

use crate::bus::{Bus, quick_retries, until};
use crate::target::TestTarget;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_target_gets_events_together() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([503]).await;
    let mut settings = quick_retries();
    settings["mode"] = json!("batch");
    settings["batch"] = json!({"max_events": 50, "max_wait": "50ms"});
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..120).await;
    until("all were delivered", || bus.status(key).delivered == 120).await;
    bus.until_settled(key).await;
    let mut ids = Vec::new();
    let requests = target.requests();
    for request in &requests {
        assert!(
            request
                .header("content-type")
                .starts_with("application/cloudevents-batch+json")
        );
        let batch: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
        assert!(batch.len() <= 50);
        ids.extend(batch.iter().map(|e| e["id"].as_str().unwrap().to_owned()));
    }
    assert!(requests.len() <= 6, "{} requests", requests.len());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 120);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_keeps_to_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::start(dir.path()).await;
    let target = TestTarget::replying([]).await;
    let settings = json!({
        "mode": "batch", "concurrency": 2,
        "batch": {"max_events": 50, "max_bytes": "1KiB", "max_wait": "20ms"},
    });
    let key = bus.rule("r", &target.url, settings).await;
    bus.publish("r", 0..100).await;
    until("all were delivered", || bus.status(key).delivered == 100).await;
    bus.until_settled(key).await;
    let requests = target.requests();
    assert!(requests.iter().all(|r| r.body.len() <= 1024));
    let events: usize = requests
        .iter()
        .map(|r| serde_json::from_slice::<Vec<Value>>(&r.body).unwrap().len())
        .sum();
    assert_eq!(events, 100);
    bus.stop().await;
}
