//! Targets whose names nobody answers for, beside one whose name server is well: over a name server
//! of the test's own, asked by the real process.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};
use super::target::{Hostile, Manner};

#[path = "../../src/cli/bench/hostile/name_server.rs"]
mod name_server;

use name_server::NameServer;

/// Silent names, in rules of a hundred targets: more than are looked up at once.
const SILENT_RULES: usize = 3;
const PER_RULE: usize = 100;
/// A silent name is given up after ten seconds, so a bus that waits for one is not in time.
const SILENCE: &str = "options timeout:10 attempts:1";
const IN_TIME: Duration = Duration::from_secs(8);

async fn put_rule(client: &reqwest::Client, bus: &str, name: &str, targets: Vec<Value>) {
    let rule = json!({"pattern": {"type": [name.split('-').next()]}, "targets": targets});
    let url = format!("http://{bus}/v1/buses/default/rules/{name}");
    let answer = client.put(url).json(&rule).send().await.unwrap();
    assert!(
        answer.status().is_success(),
        "{}",
        answer.text().await.unwrap()
    );
}

async fn publish(client: &reqwest::Client, bus: &str, kind: &str, events: usize) {
    let event = |n| json!({"specversion": "1.0", "id": format!("{n}"), "source": format!("/{kind}/{}", fastrand::u64(..)), "type": kind});
    let events: Vec<Value> = (0..events).map(event).collect();
    let request = client
        .post(format!("http://{bus}/"))
        .header("content-type", "application/cloudevents-batch+json")
        .body(Value::from(events).to_string());
    assert_eq!(request.send().await.unwrap().status(), 202);
}

async fn until(deadline: Instant, bus: &Bus, what: &str, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        assert!(Instant::now() < deadline, "not {what}:\n{}", bus.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_name_servers_hold_up_nobody_elses_look_ups() {
    let folder = tempfile::tempdir().unwrap();
    let names = match NameServer::start(folder.path(), SILENCE).await {
        Ok(names) => names,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let place = Place::within(folder.path());
    std::fs::create_dir_all(place.rules()).unwrap();
    // Each delivery needs a connection of its own, and so a look-up.
    let quick = Hostile::start(Manner::ClosesAlways).await.unwrap();
    let late = Hostile::start(Manner::ClosesAlways).await.unwrap();
    let port = |target: &Hostile| target.url().rsplit(':').next().unwrap().to_owned();
    let named = |name: &str, target: &Hostile| json!({"id": "t", "url": format!("http://{name}:{}", port(target))});

    let bus = Bus::spawn_with(
        names.command(env!("CARGO_BIN_EXE_eventyard")),
        &place,
        ([127, 0, 0, 1], 1).into(),
        "127.0.0.1:0",
    );
    let address = bus.address().await.unwrap().to_string();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    put_rule(
        &client,
        &address,
        "quick",
        vec![named("quick.test", &quick)],
    )
    .await;
    publish(&client, &address, "quick", 1).await;
    until(Instant::now() + PATIENCE, &bus, "found by name", || {
        quick.requests() == 1
    })
    .await;

    let before = names.asked();
    for rule in 0..SILENT_RULES {
        let target =
            |n| json!({"id": format!("t{n}"), "url": format!("http://s{n}.r{rule}.test:9/")});
        let name = format!("silent-{rule}");
        put_rule(
            &client,
            &address,
            &name,
            (0..PER_RULE).map(target).collect(),
        )
        .await;
    }
    publish(&client, &address, "silent", 1).await;
    until(
        Instant::now() + PATIENCE,
        &bus,
        "busy with silent names",
        || names.asked() >= before + 64,
    )
    .await;

    let deadline = Instant::now() + IN_TIME;
    publish(&client, &address, "quick", 20).await;
    until(deadline, &bus, "delivered beside silent names", || {
        quick.requests() == 21
    })
    .await;

    // A new name that is answered late is waited for.
    put_rule(&client, &address, "late", vec![named("late.test", &late)]).await;
    publish(&client, &address, "late", 1).await;
    until(Instant::now() + PATIENCE, &bus, "found late", || {
        late.requests() == 1
    })
    .await;
}
