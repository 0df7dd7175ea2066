//! Dead letters: listed with their reason, shown with their event, redriven, deleted, purged.

use std::time::Duration;

use eventyard::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::harness::{TestBus, TestTarget, eventually};

const TARGET: &str = "/v1/buses/default/rules/orders/targets/billing/dead-letters";
const BUS: &str = "/v1/buses/default/dead-letters";

/// A bus with so many events that the target has refused for good.
async fn with_dead(count: usize) -> (TestBus, TestTarget, Vec<Value>) {
    let (bus, target) = (TestBus::start().await, TestTarget::replying([400]));
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    for number in 0..count {
        bus.publish(&event(&number.to_string())).await;
    }
    let letters = stand(&bus, count).await;
    (bus, target, letters)
}

/// Waits until so many dead letters stand.
async fn stand(bus: &TestBus, count: usize) -> Vec<Value> {
    eventually(&format!("{count} dead letters"), async || {
        let list = bus.get(TARGET).await.json();
        let letters = list["dead_letters"].as_array().unwrap().clone();
        (letters.len() == count).then_some(letters)
    })
    .await
}

#[tokio::test]
async fn a_refused_event_is_a_dead_letter_with_its_reason_and_event() {
    let (bus, _target, letters) = with_dead(1).await;
    let letter = &letters[0];
    assert_eq!(letter["reason"], "refused");
    assert_eq!(letter["last_status"], 400);
    assert_eq!(letter["attempts"], 1);
    assert_eq!(letter["rule"], "orders");
    assert_eq!(letter["target"], "billing");
    for list in [TARGET, BUS] {
        let path = format!("{list}/{}", letter["id"].as_str().unwrap());
        let shown = bus.get(&path).await.json();
        assert_eq!(shown["event"]["id"], "0", "{shown}");
    }
    let health = bus
        .get("/v1/buses/default/rules/orders/targets/billing")
        .await
        .json();
    assert_eq!(health["dead_lettered"], 1, "{health}");
}

#[tokio::test]
async fn retries_that_are_used_up_make_a_dead_letter() {
    let (bus, target) = (TestBus::start().await, TestTarget::replying([503]));
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.publish(&event("1")).await;
    let letters = stand(&bus, 1).await;
    assert_eq!(letters[0]["reason"], "attempts_exhausted");
    assert_eq!(letters[0]["attempts"], 3);
    assert_eq!(target.received().len(), 3);
}

#[tokio::test]
async fn dead_letters_are_listed_in_pages() {
    let (bus, _target, letters) = with_dead(3).await;
    for list in [TARGET, BUS] {
        let first = bus.get(&format!("{list}?limit=2")).await.json();
        assert_eq!(first["dead_letters"].as_array().unwrap()[..], letters[..2]);
        let next = first["next"].as_str().unwrap();
        let last = bus
            .get(&format!("{list}?limit=2&after={next}"))
            .await
            .json();
        assert_eq!(last["dead_letters"].as_array().unwrap()[..], letters[2..]);
        assert!(last.get("next").is_none());
    }
}

#[tokio::test]
async fn a_redriven_event_is_delivered() {
    let (bus, target, letters) = with_dead(3).await;
    target.now_replying([200]);
    let one = json!({"ids": [letters[1]["id"]]});
    let answer = bus.post(&format!("{TARGET}/redrive"), &one).await;
    assert_eq!(answer.json(), json!({"redriven": 1}), "{answer:?}");
    assert_eq!(target.receives(4).await[3].header("ce-id"), "1");
    let rest = bus
        .post(&format!("{BUS}/redrive"), &json!({"all": true}))
        .await;
    assert_eq!(rest.json(), json!({"redriven": 2}));
    target.receives(6).await;
    stand(&bus, 0).await;
}

#[tokio::test]
async fn dead_letters_are_deleted_and_purged() {
    let (bus, _target, letters) = with_dead(3).await;
    let path = format!("{TARGET}/{}", letters[0]["id"].as_str().unwrap());
    assert_eq!(bus.delete(&path).await.status, 204);
    bus.delete(&path).await.problem(404);
    bus.get(&path).await.problem(404);
    let answer = bus
        .post(&format!("{TARGET}/purge"), &json!({"all": true}))
        .await;
    assert_eq!(answer.json(), json!({"purged": 2}));
    stand(&bus, 0).await;
}

