//! Every route asks its caller for what its row of the contract says, and rules lead past none.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use eventyard::access::{Mode, RootKeySource, Scope};
use eventyard::api::{Need, contract};
use eventyard::clock::{Clock, Timestamp};
use eventyard::secret::SecretText;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, TestBus, send};

pub(super) const ROOT: &str = "root-0123456789abcdef0123456789abcdef";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A bus that asks for keys, with the buses `a` and `b`.
pub(super) async fn keyed(clock: Clock) -> TestBus {
    let bus = TestBus::builder()
        .clock(clock)
        .config(|config| {
            config.access.mode = Mode::Keys;
            let root = SecretText::new(ROOT.to_owned());
            config.access.root_key = Some(RootKeySource::Text(root));
        })
        .start()
        .await;
    for name in ["a", "b"] {
        let answer = ask(&bus, Method::PUT, &format!("/v1/buses/{name}"), Some(ROOT)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    }
    bus
}

pub(super) fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_800_000_000_000))
}

/// Sends a request with a small body, `{}` where that may be anything.
pub(super) async fn ask(bus: &TestBus, method: Method, path: &str, key: Option<&str>) -> Answer {
    let mut request = bus
        .request(method, path)
        .header("content-type", "application/json")
        .body("{}");
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    send(request).await
}

/// Makes a key with the root key; its prefix and its text.
pub(super) async fn make(bus: &TestBus, body: &Value) -> (String, String) {
    let request = bus.request(Method::POST, "/v1/keys").bearer_auth(ROOT);
    let answer = send(request.json(body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let (prefix, key) = (text("prefix"), text("key"));
    assert!(key.starts_with(&prefix));
    assert_eq!(answer.header("location"), format!("/v1/keys/{prefix}"));
    (prefix, key)
}

pub(super) async fn key_with(bus: &TestBus, grants: Value) -> String {
    make(bus, &json!({"name": "test", "grants": grants}))
        .await
        .1
}

#[track_caller]
pub(super) fn check_unauthorized(answer: &Answer, error: &str, case: &str) {
    assert_eq!(answer.status, 401, "{case}: {}", answer.text());
    let problem = answer.problem(401);
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer realm=\"eventyard\""),
        "{case}"
    );
    assert_eq!(
        challenge.contains("invalid_token"),
        error == "invalid_token",
        "{case}"
    );
    let detail = problem["detail"].as_str().unwrap();
    let shows_a_key = detail.replace("eyk_…", "").contains("eyk_");
    assert!(!shows_a_key, "{case}: {detail}");
}

#[track_caller]
fn check_forbidden(answer: &Answer, scope: &str, case: &str) {
    assert_eq!(answer.status, 403, "{case}: {}", answer.text());
    let problem = answer.problem(403);
    assert_eq!(problem["scope"], scope, "{case}");
    assert!(
        problem["detail"].as_str().unwrap().contains(scope),
        "{case}"
    );
    let challenge = answer.header("www-authenticate");
    let expected = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
    assert!(challenge.contains(&expected), "{case}: {challenge}");
}

