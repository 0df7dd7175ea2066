//! What needs no key: an open bus, whom it lets in all the same, and metrics.

use axum::http::Method;
use eventyard::access::Mode;
use eventyard::api::{Need, contract};

use super::access::path_of;
use crate::harness::{TestBus, send};

#[tokio::test]
async fn metrics_may_be_open_where_all_else_needs_keys() {
    let bus = TestBus::builder()
        .config(|config| {
            config.access.mode = Mode::Keys;
            config.api.metrics_are_open = true;
        })
        .start()
        .await;
    assert_eq!(bus.get("/metrics").await.status, 200);
    assert_eq!(bus.get("/v1/buses").await.status, 401);
}

#[tokio::test]
async fn an_open_bus_is_not_for_web_pages() {
    let ask = async |bus: &TestBus, method: Method, path: &str, name: &str, value: &str| {
        let request = bus.request(method, path).header(name, value).body("{}");
        send(request).await
    };
    let pages = [
        ("origin", "http://attacker.example"),
        ("host", "attacker.example"),
    ];
    let open = TestBus::start().await;
    for (method, path, need) in contract() {
        for (name, value) in pages {
            let answer = ask(&open, method.clone(), &path_of(&path), name, value).await;
            if need == Need::Nothing {
                assert!(answer.status.is_success(), "{method} {path}");
                continue;
            }
            let problem = answer.problem(403);
            let detail = problem["detail"].as_str().unwrap();
            let tells = detail.contains("attacker.example") && detail.contains("`access`");
            assert!(tells, "{method} {path}: {detail}");
        }
    }
    // Where it was said who may use it, that holds.
    for mode in [Mode::Off, Mode::Keys] {
        let bus = TestBus::builder().config(move |config| config.access.mode = mode);
        let bus = bus.start().await;
        for (name, value) in pages {
            let answer = ask(&bus, Method::GET, "/v1/buses", name, value).await;
            let expected = if mode == Mode::Off { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{mode:?} {name}");
        }
    }
}

#[tokio::test]
async fn an_address_that_others_reach_needs_keys_or_an_explicit_off() {
    let start = async |mode: Mode| {
        let bus = TestBus::builder().config(move |config| {
            config.access.mode = mode;
            config.api.listen = "0.0.0.0:0".parse().unwrap();
        });
        bus.try_start()
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let error = start(Mode::Unsaid).await.unwrap_err();
    for remedy in [
        "--access keys",
        "EVENTYARD_ROOT_KEY",
        "127.0.0.1",
        "--access off",
    ] {
        assert!(error.contains(remedy), "{error}");
    }
    start(Mode::Off).await.unwrap();
    start(Mode::Keys).await.unwrap();
}
