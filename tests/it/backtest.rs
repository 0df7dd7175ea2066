//! A rule that is not live, asked about what the bus still holds; over HTTP and by the command line.

use std::process::Command;

use serde_json::{Value, json};

use crate::delivery::rule_to;
use crate::harness::{Answer, TestBus, TestTarget, eventually, send};

const BACKTEST: &str = "/v1/buses/default/backtest";

fn order(number: u64) -> Value {
    json!({"specversion": "1.0", "id": number.to_string(), "source": "/shop", "type": "order.created", "data": {"total": number, "o": {"a": 1}}})
}

/// A rule that is switched off, for totals from this on.
fn from_total(least: u64) -> Value {
    json!({
        "enabled": false,
        "pattern": {"data": {"total": [{"numeric": [">=", least]}]}},
        "targets": [
            {"id": "billing", "url": "http://127.0.0.1:9/?token=hush",
             "transform": {"input_paths": {"n": "$.data.total"}, "template": "{\"n\": <n>}"}},
            {"id": "broken", "url": "http://127.0.0.1:9/",
             "transform": {"input_paths": {"o": "$.data.o"}, "template": "{\"o\": \"<o>\"}"}},
        ],
    })
}

async fn with_orders(count: u64) -> (TestBus, Vec<u64>) {
    let bus = TestBus::start().await;
    let mut sequences = Vec::new();
    for number in 0..count {
        sequences.push(bus.publish(&order(number)).await);
    }
    (bus, sequences)
}

/// The messages of an answer as (event, data).
fn messages(answer: &Answer) -> Vec<(String, Value)> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let text = answer.text();
    let messages = text.split_terminator("\n\n").map(|message| {
        let (kind, data) = message.split_once('\n').unwrap();
        let kind = kind.strip_prefix("event: ").unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        (kind.to_owned(), serde_json::from_str(data).unwrap())
    });
    messages.collect()
}

async fn result(bus: &TestBus, query: &str, rule: &Value) -> Value {
    let answer = bus.post(&format!("{BACKTEST}{query}"), rule).await;
    let (kind, result) = messages(&answer).pop().unwrap();
    assert_eq!(kind, "result", "{result}");
    result
}