/// What each route must want of its caller, said a second time: a row of the bus's own table that asks
/// for too little, or a route that nobody thought about, differs from this one.
const WANTED: &str = "
nothing         GET     /healthz
nothing         GET     /readyz
read on all     GET     /metrics
read on any     GET     /openapi.json
nothing         GET     /docs
publish         POST    /
nothing         OPTIONS /
read on any     GET     /v1/buses
read            GET     /v1/buses/{bus}
manage          PUT     /v1/buses/{bus}
manage          DELETE  /v1/buses/{bus}
publish         POST    /v1/buses/{bus}/events
nothing         OPTIONS /v1/buses/{bus}/events
read            GET     /v1/buses/{bus}/events
read            GET     /v1/buses/{bus}/events/{sequence}
manage          DELETE  /v1/buses/{bus}/events/{sequence}
read            GET     /v1/buses/{bus}/events/{sequence}/trace
read            GET     /v1/buses/{bus}/tail
read            GET     /v1/buses/{bus}/scheduled
read            POST    /v1/buses/{bus}/backtest
read            GET     /v1/buses/{bus}/rules
read            GET     /v1/buses/{bus}/rules/{rule}
manage          PUT     /v1/buses/{bus}/rules/{rule}
manage          DELETE  /v1/buses/{bus}/rules/{rule}
manage          POST    /v1/buses/{bus}/rules/{rule}/enable
manage          POST    /v1/buses/{bus}/rules/{rule}/disable
read            GET     /v1/buses/{bus}/rules/{rule}/targets
read            GET     /v1/buses/{bus}/rules/{rule}/targets/{target}
manage          POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/pause
manage          POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/resume
manage          POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/test
consume         POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/pull
consume         POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/ack
consume         POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/nack
consume         POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/extend
manage on any   POST    /v1/apply
read on all     GET     /v1/secrets
read on all     GET     /v1/secrets/{secret}
manage on all   PUT     /v1/secrets/{secret}
manage on all   DELETE  /v1/secrets/{secret}
manage on all   DELETE  /v1/secrets/{secret}/versions/{version}
manage on all   GET     /v1/keys
manage on all   POST    /v1/keys
manage on all   GET     /v1/keys/{key}
manage on all   DELETE  /v1/keys/{key}
manage on all   GET     /v1/log-level
manage on all   PUT     /v1/log-level
manage on all   DELETE  /v1/log-level
manage on all   GET     /v1/audit
manage on all   POST    /v1/backup
read on any     POST    /v1/patterns/test
read on any     POST    /v1/transforms/preview
read            GET     /v1/buses/{bus}/dead-letters
read            GET     /v1/buses/{bus}/dead-letters/groups
read            GET     /v1/buses/{bus}/dead-letters/export
manage          POST    /v1/buses/{bus}/dead-letters/redrive
read            GET     /v1/buses/{bus}/dead-letters/redrives
read            GET     /v1/buses/{bus}/dead-letters/redrives/{id}
manage          DELETE  /v1/buses/{bus}/dead-letters/redrives/{id}
manage          POST    /v1/buses/{bus}/dead-letters/purge
read            GET     /v1/buses/{bus}/dead-letters/{id}
manage          DELETE  /v1/buses/{bus}/dead-letters/{id}
read            GET     /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters
read            GET     /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/groups
read            GET     /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/export
manage          POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/redrive
read            GET     /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/redrives
read            GET     /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/redrives/{id}
manage          DELETE  /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/redrives/{id}
manage          POST    /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/purge
read            GET     /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/{id}
manage          DELETE  /v1/buses/{bus}/rules/{rule}/targets/{target}/dead-letters/{id}
";

#[test]
fn the_contract_is_the_one_that_was_thought_about() {
    let found: BTreeSet<String> = contract()
        .into_iter()
        .map(|(method, path, need)| {
            let need = match need {
                Need::Nothing => "nothing".to_owned(),
                Need::Publish => "publish".to_owned(),
                Need::Consume => "consume".to_owned(),
                Need::OnBus(scope) => scope.to_string(),
                Need::OnAll(scope) => format!("{scope} on all"),
                Need::OnAny(scope) => format!("{scope} on any"),
            };
            format!("{need:15} {:7} {path}", method.as_str())
        })
        .collect();
    let wanted: BTreeSet<String> = WANTED.trim().lines().map(str::to_owned).collect();
    let differs: Vec<_> = found.symmetric_difference(&wanted).collect();
    assert!(differs.is_empty(), "in one table only: {differs:#?}");
}

/// Whether a key with one grant, on all buses, on `a`, or on `b`, may take a route on the bus `a`.
fn may(granted: Scope, on: &str, need: Need) -> bool {
    let covers = |wanted| granted == wanted || (granted == Scope::Manage && wanted == Scope::Read);
    match need {
        Need::Nothing => true,
        Need::Publish => granted == Scope::Publish && on != "b",
        Need::Consume => granted == Scope::Consume && on != "b",
        Need::OnBus(wanted) => covers(wanted) && on != "b",
        Need::OnAll(wanted) => covers(wanted) && on == "all",
        Need::OnAny(wanted) => covers(wanted),
    }
}

fn wanted(need: Need) -> Option<&'static str> {
    match need {
        Need::Nothing => None,
        Need::Publish => Some("publish"),
        Need::Consume => Some("consume"),
        Need::OnBus(scope) | Need::OnAll(scope) | Need::OnAny(scope) => Some(scope.as_str()),
    }
}

