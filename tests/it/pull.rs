//! Targets that are pulled: leases, words for them, and all that holds for deliveries that are sent.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use eventyard::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::delivery::event;
use crate::harness::{TestBus, TestTarget, eventually, send};

const TARGET: &str = "/v1/buses/default/rules/orders/targets/worker";

fn rule(options: &Value) -> Value {
    let mut to = json!({
        "id": "worker",
        "pull": {},
        "retry": {"max_attempts": 3, "initial_delay": "10ms", "max_delay": "20ms"}
    });
    for (name, value) in options.as_object().unwrap() {
        to[name] = value.clone();
    }
    json!({"pattern": {"type": [{"prefix": "order."}]}, "targets": [to]})
}

async fn started(options: &Value) -> TestBus {
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule(options)).await;
    bus
}

async fn ask(bus: &TestBus, what: &Value) -> Vec<Value> {
    let answer = bus.post(&format!("{TARGET}/pull"), what).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["deliveries"].as_array().unwrap().clone()
}

/// Pulls until so many are there: an answer takes what is there at its moment.
async fn pull(bus: &TestBus, many: usize) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < many {
        let max = (many - all.len()).min(256);
        let some = ask(bus, &json!({"max": max, "wait": "20s"})).await;
        assert!(!some.is_empty(), "{} of {many} came", all.len());
        all.extend(some);
    }
    all
}

async fn nothing_comes(bus: &TestBus) {
    assert_eq!(ask(bus, &json!({"wait": "300ms"})).await, [Value::Null; 0]);
}

fn text<'a>(delivery: &'a Value, name: &str) -> &'a str {
    delivery[name].as_str().unwrap()
}

fn ids(deliveries: &[Value]) -> Vec<&str> {
    let ids = deliveries.iter().map(|one| text(&one["event"], "id"));
    ids.collect()
}

fn tokens(deliveries: &[Value]) -> Vec<&str> {
    deliveries.iter().map(|one| text(one, "token")).collect()
}

