//! What deliveries prove themselves with: credentials of every kind, and tokens that are fetched.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::harness::{Reply, TestBus, TestTarget, eventually};

const TARGET: &str = "/v1/buses/default/rules/r/targets/t";

fn rule(url: &str, settings: &Value) -> Value {
    let mut element = json!({"id": "t", "url": url,
        "retry": {"initial_delay": "50ms", "max_delay": "50ms"}});
    for (field, value) in settings.as_object().unwrap() {
        element[field] = value.clone();
    }
    json!({"pattern": {"type": ["order.placed"]}, "targets": [element]})
}

async fn publish(bus: &TestBus, id: &str) {
    bus.publish(
        &json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order.placed"}),
    )
    .await;
}

async fn set(bus: &TestBus, name: &str, value: &str) {
    let body = json!({"value": value, "keep_old": "0s"});
    let answer = bus.put(&format!("/v1/secrets/{name}"), &body).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

async fn dead_letters(bus: &TestBus, count: usize) -> Vec<Value> {
    eventually(&format!("{count} dead letters"), async || {
        let list = bus.get("/v1/buses/default/dead-letters").await.json();
        let letters = list["dead_letters"].as_array().unwrap().clone();
        (letters.len() >= count).then_some(letters)
    })
    .await
}

fn oauth2(tokens: &TestTarget, settings: &Value) -> Value {
    let mut oauth2 = json!({"token_url": format!("{}token?tenant=a", tokens.url()),
        "client_id": "shop", "client_secret": {"secret": "client"}});
    for (field, value) in settings.as_object().unwrap() {
        oauth2[field] = value.clone();
    }
    json!({"auth": {"oauth2": oauth2}})
}

/// A token server's answer.
fn token(text: &str, seconds: u64) -> Reply {
    Reply::from(200)
        .header("content-type", "application/json")
        .body(
            json!({"access_token": text, "token_type": "Bearer", "expires_in": seconds})
                .to_string(),
        )
}

#[tokio::test]
async fn each_kind_of_credential_is_sent_as_its_standard_has_it_and_changes_without_a_restart() {
    let bus = TestBus::start().await;
    set(&bus, "s", "p w:1").await;
    let secret = json!({"secret": "s"});
    let api_key =
        |place: &str| json!({"auth": {"api_key": {"in": place, "name": "x-key", "value": secret}}});
    let pair = BASE64_STANDARD.encode("shop:p w:1");
    for (settings, header, path) in [
        (
            json!({"auth": {"basic": {"username": "shop", "password": secret}}}),
            ("authorization", format!("Basic {pair}")),
            "/",
        ),
        (
            json!({"auth": {"bearer": secret}}),
            ("authorization", "Bearer p w:1".to_owned()),
            "/",
        ),
        (api_key("header"), ("x-key", "p w:1".to_owned()), "/"),
        (
            api_key("query"),
            ("x-key", String::new()),
            "/?x-key=p+w%3A1",
        ),
    ] {
        let target = TestTarget::accepting();
        bus.put_rule("r", &rule(&target.url(), &settings)).await;
        publish(&bus, &settings.to_string()).await;
        let received = target.receives(1).await;
        assert_eq!(received[0].header(header.0), header.1, "{settings}");
        assert_eq!(received[0].path, path, "{settings}");
    }
    let used = bus.get("/v1/secrets/s").await.json();
    assert_eq!(used["used_by"], json!(["default/r/t"]));

    let target = TestTarget::accepting();
    let url = format!("{}hook?a=%20b", target.url());
    bus.put_rule("r", &rule(&url, &api_key("query"))).await;
    set(&bus, "s", "new").await;
    publish(&bus, "rotated").await;
    assert_eq!(target.receives(1).await[0].path, "/hook?a=%20b&x-key=new");
}

#[tokio::test]
async fn a_missing_secret_uses_up_no_attempts_and_holds_the_target_until_it_is_set() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let settings = json!({"auth": {"bearer": {"secret": "token"}},
        "retry": {"initial_delay": "1ms", "max_delay": "1ms", "max_attempts": 2}});
    bus.put_rule("r", &rule(&target.url(), &settings)).await;
    for id in 0..20 {
        publish(&bus, &id.to_string()).await;
    }
    let health = bus.until(TARGET, "the hold", |health| {
        health["throttled_by"] == "credentials" && health["pending"].as_u64() >= Some(20)
    });
    let health = health.await;
    let error = health["last_error"].as_str().unwrap();
    assert!(error.contains("eventyard secret set token"), "{error}");
    assert_eq!(health["breaker"], "closed");

    // A value that fits no header is no better, and is not told.
    set(&bus, "token", "hunter2\u{7f}").await;
    let error = eventually("the next reason", async || {
        let error = bus.get(TARGET).await.json()["last_error"].to_string();
        error
            .contains("does not fit into a header")
            .then_some(error)
    })
    .await;
    assert!(!error.contains("hunter2"), "{error}");

    set(&bus, "token", "t").await;
    let received = target.receives(20).await;
    assert!(
        received
            .iter()
            .all(|one| one.header("authorization") == "Bearer t")
    );
    let ended = bus.until(TARGET, "the end of the hold", |health| {
        health["pending"] == 0
    });
    let health = ended.await;
    assert_eq!(health["dead_lettered"], 0);
    assert_eq!(health["throttled_by"], Value::Null);
}

