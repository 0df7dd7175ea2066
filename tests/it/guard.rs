//! The guard over targets' addresses, over real sockets.

use std::process::{Command, Stdio};

use eventyard::guard::{Mode, parse_networks};
use serde_json::json;

use crate::delivery::{event, rule_to};
use crate::harness::{Reply, TestBus, TestTarget, eventually};

/// A bus that is guarded although it listens on a loopback address.
async fn guarded(allow: &'static str) -> TestBus {
    let builder = TestBus::builder().config(move |config| {
        config.targets.mode = Mode::On;
        config.targets.allow = parse_networks(allow).unwrap();
    });
    builder.start().await
}

#[tokio::test]
async fn a_target_that_is_an_address_inside_is_refused_when_it_is_put() {
    let bus = guarded("").await;
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://[::ffff:10.0.0.1]/",
        "http://localhost/",
    ] {
        let rule = json!({"pattern": {"type": ["a"]}, "targets": [
            {"id": "well", "url": "https://example.com/"}, {"id": "inside", "url": url}
        ]});
        let problem = bus
            .put("/v1/buses/default/rules/r", &rule)
            .await
            .problem(422);
        assert_eq!(
            problem["errors"][0]["pointer"], "/targets/1/url",
            "{problem}"
        );
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("targets_allow"), "{detail}");
    }
    let outside =
        json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "https://8.8.8.8/"}]});
    bus.put_rule("outside", &outside).await;
}

#[tokio::test]
async fn a_folder_with_such_a_target_is_refused_with_its_place() {
    let rule =
        json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://10.0.0.1/"}]});
    let builder = TestBus::builder().rule("default", "inside", rule);
    let builder = builder.config(|config| config.targets.mode = Mode::On);
    let error = format!("{:#}", builder.try_start().await.err().unwrap());
    assert!(error.contains("default/inside.json:1:"), "{error}");
    assert!(error.contains("it is a private network"), "{error}");
}

#[tokio::test]
async fn what_is_refused_at_connecting_is_a_dead_letter_at_once_and_speaks_against_nobody() {
    let target = TestTarget::accepting();
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    let data = bus.drain().await;

    let builder = TestBus::builder().data(data);
    let bus = builder
        .config(|config| config.targets.mode = Mode::On)
        .start()
        .await;
    for id in 0..12 {
        bus.publish(&event(&id.to_string())).await;
    }
    let letters = eventually("the deliveries are dead letters", async || {
        let letters = bus.get("/v1/buses/default/dead-letters").await.json();
        let items = letters["dead_letters"].as_array().unwrap().clone();
        (items.len() == 12).then_some(items)
    })
    .await;
    for letter in letters {
        assert_eq!(letter["reason"], "address_refused", "{letter}");
        assert_eq!(letter["attempts"], 0, "{letter}");
        let error = letter["last_error"].as_str().unwrap();
        assert_eq!(
            error,
            "the address is not allowed: it is the bus's own machine; the operator may allow it with `targets_allow`"
        );
    }
    assert!(target.received().is_empty());
    let health = bus
        .get("/v1/buses/default/rules/orders/targets/billing")
        .await
        .json();
    assert_eq!(health["breaker"], "closed");
    let metrics = bus.get("/metrics").await.text();
    assert!(
        metrics.contains(r#"eventyard_targets_refused_total{network="loopback"} 12"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_allowed_network_is_reached_by_address_and_by_name() {
    let (bus, target) = (guarded("127.0.0.0/8").await, TestTarget::accepting());
    bus.put_rule("address", &rule_to(&target, &json!({}))).await;
    let by_name = target.url().replace("127.0.0.1", "localhost");
    bus.put_rule("name", &rule_to(&target, &json!({"url": by_name})))
        .await;
    bus.publish(&event("1")).await;
    bus.publish(&event("2")).await;
    target.receives(4).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TestTarget::accepting();
    let location: &'static str = Box::leak(elsewhere.url().into_boxed_str());
    let redirecting = TestTarget::replying([
        Reply::from(307).header("location", location),
        Reply::from(302).header("location", "http://169.254.169.254/latest/meta-data"),
    ]);
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule_to(&redirecting, &json!({"concurrency": 1})))
        .await;
    bus.publish(&event("1")).await;
    bus.publish(&event("2")).await;
    eventually("both are dead letters", async || {
        let letters = bus.get("/v1/buses/default/dead-letters").await.json();
        let items = letters["dead_letters"].as_array().unwrap();
        assert!(items.iter().all(|letter| letter["reason"] == "refused"));
        (items.len() == 2).then_some(())
    })
    .await;
    assert!(elsewhere.received().is_empty());
}

/// A program that ends with the test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let (proxy, target) = (TestTarget::accepting(), TestTarget::accepting());
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("rules/default")).unwrap();
    let rule = rule_to(&target, &json!({})).to_string();
    std::fs::write(dir.path().join("rules/default/r.json"), rule).unwrap();
    // A port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
    command.args(["serve", "--listen", &addr.to_string()]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, proxy.url());
        command.env(name.to_ascii_lowercase(), proxy.url());
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    let child = command
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _child = Child(child.spawn().unwrap());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    eventually("the bus takes an event", async || {
        let request = http.post(format!("http://{addr}/"));
        let request = request.header("content-type", "application/cloudevents+json");
        let answer = request.body(event("1").to_string()).send().await.ok()?;
        (answer.status() == 202).then_some(())
    })
    .await;
    target.receives(1).await;
    assert!(proxy.received().is_empty());
}
