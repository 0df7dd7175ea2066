//! Whole configurations: planned, applied in one step or not at all, and pruned; over the API and by
//! `eventyard rule apply`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{TestBus, send};

const APPLY: &str = "/v1/apply";

fn rule(kind: &str) -> Value {
    json!({
        "pattern": {"type": [kind]},
        "targets": [{"id": "t", "url": "http://127.0.0.1:9/"}]
    })
}

/// The entries as `default/a created`; a bus's own document without a slash.
fn changes(answer: &Value) -> Vec<String> {
    let changes = answer["changes"].as_array().unwrap().iter();
    changes
        .map(|change| {
            let (bus, what) = (&change["bus"], &change["change"]);
            let name = match change["rule"].as_str() {
                Some(rule) => format!("{}/{rule}", bus.as_str().unwrap()),
                None => bus.as_str().unwrap().to_owned(),
            };
            format!("{name} {}", what.as_str().unwrap())
        })
        .collect()
}

async fn names(bus: &TestBus, name: &str) -> Vec<String> {
    let rules = bus.get(&format!("/v1/buses/{name}/rules")).await.json();
    let rules = rules["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| rule["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_configuration_is_planned_and_applied() {
    let bus = TestBus::start().await;
    bus.put_rule("kept", &rule("k")).await;
    bus.put_rule("old", &rule("o")).await;
    bus.put_rule("gone", &rule("g")).await;
    bus.put("/v1/buses/other", &json!({})).await;
    let other = "/v1/buses/other/rules/stays";
    assert_eq!(bus.put(other, &rule("s")).await.status, 201);
    let mut wanted = json!({
        "buses": {
            "default": {"rules": {"kept": rule("k"), "old": rule("n"), "new": rule("n")}},
            "orders": {"document": {"dedup_window": "1m"}, "rules": {"first": rule("f")}}
        },
        "prune": true,
        "dry_run": true
    });
    let expected = [
        "orders created",
        "default/kept unchanged",
        "default/new created",
        "default/old replaced",
        "orders/first created",
        "default/gone deleted",
    ];
    let plan = bus.post(APPLY, &wanted).await;
    assert_eq!(plan.status, 200, "{plan:?}");
    let plan = plan.json();
    assert_eq!(changes(&plan), expected);
    assert_eq!(
        (&plan["dry_run"], &plan["changed"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(plan["changes"][3]["before"], rule("o"));
    assert_eq!(plan["changes"][5]["before"], rule("g"));
    assert_eq!(names(&bus, "default").await, ["gone", "kept", "old"]);
    bus.get("/v1/buses/orders").await.problem(404);

    wanted["dry_run"] = json!(false);
    let done = bus.post(APPLY, &wanted).await.json();
    assert_eq!(changes(&done), expected);
    assert_eq!(names(&bus, "default").await, ["kept", "new", "old"]);
    assert_eq!(names(&bus, "orders").await, ["first"]);
    assert_eq!(
        names(&bus, "other").await,
        ["stays"],
        "not in the configuration"
    );
    let read = bus.get("/v1/buses/default/rules/old").await;
    assert_eq!(read.json(), rule("n"));
    let revision = &done["changes"][3]["revision"];
    assert_eq!(read.header("etag"), format!("\"{revision}\""));

    let again = bus.post(APPLY, &wanted).await.json();
    assert_eq!(again["changed"], json!(false), "{again}");
    let bus = TestBus::builder().data(bus.drain().await).start().await;
    assert_eq!(names(&bus, "default").await, ["kept", "new", "old"]);
}

#[tokio::test]
async fn one_bad_document_refuses_the_whole() {
    let bus = TestBus::start().await;
    bus.put_rule("gone", &rule("g")).await;
    let wanted = json!({
        "buses": {"default": {"rules": {
            "good": rule("a"),
            "bad": {"pattern": {"type": "a"}, "targets": []}
        }}, "orders": {"document": {"dedup_windw": "1m"}}},
        "prune": true
    });
    let problem = bus.post(APPLY, &wanted).await.problem(422);
    let errors: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    let expected = [
        "/buses/default/rules/bad/pattern/type",
        "/buses/default/rules/bad/targets",
        "/buses/orders/document/dedup_windw",
    ];
    assert_eq!(errors, expected, "{problem}");
    assert_eq!(names(&bus, "default").await, ["gone"]);
    bus.post(APPLY, &json!({"buses": {"a b": {}}}))
        .await
        .problem(422);
    bus.post(APPLY, &json!({"busses": {}})).await.problem(422);
    let guarded = TestBus::builder()
        .config(|config| config.targets.mode = eventyard::guard::Mode::On)
        .start()
        .await;
    let wanted = json!({"buses": {"default": {"rules": {"a": rule("a")}}}});
    let problem = guarded.post(APPLY, &wanted).await.problem(422);
    let pointer = &problem["errors"][0]["pointer"];
    assert_eq!(pointer, "/buses/default/rules/a/targets/0/url");
}

/// Runs `eventyard rule apply`; its exit code, and what it wrote.
async fn apply(bus: &TestBus, args: &[&str]) -> (i32, String, String) {
    run(bus, &[&["rule", "apply"], args].concat()).await
}

async fn run(bus: &TestBus, args: &[&str]) -> (i32, String, String) {
    let url = bus.url("");
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    // The bus runs on this thread: it must go on while the program waits for it.
    let output = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_eventyard"))
            .args(args)
            .env("EVENTYARD_URL", url)
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn a_folder_is_planned_and_applied_by_the_program() {
    let (bus, dir) = (TestBus::start().await, tempfile::tempdir().unwrap());
    bus.put_rule("gone", &rule("g")).await;
    bus.put_rule("old", &rule("o")).await;
    let rules = dir.path().join("config");
    let pretty = format!("{:#}\n", rule("n"));
    write(&rules, "default/old.json", &pretty);
    write(&rules, "default/new.json", &pretty);
    write(&rules, "default/new.tests.json", "not looked at");
    write(&rules, "orders/bus.json", "{\"dedup_window\": \"1m\"}\n");
    let folder = rules.display().to_string();
    let (code, out, err) = apply(&bus, &[&folder, "--dry-run", "--prune"]).await;
    assert_eq!(code, 2, "{out}{err}");
    let expected = "\
+ bus orders: would be created
+ default/new: would be created
~ default/old: would be changed
      {
        \"pattern\": {
          \"type\": [
    -       \"o\"
    +       \"n\"
          ]
        },
        \"targets\": [
- default/gone: would be deleted
2 to create, 1 to change, 1 to delete, 0 unchanged
";
    assert_eq!(out, expected);
    assert_eq!(names(&bus, "default").await, ["gone", "old"]);

    let (code, out, err) = apply(&bus, &[&folder]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.ends_with("2 created, 1 changed, 0 deleted, 0 unchanged\n"),
        "{out}"
    );
    assert_eq!(names(&bus, "default").await, ["gone", "new", "old"]);
    let (code, out, _) = apply(&bus, &[&folder, "--prune"]).await;
    assert_eq!(code, 0);
    assert!(out.starts_with("- default/gone: deleted\n"), "{out}");
    assert_eq!(names(&bus, "default").await, ["new", "old"]);
    let (code, out, _) = apply(&bus, &[&folder, "--prune", "--dry-run"]).await;
    assert_eq!(
        (code, out.as_str()),
        (0, "0 to create, 0 to change, 0 to delete, 3 unchanged\n")
    );

    // Another spelling is a change, and is told as what it is.
    write(&rules, "default/old.json", &rule("n").to_string());
    let plan = apply(&bus, &[&folder, "--dry-run", "--output", "json"]).await;
    let json: Value = serde_json::from_str(&plan.1).unwrap();
    assert_eq!((plan.0, &json["changed"]), (2, &json!(true)));
    let plan = apply(&bus, &[&folder, "--dry-run"]).await;
    assert!(plan.1.contains("only how it is written"), "{}", plan.1);

    // One bad file: nothing of the others either.
    write(&rules, "default/more.json", &pretty);
    write(&rules, "orders/bad.json", "{\n  \"pattern\": 1\n}");
    let (code, _, err) = apply(&bus, &[&folder, "--prune"]).await;
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("bad.json:2:14"), "{err}");
    assert_eq!(names(&bus, "default").await, ["new", "old"]);
}

#[tokio::test]
async fn a_file_that_was_put_with_its_line_ends_is_unchanged() {
    let (bus, dir) = (TestBus::start().await, tempfile::tempdir().unwrap());
    let text = format!("\n{:#}\n", rule("a"));
    write(dir.path(), "a.json", &text);
    let (file, url) = (dir.path().join("a.json"), "/v1/buses/default/rules/a");
    let put = bus.request(reqwest::Method::PUT, url);
    let put = put.header("content-type", "application/json").body(text);
    assert_eq!(send(put).await.status, 201);
    let etag = bus.get(url).await.header("etag").to_owned();
    let (code, out, err) = apply(&bus, &[&file.display().to_string()]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "0 created, 0 changed, 0 deleted, 1 unchanged\n");
    assert_eq!(bus.get(url).await.header("etag"), etag);
    let file = file.display().to_string();
    let (code, out, err) = apply(&bus, &[&file, "--if-match", "\"999\""]).await;
    assert_ne!(code, 0, "{out}{err}");
    let (code, out, _) = apply(&bus, &[&file, "--if-match", &etag, "--name", "a"]).await;
    assert_eq!(code, 0);
    assert_eq!(out, format!("applied default/a (ETag {etag})\n"));
}

#[tokio::test]
async fn what_a_bus_holds_is_written_into_a_folder_and_goes_back_as_it_was() {
    let bus = TestBus::start().await;
    let odd = r#"{"pattern": {"data": {"n": [{"numeric": ["=", 1.50]}]}},
        "targets": [{"id": "t", "url": "http://127.0.0.1:9/"}]}"#;
    let put = bus
        .request(reqwest::Method::PUT, "/v1/buses/default/rules/odd")
        .header("content-type", "application/json")
        .body(odd);
    assert!(put.send().await.unwrap().status().is_success());
    bus.put_rule("plain", &rule("order")).await;
    let orders = json!({"description": "of orders", "dedup_window": "1h"});
    assert!(
        bus.put("/v1/buses/orders", &orders)
            .await
            .status
            .is_success()
    );
    for n in 0..150 {
        let place = format!("/v1/buses/orders/rules/r{n}");
        assert!(bus.put(&place, &rule("order")).await.status.is_success());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules");
    let name = path.to_str().unwrap();
    let (code, out, err) = run(&bus, &["rule", "export", name]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("2 buses and 152 rules"), "{out}");
    assert!(out.contains("154 files changed"), "{out}");
    let kept = std::fs::read_to_string(path.join("default/odd.json")).unwrap();
    assert_eq!(kept.trim_end(), odd);
    let (code, out, _) = run(&bus, &["rule", "export", name]).await;
    assert_eq!(code, 0);
    assert!(out.contains("0 files changed"), "{out}");
    let (code, out, err) = apply(&bus, &[name, "--dry-run", "--prune"]).await;
    assert_eq!(code, 0, "nothing is to be changed: {out}\n{err}");
    let other = TestBus::start().await;
    let (code, _, err) = apply(&other, &[name]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        names(&other, "orders").await.len(),
        names(&bus, "orders").await.len()
    );
    let (code, _, err) = run(&bus, &["rule", "export", name, "--bus", "none"]).await;
    assert_eq!(code, 3, "{err}");
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_worth_a_word_and_no_refusal() {
    let bus = TestBus::start().await;
    let target = json!({"id": "t", "url": "http://127.0.0.1:9/",
        "auth": {"bearer": {"secret": "token"}}, "signing": {"secret": "key"}});
    let rule = json!({"pattern": {"type": ["a"]}, "targets": [target]});
    let path = "/v1/buses/default/rules/r";
    let said = |name: &str| {
        format!(
            "default/r/t: there is no secret `{name}`; deliveries wait until it is set, with \
             `eventyard secret set {name}`"
        )
    };
    let put = bus.put(path, &rule).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let warnings: Vec<&str> = put
        .headers
        .get_all("eventyard-warning")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(warnings, [said("key"), said("token")]);
    let set = bus.put("/v1/secrets/token", &json!({"value": "x"})).await;
    assert!(set.status.is_success());
    for dry_run in [true, false] {
        let wanted = json!({"buses": {"default": {"rules": {"r": rule}}}, "dry_run": dry_run});
        let answer = bus.post(APPLY, &wanted).await.json();
        assert_eq!(answer["warnings"], json!([said("key")]));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.json");
    std::fs::write(&file, rule.to_string()).unwrap();
    let url = bus.url("");
    let told = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_eventyard"))
            .args(["rule", "apply", file.to_str().unwrap(), "--url", &url])
            .output()
            .unwrap()
    });
    let told = told.await.unwrap();
    assert!(told.status.success());
    let text = String::from_utf8(told.stderr).unwrap();
    assert!(
        text.contains(&format!("warning: {}", said("key"))),
        "{text}"
    );
    let set = bus
        .put("/v1/secrets/key", &json!({"generate": "ed25519"}))
        .await;
    assert!(set.status.is_success(), "{}", set.text());
    let put = bus.put(path, &rule).await;
    assert!(put.headers.get("eventyard-warning").is_none());
}
