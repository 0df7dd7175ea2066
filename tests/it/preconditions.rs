//! `If-Match` and `If-None-Match` on everything that has an `ETag`: judged behind what is refused
//! without them, and before the body (RFC 9110, section 13.2).

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestBus, send};

const RULE: &str = "/v1/buses/default/rules/r";
const SECRET: &str = "/v1/secrets/s";

fn rule() -> Value {
    json!({"pattern": {"type": ["t"]}, "targets": [{"id": "t", "url": "http://127.0.0.1:9/"}]})
}

async fn ask(
    bus: &TestBus,
    method: &Method,
    path: &str,
    conditions: &[(&'static str, &str)],
    body: &str,
) -> Answer {
    let mut request = bus.request(method.clone(), path);
    for (name, value) in conditions {
        request = request.header(*name, *value);
    }
    send(request.body(body.to_owned())).await
}

async fn etag(bus: &TestBus, path: &str) -> String {
    let answer = bus.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let etag = answer.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag:?}");
    etag
}

/// A bus with a rule, a bus without one, a secret, and one in use.
async fn bus() -> TestBus {
    let bus = TestBus::start().await;
    bus.put("/v1/buses/other", &json!({})).await;
    for (name, used) in [("s", false), ("used", true)] {
        let path = format!("/v1/secrets/{name}");
        let put = bus.put(&path, &json!({"value": "hunter2"})).await;
        assert_eq!(put.status, 201);
        assert_eq!(put.header("etag"), "", "it is not what was sent");
        let mut rule = rule();
        if used {
            rule["targets"][0]["auth"] = json!({"bearer": {"secret": name}});
        }
        bus.put_rule(if used { "user" } else { "r" }, &rule).await;
    }
    bus
}

/// A method, a path, conditions, a body; and the status that they are answered with.
type Case = (
    Method,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    u16,
);

#[tokio::test]
async fn conditions_are_judged_behind_other_refusals_and_before_the_body() {
    use Method as M;
    const OLD: &[(&str, &str)] = &[("if-match", "\"99999\"")];
    const WEAK: &[(&str, &str)] = &[("if-match", "W/\"99999\"")];
    const ABSENT: &[(&str, &str)] = &[("if-none-match", "*")];
    const UNREADABLE: &[(&str, &str)] = &[("if-match", "0")];
    let cases: &[Case] = &[
        // Not there, or in the way, with or without a condition.
        (M::GET, "/v1/buses/none", OLD, "", 404),
        (M::DELETE, "/v1/buses/none", OLD, "", 404),
        (M::PUT, "/v1/buses/none/rules/r", OLD, "{}", 404),
        (M::DELETE, "/v1/buses/default/rules/none", OLD, "", 404),
        (M::POST, "/v1/buses/default/rules/none/enable", OLD, "", 404),
        (M::DELETE, "/v1/secrets/none", OLD, "", 404),
        (M::DELETE, "/v1/buses/default", OLD, "", 409),
        (M::DELETE, "/v1/secrets/used", OLD, "", 409),
        (M::PUT, "/v1/buses/-", OLD, "{}", 400),
        // The condition, whatever the body is.
        (M::PUT, "/v1/buses/default", OLD, "no JSON", 412),
        (M::PUT, "/v1/buses/new", OLD, "{}", 412),
        (M::PUT, "/v1/buses/new", &[("if-match", "*")], "{}", 412),
        (M::PUT, "/v1/buses/other", ABSENT, "{}", 412),
        (M::PUT, RULE, OLD, "{}", 412),
        (M::PUT, RULE, WEAK, "{}", 412),
        (M::PUT, RULE, ABSENT, "no JSON", 412),
        (M::PUT, SECRET, OLD, "no JSON", 412),
        (M::PUT, SECRET, ABSENT, "{}", 412),
        (M::PUT, "/v1/secrets/none", OLD, r#"{"value": "x"}"#, 412),
        (M::DELETE, "/v1/buses/other", OLD, "", 412),
        (M::DELETE, RULE, OLD, "", 412),
        (M::DELETE, SECRET, OLD, "", 412),
        (M::DELETE, SECRET, ABSENT, "", 412),
        (M::POST, "/v1/buses/default/rules/r/disable", OLD, "", 412),
        (
            M::POST,
            "/v1/buses/default/rules/r/disable",
            ABSENT,
            "",
            412,
        ),
        (M::GET, "/v1/buses/default", OLD, "", 412),
        (M::GET, RULE, OLD, "", 412),
        (M::GET, SECRET, OLD, "", 412),
        (M::GET, RULE, ABSENT, "", 304),
        (M::GET, SECRET, ABSENT, "", 304),
        (M::GET, "/v1/buses/default", UNREADABLE, "", 400),
        (M::PUT, SECRET, UNREADABLE, "{}", 400),
        // Where it holds, the body.
        (M::PUT, RULE, &[("if-match", "*")], "no JSON", 400),
        (M::PUT, RULE, &[("if-match", "*")], "{}", 422),
        (M::PUT, "/v1/buses/default/rules/new", ABSENT, "{}", 422),
        (M::PUT, RULE, &[("if-none-match", "\"0\"")], "{}", 422),
        (M::PUT, SECRET, &[("if-match", "*")], "{}", 422),
        (M::GET, RULE, &[("if-none-match", "\"0\"")], "", 200),
    ];
    let bus = bus().await;
    let before = [
        etag(&bus, RULE).await,
        etag(&bus, SECRET).await,
        etag(&bus, "/v1/buses/other").await,
    ];
    for (method, path, conditions, body, status) in cases {
        let answer = ask(&bus, method, path, conditions, body).await;
        let case = format!("{method} {path} {conditions:?} {body}");
        assert_eq!(answer.status, *status, "{case}: {}", answer.text());
    }
    let after = [
        etag(&bus, RULE).await,
        etag(&bus, SECRET).await,
        etag(&bus, "/v1/buses/other").await,
    ];
    assert_eq!(before, after, "nothing was changed");
}

#[tokio::test]
async fn an_etag_lets_its_own_change_through_once() {
    let bus = bus().await;
    for (path, body) in [
        ("/v1/buses/other", json!({"description": "new"})),
        (RULE, {
            let mut rule = rule();
            rule["description"] = json!("new");
            rule
        }),
        (SECRET, json!({"value": "another"})),
    ] {
        let old = etag(&bus, path).await;
        let known = ask(&bus, &Method::GET, path, &[("if-none-match", &old)], "").await;
        assert_eq!((known.status.as_u16(), known.header("etag")), (304, &*old));
        assert!(known.body.is_empty());
        let listed = format!("\"x,y\", {old}");
        let change = [("if-match", &*listed)];
        let body = body.to_string();
        let answer = ask(&bus, &Method::PUT, path, &change, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_ne!(etag(&bus, path).await, old, "{path}");
        let again = ask(&bus, &Method::PUT, path, &change, &body).await;
        again.problem(412);
        let new = etag(&bus, path).await;
        let delete = ask(&bus, &Method::DELETE, path, &[("if-match", &new)], "").await;
        assert_eq!(delete.status, 204, "{path}: {}", delete.text());
    }
    for (path, body) in [
        ("/v1/buses/other", json!({})),
        (RULE, rule()),
        (SECRET, json!({"generate": "hmac"})),
    ] {
        let create = [("if-none-match", "*")];
        let answer = ask(&bus, &Method::PUT, path, &create, &body.to_string()).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn of_many_who_change_the_same_secret_one_succeeds() {
    let bus = bus().await;
    let old = etag(&bus, SECRET).await;
    let changes = (0..8).map(|n| {
        let body = json!({"value": n.to_string()});
        let request = bus.request(Method::PUT, SECRET);
        send(request.header("if-match", &old).json(&body))
    });
    let answers = futures_util::future::join_all(changes).await;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(taken, 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.problem(412);
    }
}