#[tokio::test]
async fn a_choice_that_says_nothing_is_refused() {
    let (bus, _target, _) = with_dead(1).await;
    for choice in [
        json!({}),
        json!({"all": false}),
        json!({"ids": ["1-1"], "all": true}),
        json!({"alle": true}),
    ] {
        bus.post(&format!("{TARGET}/purge"), &choice)
            .await
            .problem(422);
    }
    let problem = bus
        .post(&format!("{TARGET}/redrive"), &json!({"ids": ["1-1", "x"]}))
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/ids/1");
    bus.get("/v1/buses/default/rules/orders/targets/nope/dead-letters")
        .await
        .problem(404);
    bus.get("/v1/buses/nope/dead-letters").await.problem(404);
}

#[tokio::test]
async fn dead_letters_outlive_their_rule_and_cannot_be_redriven_then() {
    let (bus, _target, letters) = with_dead(1).await;
    assert_eq!(
        bus.delete("/v1/buses/default/rules/orders").await.status,
        204
    );
    assert_eq!(stand(&bus, 1).await, letters);
    bus.post(&format!("{TARGET}/redrive"), &json!({"all": true}))
        .await
        .problem(409);
    let answer = bus
        .post(&format!("{BUS}/purge"), &json!({"all": true}))
        .await;
    assert_eq!(answer.json(), json!({"purged": 1}));
}

/// A bus with 3 letters of a target that refused (two types), and 2 of one that answered 503.
async fn with_two_kinds() -> (TestBus, TestTarget, TestTarget) {
    let bus = TestBus::start().await;
    let (refusing, failing) = (TestTarget::replying([400]), TestTarget::replying([503]));
    bus.put_rule("orders", &rule_to(&refusing, &json!({})))
        .await;
    for (number, kind) in [
        ("0", "order.placed"),
        ("1", "order.paid"),
        ("2", "order.placed"),
    ] {
        let mut event = event(number);
        event["type"] = json!(kind);
        bus.publish(&event).await;
    }
    stand(&bus, 3).await;
    bus.delete("/v1/buses/default/rules/orders").await;
    bus.put_rule("invoices", &rule_to(&failing, &json!({})))
        .await;
    bus.publish(&event("3")).await;
    bus.publish(&event("4")).await;
    eventually("five dead letters", async || {
        let groups = bus.get(&format!("{BUS}/groups")).await.json();
        (groups["count"] == 5).then_some(())
    })
    .await;
    (bus, refusing, failing)
}

#[tokio::test]
async fn dead_letters_are_filtered_and_counted_in_groups() {
    let (bus, _refusing, _failing) = with_two_kinds().await;
    for (filter, count) in [
        ("reason=refused", 3),
        ("reason=attempts_exhausted", 2),
        ("status=503", 2),
        ("status=4xx", 3),
        ("status=none", 0),
        ("rule=orders", 3),
        ("rule=orders&target=other", 0),
        ("type=order.paid", 1),
        ("type=order.placed&reason=refused", 2),
        ("since=2020-01-01T00:00:00Z", 5),
        ("until=2020-01-01T00:00:00Z", 0),
    ] {
        let list = bus.get(&format!("{BUS}?{filter}")).await.json();
        assert_eq!(
            list["dead_letters"].as_array().unwrap().len(),
            count,
            "{filter}"
        );
        let groups = bus.get(&format!("{BUS}/groups?{filter}")).await.json();
        assert_eq!(groups["count"], count, "{filter}");
    }
    let groups = bus.get(&format!("{BUS}/groups")).await.json();
    let seen: Vec<_> = groups["groups"].as_array().unwrap().iter().collect();
    assert_eq!(seen.len(), 2, "{groups}");
    assert_eq!(
        (&seen[0]["rule"], &seen[0]["count"]),
        (&json!("orders"), &json!(3))
    );
    assert_eq!(seen[0]["target_gone"], true);
    assert_eq!(
        (&seen[1]["status"], &seen[1]["count"]),
        (&json!("5xx"), &json!(2))
    );
    assert_eq!(groups["redrivable"], 2);
    for bad in ["reason=x", "status=5", "since=x", "rule=a%20b", "x=1"] {
        bus.get(&format!("{BUS}?{bad}")).await.problem(400);
    }
    bus.get(&format!("{BUS}/groups?limit=3")).await.problem(400);
}

