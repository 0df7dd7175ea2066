//! A backup of a bus at work, restored, against what publishers were told.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventyard::client::Client;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{TestBus, TestTarget, eventually};

fn eventyard(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
    command.args(arguments).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EVENTYARD_") {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

async fn all_ids(bus: &TestBus) -> BTreeSet<String> {
    let (mut ids, mut after) = (BTreeSet::new(), "0".to_owned());
    loop {
        let page = bus
            .get(&format!(
                "/v1/buses/default/events?limit=1000&type=t&after={after}"
            ))
            .await
            .json();
        for event in page["events"].as_array().unwrap() {
            ids.insert(event["event"]["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return ids,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_bus_has_all_that_was_acknowledged_before_the_backup_began() {
    let small = |config: &mut eventyard::config::Config| config.log.segment_bytes = 1 << 20;
    let bus = TestBus::builder().config(small).start().await;
    let target = TestTarget::replying([503]);
    bus.put("/v1/secrets/billing", &json!({"value": "hunter2"}))
        .await;
    let rule = json!({"pattern": {"type": ["t"]}, "targets": [{
        "id": "t", "url": target.url(), "auth": {"bearer": {"secret": "billing"}},
        "retry": {"max_attempts": 1000, "initial_delay": "50ms", "max_delay": "50ms"},
    }]});
    bus.put_rule("r", &rule).await;

    let stop = Arc::new(AtomicBool::new(false));
    let url = format!("http://{}", bus.addr());
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let (client, stop) = (Client::new(&url).unwrap(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut told = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let id = format!("{publisher}-{}", told.len());
                    let data = "x".repeat(4_000);
                    let event = json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": data});
                    let accepted = client.publish_json("default", event.to_string()).await.unwrap();
                    told.push((accepted[0].sequence, id));
                }
                told
            })
        })
        .collect();
    // Enough for some files of the journal.
    eventually("three megabytes are kept", async || {
        let figures = bus.running().log().journal_figures();
        (figures.segments >= 4).then_some(())
    })
    .await;
    let begun = bus.running().log().durable_through();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("bus.tar");
    let to = file.to_str().unwrap().to_owned();
    let backup_url = url.clone();
    let output = tokio::task::spawn_blocking(move || {
        eventyard(&["backup", "--to", &to, "--url", &backup_url])
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for publisher in publishers {
        told.extend(publisher.await.unwrap());
    }
    let entry = bus.get("/v1/audit?limit=1").await.json()["entries"][0].clone();
    assert_eq!(
        (&entry["path"], &entry["status"]),
        (&json!("/v1/backup"), &json!(200))
    );
    let key = bus.dir().join("data/secrets.key");

    let again = Arc::new(TempDir::new().unwrap());
    let data = again.path().join("data");
    let arguments = [
        "restore",
        file.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let output = eventyard(&arguments);
    assert!(output.status.success(), "{output:?}");
    let output = eventyard(&arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let doctor = || eventyard(&["doctor", "--data-dir", data.to_str().unwrap()]);
    let output = doctor();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.contains("which is not given"), "{output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    std::fs::copy(key, data.join("secrets.key")).unwrap();
    let output = doctor();
    assert!(output.status.success(), "{output:?}");

    let told_before: BTreeSet<_> = told
        .iter()
        .filter(|(sequence, _)| *sequence <= begun)
        .map(|(_, id)| id.clone())
        .collect();
    let told_at_all: BTreeSet<_> = told.iter().map(|(_, id)| id.clone()).collect();
    assert!(told_before.len() > 100, "{}", told_before.len());
    assert!(told_at_all.len() > told_before.len(), "publishing went on");
    let restored = TestBus::builder()
        .data(Arc::clone(&again))
        .config(small)
        .start()
        .await;
    let kept = all_ids(&restored).await;
    let missing: Vec<_> = told_before.difference(&kept).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // What was under way then may have been acknowledged later; nothing else is there.
    assert!(kept.is_subset(&told_at_all));
    // It delivers, with the secret.
    drop(bus);
    target.now_replying([204]);
    let received = eventually("everything is delivered", async || {
        let received = target.received();
        let good = received.iter().filter(|one| {
            one.headers
                .get("authorization")
                .is_some_and(|value| value == "Bearer hunter2")
        });
        let ids: BTreeSet<_> = good
            .map(|one| one.headers["ce-id"].to_str().unwrap().to_owned())
            .collect();
        kept.is_subset(&ids).then_some(ids)
    })
    .await;
    assert!(received.len() >= kept.len());
}