#[tokio::test]
async fn a_delivery_whose_secret_never_comes_is_given_up_with_the_reason() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let settings = json!({"auth": {"bearer": {"secret": "token"}},
        "retry": {"initial_delay": "1ms", "max_delay": "1ms", "max_age": "1s"}});
    bus.put_rule("r", &rule(&target.url(), &settings)).await;
    for id in 0..5 {
        publish(&bus, &id.to_string()).await;
    }
    for letter in dead_letters(&bus, 5).await {
        assert_eq!(letter["reason"], "too_old", "{letter}");
        assert_eq!(letter["attempts"], 0, "{letter}");
        let error = letter["last_error"].as_str().unwrap();
        assert!(error.contains("no secret `token`"), "{error}");
    }
    assert!(target.received().is_empty());
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept() {
    let tokens = TestTarget::replying([token("t1", 3600).after(Duration::from_millis(50))]);
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    set(&bus, "client", "p:w").await;
    let settings = oauth2(
        &tokens,
        &json!({"scope": "read write", "audience": "https://api/"}),
    );
    bus.put_rule("r", &rule(&target.url(), &settings)).await;
    for id in 0..50 {
        publish(&bus, &id.to_string()).await;
    }
    let received = target.receives(50).await;
    assert!(
        received
            .iter()
            .all(|one| one.header("authorization") == "Bearer t1")
    );
    let asked = tokens.received();
    assert_eq!(asked.len(), 1, "fetched once for fifty");
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("POST", "/token?tenant=a")
    );
    assert_eq!(
        asked[0].header("authorization"),
        format!("Basic {}", BASE64_STANDARD.encode("shop:p%3Aw"))
    );
    assert_eq!(
        asked[0].body,
        "grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fapi%2F"
    );

    // A new client secret is a new client.
    tokens.now_replying([token("t2", 3600)]);
    set(&bus, "client", "other").await;
    publish(&bus, "later").await;
    let received = target.receives(51).await;
    assert_eq!(received[50].header("authorization"), "Bearer t2");
    assert_eq!(tokens.received().len(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let tokens = TestTarget::replying([token("t1", 2), token("t2", 3600)]);
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    set(&bus, "client", "p").await;
    bus.put_rule(
        "r",
        &rule(
            &target.url(),
            &oauth2(&tokens, &json!({"client_auth": "body"})),
        ),
    )
    .await;
    let mut id = 0;
    eventually("the second token", async || {
        id += 1;
        publish(&bus, &id.to_string()).await;
        let received = target.receives(id).await;
        (received[id - 1].header("authorization") == "Bearer t2").then_some(())
    })
    .await;
    let asked = tokens.received();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].header("authorization"), "");
    assert_eq!(
        asked[0].body,
        "grant_type=client_credentials&client_id=shop&client_secret=p"
    );
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["last_error"], Value::Null);
}

