//! The audit: every management call and who made it, before and after, and nothing secret.

use axum::http::Method;
use eventyard::access::{Mode, RootKeySource};
use eventyard::secret::SecretText;
use serde_json::{Value, json};

use crate::harness::{Answer, TestBus, send};

const ROOT: &str = "root-0123456789abcdef0123456789abcdef";

async fn keyed() -> TestBus {
    let builder = TestBus::builder().config(|config| {
        config.access.mode = Mode::Keys;
        let root = SecretText::new(ROOT.to_owned());
        config.access.root_key = Some(RootKeySource::Text(root));
    });
    builder.start().await
}

async fn ask(bus: &TestBus, method: Method, path: &str, key: &str, body: Value) -> Answer {
    send(bus.request(method, path).bearer_auth(key).json(&body)).await
}

async fn entries(bus: &TestBus, query: &str) -> Vec<Value> {
    let path = format!("/v1/audit{query}");
    let answer = send(bus.request(Method::GET, &path).bearer_auth(ROOT)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["entries"].as_array().unwrap().clone()
}

/// The newest entry is of this call, and its before and after.
async fn newest(bus: &TestBus, method: &str, path: &str, status: u16) -> (Value, Value) {
    let entry = entries(bus, "?limit=1").await.remove(0);
    assert_eq!(
        (&entry["method"], &entry["path"], &entry["status"]),
        (&json!(method), &json!(path), &json!(status))
    );
    (entry["before"].clone(), entry["after"].clone())
}

fn rule(total: u64) -> Value {
    json!({
        "pattern": {"data": {"total": [total]}},
        "targets": [{
            "id": "t",
            "url": "http://127.0.0.1:9/?token=hunter2",
            "headers": {"x-api-key": "hunter2"},
        }],
    })
}

#[tokio::test]
async fn each_kind_of_change_tells_who_made_it_and_what_was_there_before_and_after() {
    let bus = keyed().await;
    let grants = json!([{"scope": "manage"}, {"scope": "publish"}]);
    let key = json!({"name": "deploy", "grants": grants});
    let made = ask(&bus, Method::POST, "/v1/keys", ROOT, key).await.json();
    let (prefix, key) = (
        made["prefix"].as_str().unwrap(),
        made["key"].as_str().unwrap(),
    );
    let (before, after) = newest(&bus, "POST", "/v1/keys", 201).await;
    assert_eq!((before, &after["prefix"]), (Value::Null, &made["prefix"]));
    let deploy = json!({"kind": "key", "prefix": prefix, "name": "deploy"});

    let path = "/v1/buses/default/rules/r";
    for (total, status) in [(1, 201), (2, 200)] {
        ask(&bus, Method::PUT, path, key, rule(total)).await;
        let (before, after) = newest(&bus, "PUT", path, status).await;
        assert_eq!(
            after["document"]["pattern"]["data"]["total"],
            json!([total])
        );
        match total {
            1 => assert_eq!(before, Value::Null),
            _ => assert_eq!(before["document"]["pattern"]["data"]["total"], json!([1])),
        }
        let target = &after["document"]["targets"][0];
        assert_eq!(target["url"], "http://127.0.0.1:9/?***");
        assert_eq!(target["headers"]["x-api-key"], "***");
    }
    let entry = entries(&bus, "?limit=1").await.remove(0);
    assert_eq!(entry["actor"], deploy);
    assert_eq!(entry["peer"], "127.0.0.1");
    assert_eq!(entry["route"], "/v1/buses/{bus}/rules/{rule}");

    // A change that was refused changed nothing.
    ask(&bus, Method::PUT, path, key, json!({"pattern": {}}))
        .await
        .problem(422);
    let (before, after) = newest(&bus, "PUT", path, 422).await;
    assert_eq!(before, after);

    let pausing = format!("{path}/targets/t/pause");
    ask(&bus, Method::POST, &pausing, key, json!({})).await;
    let (before, after) = newest(&bus, "POST", &pausing, 200).await;
    assert_eq!(
        (&before["state"], &after["state"]),
        (&json!("active"), &json!("paused"))
    );

    let secret = "/v1/secrets/billing";
    ask(&bus, Method::PUT, secret, key, json!({"value": "hunter2"})).await;
    let (before, after) = newest(&bus, "PUT", secret, 201).await;
    assert_eq!(
        (before, &after["versions"][0]["version"]),
        (Value::Null, &json!(1))
    );
    ask(&bus, Method::PUT, secret, key, json!({"generate": "hmac"})).await;

    let purge = "/v1/buses/default/dead-letters/purge";
    let all = json!({"filter": {"rule": "r"}});
    ask(&bus, Method::POST, purge, key, all.clone()).await;
    let entry = entries(&bus, "?limit=1").await.remove(0);
    assert_eq!((&entry["asked"], &entry["status"]), (&all, &json!(200)));
    for refused in [json!([]), json!("hunter2"), json!(1)] {
        ask(&bus, Method::POST, purge, key, refused.clone()).await;
        let entry = entries(&bus, "?limit=1").await.remove(0);
        let size = json!({"left_out_bytes": refused.to_string().len()});
        assert_eq!((&entry["asked"], &entry["status"]), (&size, &json!(422)));
    }

    let wanted = json!({"buses": {"default": {"rules": {"r": rule(3), "new": rule(4)}}}});
    ask(&bus, Method::POST, "/v1/apply", key, wanted).await;
    let (_, after) = newest(&bus, "POST", "/v1/apply", 200).await;
    let changes = after["changes"].as_array().unwrap();
    let replaced = changes.iter().find(|change| change["rule"] == "r").unwrap();
    assert_eq!(replaced["before"]["pattern"]["data"]["total"], json!([2]));
    assert_eq!(replaced["after"]["pattern"]["data"]["total"], json!([3]));
    assert_eq!(changes.len(), 2);

    ask(&bus, Method::DELETE, path, key, json!({})).await;
    let (before, after) = newest(&bus, "DELETE", path, 204).await;
    assert_eq!(
        (&before["document"]["pattern"]["data"]["total"], after),
        (&json!([3]), Value::Null)
    );
    let revoked = format!("/v1/keys/{prefix}");
    ask(&bus, Method::DELETE, &revoked, ROOT, json!({})).await;
    let (before, after) = newest(&bus, "DELETE", &revoked, 204).await;
    assert_eq!(
        (&before["state"], &after["state"]),
        (&json!("active"), &json!("revoked"))
    );

    // Reading and publishing are no changes.
    let count = entries(&bus, "?limit=1000").await.len();
    send(bus.request(Method::GET, "/v1/buses").bearer_auth(ROOT)).await;
    assert_eq!(entries(&bus, "?limit=1000").await.len(), count);
    assert_eq!(entries(&bus, "?actor=root").await.len(), 2);
    assert_eq!(entries(&bus, &format!("?subject={path}")).await.len(), 5);
    assert_eq!(
        entries(&bus, "?actor=deploy&limit=1000").await.len(),
        count - 2
    );
    assert_eq!(entries(&bus, "?until=2020-01-01T00:00:00Z").await.len(), 0);

    // Over a restart, and nowhere anything secret.
    let clear = std::fs::read_dir(bus.dir().join("data/audit")).unwrap();
    let text: String = clear
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for secret in ["hunter2", &key[17..], ROOT] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let data = bus.drain().await;
    let bus = TestBus::builder().data(data).start().await;
    let answer = bus.get("/v1/audit?limit=1000").await.json();
    assert_eq!(answer["entries"].as_array().unwrap().len(), count);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let bus = TestBus::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        bus.put(&format!("/v1/buses/{name}"), &json!({})).await;
    }
    let (mut found, mut path) = (Vec::new(), "/v1/audit?limit=2".to_owned());
    loop {
        let page = bus.get(&path).await.json();
        for entry in page["entries"].as_array().unwrap() {
            found.push(entry["path"].as_str().unwrap().to_owned());
            assert_eq!(entry["actor"], json!({"kind": "anyone"}));
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/audit?limit=2&after={next}"),
            None => break,
        }
    }
    let expected = ["e", "d", "c", "b", "a"].map(|name| format!("/v1/buses/{name}"));
    assert_eq!(found, expected);
    bus.get("/v1/audit?after=x").await.problem(400);
    bus.get("/v1/audit?since=yesterday").await.problem(400);
}