/// The path on the bus `a`. Nothing else that it names exists, so that nothing is changed.
pub(super) fn path_of(pattern: &str) -> String {
    let path = pattern.replace("{bus}", "a").replace("{sequence}", "1");
    let path = path
        .replace("{key}", "eyk_ffffffffffff")
        .replace("{version}", "1");
    // A tail that is let in would not end.
    let path = path.replace("/tail", "/tail?after=none");
    path.replace(['{', '}'], "")
}

#[tokio::test]
async fn every_route_asks_for_what_the_contract_says() {
    let clock = clock();
    let bus = keyed(clock.clone()).await;
    let expired = json!({"name": "short", "grants": [{"scope": "manage"}, {"scope": "publish"}], "expires_in": "1d"});
    let (_, expired) = make(&bus, &expired).await;
    let all = json!([{"scope": "manage"}, {"scope": "publish"}]);
    let (revoked_id, revoked) = make(&bus, &json!({"name": "gone", "grants": all})).await;
    let revoking = format!("/v1/keys/{revoked_id}");
    assert_eq!(
        ask(&bus, Method::DELETE, &revoking, Some(ROOT))
            .await
            .status,
        204
    );
    clock.advance(DAY);
    let wrong = format!(
        "{}{}",
        &revoked[..80],
        if revoked.ends_with('0') { '1' } else { '0' }
    );
    let mut keys = Vec::new();
    for scope in [Scope::Publish, Scope::Read, Scope::Manage, Scope::Consume] {
        for on in ["all", "a", "b"] {
            let mut grant = json!({"scope": scope.as_str()});
            if on != "all" {
                grant["buses"] = json!([on]);
            }
            keys.push((scope, on, key_with(&bus, json!([grant])).await));
        }
    }
    let contract = contract();
    let paths: BTreeSet<_> = contract.iter().map(|(_, path, _)| path).collect();
    assert!(paths.len() > 30, "the contract was found");
    let mut cases = 0;
    for (method, pattern, need) in &contract {
        // `POST /` is for the bus `default`, to which the keys on `a` and `b` do not belong.
        let to_default = pattern == "/";
        let path = path_of(pattern);
        let case = |who: &str| format!("{method} {path} with {who}");
        let refused = [
            ("no key", None, ""),
            ("a wrong key", Some(wrong.as_str()), "invalid_token"),
            ("no key's form", Some("hunter2"), "invalid_token"),
            ("an expired key", Some(expired.as_str()), "invalid_token"),
            ("a revoked key", Some(revoked.as_str()), "invalid_token"),
        ];
        for (who, key, error) in refused {
            let answer = ask(&bus, method.clone(), &path, key).await;
            match need {
                Need::Nothing => assert!(answer.status.is_success(), "{}", case(who)),
                _ => check_unauthorized(&answer, error, &case(who)),
            }
            cases += 1;
        }
        for (scope, on, key) in &keys {
            let who = case(&format!("{scope} on {on}"));
            let answer = ask(&bus, method.clone(), &path, Some(key)).await;
            let is_on_other = to_default && *on == "a" && *need == Need::Publish;
            if may(*scope, on, *need) && !is_on_other {
                let through = ![401, 403].contains(&answer.status.as_u16());
                assert!(
                    through && !answer.status.is_server_error(),
                    "{who}: {}",
                    answer.status
                );
            } else {
                check_forbidden(&answer, wanted(*need).unwrap(), &who);
            }
            cases += 1;
            // What `manage` may delete is there for the next key again.
            if pattern == "/v1/buses/{bus}" {
                let again = ask(&bus, Method::PUT, "/v1/buses/a", Some(ROOT)).await;
                assert!(again.status.is_success());
            }
        }
        let answer = ask(&bus, method.clone(), &path, Some(ROOT)).await;
        assert!(
            ![401, 403].contains(&answer.status.as_u16()),
            "{}",
            case("root")
        );
        if pattern == "/v1/buses/{bus}" {
            let again = ask(&bus, Method::PUT, "/v1/buses/a", Some(ROOT)).await;
            assert!(again.status.is_success());
        }
        // A GET is a HEAD too.
        if method == Method::GET && *need != Need::Nothing {
            let answer = ask(&bus, Method::HEAD, &path, None).await;
            assert_eq!(answer.status, 401, "HEAD {path}");
        }
    }
    assert_eq!(cases, contract.len() * 17);
}

