//! Runs the real program: help texts, exit codes, offline rule tests, and a quickstart.

use std::io::{Read as _, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn eventyard(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
    command.args(args).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EVENTYARD_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(args: &[&str]) -> Output {
    eventyard(args).output().expect("the program starts")
}

fn run_with_input(args: &[&str], input: &str) -> Output {
    let mut child = eventyard(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A program that has its answer already may not read on.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn check(output: &Output, exit: i32, stdout: &str, stderr: &str) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{out}\n{err}");
    assert!(out.contains(stdout), "not on stdout: {stdout}\n{out}");
    assert!(err.contains(stderr), "not on stderr: {stderr}\n{err}");
}

/// A folder with a rule and two events.
fn files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("the file is written");
    };
    write(
        "rule.json",
        r#"{
  "pattern": { "type": ["order.created"], "data": { "total": [{ "numeric": [">=", 100] }] } },
  "targets": [{ "id": "billing", "url": "http://127.0.0.1:1/" }]
}"#,
    );
    write(
        "bad-rule.json",
        "{\n  \"pattern\": { \"type\": [\"a\"] },\n  \"targts\": []\n}",
    );
    write(
        "large.json",
        r#"{"type": "order.created", "data": {"total": 120}}"#,
    );
    write(
        "small.json",
        r#"{"type": "order.created", "data": {"total": 20}}"#,
    );
    write("broken.json", "{\n  \"type\": ]\n}");
    dir
}

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).display().to_string()
}

#[test]
fn help_shows_examples_and_exit_codes() {
    check(&run(&["--help"]), 0, "Exit codes:", "");
    for command in [
        vec!["serve"],
        vec!["quickstart"],
        vec!["send"],
        vec!["rule", "test"],
        vec!["rule", "preview"],
        vec!["dead-letter", "redrive"],
        vec!["bench"],
        vec!["doctor"],
    ] {
        let mut args = command.clone();
        args.push("--help");
        check(&run(&args), 0, "Examples:", "");
    }
    check(&run(&["--version"]), 0, env!("CARGO_PKG_VERSION"), "");
}

#[test]
fn wrong_usage_ends_with_2() {
    check(&run(&[]), 2, "", "Usage");
    check(&run(&["snd"]), 2, "", "similar subcommand");
    check(&run(&["send"]), 2, "", "--type");
    check(&run(&["dead-letter", "purge"]), 2, "", "say which");
    let both = ["dead-letter", "redrive", "1-2", "--rule", "r"];
    check(&run(&both), 2, "", "not both");
    let to = ["dead-letter", "redrive", "--all", "--to", "billing"];
    check(&run(&to), 2, "", "large-orders/billing");
    check(
        &run(&["rule", "list", "--url", "localhost:8080"]),
        2,
        "",
        "http://127.0.0.1:8080",
    );
}

#[test]
fn a_bus_that_is_not_there_ends_with_4_and_a_remedy() {
    // Port 1 of the loopback: nothing listens there.
    let url = "http://127.0.0.1:1";
    for command in [
        vec!["rule", "list", "--url", url],
        vec!["send", "--type", "a", "--url", url],
        vec!["event", "get", "1", "--url", url],
        vec!["health", "--url", url],
    ] {
        check(&run(&command), 4, "", "eventyard serve");
    }
    check(&run(&["health", "--quiet", "--url", url]), 4, "", "");
}

