//! Secrets over the API, and deliveries signed with them.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, TestBus, TestTarget, eventually};

fn rule(target: &TestTarget, settings: &Value) -> Value {
    let mut element = json!({"id": "t", "url": target.url()});
    for (field, value) in settings.as_object().unwrap() {
        element[field] = value.clone();
    }
    json!({"pattern": {"type": ["order.placed"]}, "targets": [element]})
}

fn order() -> Value {
    json!({"specversion": "1.0", "id": "a.b", "source": "/shop", "type": "order.placed",
        "data": {"total": 120, "note": "Grüße"}})
}

async fn set(bus: &TestBus, name: &str, body: &Value) -> Answer {
    let answer = bus.put(&format!("/v1/secrets/{name}"), body).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer
}

#[tokio::test]
async fn a_secret_is_set_listed_rotated_and_deleted_and_never_told() {
    let bus = TestBus::start().await;
    let put = set(&bus, "token", &json!({"value": "hunter2"})).await;
    assert_eq!(put.status, StatusCode::CREATED);
    let put = set(
        &bus,
        "token",
        &json!({"value": "hunter3", "keep_old": "1h"}),
    )
    .await;
    assert_eq!(put.status, StatusCode::OK);
    assert_eq!(put.json()["versions"][0]["version"], 2);
    assert_eq!(put.json()["kind"], "text");

    let one = bus.get("/v1/secrets/token").await;
    assert_eq!(one.json()["versions"].as_array().unwrap().len(), 2);
    assert_eq!(one.json()["used_by"], json!([]));
    let list = bus.get("/v1/secrets").await;
    assert_eq!(list.json()["secrets"][0]["name"], "token");
    for answer in [&put, &one, &list] {
        assert!(!String::from_utf8_lossy(&answer.body).contains("hunter"));
    }

    let gone = bus.delete("/v1/secrets/token/versions/1").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let in_use = bus.delete("/v1/secrets/token/versions/2").await;
    assert_eq!(in_use.status, StatusCode::CONFLICT);
    assert_eq!(
        bus.delete("/v1/secrets/token").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        bus.get("/v1/secrets/token").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        bus.delete("/v1/secrets/token").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_bad_secret_is_refused_without_being_repeated() {
    let bus = TestBus::start().await;
    for body in [
        json!({"value": 12345678, "x": "hunter2"}),
        json!({"generate": "hunter2"}),
        json!({"value": "hunter2", "generate": "hmac"}),
        json!({"value": "hunter2", "keep_old": "hunter2"}),
        json!({"value": ""}),
        json!({}),
        json!("hunter2"),
        json!({"value": "hunter2".repeat(20_000)}),
    ] {
        let answer = bus.put("/v1/secrets/token", &body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("hunter2"), "{text}");
    }
    let answer = bus.put("/v1/secrets/a%20b", &json!({"value": "x"})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        bus.get("/v1/secrets").await.json()["secrets"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_signed_delivery_verifies_in_the_libraries_of_others_over_a_rotation() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let first = set(&bus, "key", &json!({"generate": "hmac"})).await.json();
    let asymmetric = set(&bus, "pair", &json!({"generate": "ed25519"}))
        .await
        .json();
    let settings = json!({"signing": {"secrets": ["key", "pair"]}});
    bus.put_rule("signed", &rule(&target, &settings)).await;
    let used = bus.get("/v1/secrets/key").await.json();
    assert_eq!(used["used_by"], json!(["default/signed/t"]));
    assert_eq!(
        bus.delete("/v1/secrets/key").await.status,
        StatusCode::CONFLICT
    );

    bus.publish(&order()).await;
    target.receives(1).await;
    let second = set(&bus, "key", &json!({"generate": "hmac"})).await.json();
    bus.publish(
        &json!({"specversion": "1.0", "id": "c", "source": "/shop", "type": "order.placed"}),
    )
    .await;
    let received = target.receives(2).await;
    for one in &received {
        assert_eq!(one.header("content-type"), "application/cloudevents+json");
        assert!(!one.header("webhook-id").contains('.'));
        let hook = standardwebhooks::Webhook::new(first["value"].as_str().unwrap()).unwrap();
        hook.verify(&one.body, &one.headers).unwrap();

        let public = asymmetric["public_key"].as_str().unwrap();
        let public = base64_of(public.strip_prefix("whpk_").unwrap());
        let key = ed25519_dalek::VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
        let signatures = one.header("webhook-signature").split(' ');
        let mut signatures = signatures.filter_map(|signature| signature.strip_prefix("v1a,"));
        let signature = base64_of(signatures.next().unwrap());
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        let (id, at) = (one.header("webhook-id"), one.header("webhook-timestamp"));
        let signed = [id.as_bytes(), b".", at.as_bytes(), b".", &one.body].concat();
        key.verify_strict(&signed, &signature).unwrap();
    }
    // The receiver may know either key while the first goes on holding.
    let hook = standardwebhooks::Webhook::new(second["value"].as_str().unwrap()).unwrap();
    hook.verify(&received[1].body, &received[1].headers)
        .unwrap();
    hook.verify(&received[0].body, &received[0].headers)
        .unwrap_err();
}

fn base64_of(text: &str) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.decode(text).unwrap()
}

#[tokio::test]
async fn a_delivery_waits_for_a_secret_that_is_not_there() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let settings = json!({"signing": {"secret": "key"},
        "retry": {"initial_delay": "50ms", "max_delay": "50ms", "max_attempts": 1000}});
    bus.put_rule("signed", &rule(&target, &settings)).await;
    bus.publish(&order()).await;
    let path = "/v1/buses/default/rules/signed/targets/t";
    let health = eventually("the reason", async || {
        let health = bus.get(path).await.json();
        health["last_error"].is_string().then_some(health)
    })
    .await;
    let error = health["last_error"].as_str().unwrap();
    assert!(error.contains("eventyard secret set key"), "{error}");
    assert_eq!(health["breaker"], "closed", "the target is not to blame");
    assert!(target.received().is_empty());

    // Neither is a key that does not sign, and its text is told to nobody.
    set(&bus, "key", &json!({"value": "hunter2", "keep_old": "0s"})).await;
    let error = eventually("the next reason", async || {
        let error = bus.get(path).await.json()["last_error"].to_string();
        error.contains("does not sign").then_some(error)
    })
    .await;
    assert!(!error.contains("hunter2"), "{error}");

    set(&bus, "key", &json!({"generate": "hmac", "keep_old": "0s"})).await;
    target.receives(1).await;
}

#[tokio::test]
async fn secrets_survive_a_restart() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let key = set(&bus, "key", &json!({"generate": "hmac"})).await.json();
    bus.put_rule(
        "signed",
        &rule(&target, &json!({"signing": {"secret": "key"}})),
    )
    .await;
    let data = bus.drain().await;
    let bus = TestBus::builder().data(data).start().await;
    bus.publish(&order()).await;
    let received = target.receives(1).await;
    let hook = standardwebhooks::Webhook::new(key["value"].as_str().unwrap()).unwrap();
    hook.verify(&received[0].body, &received[0].headers)
        .unwrap();
    let list = bus.get("/v1/secrets").await.json();
    assert_eq!(list["secrets"][0]["kind"], "hmac");
}