#[tokio::test]
async fn refused_calls_stand_there_with_whose_key_it_was() {
    let bus = keyed().await;
    let reader = json!({"name": "reader", "grants": [{"scope": "read"}]});
    let made = ask(&bus, Method::POST, "/v1/keys", ROOT, reader)
        .await
        .json();
    let (prefix, key) = (
        made["prefix"].as_str().unwrap(),
        made["key"].as_str().unwrap(),
    );
    let path = "/v1/buses/default";
    ask(&bus, Method::DELETE, path, key, json!({}))
        .await
        .problem(403);
    ask(&bus, Method::POST, "/", key, json!({}))
        .await
        .problem(403);
    ask(&bus, Method::GET, "/v1/buses", "eyk_hunter2", json!({}))
        .await
        .problem(401);
    ask(
        &bus,
        Method::DELETE,
        &format!("/v1/keys/{prefix}"),
        ROOT,
        json!({}),
    )
    .await;
    ask(&bus, Method::GET, "/v1/buses", key, json!({}))
        .await
        .problem(401);
    let found = entries(&bus, "?limit=1000").await;
    let shown: Vec<_> = found
        .iter()
        .map(|entry| {
            (
                entry["status"].as_u64().unwrap(),
                entry["path"].as_str().unwrap(),
                entry["actor"]["name"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    let revoking = format!("/v1/keys/{prefix}");
    assert_eq!(
        shown,
        [
            (401, "/v1/buses", "reader"),
            (204, revoking.as_str(), "-"),
            (401, "/v1/buses", "-"),
            (403, "/", "reader"),
            (403, path, "reader"),
            (201, "/v1/keys", "-"),
        ]
    );
    assert_eq!(entries(&bus, "?actor=stranger").await.len(), 1);
    let text = json!(found).to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_bus_that_cannot_write_down_what_is_changed_does_not_start() {
    let bus = TestBus::start().await;
    bus.put("/v1/buses/a", &json!({})).await;
    let audit = bus.dir().join("data/audit");
    std::fs::remove_dir_all(&audit).unwrap();
    std::fs::write(&audit, "").unwrap();
    let data = bus.drain().await;
    let error = TestBus::builder().data(data).try_start().await;
    let error = format!("{:#}", error.err().unwrap());
    assert!(error.contains("audit"), "{error}");
}

#[tokio::test]
async fn what_the_rules_folder_changes_stands_there_with_its_file() {
    let builder = TestBus::builder().rule("default", "r", rule(1));
    let bus = builder.start().await;
    let shown = async |count: usize| -> Vec<Value> {
        let answer = bus.get("/v1/audit?actor=rules_folder").await.json();
        let mut entries = answer["entries"].as_array().unwrap().clone();
        assert_eq!(entries.len(), count, "{entries:#?}");
        entries.reverse();
        entries
    };
    let total = |state: &Value| state["document"]["pattern"]["data"]["total"][0].clone();
    let path = "/v1/buses/default/rules/r";
    let first = shown(1).await.remove(0);
    assert_eq!(
        first["actor"],
        json!({"kind": "rules_folder", "file": "default/r.json"})
    );
    assert_eq!(
        (&first["method"], &first["path"], &first["status"]),
        (&json!("PUT"), &json!(path), &json!(201))
    );
    assert_eq!(
        (&first["before"], total(&first["after"])),
        (&Value::Null, json!(1))
    );
    assert!(!first.to_string().contains("hunter2"), "{first}");

    // What stays as it is makes no entry.
    bus.running().reload().await.unwrap();
    shown(1).await;
    let write = |file: &str, document: Value| {
        let file = bus.dir().join("rules").join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, document.to_string()).unwrap();
    };
    write("default/r.json", rule(2));
    bus.running().reload().await.unwrap();
    let second = shown(2).await.remove(1);
    assert_eq!(second["status"], json!(200));
    assert_eq!(
        (total(&second["before"]), total(&second["after"])),
        (json!(1), json!(2))
    );
    assert_eq!(second["before"], first["after"]);

    write("shop/s.json", rule(3));
    bus.running().reload().await.unwrap();
    let files: Vec<Value> = shown(4)
        .await
        .iter()
        .map(|one| one["actor"]["file"].clone())
        .collect();
    assert_eq!(files[2..], [json!("shop/"), json!("shop/s.json")]);

    // A folder that is refused changes nothing.
    write("default/r.json", json!({"pattern": {}}));
    bus.running().reload().await.unwrap_err();
    shown(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_the_same_moment_each_show_what_they_found_and_left() {
    let bus = TestBus::builder()
        .rule("default", "r", rule(0))
        .start()
        .await;
    let path = "/v1/buses/default/rules/r";
    let calls = (1..=40_u64).map(|total| {
        let bus = &bus;
        async move {
            match total % 4 {
                // The file says what it said: it changes what others have put.
                0 => bus.running().reload().await.unwrap(),
                1 => {
                    let wanted = json!({"buses": {"default": {"rules": {"r": rule(total)}}}});
                    assert_eq!(bus.post("/v1/apply", &wanted).await.status, 200);
                }
                _ => assert_eq!(bus.put(path, &rule(total)).await.status, 200),
            }
        }
    });
    futures_util::future::join_all(calls).await;
    let answer = bus.get("/v1/audit?limit=1000").await.json();
    let mut entries = answer["entries"].as_array().unwrap().clone();
    entries.reverse();
    let total = |document: &Value| document["pattern"]["data"]["total"][0].clone();
    let mut there = Value::Null;
    for entry in &entries {
        let (before, after) = match entry["path"].as_str() {
            Some("/v1/apply") => {
                let change = &entry["after"]["changes"][0];
                (total(&change["before"]), total(&change["after"]))
            }
            _ => (
                total(&entry["before"]["document"]),
                total(&entry["after"]["document"]),
            ),
        };
        assert_eq!(before, there, "{entry:#}");
        assert_ne!(after, before, "{entry:#}");
        there = after;
    }
    assert!(entries.len() > 30, "{}", entries.len());
}