#[test]
fn a_rule_is_tested_without_a_bus() {
    let dir = files();
    let rule = path(&dir, "rule.json");
    let test = |event: &str| run(&["rule", "test", &rule, "--event", &path(&dir, event)]);
    check(&test("large.json"), 0, "matches", "");
    check(&test("small.json"), 3, "does not match", "");
    check(&test("missing.json"), 3, "", "there is no file");
    let piped = run_with_input(
        &["rule", "test", &rule, "--event", "-", "--output", "json"],
        r#"{"type": "order.created", "data": {"total": 100}}"#,
    );
    check(&piped, 0, r#"{"matches":true}"#, "");
    let pattern = run(&[
        "rule",
        "test",
        "--pattern",
        r#"{"type":[{"prefix":"order."}]}"#,
        "--event",
        &path(&dir, "small.json"),
    ]);
    check(&pattern, 0, "matches", "");
    let bad = r#"{"type": "a", "日本": [{"prefx": "x"}], "b": []}"#;
    let small = path(&dir, "small.json");
    let several = run(&["rule", "test", "--pattern", bad, "--event", &small]);
    let err = text(&several.stderr);
    assert_eq!(err.matches("error: ").count(), 3, "{err}");
    let caret = |columns: usize| format!("\n  | {}^", " ".repeat(columns));
    check(&several, 5, "", &caret(9));
    // Two columns each.
    check(&several, 5, "", &caret(33));
    check(&several, 5, "", &caret(45));
}

#[test]
fn the_example_rules_pass_their_tests() {
    check(
        &run(&["rule", "test"]),
        0,
        "6 cases of 2 rules: 6 passed; 1 rule has no tests",
        "",
    );
    let one = run(&["rule", "test", "rules/default/large-orders.json"]);
    check(&one, 0, "3 cases of 1 rule: 3 passed", "");
    let one = run(&["rule", "test", "rules/default/all-orders.json"]);
    check(&one, 3, "", "all-orders.tests.json");
    let examples = run(&["rule", "test", "examples/rules/default"]);
    check(&examples, 0, "2 cases of 1 rule: 2 passed", "");
}

#[test]
fn rules_without_tests_are_read_and_a_folder_without_any_says_so() {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let folder = path(&dir, "rules");
    let write = |name: &str, text: &str| {
        let path = dir.path().join("rules").join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("the folder");
        std::fs::write(path, text).expect("the file is written");
    };
    let test = || run(&["rule", "test", &folder]);
    check(&test(), 3, "", "there is no file or folder");
    write("shop/README.md", "");
    check(
        &test(),
        3,
        "",
        "there are no rules and no tests (*.tests.json) in ",
    );
    let rule = r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/"}]}"#;
    write("shop/one.json", rule);
    check(&test(), 3, "", "/rules; its one rule is valid");
    write("shop/two.json", rule);
    check(&test(), 3, "", "/rules; its 2 rules are valid");

    write(
        "shop/bad.json",
        "{\n  \"pattern\": {\"type\": \"a\"},\n  \"targts\": []\n}",
    );
    write("shop/worse.json", "{\n  \"pattern\":\n}");
    let check_bad = |output: &Output| {
        check(output, 5, "", "bad.json:2:23 at /pattern/type");
        check(output, 5, "", "2 |   \"pattern\": {\"type\": \"a\"}");
        check(output, 5, "", "bad.json:3:3 at /targts");
        check(output, 5, "", "3 |   \"targts\": []\n  |   ^");
        check(output, 5, "", "worse.json:3:1");
    };
    check_bad(&test());
    let alone = path(&dir, "rules/shop/worse.json");
    check(&run(&["rule", "test", &alone]), 5, "", "worse.json:3:1");
    // Also where others have tests, and these pass.
    let event = r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "a"}"#;
    let cases = r#"{"cases": [{"name": "a", "event": "large.json", "matches": true}]}"#;
    write("shop/one.tests.json", cases);
    write("shop/large.json", event);
    check_bad(&test());
    std::fs::remove_file(path(&dir, "rules/shop/bad.json")).expect("removed");
    std::fs::remove_file(path(&dir, "rules/shop/worse.json")).expect("removed");
    let passed = "1 case of 1 rule: 1 passed; 1 rule has no tests";
    check(&test(), 0, passed, "");
}

