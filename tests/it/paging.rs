//! Every list comes in pages: `limit`, `after`, `next`, whatever it lists.

use std::collections::BTreeSet;
use std::time::Duration;

use eventyard::api::description;
use eventyard::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{TestBus, TestTarget, eventually, send};

/// Every path that takes `limit`, and where its list stands in the answer.
const LISTS: &[(&str, &str)] = &[
    ("/v1/audit", "entries"),
    ("/v1/buses", "buses"),
    ("/v1/buses/{bus}/dead-letters", "dead_letters"),
    ("/v1/buses/{bus}/dead-letters/redrives", "redrives"),
    ("/v1/buses/{bus}/events", "events"),
    ("/v1/buses/{bus}/rules", "rules"),
    ("/v1/buses/{bus}/rules/{rule}/targets", "targets"),
    (
        "/v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters",
        "dead_letters",
    ),
    (
        "/v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/redrives",
        "redrives",
    ),
    ("/v1/buses/{bus}/scheduled", "scheduled"),
    ("/v1/keys", "keys"),
    ("/v1/secrets", "secrets"),
];

fn filled(path: &str) -> String {
    path.replace("{bus}", "default")
        .replace("{rule}", "r")
        .replace("{target}", "a")
}

#[test]
fn every_answer_that_is_a_list_comes_in_pages() {
    let paths = description()["paths"].as_object().unwrap();
    let takes = |operation: &Value, name: &str| {
        let parameters = operation["parameters"].as_array().cloned();
        let mut parameters = parameters.unwrap_or_default().into_iter();
        parameters.any(|one| one["name"] == name)
    };
    let mut found = BTreeSet::new();
    for (path, item) in paths {
        let operation = &item["get"];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().unwrap_or_default();
        let schema = description().pointer(name.trim_start_matches('#'));
        let properties = schema.and_then(|schema| schema["properties"].as_object());
        let Some(properties) = properties.filter(|_| name.ends_with("List")) else {
            assert!(!takes(operation, "limit"), "{path} is called a list");
            continue;
        };
        assert!(properties.contains_key("next"), "{path} has no `next`");
        assert!(takes(operation, "limit"), "{path} takes no `limit`");
        assert!(takes(operation, "after"), "{path} takes no `after`");
        found.insert(path.as_str());
    }
    let known: BTreeSet<&str> = LISTS.iter().map(|(path, _)| *path).collect();
    let unknown: Vec<_> = found.difference(&known).collect();
    // Lists of others have tests of their own.
    assert!(known.is_subset(&found), "{found:?}");
    assert!(unknown.is_empty(), "not walked here: {unknown:?}");
}

/// A bus with three of everything at least.
async fn bus(failing: &TestTarget) -> TestBus {
    let bus = TestBus::start().await;
    let target = |id: &str| json!({"id": id, "url": failing.url(), "retry": {"max_attempts": 1}});
    let rule =
        json!({"pattern": {"type": ["t"]}, "targets": [target("b"), target("a"), target("c")]});
    bus.put_rule("r", &rule).await;
    for name in ["x", "y"] {
        bus.put(&format!("/v1/buses/{name}"), &json!({})).await;
        bus.put_rule(
            name,
            &json!({"pattern": {"type": ["none"]}, "targets": [target("t")]}),
        )
        .await;
    }
    for name in ["s1", "s2", "s3"] {
        let secret = json!({"value": "hunter2"});
        bus.put(&format!("/v1/secrets/{name}"), &secret).await;
        let key = json!({"name": name, "grants": [{"scope": "read"}]});
        assert_eq!(bus.post("/v1/keys", &key).await.status, 201);
    }
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    let later = Clock::system().now().plus(month).to_string();
    for id in 1..=3 {
        let mut event =
            json!({"specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t"});
        bus.publish(&event).await;
        event["id"] = format!("later-{id}").into();
        event["deliverat"] = later.as_str().into();
        event["type"] = "none".into();
        bus.publish(&event).await;
    }
    eventually("nine dead letters", async || {
        let letters = bus.get("/v1/buses/default/dead-letters").await.json();
        (letters["dead_letters"].as_array().unwrap().len() == 9).then_some(())
    })
    .await;
    // Slow, so that their letters stay.
    for _ in 0..3 {
        let redrive = json!({"filter": {"type": "none"}, "rate": "1/h"});
        let answer = bus.post("/v1/buses/default/dead-letters/redrive", &redrive);
        assert_eq!(answer.await.status, 202);
    }
    bus
}

#[tokio::test]
async fn every_list_is_walked_in_pages_of_one() {
    let failing = TestTarget::replying([400]);
    let bus = bus(&failing).await;
    for (path, list) in LISTS {
        let path = filled(path);
        let whole = bus.get(&path).await.json();
        let expected = whole[list].as_array().unwrap();
        assert!(expected.len() >= 3, "{path}: {whole}");
        let mut walked = Vec::new();
        let mut at = format!("{path}?limit=1");
        loop {
            let page = bus.get(&at).await.json();
            let items = page[list].as_array().unwrap();
            assert!(items.len() <= 1, "{at}: {page}");
            walked.extend(items.iter().cloned());
            assert!(walked.len() <= expected.len(), "{path} does not end");
            match page.get("next") {
                None => break,
                Some(next) => at = format!("{path}?limit=1&after={}", next.as_str().unwrap()),
            }
        }
        let names = |items: &[Value]| -> Vec<String> { items.iter().map(name).collect() };
        assert_eq!(names(&walked), names(expected), "{path}");
    }
    drop(failing);
    let stopped = tokio::time::timeout(Duration::from_secs(60), bus.drain()).await;
    stopped.expect("redrives do not hold the bus up");
}

/// What an item is called, which does not change while the list is walked.
fn name(item: &Value) -> String {
    let names = ["entry", "id", "prefix", "sequence", "target", "name"];
    let name = names.iter().find_map(|name| item.get(name));
    name.unwrap_or_else(|| panic!("{item} has no name"))
        .to_string()
}

#[tokio::test]
async fn a_page_that_is_none_is_refused_with_what_to_do() {
    let bus = TestBus::start().await;
    let rule =
        json!({"pattern": {"type": ["t"]}, "targets": [{"id": "a", "url": "http://127.0.0.1:9/"}]});
    bus.put_rule("r", &rule).await;
    for (path, _) in LISTS {
        let path = filled(path);
        for query in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "after=%C3%A9",
            "after=",
            "after=-x",
        ] {
            let answer = send(bus.request(Method::GET, &format!("{path}?{query}"))).await;
            let problem = answer.problem(400);
            let detail = problem["detail"].as_str().unwrap();
            let name = query.split('=').next().unwrap();
            assert!(detail.contains(name), "{path}?{query}: {detail}");
            if name == "after" {
                assert!(detail.contains("`next`"), "{path}?{query}: {detail}");
            }
        }
    }
}