#[tokio::test]
async fn a_redrive_is_counted_before_and_takes_what_its_filter_says() {
    let (bus, _refusing, failing) = with_two_kinds().await;
    let choice = json!({"filter": {"status": 503}, "dry_run": true});
    for verb in ["redrive", "purge"] {
        let counted = bus.post(&format!("{BUS}/{verb}"), &choice).await.json();
        assert_eq!(
            (&counted["dry_run"], &counted["count"]),
            (&json!(true), &json!(2))
        );
    }
    assert_eq!(bus.get(&format!("{BUS}/groups")).await.json()["count"], 5);
    failing.now_replying([204]);
    let choice = json!({"filter": {"status": "5xx"}});
    let answer = bus.post(&format!("{BUS}/redrive"), &choice).await;
    assert_eq!(answer.json(), json!({"redriven": 2}));
    failing.receives(8).await;
    let purged = bus
        .post(
            &format!("{BUS}/purge"),
            &json!({"filter": {"type": "order.paid"}}),
        )
        .await;
    assert_eq!(purged.json(), json!({"purged": 1}));
    assert_eq!(bus.get(&format!("{BUS}/groups")).await.json()["count"], 2);
    for bad in [
        json!({"filter": {"reason": "x"}}),
        json!({"filter": {}, "all": true}),
        json!({"filter": {"limit": 1}}),
        json!({"all": true, "rate": "5"}),
        json!({"all": true, "to": {"rule": "nope", "target": "x"}}),
    ] {
        bus.post(&format!("{BUS}/redrive"), &bad).await.problem(422);
    }
    bus.post(
        &format!("{BUS}/purge"),
        &json!({"all": true, "rate": "5/s"}),
    )
    .await
    .problem(422);
}

#[tokio::test]
async fn dead_letters_of_a_deleted_target_are_redriven_to_another() {
    let (bus, _refusing, _failing) = with_two_kinds().await;
    let other = TestTarget::accepting();
    let mut rule = rule_to(&other, &json!({}));
    rule["pattern"] = json!({"type": ["nothing.like.it"]});
    bus.put_rule("rescue", &rule).await;
    let choice =
        json!({"filter": {"rule": "orders"}, "to": {"rule": "rescue", "target": "billing"}});
    let answer = bus.post(&format!("{BUS}/redrive"), &choice).await;
    assert_eq!(answer.json(), json!({"redriven": 3}), "{answer:?}");
    let mut ids: Vec<_> = other
        .receives(3)
        .await
        .iter()
        .map(|r| r.header("ce-id").to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, ["0", "1", "2"]);
    assert_eq!(bus.get(&format!("{BUS}/groups")).await.json()["count"], 2);
}

#[tokio::test]
async fn a_redrive_at_a_rate_shows_how_far_it_is_and_is_cancelled() {
    let (bus, target, _) = with_dead(4).await;
    target.now_replying([204]);
    let answer = bus
        .post(
            &format!("{BUS}/redrive"),
            &json!({"all": true, "rate": "1/h"}),
        )
        .await;
    assert_eq!(answer.status, 202);
    let job = answer.json();
    assert_eq!(
        (&job["state"], &job["chosen"]),
        (&json!("running"), &json!(4)),
        "{job}"
    );
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    eventually("the first one at once", async || {
        (bus.get(&path).await.json()["redriven"] == 1).then_some(())
    })
    .await;
    assert_eq!(bus.delete(&path).await.status, 204);
    let ended = eventually("the end", async || {
        let job = bus.get(&path).await.json();
        (job["state"] != "running").then_some(job)
    })
    .await;
    assert_eq!(
        (&ended["state"], &ended["redriven"]),
        (&json!("cancelled"), &json!(1))
    );
    stand(&bus, 3).await;
    let answer = bus
        .post(
            &format!("{BUS}/redrive"),
            &json!({"all": true, "rate": "1000/s"}),
        )
        .await;
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    eventually("the job's end", async || {
        (bus.get(&path).await.json()["state"] == "done").then_some(())
    })
    .await;
    // Four that were refused, then four that were taken.
    target.receives(8).await;
    let jobs = bus.get(&format!("{BUS}/redrives")).await.json();
    assert_eq!(jobs["redrives"].as_array().unwrap().len(), 2);
    bus.get(&format!("{BUS}/redrives/1")).await.problem(404);
}