#[test]
fn a_case_that_fails_shows_its_line_and_why() {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("the folder");
        std::fs::write(path, text).expect("the file is written");
    };
    write(
        "rules/shop/orders.json",
        r#"{
  "pattern": { "type": ["order.created"], "data": { "total": [{ "numeric": [">=", 100] }] } },
  "filter": { "jsonpath": "$.data.items[?@.price > 10]" },
  "targets": [
    { "id": "billing", "url": "https://b.example/o/{id}", "path": { "id": { "path": "$.data.id" } }, "method": "PUT",
      "headers": { "x-by": { "path": "$.source" } },
      "transform": { "input_paths": { "id": "$.data.id", "total": "$.data.total" },
        "template": { "order": "<id>", "total": "<total>", "by": "<eventyard.rule-name>" } } },
    { "id": "text", "url": "https://t.example/", "transform": { "input_paths": { "id": "$.id" }, "template": "order <id>" } }
  ]
}"#,
    );
    let event = |id: &str, total: &str, price: u32| {
        format!(
            r#"{{"specversion": "1.0", "id": "{id}", "source": "/s", "type": "order.created", "data": {{{total}, "id": "{id}", "items": [{{"price": {price}}}]}}}}"#
        )
    };
    let (large, small) = (
        event("7", r#""total": 120"#, 20),
        event("8", r#""total": 20"#, 20),
    );
    let (cheap, anonymous) = (
        event("9", r#""total": 120"#, 1),
        event("7", r#""total": 120"#, 20).replace(r#""id": "7", "items""#, r#""items""#),
    );
    write("rules/shop/large.event.json", &large);
    write(
        "rules/shop/orders.tests.json",
        &format!(
            r#"{{"cases": [
{{"name": "good", "event": "large.event.json", "matches": true, "sends": {{"billing": {{"body": {{"total": 1.2e2, "by": "orders", "order": "7"}}, "url": "https://b.example/o/7"}}}}}},
{{"name": "small", "event": {small}, "matches": true}},
{{"name": "cheap", "event": {cheap}, "matches": true}},
{{"name": "unwanted", "event": {large}, "matches": false}},
{{"name": "sent", "event": {large}, "matches": true, "sends": {{
  "billing": {{"method": "POST", "url": "https://b.example/o/8",
    "headers": {{"X-By": "/t", "x-not": null}},
    "body": {{"order": "7", "total": 121, "by": "orders"}}}},
  "text": {{"body": "order 7"}}}}}},
{{"name": "a dead letter", "event": {anonymous}, "matches": true, "sends": {{"billing": {{"error": "$.data.id"}}, "text": {{"error": "x"}}}}}}
]}}"#
        ),
    );
    let folder = dir.path().join("rules").display().to_string();
    let all = run(&["rule", "test", &folder]);
    for line in [
        "orders.tests.json:3: small: does not match: /data/total: 20 ",
        "(seen 20, wanted [{\"numeric\":[\">=\",100]}])",
        "orders.tests.json:4: cheap: does not match: filter $.data.items[?@.price > 10] selects nothing",
        "orders.tests.json:5: unwanted: matches, and must not",
        "orders.tests.json:7: sent: billing: method is PUT, wanted POST",
        "orders.tests.json:7: sent: billing: url is https://b.example/o/7, wanted https://b.example/o/8",
        "orders.tests.json:8: sent: billing: header x-by is \"/s\", wanted \"/t\"",
        "orders.tests.json:9: sent: billing: the body differs at \"/total\": is 120, wanted 121",
        "    -   \"total\": 121",
        "    +   \"total\": 120",
        "orders.tests.json:11: a dead letter: text: is sent, and must not be",
        "6 cases of 1 rule: 1 passed, 5 failed",
    ] {
        check(&all, 1, line, "");
    }
    let out = text(&all.stdout);
    assert!(!out.contains("x-not") && !out.contains(": good"), "{out}");
    let json = run(&["rule", "test", &folder, "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &5.into()));
    assert_eq!(json["cases"][1]["name"], "small");
    assert_eq!(json["cases"][1]["misses"][0]["line"], 3);
}

#[test]
fn a_bad_tests_file_shows_file_line_and_a_caret() {
    let dir = files();
    let write = |text: &str| {
        std::fs::write(dir.path().join("rule.tests.json"), text).expect("the file is written");
    };
    let test = || run(&["rule", "test", &path(&dir, "rule.tests.json")]);
    let event = r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "a"}"#;
    write("{\"cases\": [\n  {\"nam\": 1}\n]}");
    check(&test(), 5, "", "rule.tests.json:2:4 at /cases/0/nam");
    check(&test(), 5, "", "2 |   {\"nam\": 1}\n  |    ^");
    write("{\"cases\": [\n  {\"name\": \"a\", \"event\": {\"id\": 1}, \"matches\": true}\n]}");
    check(&test(), 5, "", "rule.tests.json:2:");
    write(&format!(
        "{{\"cases\": [{{\"name\": \"a\", \"event\": {event}, \"matches\": true,\n \"sends\": {{\"bill\": {{\"body\": 1}}}}}}]}}"
    ));
    check(&test(), 5, "", "rule.tests.json:2:12");
    check(
        &test(),
        5,
        "",
        "the rule has no target `bill`; it has: billing",
    );
    write("{\"cases\": [{\"name\": \"a\", \"matches\": true,\n \"event\": \"no.json\"}]}");
    check(&test(), 5, "", "rule.tests.json:2:11");
    std::fs::rename(path(&dir, "rule.tests.json"), path(&dir, "none.tests.json")).expect("renamed");
    let none = run(&["rule", "test", &path(&dir, "none.tests.json")]);
    check(&none, 5, "", "there is no file");
}

#[test]
fn explain_names_the_field_that_failed() {
    let dir = files();
    let explain = run(&[
        "rule",
        "explain",
        &path(&dir, "rule.json"),
        "--event",
        &path(&dir, "small.json"),
    ]);
    check(&explain, 3, "✗ /data/total", "");
    check(&explain, 3, "✓ /type", "");
    check(&explain, 3, "20", "");
}

#[test]
fn a_preview_shows_what_each_target_would_be_sent() {
    let dir = files();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("the file is written");
    };
    write(
        "orders.json",
        r#"{
  "pattern": { "type": ["order.created"] },
  "targets": [
    { "id": "billing", "url": "https://b.example/o/{id}", "path": { "id": { "path": "$.data.id" } }, "method": "PUT",
      "transform": { "template": { "by": "<eventyard.rule-name>" } } },
    { "id": "audit", "url": "https://a.example/", "headers": { "x-who": { "path": "$.data.who" } } }
  ]
}"#,
    );
    write(
        "event.json",
        r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "order.created", "data": {"id": 7, "who": "\u001b[31mx"}}"#,
    );
    write(
        "no-id.json",
        "{\n  \"specversion\": \"1.0\",\n  \"id\": 1, \"source\": \"/s\", \"type\": \"a\"\n}",
    );
    let preview = |event: &str, more: &[&str]| {
        let (rule, event) = (path(&dir, "orders.json"), path(&dir, event));
        let mut args = vec!["rule", "preview", &rule, "--event", &event];
        args.extend(more);
        run(&args)
    };
    let both = preview("event.json", &[]);
    check(&both, 3, "billing: PUT https://b.example/o/7", "");
    check(&both, 3, r#"{ "by": "orders" }"#, "");
    check(&both, 3, "audit: a dead letter (not_transformed)", "");
    check(&both, 3, "the header `x-who`", "");
    let one = preview("event.json", &["--target", "billing", "--output", "json"]);
    check(&one, 0, r#""url":"https://b.example/o/7""#, "");
    check(
        &preview("event.json", &["--target", "x"]),
        3,
        "",
        "billing, audit",
    );
    let bad = preview("no-id.json", &[]);
    check(&bad, 5, "", "no-id.json:3:9");
    check(&bad, 5, "", "3 |   \"id\": 1");
}

#[test]
fn a_bad_rule_shows_file_line_column_and_a_caret() {
    let dir = files();
    let output = run(&[
        "rule",
        "test",
        &path(&dir, "bad-rule.json"),
        "--event",
        &path(&dir, "large.json"),
    ]);
    check(&output, 5, "", "bad-rule.json:3:3");
    check(&output, 5, "", "did you mean `targets`?");
    check(&output, 5, "", "3 |   \"targts\": []\n  |   ^");
    let pattern = run(&[
        "rule",
        "test",
        "--pattern",
        r#"{"type":"a"}"#,
        "--event",
        &path(&dir, "large.json"),
    ]);
    check(&pattern, 5, "", "--pattern:1:9");
    let event = run(&[
        "rule",
        "test",
        &path(&dir, "rule.json"),
        "--event",
        &path(&dir, "broken.json"),
    ]);
    check(&event, 5, "", "broken.json:2:11");
}

#[test]
fn every_rule_file_is_checked_before_anything_is_sent() {
    let dir = files();
    let (good, bad) = (path(&dir, "rule.json"), path(&dir, "bad-rule.json"));
    check(
        &run(&["rule", "apply", "--check", &good]),
        0,
        "default/rule",
        "",
    );
    // The bus is not there; the bad file is found first.
    let url = "http://127.0.0.1:1";
    check(
        &run(&["rule", "apply", &good, &bad, "--url", url]),
        5,
        "",
        "targts",
    );
    check(
        &run(&["rule", "apply", &good, "--url", url]),
        4,
        "",
        "eventyard serve",
    );
    let planned = run(&["rule", "apply", "--dry-run", &good, "--url", url]);
    check(&planned, 4, "", "eventyard serve");
    let prune = run(&["rule", "apply", "--prune", &good, "--url", url]);
    check(&prune, 2, "", "--prune needs a folder");
    let both = run(&["rule", "apply", &good, "--dry-run", "--check"]);
    check(&both, 2, "", "cannot be used with");
    let folder = path(&dir, "folder");
    std::fs::create_dir_all(format!("{folder}/shop")).expect("a folder");
    std::fs::copy(&bad, format!("{folder}/shop/bad.json")).expect("a copy");
    let bad = run(&["rule", "apply", &folder, "--url", url]);
    check(&bad, 5, "", "bad.json:3:3");
}

#[test]
fn the_configuration_shows_where_each_value_comes_from() {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let output = eventyard(&["config", "show", "--grace", "3s"])
        .current_dir(dir.path())
        .env("EVENTYARD_LISTEN", "127.0.0.1:9")
        .output()
        .expect("the program starts");
    check(&output, 0, "EVENTYARD_LISTEN", "");
    check(&output, 0, "--grace", "");
    check(&output, 0, "default", "");
}

#[test]
fn doctor_is_content_with_an_empty_folder_and_not_with_a_bad_rule() {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let doctor = |dir: &Path| {
        eventyard(&["doctor", "--listen", "127.0.0.1:0"])
            .current_dir(dir)
            .output()
            .expect("the program starts")
    };
    check(&doctor(dir.path()), 0, "ok", "");
    let rules = dir.path().join("rules/default");
    std::fs::create_dir_all(&rules).expect("the folder is made");
    std::fs::write(rules.join("bad.json"), "{").expect("the file is written");
    check(&doctor(dir.path()), 1, "bad.json:1:", "");
    let no_certificate = [
        "doctor",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert-file",
        "none.pem",
    ];
    check(&run(&no_certificate), 1, "none.pem", "");
    // Nobody may make a folder there.
    let unmakeable = [
        "doctor",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "/proc/none",
    ];
    check(&run(&unmakeable), 1, "/proc cannot be written", "");
}

#[test]
fn doctor_looks_at_the_keys_that_sign_tokens() {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let doctor = |access: &str, keys: &str| {
        eventyard(&["doctor", "--listen", "127.0.0.1:0", "--access", access])
            .args(["--jwt-keys", keys, "--jwt-audience", "bus"])
            .args(["--jwt-issuer", "https://id.example.com"])
            .current_dir(dir.path())
            .output()
            .expect("the program starts")
    };
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let ed25519 = format!(r#"{{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "{x}"}}"#);
    let set = |keys: &str| format!(r#"{{"keys": [{keys}]}}"#);
    for (name, text) in [
        ("good.json", set(&ed25519)),
        ("shared.json", set(r#"{"kty": "oct", "k": "c2VjcmV0"}"#)),
        ("none.json", set("")),
        ("one.json", ed25519.clone()),
        ("text.json", "no JSON".to_owned()),
    ] {
        std::fs::write(dir.path().join(name), text).expect("the file is written");
    }
    check(&doctor("keys", "good.json"), 0, "1 key in good.json", "");
    check(
        &doctor("keys", "missing.json"),
        1,
        "missing.json: No such file",
        "",
    );
    check(&doctor("keys", "shared.json"), 1, "it holds no key", "");
    check(&doctor("keys", "none.json"), 1, "it holds no key", "");
    check(&doctor("keys", "one.json"), 1, "it is no key set", "");
    check(&doctor("keys", "text.json"), 1, "it is no key set", "");
    let far = "http://id.example.com/keys";
    check(&doctor("keys", far), 1, "an https:// URL is wanted", "");

    // A URL that does not answer is worth a word: the bus starts, and goes on asking.
    let nobody = "http://127.0.0.1:1/keys";
    check(
        &doctor("keys", nobody),
        0,
        "warning  tokens: http://127",
        "",
    );
    let answered = |status: &'static str, body: String| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a caller");
            let mut head = [0; 4096];
            let read = socket.read(&mut head).expect("a request");
            assert!(head[..read].starts_with(b"GET /keys HTTP/1.1"));
            let length = body.len();
            write!(
                socket,
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .expect("an answer");
        });
        doctor("keys", &url)
    };
    check(
        &answered("200 OK", set(&ed25519)),
        0,
        "1 key in http://127",
        "",
    );
    check(&answered("200 OK", set("")), 1, "it holds no key", "");
    check(
        &answered("404 Not Found", String::new()),
        0,
        "it answered 404",
        "",
    );

    let unasked = doctor("off", "missing.json");
    check(&unasked, 0, "nobody is asked for a token", "");
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        check(&run(&["completions", shell]), 0, "dead-letter", "");
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let folder = path(&dir, "man1");
    check(&run(&["man", &folder]), 0, &folder, "");
    let page = |name: &str| std::fs::read_to_string(format!("{folder}/{name}.1"));
    for (name, text) in [
        ("eventyard", "Exit codes:"),
        ("eventyard-rule-test", "tests.json"),
        ("eventyard-dead-letter-redrive", "Examples:"),
    ] {
        let page = page(name).expect("the page is there");
        assert!(
            page.contains(".TH") && page.contains(text),
            "{name}: {page}"
        );
    }
    assert!(page("eventyard-bench-peer").is_err(), "hidden");
}

#[test]
fn quickstart_shows_events_rules_and_deliveries() {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let output = eventyard(&["quickstart", "--once", "--port", "18080"])
        .current_dir(dir.path())
        .output()
        .expect("the program starts");
    let out = text(&output.stdout);
    check(&output, 0, "event in", "");
    check(&output, 0, "large-orders matches", "");
    check(&output, 0, "POST /billing", "");
    check(&output, 0, "none matches", "");
    assert!(
        !out.contains('\u{1b}'),
        "output that is no terminal's is plain"
    );
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("the folder is readable")
        .collect();
    assert!(left.is_empty(), "quickstart cleans up after itself");
}
