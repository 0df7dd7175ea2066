//! `eventyard pull` loses nothing when it sleeps past its lease, when the bus is killed meanwhile, and
//! when it is killed itself.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};
use super::command::{Running, publish};

const TARGET: &str = "/v1/buses/default/rules/work/targets/worker";

fn pull(bus: SocketAddr, out: &Path) -> Running {
    let out = std::fs::File::options().create(true).append(true).open(out);
    let arguments = ["pull", "work", "worker", "--lease", "1"];
    Running::start(bus, Stdio::from(out.unwrap()), &arguments)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the first so many wanted events, and no others, have been printed.
async fn until_come(out: &Path, count: usize) {
    let wanted: BTreeSet<String> = (0..count).map(|n| format!("wanted-{n}")).collect();
    until(&format!("{count} events have come"), async || {
        let text = std::fs::read_to_string(out).unwrap_or_default();
        let ids = text.lines().filter_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            Some(event["id"].as_str()?.to_owned())
        });
        let ids: BTreeSet<String> = ids.collect();
        assert!(ids.iter().all(|id| id.starts_with("wanted-")), "{ids:?}");
        ids == wanted
    })
    .await;
}

async fn until_health(bus: SocketAddr, what: &str, holds: impl Fn(&Value) -> bool) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    until(what, async || {
        let answer = http.get(format!("http://{bus}{TARGET}")).send().await;
        let Ok(answer) = answer else { return false };
        answer.json().await.is_ok_and(|health| holds(&health))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pull_misses_nothing_however_it_and_the_bus_are_treated() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::within(folder.path());
    let retry = json!({"max_attempts": 1000, "initial_delay": "10ms", "max_delay": "50ms"});
    let rule = json!({"pattern": {"type": ["wanted"]}, "targets": [{"id": "worker", "pull": {}, "retry": retry}]});
    place.put("work", &rule.to_string()).unwrap();
    // Its log may name this address, which nobody listens on.
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let bus = Bus::spawn(&place, nobody);
    let at = bus.address().await.unwrap();
    let out = folder.path().join("printed");
    let puller = pull(at, &out);
    publish(at, 0..5).await;
    until_come(&out, 5).await;

    // It sleeps with a request under way, and what that is given is leased for longer than it may.
    until_health(at, "it asks for more", |health| health["pulling"] == 1).await;
    puller.signal("-STOP");
    publish(at, 5..10).await;
    until_health(at, "a lease has ended", |health| {
        let error = health["last_error"].as_str().unwrap_or_default();
        error.contains("ended unanswered") && health["pending"] == 5
    })
    .await;
    bus.kill();
    bus.ended().await.unwrap();
    let bus = Bus::spawn_at(&place, nobody, &at.to_string());
    bus.address().await.unwrap();
    publish(at, 10..15).await;
    puller.signal("-CONT");
    until_come(&out, 15).await;

    // The bus is killed under it while it works.
    publish(at, 15..20).await;
    bus.kill();
    bus.ended().await.unwrap();
    let bus = Bus::spawn_at(&place, nobody, &at.to_string());
    bus.address().await.unwrap();
    until_come(&out, 20).await;

    // It is killed, and another goes on.
    drop(puller);
    publish(at, 20..25).await;
    let _puller = pull(at, &out);
    until_come(&out, 25).await;
    until_health(at, "all is done", |health| {
        health["pending"] == 0 && health["dead_lettered"] == 0
    })
    .await;
}