#[tokio::test]
async fn dead_letters_are_exported_as_a_batch_that_a_bus_takes() {
    let (bus, _refusing, _failing) = with_two_kinds().await;
    let answer = bus.get(&format!("{BUS}/export?reason=refused")).await;
    assert_eq!(
        answer.headers["content-type"],
        "application/cloudevents-batch+json"
    );
    let events = answer.json();
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(events[1]["type"], "order.paid");
    assert_eq!(events[1]["deadletterreason"], "refused");
    assert_eq!(events[1]["deadletterstatus"], 400);
    assert_eq!(events[1]["deadletterrule"], "orders");
    let other = TestBus::start().await;
    let request = other
        .request(reqwest::Method::POST, "/")
        .header("content-type", "application/cloudevents-batch+json")
        .body(answer.body.clone());
    assert_eq!(request.send().await.unwrap().status(), 202);
    let none = bus.get(&format!("{BUS}/export?status=none")).await;
    assert_eq!(none.json(), json!([]));
}

#[tokio::test]
async fn dead_letters_are_moved_to_a_receiver_of_their_own_which_may_refuse_them() {
    let bus = TestBus::start().await;
    let (target, dead) = (
        TestTarget::replying([400]),
        TestTarget::replying([500, 204]),
    );
    let policy = json!({"dead_letter": {"url": dead.url()}, "headers": {"x-token": "secret"}});
    bus.put_rule("orders", &rule_to(&target, &policy)).await;
    bus.publish(&event("1")).await;
    let refused = &dead.receives(1).await[0];
    assert_eq!(refused.header("ce-id"), "1");
    assert_eq!(refused.header("ce-deadletterreason"), "refused");
    assert_eq!(refused.header("ce-deadletterstatus"), "400");
    assert_eq!(refused.header("ce-deadlettertarget"), "billing");
    assert_eq!(refused.header("x-token"), "");
    stand(&bus, 1).await;
    dead.receives(2).await;
    stand(&bus, 0).await;
}

#[tokio::test]
async fn dead_letters_are_moved_to_another_target_of_their_rule() {
    let bus = TestBus::start().await;
    let (target, rescue) = (
        TestTarget::replying([400]),
        TestTarget::replying([204, 204, 204]),
    );
    let mut rule = rule_to(&target, &json!({"dead_letter": {"target": "rescue"}}));
    let mut other = rule["targets"][0].clone();
    other["id"] = json!("rescue");
    other["url"] = json!(rescue.url());
    other["dead_letter"] = json!({"target": "billing"});
    rule["targets"].as_array_mut().unwrap().push(other);
    bus.put_rule("orders", &rule).await;
    bus.publish(&event("1")).await;
    let received = rescue.receives(2).await;
    let reasons = received
        .iter()
        .filter(|r| r.header("ce-deadletterreason") == "refused");
    assert_eq!(reasons.count(), 1);
    stand(&bus, 0).await;
    rule["targets"][0]["dead_letter"]["target"] = json!("nobody");
    let problem = bus
        .put("/v1/buses/default/rules/orders", &rule)
        .await
        .problem(422);
    assert_eq!(
        problem["errors"][0]["pointer"],
        "/targets/0/dead_letter/target"
    );
}

#[tokio::test]
async fn dead_letters_expire_after_their_retention() {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let target = TestTarget::replying([400]);
    let policy = json!({"dead_letter": {"retention": "7d"}});
    bus.put_rule("orders", &rule_to(&target, &policy)).await;
    bus.publish(&event("1")).await;
    stand(&bus, 1).await;
    clock.advance(Duration::from_secs(6 * 24 * 60 * 60));
    let second = bus.publish(&event("2")).await;
    stand(&bus, 2).await;
    clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
    let left = stand(&bus, 1).await;
    assert_eq!(left[0]["sequence"], second);
}