fn ids(samples: &Value) -> Vec<&str> {
    let samples = samples.as_array().unwrap().iter();
    samples
        .map(|sample| sample["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn it_tells_what_a_rule_would_have_matched() {
    let (bus, sequences) = with_orders(10).await;
    // What stands in between is no event of this bus.
    bus.put("/v1/buses/other", &json!({})).await;
    bus.post("/v1/buses/other/events", &order(1_000)).await;
    let live = TestTarget::accepting();
    bus.put_rule("live", &rule_to(&live, &json!({}))).await;
    let found = result(&bus, "?samples=2", &from_total(3)).await;
    assert_eq!(
        (&found["events"], &found["matched"]),
        (&json!(10), &json!(7))
    );
    assert_eq!(ids(&found["first"]), ["3", "4"]);
    assert_eq!(ids(&found["last"]), ["8", "9"]);
    assert_eq!(found["first"][0]["sequence"], sequences[3]);
    assert_eq!(found["limited"], false);
    assert_eq!(found["matched_per_hour"], Value::Null, "after a second?");
    assert!(
        found["busiest_minute"]["matched"].as_u64() >= Some(4),
        "{found}"
    );
    let [billing, broken] = found["targets"].as_array().unwrap().as_slice() else {
        panic!("{found}");
    };
    assert_eq!(billing["preview"]["body"], r#"{"n": 3}"#);
    assert_eq!(broken["preview"]["sent"], false);
    assert!(broken["preview"]["error"].is_string());
    // Nothing was put, and nothing sent.
    let rules = bus.get("/v1/buses/default/rules").await.json();
    assert_eq!(rules["rules"].as_array().unwrap().len(), 1);

    let nothing = result(&bus, "", &from_total(1_000)).await;
    assert_eq!(
        (&nothing["events"], &nothing["matched"]),
        (&json!(10), &json!(0))
    );
    assert_eq!(
        (&nothing["targets"], &nothing["busiest_minute"]),
        (&json!([]), &Value::Null)
    );
}

#[tokio::test]
async fn it_looks_where_it_is_told_to() {
    let (bus, sequences) = with_orders(10).await;
    let at = |sequence: u64| format!("/v1/buses/default/events/{sequence}");
    let time = |event: &Value| event["time"].as_str().unwrap().to_owned();
    let limited = result(&bus, "?limit=4", &from_total(0)).await;
    assert_eq!(
        (&limited["events"], &limited["limited"]),
        (&json!(4), &json!(true))
    );
    let all = result(&bus, "?limit=10", &from_total(0)).await;
    assert_eq!(all["limited"], false);

    // So long after the others that its time is another.
    let last = time(&bus.get(&at(sequences[9])).await.json());
    let later = eventually("another millisecond", async || {
        let sequence = bus.publish(&order(fastrand::u64(20..))).await;
        let time = time(&bus.get(&at(sequence)).await.json());
        (time > last).then_some(time)
    })
    .await;
    let before = result(&bus, &format!("?until={later}"), &from_total(0)).await;
    let after = result(&bus, &format!("?since={later}"), &from_total(0)).await;
    assert_eq!(after["events"], 1);
    assert_eq!(after["from"], later);
    let whole = result(&bus, "", &from_total(0)).await;
    let sum = before["events"].as_u64().unwrap() + 1;
    assert_eq!(whole["events"], sum);
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    let (bus, _) = with_orders(1).await;
    for query in ["limit=0", "samples=101", "since=yesterday", "lmit=1"] {
        bus.post(&format!("{BACKTEST}?{query}"), &from_total(0))
            .await
            .problem(400);
    }
    let problem = bus
        .post(
            BACKTEST,
            &json!({"pattern": {"type": "a"}, "targets": from_total(0)["targets"]}),
        )
        .await
        .problem(422);
    assert_eq!(
        problem["errors"][0]["pointer"], "/pattern/type",
        "{problem}"
    );
    bus.post("/v1/buses/nope/backtest", &from_total(0))
        .await
        .problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_what_was_found() {
    let (bus, _) = with_orders(10).await;
    let rule = bus.dir().join("rule.json");
    std::fs::write(&rule, from_total(8).to_string()).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
        command.args([
            "rule",
            "backtest",
            rule.to_str().unwrap(),
            "--url",
            &bus.url(""),
        ]);
        let output = command
            .args(more)
            .env_remove("EVENTYARD_API_KEY")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, out, error) = run(&[]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("2 of 10 events match (20.00 %)\n"), "{out}");
    assert!(
        out.contains("→ billing would be sent, for the first match"),
        "{out}"
    );
    assert!(
        out.contains("→ broken cannot be sent the first match"),
        "{out}"
    );
    let (code, out, _) = run(&["--output", "json", "--limit", "3"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["matched"]), (Some(3), &json!(0)));
}

#[tokio::test]
async fn a_seat_is_free_again_once_its_backtest_has_ended() {
    let (bus, _) = with_orders(3).await;
    for _ in 0..10 {
        assert_eq!(result(&bus, "", &from_total(0)).await["events"], 3);
    }
    // Callers that leave without reading.
    for _ in 0..10 {
        let request = bus.request(reqwest::Method::POST, BACKTEST);
        drop(request.json(&from_total(0)).send().await.unwrap());
    }
    eventually("a seat is free", async || {
        let answer = bus.post(BACKTEST, &from_total(0)).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_third_at_the_same_time_is_sent_away() {
    let bus = TestBus::start().await;
    // Enough that two backtests are still under way when the third comes.
    for batch in 0..20 {
        let orders: Vec<Value> = (0..1_000)
            .map(|number| order(batch * 1_000 + number))
            .collect();
        let request = bus.request(reqwest::Method::POST, "/");
        let request = request.header("content-type", "application/cloudevents-batch+json");
        let answer = send(request.body(Value::from(orders).to_string())).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let begin = async || {
        let request = bus.request(reqwest::Method::POST, BACKTEST);
        request.json(&from_total(0)).send().await.unwrap()
    };
    let refused = eventually("one of three is sent away", async || {
        let (first, second) = (begin().await, begin().await);
        let third = bus.post(BACKTEST, &from_total(0)).await;
        drop((first, second));
        (third.status != 200).then_some(third)
    })
    .await;
    let problem = refused.problem(503);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .starts_with("2 backtests"),
        "{problem}"
    );
    assert_eq!(refused.header("retry-after"), "1");
    // Once they are gone there is room.
    eventually("a seat is free", async || {
        let answer = bus.post(BACKTEST, &from_total(0)).await;
        (answer.status == 200).then_some(())
    })
    .await;
}