#[tokio::test]
async fn a_key_for_one_target_pulls_that_and_no_other() {
    let bus = keyed(clock()).await;
    let grant = json!([{"scope": "consume", "buses": ["a"], "targets": ["orders/worker"]}]);
    let key = key_with(&bus, grant).await;
    for (place, status) in [
        ("a/rules/orders/targets/worker", 404),
        ("a/rules/orders/targets/other", 403),
        ("a/rules/other/targets/worker", 403),
        ("b/rules/orders/targets/worker", 403),
    ] {
        for verb in ["pull", "ack", "nack", "extend"] {
            let path = format!("/v1/buses/{place}/{verb}");
            let request = bus.request(Method::POST, &path).bearer_auth(&key);
            let answer = send(request.json(&json!({"tokens": ["x"]}))).await;
            match (status, verb) {
                // `pull` takes no tokens.
                (404, "pull") => assert!([404, 422].contains(&answer.status.as_u16())),
                (404, _) => assert_eq!(answer.status, 404, "{path}"),
                _ => check_forbidden(&answer, "consume", &path),
            }
        }
    }
    let listed = ask(&bus, Method::GET, "/v1/keys", Some(ROOT)).await.json();
    let grants = listed["keys"][0]["grants"].clone();
    assert_eq!(grants[0]["targets"], json!(["orders/worker"]));
}

#[tokio::test]
async fn a_handshake_tells_of_a_bus_only_to_who_may_use_it() {
    let bus = keyed(clock()).await;
    let on_a = key_with(&bus, json!([{"scope": "publish", "buses": ["a"]}])).await;
    let missing = "/v1/buses/missing/events";
    for (path, key, status) in [
        (missing, None, 200),
        (missing, Some(on_a.as_str()), 200),
        (missing, Some(ROOT), 404),
        ("/v1/buses/a/events", None, 200),
        ("/v1/buses/a/events", Some(on_a.as_str()), 200),
        ("/v1/buses/b/events", Some(ROOT), 200),
    ] {
        let mut request = bus.request(Method::OPTIONS, path);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let answer = send(request.header("webhook-request-origin", "shop.example.com")).await;
        assert_eq!(answer.status, status, "{path} {key:?}");
        let granted = !answer.header("webhook-allowed-origin").is_empty();
        assert_eq!(granted, status == 200, "{path} {key:?}");
    }
}

#[tokio::test]
async fn a_pattern_says_what_may_be_published() {
    let bus = keyed(clock()).await;
    let key = key_with(
        &bus,
        json!([{"scope": "publish", "buses": ["a"], "pattern": {"type": [{"prefix": "shop."}]}}]),
    )
    .await;
    let publish = async |bus_name: &str, events: Value| {
        let request = bus
            .request(Method::POST, &format!("/v1/buses/{bus_name}/events"))
            .header("content-type", "application/cloudevents-batch+json")
            .bearer_auth(&key)
            .body(events.to_string());
        send(request).await
    };
    let event = |id: &str, kind: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": kind});
    let good = publish("a", json!([event("1", "shop.order"), event("2", "shop.x")])).await;
    assert_eq!(good.status, StatusCode::ACCEPTED);
    let mixed = publish(
        "a",
        json!([event("3", "shop.order"), event("4", "billing.x")]),
    )
    .await;
    check_forbidden(&mixed, "publish", "one event that may not");
    assert!(mixed.text().contains("billing.x"));
    let other = publish("b", json!([event("5", "shop.order")])).await;
    check_forbidden(&other, "publish", "another bus");
    let unknown = publish("nowhere", json!([event("6", "shop.order")])).await;
    check_forbidden(
        &unknown,
        "publish",
        "a bus that is not there is not told of",
    );
    let browsed = ask(&bus, Method::GET, "/v1/buses/a/events", Some(ROOT))
        .await
        .json();
    assert_eq!(
        browsed["events"].as_array().unwrap().len(),
        2,
        "nothing of a refused batch"
    );
}

