//! `eventyard dead-letter` against a bus: what a person types when deliveries were given up.

use std::process::Command;

use serde_json::{Value, json};

use super::delivery::{event, rule_to};
use crate::harness::{TestBus, TestTarget, eventually};

/// Runs the program; its exit code, and what it wrote.
async fn run(bus: &TestBus, args: &[&str]) -> (i32, String, String) {
    let url = bus.url("");
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    // The bus runs on this thread: it must go on while the program waits for it.
    let output = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_eventyard"))
            .arg("dead-letter")
            .args(args)
            .env("EVENTYARD_URL", url)
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[track_caller]
fn check(output: &(i32, String, String), exit: i32, stdout: &str, stderr: &str) {
    let (code, out, err) = output;
    assert_eq!(*code, exit, "{out}\n{err}");
    assert!(out.contains(stdout), "not on stdout: {stdout}\n{out}");
    assert!(err.contains(stderr), "not on stderr: {stderr}\n{err}");
}

/// Two refused deliveries of `orders`, and two of `bills` whose attempts are used up.
async fn with_letters() -> (TestBus, TestTarget, TestTarget) {
    let bus = TestBus::start().await;
    let (refusing, failing) = (TestTarget::replying([400]), TestTarget::replying([503]));
    let once = json!({"retry": {"max_attempts": 1}});
    bus.put_rule("orders", &rule_to(&refusing, &once)).await;
    bus.put_rule("bills", &rule_to(&failing, &once)).await;
    for id in ["1", "2"] {
        bus.publish(&event(id)).await;
    }
    eventually("four dead letters", async || {
        (count(&bus).await == 4).then_some(())
    })
    .await;
    (bus, refusing, failing)
}

async fn count(bus: &TestBus) -> Value {
    let groups = bus.get("/v1/buses/default/dead-letters/groups").await;
    groups.json()["count"].clone()
}

#[tokio::test]
async fn letters_are_filtered_shown_and_deleted() {
    let (bus, _refusing, _failing) = with_letters().await;
    let all = run(&bus, &["list", "--output", "json"]).await;
    let all: Value = serde_json::from_str(&all.1).unwrap();
    assert_eq!(all["dead_letters"].as_array().unwrap().len(), 4);
    for (filter, lines) in [
        (vec!["--reason", "refused"], 2),
        (vec!["--status", "5xx"], 2),
        (vec!["--status", "none"], 0),
        (vec!["--rule", "orders", "--type", "order.created"], 2),
        (vec!["--until", "2020-01-01T00:00:00Z"], 0),
    ] {
        let args: Vec<&str> = ["list"].into_iter().chain(filter.clone()).collect();
        let listed = run(&bus, &args).await;
        let rows = listed.1.lines().filter(|line| line.contains("billing"));
        assert_eq!(rows.count(), lines, "{filter:?}\n{}", listed.1);
    }
    check(
        &run(&bus, &["list", "--reason", "x"]).await,
        5,
        "",
        "it is one of",
    );
    check(
        &run(&bus, &["groups", "--status", "503"]).await,
        0,
        "attempts_exhausted",
        "",
    );
    let id = all["dead_letters"][0]["id"].as_str().unwrap();
    check(&run(&bus, &["show", id]).await, 0, r#""specversion""#, "");
    check(&run(&bus, &["delete", id]).await, 0, "deleted", "");
    check(&run(&bus, &["show", id]).await, 3, "", "no dead letter");
    check(
        &run(&bus, &["redrive", id]).await,
        3,
        "0 redriven",
        "1 of these ids",
    );
}

#[tokio::test]
async fn a_redrive_is_counted_sent_elsewhere_and_run_at_a_rate() {
    let (bus, refusing, failing) = with_letters().await;
    let counted = run(&bus, &["redrive", "--all", "--dry-run"]).await;
    check(
        &counted,
        0,
        "refused",
        "4 would be redriven of 4; nothing was changed",
    );
    let counted = run(&bus, &["purge", "--rule", "bills", "--dry-run"]).await;
    check(&counted, 0, "attempts_exhausted", "2 would be purged");
    assert_eq!(count(&bus).await, 4);

    failing.now_replying([204]);
    let elsewhere = ["redrive", "--rule", "orders", "--to", "bills/billing"];
    check(&run(&bus, &elsewhere).await, 0, "2 redriven", "");
    // Both of its own, refused, and both of the other rule.
    failing.receives(4).await;
    assert_eq!(refusing.received().len(), 2);

    let rated = ["redrive", "--status", "5xx", "--rate", "1000/s"];
    check(&run(&bus, &rated).await, 0, "began: 2 at 1000/s", "");
    failing.receives(6).await;
    eventually("an end", async || {
        let jobs = run(&bus, &["redrives"]).await;
        jobs.1.contains("done").then_some(())
    })
    .await;
    check(&run(&bus, &["redrives"]).await, 0, "2 of 2", "");
    check(
        &run(&bus, &["redrives", "--cancel", "9"]).await,
        3,
        "",
        "no redrive",
    );
    check(
        &run(&bus, &["redrive", "--all", "--rate", "5"]).await,
        5,
        "",
        "whole number",
    );
    eventually("nothing is left", async || {
        (count(&bus).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_export_is_a_batch_on_standard_output_or_in_a_file() {
    let (bus, _refusing, _failing) = with_letters().await;
    let (code, out, _) = run(&bus, &["export", "--reason", "refused"]).await;
    let events: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!((code, events.len()), (0, 2));
    assert_eq!(events[0]["deadletterreason"], "refused");
    let file = bus.dir().join("dead.json");
    let name = file.to_str().unwrap();
    check(
        &run(&bus, &["export", "--file", name]).await,
        0,
        "exported to",
        "",
    );
    let written = std::fs::read_to_string(&file).unwrap();
    let events: Vec<Value> = serde_json::from_str(&written).unwrap();
    assert_eq!(events.len(), 4);
    check(&run(&bus, &["purge", "--all"]).await, 0, "4 purged", "");
    check(&run(&bus, &["export"]).await, 0, "[]", "");
}
