//! Rules that fire on a schedule: at their times, once each, over restarts.

use std::time::Duration;

use eventyard::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use crate::delivery::rule_to;
use crate::harness::{TestBus, TestTarget, eventually};

const HOUR: Duration = Duration::from_secs(3_600);

/// 2023-11-14T22:13:20Z
fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_700_000_000_000))
}

fn scheduled(target: &TestTarget, schedule: Value) -> Value {
    let mut rule = rule_to(target, &json!({}));
    rule.as_object_mut().unwrap().remove("pattern");
    rule["schedule"] = schedule;
    rule
}

fn ids(target: &TestTarget) -> Vec<String> {
    let received = target.received();
    received
        .iter()
        .map(|r| r.header("ce-id").to_owned())
        .collect()
}

/// Waits until the schedule has been taken over, so that it counts from the clock as it stands.
async fn taken_over(bus: &TestBus) {
    eventually("the schedule is known", async || {
        let known = bus.running().log().schedule_through(
            &eventyard::log::BusName::default_bus(),
            &eventyard::log::RuleName::new("report").unwrap(),
        );
        known.unwrap().map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_rule_fires_at_its_times_in_its_time_zone() {
    let clock = clock();
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let target = TestTarget::accepting();
    let schedule = json!({
        "cron": "0 9 * * *", "timezone": "Europe/Berlin",
        "event": {"type": "report.due", "data": {"n": 1}}
    });
    bus.put_rule("report", &scheduled(&target, schedule)).await;
    taken_over(&bus).await;
    clock.advance(9 * HOUR); // 07:13 UTC
    bus.publish(&crate::delivery::event("other")).await;
    clock.advance(HOUR);
    let fired = &target.receives(1).await[0];
    assert_eq!(fired.header("ce-id"), "2023-11-15T08:00:00.000Z");
    assert_eq!(fired.header("ce-time"), "2023-11-15T08:00:00.000Z");
    assert_eq!(fired.header("ce-type"), "report.due");
    assert_eq!(fired.header("ce-source"), "/v1/buses/default/rules/report");
    assert_eq!(fired.json(), json!({"n": 1}));
    clock.advance(24 * HOUR);
    target.receives(2).await;
    assert_eq!(
        ids(&target),
        ["2023-11-15T08:00:00.000Z", "2023-11-16T08:00:00.000Z"]
    );
}

#[tokio::test]
async fn of_what_was_missed_the_latest_is_made_up_for_unless_the_rule_says_none() {
    for (catch_up, expected) in [
        (
            "latest",
            vec![
                "2023-11-14T23:13:20.000Z",
                "2023-11-15T08:13:20.000Z",
                "2023-11-15T09:13:20.000Z",
            ],
        ),
        (
            "none",
            vec!["2023-11-14T23:13:20.000Z", "2023-11-15T09:13:20.000Z"],
        ),
    ] {
        let clock = clock();
        let target = TestTarget::accepting();
        let bus = TestBus::builder().clock(clock.clone()).start().await;
        let schedule = json!({"rate": "1 hour", "catch_up": catch_up});
        bus.put_rule("report", &scheduled(&target, schedule)).await;
        taken_over(&bus).await;
        clock.advance(HOUR);
        target.receives(1).await;
        let data = bus.drain().await;
        clock.advance(9 * HOUR + HOUR / 2);
        let bus = TestBus::builder()
            .clock(clock.clone())
            .data(data)
            .start()
            .await;
        if catch_up == "latest" {
            target.receives(2).await;
        }
        let log = bus.running().log().clone();
        eventually("what was missed is dealt with", async || {
            let name = eventyard::log::RuleName::new("report").unwrap();
            let bus = eventyard::log::BusName::default_bus();
            let (_, through) = log.schedule_through(&bus, &name).unwrap().unwrap();
            (through.to_string() == "2023-11-15T08:13:20.000Z").then_some(())
        })
        .await;
        clock.advance(HOUR / 2);
        target.receives(expected.len()).await;
        assert_eq!(ids(&target), expected);
    }
}

#[tokio::test]
async fn a_moment_fires_once_although_it_is_not_known_to_be_dealt_with() {
    let clock = clock();
    let target = TestTarget::accepting();
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    let rule = scheduled(&target, json!({"rate": "1 hour"}));
    bus.put_rule("report", &rule).await;
    taken_over(&bus).await;
    let log = bus.running().log().clone();
    let name = eventyard::log::RuleName::new("report").unwrap();
    let default = eventyard::log::BusName::default_bus();
    let (schedule, before) = log.schedule_through(&default, &name).unwrap().unwrap();
    clock.advance(HOUR);
    target.receives(1).await;
    // As a crash would leave it between the event and the record behind it.
    let record = eventyard::log::Record::ScheduleThrough {
        bus: default,
        rule: name,
        schedule,
        through: before,
    };
    log.commit(&[record]).await.unwrap();
    let data = bus.drain().await;
    let bus = TestBus::builder()
        .clock(clock.clone())
        .data(data)
        .start()
        .await;
    clock.advance(HOUR);
    target.receives(2).await;
    let page = bus.get("/v1/buses/default/events").await.json();
    assert_eq!(page["events"].as_array().unwrap().len(), 2, "{page}");
    assert_eq!(
        ids(&target),
        ["2023-11-14T23:13:20.000Z", "2023-11-15T00:13:20.000Z"]
    );
}

#[tokio::test]
async fn a_disabled_rule_does_not_fire_and_makes_up_for_nothing_later() {
    let clock = clock();
    let target = TestTarget::accepting();
    let bus = TestBus::builder().clock(clock.clone()).start().await;
    bus.put_rule("report", &scheduled(&target, json!({"rate": "1 hour"})))
        .await;
    taken_over(&bus).await;
    bus.post("/v1/buses/default/rules/report/disable", &json!({}))
        .await;
    let log = bus.running().log().clone();
    eventually("the schedule is forgotten", async || {
        let name = eventyard::log::RuleName::new("report").unwrap();
        let known = log.schedule_through(&eventyard::log::BusName::default_bus(), &name);
        known.unwrap().is_none().then_some(())
    })
    .await;
    clock.advance(5 * HOUR);
    bus.post("/v1/buses/default/rules/report/enable", &json!({}))
        .await;
    taken_over(&bus).await;
    clock.advance(HOUR);
    target.receives(1).await;
    assert_eq!(ids(&target), ["2023-11-15T04:13:20.000Z"]);
}