#[tokio::test]
async fn a_key_sees_its_buses_and_cannot_reach_others_through_rules() {
    let bus = keyed(clock()).await;
    let key = key_with(&bus, json!([{"scope": "manage", "buses": ["a"]}])).await;
    let list = ask(&bus, Method::GET, "/v1/buses", Some(&key)).await.json();
    let names: Vec<_> = list["buses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bus| &bus["name"])
        .collect();
    assert_eq!(names, ["a"]);
    let put = async |key: &str, reply: Value| {
        let rule = json!({"pattern": {"type": ["x"]},
            "targets": [{"id": "t", "url": "http://127.0.0.1:9/", "reply": reply}]});
        let request = bus
            .request(Method::PUT, "/v1/buses/a/rules/r")
            .bearer_auth(key);
        send(request.json(&rule)).await
    };
    check_forbidden(
        &put(&key, json!({"bus": "b"})).await,
        "publish",
        "replies to b",
    );
    assert!(put(&key, json!({"bus": "a"})).await.status.is_success());
    assert!(put(&key, json!(true)).await.status.is_success());
    let both = json!([{"scope": "manage", "buses": ["a"]}, {"scope": "publish", "buses": ["b"]}]);
    let both = key_with(&bus, both).await;
    assert!(put(&both, json!({"bus": "b"})).await.status.is_success());
    // A target answers with what it likes: who may publish some events on `b` must not let it.
    let some = json!([{"scope": "manage", "buses": ["a"]},
        {"scope": "publish", "pattern": {"type": [{"prefix": "shop."}]}}]);
    let some = key_with(&bus, some).await;
    let refused = put(&some, json!({"bus": "b"})).await;
    check_forbidden(&refused, "publish", "replies past a pattern");
    assert!(refused.text().contains("without a pattern"));

    let apply = async |body: Value| {
        let request = bus.request(Method::POST, "/v1/apply").bearer_auth(&key);
        send(request.json(&body)).await
    };
    let rule = |reply: Value| {
        json!({"r": {"pattern": {"type": ["x"]},
            "targets": [{"id": "t", "url": "http://127.0.0.1:9/", "reply": reply}]}})
    };
    let whole = json!({"buses": {"a": {"rules": rule(json!(true))}}});
    assert_eq!(apply(whole).await.status, 200);
    let other = json!({"buses": {"a": {"rules": {}}, "b": {"rules": {}}}, "dry_run": true});
    check_forbidden(&apply(other).await, "manage", "apply to b");
    let replies = json!({"buses": {"a": {"rules": rule(json!({"bus": "b"}))}}});
    check_forbidden(&apply(replies).await, "publish", "apply replies to b");
}

#[tokio::test]
async fn refused_publishers_are_counted() {
    let bus = keyed(clock()).await;
    let key = key_with(&bus, json!([{"scope": "publish", "buses": ["a"]}])).await;
    let counts = async || {
        let metrics = ask(&bus, Method::GET, "/metrics", Some(ROOT)).await.text();
        ["unauthorized", "forbidden"].map(|class| {
            let start = format!("eventyard_publish_refused_total{{class=\"{class}\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
            line.unwrap_or_else(|| panic!("no {start}in {metrics}"))
                .to_owned()
        })
    };
    // From the start, so that an alert sees the first one.
    assert_eq!(counts().await, ["0", "0"]);
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "x"});
    let publish = async |path: &str, key: &str| {
        let request = bus
            .request(Method::POST, path)
            .header("content-type", "application/cloudevents+json")
            .bearer_auth(key)
            .body(event.to_string());
        send(request).await.status.as_u16()
    };
    // `%61` is the bus `a` by way of the routes.
    for (path, key, expected) in [
        ("/", "hunter2", 401),
        ("/", &*key, 403),
        ("/v1/buses/a/events", "hunter2", 401),
        ("/v1/buses/b/events", &key, 403),
        ("/v1/buses/a/events", &key, 202),
        ("/v1/buses/%61/events", "hunter2", 401),
        ("/v1/buses/%62/events", &key, 403),
        ("/v1/buses/%61/events", &key, 202),
    ] {
        assert_eq!(publish(path, key).await, expected, "{path} {key}");
    }
    assert_eq!(counts().await, ["3", "3"]);
}
