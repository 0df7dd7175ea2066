//! Rules and buses over the API: revisions, conditions, lists, switching, and the folder.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{TestBus, send};

const PATH: &str = "/v1/buses/default/rules/orders";

fn rule() -> Value {
    json!({
        "pattern": {"type": ["order.created"]},
        "targets": [{"id": "billing", "url": "http://127.0.0.1:9/"}]
    })
}

#[tokio::test]
async fn a_rule_is_created_read_replaced_and_deleted() {
    let bus = TestBus::start().await;
    bus.get(PATH).await.problem(404);
    let created = bus.put(PATH, &rule()).await;
    assert_eq!(created.status, 201, "{created:?}");
    let read = bus.get(PATH).await;
    assert_eq!(read.json(), rule());
    assert_eq!(read.header("etag"), created.header("etag"));
    let mut other = rule();
    other["description"] = json!("orders");
    let replaced = bus.put(PATH, &other).await;
    assert_eq!(replaced.status, 200);
    assert_ne!(replaced.header("etag"), created.header("etag"));
    assert_eq!(bus.delete(PATH).await.status, 204);
    bus.get(PATH).await.problem(404);
    bus.delete(PATH).await.problem(404);
}

#[tokio::test]
async fn a_change_with_an_old_etag_is_refused() {
    let bus = TestBus::start().await;
    let old = bus.put(PATH, &rule()).await.header("etag").to_owned();
    let mut other = rule();
    other["enabled"] = json!(false);
    let put = |document: Value, name: &'static str, value: String| {
        send(
            bus.request(Method::PUT, PATH)
                .header(name, value)
                .json(&document),
        )
    };
    let taken = put(other.clone(), "if-match", old.clone()).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    put(rule(), "if-match", old.clone()).await.problem(412);
    put(rule(), "if-none-match", "*".to_owned())
        .await
        .problem(412);
    put(rule(), "if-match", "unquoted".to_owned())
        .await
        .problem(400);
    let delete = bus.request(Method::DELETE, PATH).header("if-match", old);
    send(delete).await.problem(412);
    assert_eq!(bus.get(PATH).await.json(), other);
}

#[tokio::test]
async fn a_reader_that_knows_the_revision_gets_304() {
    let bus = TestBus::start().await;
    let etag = bus.put(PATH, &rule()).await.header("etag").to_owned();
    let answer = send(bus.request(Method::GET, PATH).header("if-none-match", etag)).await;
    assert_eq!(answer.status, 304);
}

#[tokio::test]
async fn an_invalid_rule_is_refused_with_its_place() {
    let bus = TestBus::start().await;
    let mut bad = rule();
    bad["targets"][0]["url"] = json!("not a url");
    let problem = bus.put(PATH, &bad).await.problem(422);
    assert_eq!(
        problem["errors"][0]["pointer"], "/targets/0/url",
        "{problem}"
    );
    let mut bad = rule();
    bad["pattern"] = json!({"type": "order.created"});
    let problem = bus.put(PATH, &bad).await.problem(422);
    assert_eq!(
        problem["errors"][0]["pointer"], "/pattern/type",
        "{problem}"
    );
    let broken = send(bus.request(Method::PUT, PATH).body("{")).await;
    broken.problem(400);
    let large = " ".repeat(eventyard::limits::RULE_BYTES) + "{}";
    send(bus.request(Method::PUT, PATH).body(large))
        .await
        .problem(413);
    bus.put("/v1/buses/nope/rules/orders", &rule())
        .await
        .problem(404);
    bus.get(PATH).await.problem(404);
}

#[tokio::test]
async fn rules_are_listed_in_pages() {
    let bus = TestBus::start().await;
    for name in ["c", "a", "b"] {
        bus.put_rule(name, &rule()).await;
    }
    let first = bus.get("/v1/buses/default/rules?limit=2").await.json();
    assert_eq!(first["rules"][0]["name"], "a");
    assert_eq!(first["rules"][0]["document"], rule());
    assert_eq!(first["next"], "b");
    let last = bus
        .get("/v1/buses/default/rules?limit=2&after=b")
        .await
        .json();
    assert_eq!(last["rules"][0]["name"], "c");
    assert!(last.get("next").is_none());
}

#[tokio::test]
async fn a_rule_is_switched_off_and_on() {
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule()).await;
    let off = bus.post(&format!("{PATH}/disable"), &json!({})).await;
    assert_eq!(off.json()["enabled"], json!(false), "{off:?}");
    let on = bus.post(&format!("{PATH}/enable"), &json!({})).await;
    assert_eq!(on.json()["enabled"], json!(true), "{on:?}");
    assert_ne!(on.header("etag"), off.header("etag"));
}

#[tokio::test]
async fn the_default_bus_always_exists_and_stays() {
    let bus = TestBus::start().await;
    assert_eq!(bus.get("/v1/buses/default").await.status, 200);
    bus.delete("/v1/buses/default").await.problem(409);
    let created = bus
        .put("/v1/buses/orders", &json!({"dedup_window": "1m"}))
        .await;
    assert_eq!(created.status, 201, "{created:?}");
    let list = bus.get("/v1/buses").await.json();
    assert_eq!(list["buses"][0]["name"], "default");
    assert_eq!(list["buses"][1]["name"], "orders");
    assert_eq!(list["buses"][1]["document"], json!({"dedup_window": "1m"}));
    bus.put("/v1/buses/orders/rules/r", &rule()).await;
    bus.delete("/v1/buses/orders").await.problem(409);
    bus.delete("/v1/buses/orders/rules/r").await;
    assert_eq!(bus.delete("/v1/buses/orders").await.status, 204);
    bus.get("/v1/buses/orders").await.problem(404);
}

#[tokio::test]
async fn rules_survive_a_restart_and_a_second_start_changes_nothing() {
    let bus = TestBus::builder()
        .rule("default", "orders", rule())
        .start()
        .await;
    let etag = bus.get(PATH).await.header("etag").to_owned();
    bus.put_rule("by-hand", &rule()).await;
    let data = bus.drain().await;
    let bus = TestBus::builder().data(data).start().await;
    assert_eq!(bus.get(PATH).await.header("etag"), etag);
    assert_eq!(bus.get("/v1/buses/default/rules/by-hand").await.status, 200);
}

#[tokio::test]
async fn a_bad_rule_file_stops_the_start_and_is_named() {
    let started = TestBus::builder()
        .rule("default", "good", rule())
        .rule("default", "bad", json!({"pattern": {"type": "x"}}))
        .try_start()
        .await;
    let error = format!("{:#}", started.err().unwrap());
    assert!(error.contains("bad.json"), "{error}");
}

#[tokio::test]
async fn a_reload_applies_the_folder() {
    let bus = TestBus::start().await;
    let folder = bus.dir().join("rules/default");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("orders.json"), rule().to_string()).unwrap();
    bus.running().reload().await.unwrap();
    assert_eq!(bus.get(PATH).await.json(), rule());
}