async fn say(bus: &TestBus, verb: &str, body: &Value) -> Vec<bool> {
    let answer = bus.post(&format!("{TARGET}/{verb}"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let results = answer.json()["results"].as_array().unwrap().clone();
    results
        .iter()
        .map(|result| {
            let done = result["done"].as_bool().unwrap();
            assert_eq!(result["detail"].is_string(), !done);
            done
        })
        .collect()
}

async fn ack(bus: &TestBus, deliveries: &[Value]) {
    for some in deliveries.chunks(256) {
        let done = say(bus, "ack", &json!({"tokens": tokens(some)})).await;
        assert_eq!(done, vec![true; some.len()]);
    }
}

async fn until_health(bus: &TestBus, what: &str, holds: impl FnMut(&Value) -> bool) -> Value {
    bus.until(TARGET, what, holds).await
}

async fn letters(bus: &TestBus) -> Vec<Value> {
    let answer = bus.get("/v1/buses/default/dead-letters").await.json();
    answer["dead_letters"].as_array().unwrap().clone()
}

async fn until_letters(bus: &TestBus, many: usize) -> Vec<Value> {
    eventually("the dead letters are there", async || {
        let letters = letters(bus).await;
        (letters.len() == many).then_some(letters)
    })
    .await
}

async fn publish(bus: &TestBus, range: std::ops::Range<usize>) {
    let all: Vec<usize> = range.collect();
    for some in all.chunks(500) {
        let batch: Vec<Value> = some.iter().map(|id| event(&id.to_string())).collect();
        let request = bus.request(Method::POST, "/");
        let request = request.header("content-type", "application/cloudevents-batch+json");
        let answer = send(request.body(Value::from(batch).to_string())).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_done_also_after_a_restart() {
    let bus = started(&json!({})).await;
    for id in ["1", "2", "3"] {
        bus.publish(&event(id)).await;
    }
    let deliveries = pull(&bus, 3).await;
    assert_eq!(ids(&deliveries), ["1", "2", "3"]);
    let first = &deliveries[0];
    assert_eq!(first["event"]["type"], "order.created");
    assert_eq!(first["event"]["data"], json!({"total": 1.5}));
    assert_eq!(first["attempt"], 1);
    let distinct: BTreeSet<&str> = deliveries.iter().map(|one| text(one, "id")).collect();
    assert_eq!(distinct.len(), 3);
    until_health(&bus, "three are leased", |health| {
        health["in_flight"] == 3 && health["pending"] == 3
    })
    .await;
    ack(&bus, &deliveries[..2]).await;
    let health = until_health(&bus, "two are done", |health| health["pending"] == 1).await;
    assert_eq!(health["delivered"], 2);
    let bus = TestBus::builder().data(bus.drain().await).start().await;
    let again = pull(&bus, 1).await;
    assert_eq!(ids(&again), ["3"]);
    assert_eq!(
        text(&again[0], "id"),
        text(&deliveries[2], "id"),
        "the same delivery"
    );
    assert_ne!(text(&again[0], "token"), text(&deliveries[2], "token"));
    let old = say(
        &bus,
        "ack",
        &json!({"tokens": [text(&deliveries[2], "token")]}),
    )
    .await;
    assert_eq!(old, [false], "leases end with the bus");
    nothing_comes(&bus).await;
    ack(&bus, &again).await;
    let bus = TestBus::builder().data(bus.drain().await).start().await;
    nothing_comes(&bus).await;
    until_health(&bus, "nothing is left", |health| health["pending"] == 0).await;
}

#[tokio::test]
async fn a_pull_waits_for_the_next_event_and_no_longer() {
    let bus = started(&json!({})).await;
    nothing_comes(&bus).await;
    let waits = json!({"wait": "50s"});
    let (deliveries, ()) = tokio::join!(ask(&bus, &waits), async {
        until_health(&bus, "somebody pulls", |health| health["pulling"] == 1).await;
        bus.publish(&event("1")).await;
    });
    assert_eq!(ids(&deliveries), ["1"]);
    // A body says nothing that a pull needs.
    bus.publish(&event("2")).await;
    eventually("an empty request pulls", async || {
        let answer = send(bus.request(Method::POST, &format!("{TARGET}/pull"))).await;
        let deliveries = answer.json()["deliveries"].as_array().unwrap().clone();
        (ids(&deliveries) == ["2"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_wait_and_each_delivery_goes_to_one() {
    let bus = started(&json!({})).await;
    let waits = json!({"wait": "50s", "max": 1});
    let pulls = futures_util::future::join_all((0..200).map(|_| ask(&bus, &waits)));
    let (all, ()) = tokio::join!(pulls, async {
        until_health(&bus, "all wait", |health| health["pulling"] == 200).await;
        publish(&bus, 0..200).await;
    });
    let all: Vec<Value> = all.into_iter().flatten().collect();
    let distinct: BTreeSet<&str> = ids(&all).into_iter().collect();
    assert_eq!((all.len(), distinct.len()), (200, 200));
    ack(&bus, &all).await;
}

#[tokio::test]
async fn one_who_goes_away_while_waiting_costs_no_attempt() {
    let bus = started(&json!({})).await;
    let request = bus.request(Method::POST, &format!("{TARGET}/pull"));
    let request = request.json(&json!({"wait": "50s"})).send();
    let gone = tokio::spawn(request);
    until_health(&bus, "it waits", |health| health["pulling"] == 1).await;
    gone.abort();
    until_health(&bus, "it has gone", |health| health["pulling"] == 0).await;
    bus.publish(&event("1")).await;
    assert_eq!(pull(&bus, 1).await[0]["attempt"], 1);
}

#[tokio::test]
async fn what_is_given_back_comes_when_it_is_due_and_dies_in_the_end() {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    bus.put_rule("orders", &rule(&json!({}))).await;
    bus.publish(&event("1")).await;
    let first = pull(&bus, 1).await;
    let body = json!({"tokens": tokens(&first), "delay": "1h", "error": "busy"});
    assert_eq!(say(&bus, "nack", &body).await, [true]);
    let health = until_health(&bus, "it is parked", |health| health["parked"] == 1).await;
    assert_eq!(health["last_error"], "busy");
    clock.advance(Duration::from_secs(3_590));
    nothing_comes(&bus).await;
    clock.advance(Duration::from_secs(10));
    let second = pull(&bus, 1).await;
    assert_eq!(second[0]["attempt"], 2);
    assert_eq!(
        say(&bus, "nack", &json!({"tokens": tokens(&second)})).await,
        [true]
    );
    until_health(&bus, "it is parked", |health| health["in_flight"] == 0).await;
    clock.advance(Duration::from_millis(20));
    let third = pull(&bus, 1).await;
    let body = json!({"tokens": tokens(&third), "error": "broken"});
    assert_eq!(say(&bus, "nack", &body).await, [true]);
    let letters = until_letters(&bus, 1).await;
    assert_eq!(letters[0]["reason"], "attempts_exhausted");
    assert_eq!(letters[0]["last_error"], "broken");
    assert_eq!(letters[0]["attempts"], 3);
    let answer = bus
        .post(
            "/v1/buses/default/dead-letters/redrive",
            &json!({"all": true}),
        )
        .await;
    assert!(answer.status.is_success(), "{}", answer.text());
    let again = pull(&bus, 1).await;
    assert_eq!((ids(&again), &again[0]["attempt"]), (vec!["1"], &json!(1)));
    ack(&bus, &again).await;
    until_health(&bus, "nothing is left", |health| health["pending"] == 0).await;
    assert_eq!(self::letters(&bus).await.len(), 0);
}

#[tokio::test]
async fn what_is_given_up_is_a_dead_letter_at_once() {
    let bus = started(&json!({})).await;
    bus.publish(&event("1")).await;
    let first = pull(&bus, 1).await;
    let body = json!({"tokens": tokens(&first), "give_up": true, "error": "no such order"});
    assert_eq!(say(&bus, "nack", &body).await, [true]);
    let letters = until_letters(&bus, 1).await;
    assert_eq!(letters[0]["reason"], "refused");
    assert_eq!(letters[0]["last_error"], "no such order");
    nothing_comes(&bus).await;
}

#[tokio::test]
async fn a_lease_that_ends_is_a_failed_attempt() {
    let bus = started(
        &json!({"pull": {"lease": "1s"}, "retry": {"max_attempts": 2, "initial_delay": "10ms"}}),
    )
    .await;
    bus.publish(&event("1")).await;
    let first = pull(&bus, 1).await;
    let second = pull(&bus, 1).await;
    assert_eq!(second[0]["attempt"], 2);
    let both =
        json!({"tokens": [text(&first[0], "token"), text(&second[0], "token")], "lease": "30s"});
    assert_eq!(say(&bus, "extend", &both).await, [false, true]);
    // Longer than its lease was.
    assert_eq!(ask(&bus, &json!({"wait": "1500ms"})).await.len(), 0);
    bus.publish(&event("2")).await;
    let other = pull(&bus, 1).await;
    ack(&bus, &second).await;
    assert_eq!(ids(&other), ["2"]);
    assert_eq!(pull(&bus, 1).await[0]["attempt"], 2);
    let letters = until_letters(&bus, 1).await;
    assert_eq!(letters[0]["reason"], "attempts_exhausted");
    assert_eq!(letters[0]["last_error"], "its lease of 1s ended unanswered");
}

#[tokio::test]
async fn every_token_is_answered_by_itself() {
    let bus = started(&json!({})).await;
    publish(&bus, 0..3).await;
    let all = pull(&bus, 3).await;
    let [a, b, c] = [0, 1, 2].map(|at| text(&all[at], "token"));
    let said = say(&bus, "ack", &json!({"tokens": [a, "no token", a, b]})).await;
    assert_eq!(said, [true, false, true, true], "one is said twice");
    // The answer was lost, and it is said again: it is as it was said first.
    assert_eq!(
        say(&bus, "ack", &json!({"tokens": [a, b]})).await,
        [true, true]
    );
    let body = json!({"tokens": [b, c]});
    assert_eq!(say(&bus, "nack", &body).await, [false, true]);
    assert_eq!(say(&bus, "nack", &body).await, [false, true]);
    assert_eq!(say(&bus, "ack", &json!({"tokens": [c]})).await, [false]);
    assert_eq!(say(&bus, "extend", &json!({"tokens": [c]})).await, [false]);
    assert_eq!(pull(&bus, 1).await[0]["attempt"], 2);
    nothing_comes(&bus).await;
}

#[tokio::test]
async fn order_by_key_holds_for_leases() {
    let options = json!({"ordering_key": "subject", "retry": {"max_attempts": 9, "initial_delay": "10ms", "max_delay": "10ms"}});
    let bus = started(&options).await;
    for (id, subject) in [
        ("a1", "a"),
        ("a2", "a"),
        ("b1", "b"),
        ("a3", "a"),
        ("b2", "b"),
    ] {
        let mut event = event(id);
        event["subject"] = json!(subject);
        bus.publish(&event).await;
    }
    let first = pull(&bus, 2).await;
    assert_eq!(ids(&first), ["a1", "b1"]);
    nothing_comes(&bus).await;
    ack(&bus, &first[1..]).await;
    assert_eq!(
        say(
            &bus,
            "nack",
            &json!({"tokens": [text(&first[0], "token")], "delay": "0s"})
        )
        .await,
        [true]
    );
    let second = pull(&bus, 2).await;
    let found: BTreeSet<&str> = ids(&second).into_iter().collect();
    assert_eq!(
        found,
        ["a1", "b2"].into(),
        "what failed comes before what is behind it"
    );
    // Over a restart, leased or not.
    let bus = TestBus::builder().data(bus.drain().await).start().await;
    let mut came = Vec::new();
    while came.len() < 4 {
        let some = pull(&bus, 1).await;
        ack(&bus, &some).await;
        came.extend(ids(&some).iter().map(ToString::to_string));
    }
    let of_a: Vec<&String> = came.iter().filter(|id| id.starts_with('a')).collect();
    assert_eq!(of_a, ["a1", "a2", "a3"], "{came:?}");
    nothing_comes(&bus).await;
}

#[tokio::test]
async fn the_transform_the_pause_and_the_rate_hold() {
    let options = json!({"transform": {"input_path": "$.data.total"}, "rate_limit": "1/h"});
    let bus = started(&options).await;
    bus.publish(&event("1")).await;
    let first = pull(&bus, 1).await;
    assert_eq!(first[0]["event"]["data"], json!(1.5));
    ack(&bus, &first).await;
    bus.publish(&event("2")).await;
    nothing_comes(&bus).await;
    until_health(&bus, "the rate holds it", |health| {
        health["throttled_by"] == "rate_limit"
    })
    .await;
    bus.put_rule("orders", &rule(&json!({}))).await;
    let answer = bus.post(&format!("{TARGET}/pause"), &json!({})).await;
    assert_eq!(answer.json()["state"], "paused");
    nothing_comes(&bus).await;
    let (second, answer) = tokio::join!(pull(&bus, 1), async {
        bus.post(&format!("{TARGET}/resume"), &json!({})).await
    });
    assert_eq!(answer.json()["state"], "active");
    ack(&bus, &second).await;
}

#[tokio::test]
async fn as_many_are_leased_as_the_target_says() {
    let bus = started(&json!({"pull": {"max_leases": 3}})).await;
    publish(&bus, 0..5).await;
    let three = pull(&bus, 3).await;
    nothing_comes(&bus).await;
    ack(&bus, &three[..1]).await;
    let fourth = pull(&bus, 1).await;
    nothing_comes(&bus).await;
    ack(&bus, &three[1..]).await;
    ack(&bus, &fourth).await;
    assert_eq!(ids(&pull(&bus, 1).await), ["4"]);
}

#[tokio::test]
async fn a_backlog_beyond_memory_is_pulled_whole_and_over_a_restart() {
    // The lease is longer than a busy machine takes for thousands.
    let bus = started(&json!({"pull": {"max_leases": 5_000, "lease": "10m"}})).await;
    let many = 6_000;
    publish(&bus, 0..many).await;
    let mut came: Vec<String> = Vec::new();
    let half = pull(&bus, many / 2).await;
    ack(&bus, &half).await;
    came.extend(ids(&half).iter().map(ToString::to_string));
    // Leased and not answered: it comes again.
    pull(&bus, 100).await;
    let bus = TestBus::builder().data(bus.drain().await).start().await;
    let rest = pull(&bus, many / 2).await;
    ack(&bus, &rest).await;
    came.extend(ids(&rest).iter().map(ToString::to_string));
    let distinct: BTreeSet<&String> = came.iter().collect();
    assert_eq!((came.len(), distinct.len()), (many, many));
    nothing_comes(&bus).await;
    until_health(&bus, "nothing is left", |health| health["pending"] == 0).await;
}

#[tokio::test]
async fn large_events_come_in_several_answers() {
    let bus = started(&json!({})).await;
    let blob = "x".repeat(700_000);
    for id in 0..6 {
        let mut event = event(&id.to_string());
        event["data"] = json!({ "blob": blob });
        bus.publish(&event).await;
    }
    let mut came = BTreeSet::new();
    while came.len() < 6 {
        let some = ask(&bus, &json!({"max": 6, "wait": "20s"})).await;
        assert!((1..=2).contains(&some.len()), "{} at once", some.len());
        ack(&bus, &some).await;
        for one in &some {
            assert_eq!(one["attempt"], 1);
            assert_eq!(
                one["event"]["data"]["blob"].as_str().unwrap().len(),
                blob.len()
            );
            assert!(came.insert(text(&one["event"], "id").to_owned()));
        }
    }
    nothing_comes(&bus).await;
}

#[tokio::test]
async fn a_deleted_or_changed_target_takes_back_what_is_leased() {
    let bus = started(&json!({})).await;
    publish(&bus, 0..2).await;
    let two = pull(&bus, 2).await;
    let target = TestTarget::accepting();
    let sent = json!({"pattern": {"type": ["order.created"]}, "targets": [{"id": "worker", "url": target.url()}]});
    bus.put_rule("orders", &sent).await;
    target.receives(2).await;
    let answer = bus
        .post(&format!("{TARGET}/ack"), &json!({"tokens": tokens(&two)}))
        .await;
    answer.problem(409);
    bus.put_rule("orders", &rule(&json!({}))).await;
    publish(&bus, 2..4).await;
    let two = eventually("it is pulled again", async || {
        let answer = bus
            .post(&format!("{TARGET}/pull"), &json!({"wait": "20s"}))
            .await;
        let deliveries = answer.json()["deliveries"].as_array().cloned();
        deliveries.filter(|two| !two.is_empty())
    })
    .await;
    assert_eq!(ids(&two)[0], "2");
    assert_eq!(
        bus.delete("/v1/buses/default/rules/orders").await.status,
        204
    );
    let letters = until_letters(&bus, 2).await;
    assert!(
        letters
            .iter()
            .all(|letter| letter["reason"] == "target_removed")
    );
    let answer = bus
        .post(&format!("{TARGET}/ack"), &json!({"tokens": tokens(&two)}))
        .await;
    answer.problem(404);
}

#[tokio::test]
async fn what_nobody_pulls_passes_its_max_age() {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    bus.put_rule("orders", &rule(&json!({"retry": {"max_age": "1h"}})))
        .await;
    publish(&bus, 0..3).await;
    until_health(&bus, "they are on disk", |health| {
        health["backlogged"].as_u64().unwrap() + health["ready"].as_u64().unwrap() == 3
    })
    .await;
    clock.advance(Duration::from_secs(3_601));
    let letters = until_letters(&bus, 3).await;
    assert_eq!(letters[0]["reason"], "too_old");
    assert!(text(&letters[0], "last_error").contains("not pulled"));
}

#[tokio::test]
async fn a_slow_puller_holds_up_its_own_target_only() {
    let bus = started(&json!({})).await;
    let target = TestTarget::accepting();
    let sent = json!({"pattern": {"type": ["order.created"]}, "targets": [{"id": "fast", "url": target.url()}]});
    bus.put_rule("sent", &sent).await;
    publish(&bus, 0..50).await;
    let held = pull(&bus, 50).await;
    assert_eq!(target.receives(50).await.len(), 50);
    publish(&bus, 50..60).await;
    assert_eq!(target.receives(60).await.len(), 60);
    ack(&bus, &held).await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_place() {
    let bus = started(&json!({})).await;
    let check = async |verb: &str, body: Value, pointer: &str| {
        let answer = bus.post(&format!("{TARGET}/{verb}"), &body).await;
        let problem = answer.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    };
    check("pull", json!({"max": 0}), "/max").await;
    check("pull", json!({"max": 257}), "/max").await;
    check("pull", json!({"wait": "51s"}), "/wait").await;
    check("pull", json!({"wait": "soon"}), "/wait").await;
    check("pull", json!({"lease": "13h"}), "/lease").await;
    check("pull", json!({"lease": null}), "/lease").await;
    check("pull", json!({"more": 1}), "/more").await;
    check("ack", json!({"tokens": []}), "/tokens").await;
    check("ack", json!({"tokens": vec!["a"; 1_001]}), "/tokens").await;
    check("ack", json!({}), "").await;
    check("nack", json!({"tokens": ["a"], "delay": "13h"}), "/delay").await;
    check("extend", json!({"tokens": ["a"], "lease": "1ms"}), "/lease").await;
    bus.post(&format!("{TARGET}/test"), &json!({}))
        .await
        .problem(409);
    for verb in ["pull", "ack", "nack", "extend"] {
        let nowhere = format!("/v1/buses/default/rules/none/targets/worker/{verb}");
        let body = json!({"tokens": ["a"]});
        let body = if verb == "pull" { json!({}) } else { body };
        bus.post(&nowhere, &body).await.problem(404);
    }
}
