//! `POST /v1/patterns/test`: a pattern on any JSON object.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{TestBus, send};

const PATH: &str = "/v1/patterns/test";

#[tokio::test]
async fn a_pattern_is_tried_and_explained() {
    let bus = TestBus::start().await;
    let pattern = json!({"detail": {"total": [{"numeric": [">=", 100]}]}});
    for (total, matches) in [(120, true), (99, false)] {
        let question = json!({"pattern": pattern, "event": {"detail": {"total": total}}});
        let verdict = bus.post(PATH, &question).await.json();
        assert_eq!(verdict["matches"], json!(matches), "{verdict}");
        let field = &verdict["explanation"][0];
        assert_eq!(field["pointer"], "/detail/total", "{verdict}");
        assert_eq!(field["matches"], json!(matches));
    }
}

#[tokio::test]
async fn an_invalid_pattern_is_pointed_at() {
    let bus = TestBus::start().await;
    let question = json!({"pattern": {"a": {"b": "c"}}, "event": {}});
    let problem = bus.post(PATH, &question).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/pattern/a/b", "{problem}");
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let bus = TestBus::start().await;
    for question in [
        json!({"pattern": {"a": [1]}}),
        json!({"pattern": {"a": [1]}, "event": [1]}),
        json!({"pattern": {"a": [1]}, "event": {}, "bus": "default"}),
    ] {
        bus.post(PATH, &question).await.problem(422);
    }
    send(bus.request(Method::POST, PATH).body("{"))
        .await
        .problem(400);
    let deep = "[".repeat(200) + &"]".repeat(200);
    let body = format!(r#"{{"pattern":{{"a":[1]}},"event":{{"a":{deep}}}}}"#);
    send(bus.request(Method::POST, PATH).body(body))
        .await
        .problem(422);
}

#[tokio::test]
async fn all_faults_of_a_pattern_are_told_at_once() {
    let bus = TestBus::start().await;
    let pattern = json!({
        "type": "a", "source": [{"prefx": "x"}, "y", {"numeric": ["~", 1]}],
        "$or": [{"data": {"a": []}}, 7],
    });
    let pointers = |problem: &Value| -> Vec<String> {
        let places = problem["errors"].as_array().unwrap().iter();
        let pointers = places.map(|place| place["pointer"].as_str().unwrap().to_owned());
        let mut pointers: Vec<String> = pointers.collect();
        pointers.sort();
        pointers
    };
    let expected = [
        "/$or/0/data/a",
        "/$or/1",
        "/source/0/prefx",
        "/source/2/numeric/0",
        "/type",
    ];
    let below = |place: &str| expected.map(|pointer| format!("{place}{pointer}"));
    let question = json!({"pattern": pattern, "event": {}});
    let problem = bus.post("/v1/patterns/test", &question).await.problem(422);
    assert_eq!(pointers(&problem), below("/pattern"), "{problem}");
    let rule = json!({"pattern": pattern, "targets": [{"id": "t", "url": "http://h/"}]});
    let answer = bus.put("/v1/buses/default/rules/r", &rule).await;
    let problem = answer.problem(422);
    assert_eq!(pointers(&problem), below("/pattern"), "{problem}");
    let grants = json!([{"scope": "read"}, {"scope": "publish", "pattern": pattern}]);
    let key = json!({"name": "k", "grants": grants});
    let problem = bus.post("/v1/keys", &key).await.problem(422);
    assert_eq!(pointers(&problem), below("/grants/1/pattern"), "{problem}");

    // So many, and how many more.
    let bad: Vec<Value> = (0..100).map(|_| json!({"prefx": "x"})).collect();
    let question = json!({"pattern": {"type": bad}, "event": {}});
    let problem = bus.post("/v1/patterns/test", &question).await.problem(422);
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 21, "{problem}");
    let last = errors[20]["detail"].as_str().unwrap();
    assert!(last.starts_with("and 80 more"), "{last}");
}