#[tokio::test]
async fn a_token_that_the_target_refuses_is_replaced_within_the_attempt() {
    let tokens = TestTarget::replying([token("t1", 3600), token("t2", 3600)]);
    let target = TestTarget::replying([401, 204, 401]);
    let bus = TestBus::start().await;
    set(&bus, "client", "p").await;
    bus.put_rule("r", &rule(&target.url(), &oauth2(&tokens, &json!({}))))
        .await;
    publish(&bus, "a").await;
    let received = target.receives(2).await;
    assert_eq!(received[0].header("authorization"), "Bearer t1");
    assert_eq!(received[1].header("authorization"), "Bearer t2");
    assert_eq!(
        received[0].header("webhook-id"),
        received[1].header("webhook-id")
    );
    let health = eventually("the delivery", async || {
        let health = bus.get(TARGET).await.json();
        (health["delivered"] == 1).then_some(health)
    })
    .await;
    assert_eq!(
        health["last_status"],
        Value::Null,
        "one attempt, which went well"
    );

    // A target that refuses every token has no new one fetched for each delivery.
    for id in 0..10 {
        publish(&bus, &id.to_string()).await;
    }
    let letters = dead_letters(&bus, 10).await;
    assert_eq!(letters[0]["reason"], "refused");
    assert_eq!(tokens.received().len(), 2);
}

#[tokio::test]
async fn a_token_server_that_fails_says_so_uses_up_no_attempts_and_is_spared() {
    let body = json!({"error": "invalid_client", "error_description": "not hunter2"}).to_string();
    let tokens = TestTarget::replying([Reply::from(401).body(body)]);
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    set(&bus, "client", "hunter2").await;
    let mut settings = oauth2(&tokens, &json!({}));
    settings["retry"] = json!({"initial_delay": "1ms", "max_delay": "1ms", "max_attempts": 1});
    bus.put_rule("r", &rule(&target.url(), &settings)).await;
    for id in 0..30 {
        publish(&bus, &id.to_string()).await;
    }
    let health = eventually("the reason", async || {
        let health = bus.get(TARGET).await.json();
        health["last_error"].is_string().then_some(health)
    })
    .await;
    let error = health["last_error"].as_str().unwrap();
    assert!(error.contains("the token server 127.0.0.1:"), "{error}");
    assert!(error.contains("401 invalid_client"), "{error}");
    assert!(
        !error.contains("hunter2") && !error.contains("tenant"),
        "{error}"
    );
    assert_eq!(tokens.received().len(), 1, "thirty deliveries ask once");

    tokens.now_replying([token("t", 3600)]);
    target.receives(30).await;
    assert_eq!(bus.get(TARGET).await.json()["dead_lettered"], 0);
}

#[tokio::test]
async fn a_token_server_that_hangs_holds_its_own_targets_only() {
    let tokens = TestTarget::replying([token("t", 3600).after(Duration::from_secs(3600))]);
    let (held, free) = (TestTarget::accepting(), TestTarget::accepting());
    let bus = TestBus::start().await;
    set(&bus, "client", "p").await;
    bus.put_rule("r", &rule(&held.url(), &oauth2(&tokens, &json!({}))))
        .await;
    bus.put_rule("free", &rule(&free.url(), &json!({}))).await;
    for id in 0..100 {
        publish(&bus, &id.to_string()).await;
    }
    free.receives(100).await;
    let error = eventually("the timeout", async || {
        let error = bus.get(TARGET).await.json()["last_error"].clone();
        error.as_str().map(str::to_owned)
    })
    .await;
    assert!(error.contains("did not answer within 10s"), "{error}");
    assert!(held.received().is_empty());
    let all_wait = |health: &Value| health["pending"].as_u64() >= Some(100);
    bus.until(TARGET, "all of them wait", all_wait).await;
}

#[tokio::test]
async fn what_a_target_repeats_of_its_credentials_is_not_kept() {
    let bus = TestBus::start().await;
    set(&bus, "s", "hunter2").await;
    let pair = BASE64_STANDARD.encode("shop:hunter2");
    let echo = format!("you sent Basic {pair}, that is shop:hunter2");
    let target = TestTarget::replying([Reply::from(400).body(echo)]);
    let settings = json!({"auth": {"basic": {"username": "shop", "password": {"secret": "s"}}}});
    bus.put_rule("r", &rule(&target.url(), &settings)).await;
    publish(&bus, "a").await;
    let letters = dead_letters(&bus, 1).await;
    assert_eq!(
        letters[0]["last_error"],
        "you sent Basic <secret>, that is shop:<secret>"
    );
}

#[tokio::test]
async fn the_guard_judges_token_servers_too() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    let mut settings = oauth2(
        &target,
        &json!({"token_url": "http://169.254.169.254/token"}),
    );
    settings["url"] = json!(target.url());
    let answer = bus
        .put("/v1/buses/default/rules/r", &rule(&target.url(), &settings))
        .await;
    let problem = answer.problem(422);
    assert_eq!(
        problem["errors"][0]["pointer"],
        "/targets/0/auth/oauth2/token_url"
    );
}
