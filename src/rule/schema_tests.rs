//! Holds `schemas/*.json` against the code: same fields, same defaults, same verdicts.

use std::collections::BTreeSet;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::reader::Shape;
use super::*;

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.schema.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::validator_for(schema).unwrap()
}

#[track_caller]
fn same_fields(schema: &Value, pointer: &str, shape: &Shape) {
    let object = schema.pointer(pointer).unwrap();
    let described: BTreeSet<&str> = object["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let read: BTreeSet<&str> = shape.fields.iter().copied().collect();
    assert_eq!(described, read, "{pointer}");
    assert_eq!(object["additionalProperties"], json!(false), "{pointer}");
}

#[test]
fn the_schemas_describe_the_fields_that_are_read() {
    let rule = schema("rule");
    same_fields(&rule, "", &document::RULE);
    same_fields(&rule, "/properties/filter", &document::FILTER);
    same_fields(&rule, "/$defs/target", &target_document::TARGET);
    same_fields(&rule, "/$defs/retry", &target_document::RETRY);
    same_fields(&rule, "/$defs/batch", &target_document::BATCH);
    same_fields(&rule, "/$defs/schedule", &schedule::SCHEDULE);
    same_fields(&rule, "/$defs/schedule/properties/event", &schedule::EVENT);
    same_fields(&rule, "/$defs/dead_letter", &dead_letter::DEAD_LETTER);
    same_fields(&rule, "/$defs/target/properties/signing", &signing::SIGNING);
    same_fields(&rule, "/$defs/fromEvent", &parameter::PARAMETER);
    let at = "/$defs/target/properties/validation/oneOf/1";
    same_fields(&rule, at, &validation::VALIDATION);
    same_fields(&rule, "/$defs/secret", &secret_ref::SECRET);
    let at = "/$defs/target/properties/auth";
    same_fields(&rule, at, &auth::AUTH);
    let at = |way| format!("/$defs/target/properties/auth/properties/{way}");
    same_fields(&rule, &at("basic"), &auth::BASIC);
    same_fields(&rule, &at("api_key"), &auth::API_KEY);
    same_fields(&rule, &at("oauth2"), &auth::OAUTH2);
    same_fields(&rule, "/$defs/target/properties/tls", &tls::TLS);
    same_fields(&rule, "/$defs/target/properties/pull", &pull::PULL);
    let at = "/$defs/target/properties/transform";
    same_fields(&rule, at, &transform::TRANSFORM);
    let bus = schema("bus");
    same_fields(&bus, "", &bus::BUS);
    same_fields(&bus, "/properties/retention", &bus::RETENTION);
    let tests = schema("tests");
    same_fields(&tests, "", &cases::TESTS);
    same_fields(&tests, "/$defs/case", &cases::CASE);
    same_fields(&tests, "/$defs/sends", &cases::SENDS);
    assert_eq!(
        tests["properties"]["cases"]["maxItems"],
        json!(crate::limits::RULE_CASES)
    );
}

/// Every default of the schema, as a document that says nothing shows it.
#[track_caller]
fn same_defaults(schema: &Value, pointer: &str, shown: &Value) {
    let described = schema.pointer(pointer).unwrap()["properties"]
        .as_object()
        .unwrap();
    for (name, field) in described {
        let Some(default) = field.get("default") else {
            continue;
        };
        let text = |value: &Value| value.as_str().and_then(|text| parse_duration(text).ok());
        match (text(default), text(&shown[name])) {
            (Some(default), Some(shown)) => assert_eq!(default, shown, "{pointer}/{name}"),
            _ => assert_eq!(*default, shown[name], "{pointer}/{name}"),
        }
    }
}

#[test]
fn the_schemas_defaults_are_the_codes() {
    let rule = RuleDocument::parse(
        r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/"}, {"id": "u", "url": "http://h/", "mode": "batch"}]}"#,
    );
    let shown = serde_json::to_value(rule.unwrap()).unwrap();
    let schema_of_rule = schema("rule");
    same_defaults(&schema_of_rule, "", &shown);
    same_defaults(&schema_of_rule, "/$defs/target", &shown["targets"][0]);
    same_defaults(
        &schema_of_rule,
        "/$defs/dead_letter",
        &shown["targets"][0]["dead_letter"],
    );
    same_defaults(
        &schema_of_rule,
        "/$defs/retry",
        &shown["targets"][0]["retry"],
    );
    same_defaults(
        &schema_of_rule,
        "/$defs/batch",
        &shown["targets"][1]["batch"],
    );
    let shown = serde_json::to_value(BusDocument::default()).unwrap();
    same_defaults(&schema("bus"), "", &shown);
    same_defaults(&schema("bus"), "/properties/retention", &shown["retention"]);
}

/// Checks every `examples` and `default` beside a `$ref` or a type against its own schema.
fn check_examples(root: &Value, at: &Value, pointer: &str) {
    if let Some(fields) = at.as_object() {
        let examples = fields
            .get("examples")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for example in examples.chain(fields.get("default")) {
            let mut schema = at.clone();
            schema["$defs"] = root["$defs"].clone();
            assert!(validator(&schema).is_valid(example), "{pointer}: {example}");
        }
        for (name, below) in fields {
            if !matches!(name.as_str(), "examples" | "default") {
                check_examples(root, below, &format!("{pointer}/{name}"));
            }
        }
    } else if let Some(parts) = at.as_array() {
        for (index, below) in parts.iter().enumerate() {
            check_examples(root, below, &format!("{pointer}/{index}"));
        }
    }
}

#[test]
fn the_schemas_are_schemas_and_their_examples_valid() {
    for name in ["rule", "bus", "tests", "problem"] {
        let schema = schema(name);
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
        check_examples(&schema, &schema, name);
    }
}

#[test]
fn the_example_rules_are_valid_for_both() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = read_folder(&root.join("rules")).unwrap_or_else(|error| panic!("{error}"));
    assert!(read.rules.len() >= 3);
    let (rules, buses) = (validator(&schema("rule")), validator(&schema("bus")));
    for (bus, rule, document) in &read.rules {
        let json: Value = serde_json::from_str(document.text()).unwrap();
        assert!(rules.is_valid(&json), "{bus}/{rule}");
        let reference = json["$schema"].as_str().unwrap();
        assert!(
            root.join("rules")
                .join(bus.as_str())
                .join(reference)
                .exists(),
            "{reference}"
        );
        for target in &document.targets {
            assert!(
                target.url.as_str().starts_with("http://127.0.0.1:8081/"),
                "quickstart listens there"
            );
        }
    }
    for (bus, document) in &read.buses {
        let json: Value = serde_json::from_str(document.as_ref().unwrap().text()).unwrap();
        assert!(buses.is_valid(&json), "{bus}");
    }
}

#[test]
fn the_examples_of_credentials_are_valid_for_both() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rules");
    let read = read_folder(&root).unwrap_or_else(|error| panic!("{error}"));
    let rules = validator(&schema("rule"));
    let mut secrets = 0;
    for (bus, rule, document) in &read.rules {
        let json: Value = serde_json::from_str(document.text()).unwrap();
        assert!(rules.is_valid(&json), "{bus}/{rule}");
        for target in document.targets.clone() {
            secrets += target.for_preview(bus, rule).secrets().count();
        }
    }
    assert_eq!(secrets, 8);
}

#[test]
fn the_example_tests_are_valid_for_both() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = validator(&schema("tests"));
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("rules/default")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".tests.json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(RuleCase::parse_all(&text).is_ok(), "{}", path.display());
        let json: Value = serde_json::from_str(&text).unwrap();
        assert!(tests.is_valid(&json), "{}", path.display());
        let reference = json["$schema"].as_str().unwrap();
        assert!(path.with_file_name(reference).exists(), "{reference}");
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn schema_and_code_agree_on_good_and_bad_tests() {
    let base = json!({"name": "a", "event": {"id": "1"}, "matches": true});
    let with = |name: &str, value: Value| {
        let mut case = base.clone();
        case[name] = value;
        case
    };
    let sends = |wanted: Value| with("sends", json!({"t": wanted}));
    let mut cases = vec![base.clone(), json!({}), json!([]), json!("a")];
    for name in ["name", "event", "matches"] {
        let mut case = base.clone();
        case.as_object_mut().unwrap().remove(name);
        cases.push(case);
    }
    cases.extend([
        with("event", json!("a.event.json")),
        with("event", json!(1)),
        with("event", json!([])),
        with("matches", json!("yes")),
        with("matches", json!(false)),
        with("name", json!(1)),
        with("extra", json!(1)),
        with("sends", json!({})),
        with("sends", json!([])),
        with("sends", json!({"a b": {"body": 1}})),
        sends(json!({})),
        sends(json!(1)),
        sends(json!({"body": null})),
        sends(json!({"body": "text", "method": "PUT", "url": "http://h/"})),
        sends(json!({"method": 1})),
        sends(json!({"headers": {"x-a": "1", "x-b": null}})),
        sends(json!({"headers": {"x-a": 1}})),
        sends(json!({"error": "a"})),
        sends(json!({"error": "a", "body": 1})),
        sends(json!({"extra": 1})),
    ]);
    let mut files: Vec<Value> = cases.iter().map(|case| json!({"cases": [case]})).collect();
    let mut never = with("sends", json!({"t": {"body": 1}}));
    never["matches"] = json!(false);
    files.extend([
        json!({"cases": [never]}),
        json!({"cases": []}),
        json!({"cases": {}}),
        json!({}),
        json!([]),
        json!({"cases": [base], "$schema": "x"}),
        json!({"cases": [base], "$schema": 1}),
        json!({"cases": [base], "case": 1}),
    ]);
    let validator = validator(&schema("tests"));
    for file in files {
        let read = RuleCase::parse_all(&file.to_string());
        assert_eq!(validator.is_valid(&file), read.is_ok(), "{file}: {read:?}");
    }
}

#[test]
fn schema_and_code_agree_on_good_and_bad_rules() {
    let base = json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/"}]});
    let with = |pointer: &str, name: &str, value: Value| {
        let mut rule = base.clone();
        rule.pointer_mut(pointer).unwrap()[name] = value;
        rule
    };
    let target = |name: &str, value: Value| with("/targets/0", name, value);
    let mut cases = vec![base.clone(), json!({}), json!([]), json!(null)];
    cases.extend([
        with("", "enabled", json!(false)),
        with("", "enabled", json!("no")),
        with("", "$schema", json!("x")),
        with("", "extra", json!(1)),
        with("", "rate_limit", json!("1/s")),
        with("", "targets", json!([])),
        with("", "schedule", json!({"cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"})),
        with("", "schedule", json!({"rate": "5 minutes", "catch_up": "none", "event": {"type": "a", "data": [1]}})),
        with("", "schedule", json!({"rate": "5 m"})),
        with("", "schedule", json!({"rate": "5 minutes", "timezone": "UTC"})),
        with("", "schedule", json!({"catch_up": "all", "rate": "1 day"})),
        with("", "schedule", json!({})),
        with("", "filter", json!({"jsonpath": "$.data.a"})),
        with("", "filter", json!({"jsonpath": "data"})),
        with("", "filter", json!({})),
        with("", "pattern", json!([])),
        with("", "pattern", json!({"type": "a"})),
        with("", "pattern", json!({"type": []})),
        with("", "pattern", json!({"type": [{"prefix": "a"}], "data": {"n": [{"numeric": [">", 1]}], "x": [{"exists": false}, null, true]}})),
        with("", "pattern", json!({"type": [{"prefxi": "a"}]})),
        with("", "pattern", json!({"a": {"b": {"c": [1]}}})),
        target("id", json!("a b")),
        target("id", json!("x".repeat(65))),
        target("url", json!("ftp://h/")),
        target("url", json!("http://h/#f")),
        target("url", json!("http://h/a b")),
        target("url", json!("/x")),
        target("mode", json!("batch")),
        target("mode", json!("other")),
        target("batch", json!({})),
        target("timeout", json!("10s")),
        target("timeout", json!("10")),
        target("timeout", json!(10)),
        target("signing", json!({"secret": "a"})),
        target("signing", json!({"secrets": ["a", "b"]})),
        target("signing", json!({"secrets": []})),
        target("signing", json!({"secrets": ["a", "b", "c", "d", "e"]})),
        target("signing", json!({"secret": "a", "secrets": ["b"]})),
        target("signing", json!({"secret": "a b"})),
        target("signing", json!({})),
        target("signing", json!("whsec_x")),
        target("auth", json!({})),
        target("auth", json!({"bearer": {"secret": "a"}})),
        target("auth", json!({"bearer": "a"})),
        target("auth", json!({"bearer": {"secret": "a"}, "basic": {"username": "u", "password": {"secret": "a"}}})),
        target("auth", json!({"basic": {"username": "", "password": {"secret": "a"}}})),
        target("auth", json!({"basic": {"username": "a:b", "password": {"secret": "a"}}})),
        target("auth", json!({"basic": {"username": "a\nb", "password": {"secret": "a"}}})),
        target("auth", json!({"basic": {"username": "x".repeat(1025), "password": {"secret": "a"}}})),
        target("auth", json!({"api_key": {"in": "header", "name": "x-key", "value": {"secret": "a"}}})),
        target("auth", json!({"api_key": {"in": "header", "name": "x key", "value": {"secret": "a"}}})),
        target("auth", json!({"api_key": {"in": "header", "name": "CE-id", "value": {"secret": "a"}}})),
        target("auth", json!({"api_key": {"in": "header", "name": "Content-Type", "value": {"secret": "a"}}})),
        target("auth", json!({"api_key": {"in": "query", "name": "x key", "value": {"secret": "a"}}})),
        target("auth", json!({"api_key": {"in": "query", "name": "", "value": {"secret": "a"}}})),
        target("auth", json!({"api_key": {"in": "body", "name": "a", "value": {"secret": "a"}}})),
        target("auth", json!({"oauth2": {"token_url": "https://t/", "client_id": "c", "client_secret": {"secret": "a"}}})),
        target("auth", json!({"oauth2": {"token_url": "https://t/", "client_id": "c", "client_secret": {"secret": "a"}, "scope": "s", "audience": "a", "client_auth": "body"}})),
        target("auth", json!({"oauth2": {"token_url": "t", "client_id": "c", "client_secret": {"secret": "a"}}})),
        target("auth", json!({"oauth2": {"token_url": "https://t/", "client_id": "", "client_secret": {"secret": "a"}}})),
        target("auth", json!({"oauth2": {"token_url": "https://t/", "client_id": "c", "client_secret": {"secret": "a"}, "scope": ""}})),
        target("auth", json!({"oauth2": {"token_url": "https://t/", "client_id": "c", "client_secret": {"secret": "a"}, "client_auth": "x"}})),
        target("auth", json!({"oauth2": {"token_url": "https://t/", "client_id": "c"}})),
        target("tls", json!({"ca": {"secret": "a"}})),
        with("", "targets", json!([{"id": "t", "url": "https://h/", "tls": {"ca": {"secret": "a"}}}])),
        with("", "targets", json!([{"id": "t", "url": "HTTPS://h/", "tls": {"identity": {"secret": "a"}}}])),
        with("", "targets", json!([{"id": "t", "url": "https://h/", "tls": {}}])),
        with("", "targets", json!([{"id": "t", "url": "https://h/", "tls": {"ca": "a"}}])),
        target("transform", json!({"input": null})),
        target("transform", json!({"input_path": "$.data"})),
        target("transform", json!({"input_path": "data"})),
        target("transform", json!({"input": 1, "input_path": "$.data"})),
        target("transform", json!({"template": "x"})),
        target("transform", json!({"template": {"a": ["<id>"]}, "input_paths": {"id": "$.id"}})),
        target("transform", json!({"template": 1})),
        target("transform", json!({"input_paths": {"id": "$.id"}})),
        target("transform", json!({"template": "x", "input_paths": {"aws.x": "$.id"}})),
        target("transform", json!({"template": "x", "input_paths": {"a b": "$.id"}})),
        target("transform", json!({})),
        target("transform", json!({"form": "ORIGINAL"})),
        target("transform", json!({"form": "ORIGINAL", "value": 1})),
        target("transform", json!({"form": "CONSTANT", "value": 1})),
        target("transform", json!({"form": "CONSTANT"})),
        target("transform", json!({"form": "JSONPATH", "value": "$.data"})),
        target("transform", json!({"form": "JSONPATH", "value": 1})),
        target("transform", json!({"form": "TEMPLATE", "value": {"a": "$.id"}, "template": "${a}"})),
        target("transform", json!({"form": "TEMPLATE", "value": {"a": "$.id"}})),
        target("transform", json!({"form": "OTHER"})),
        target("concurrency", json!(0)),
        target("concurrency", json!(1024)),
        target("concurrency", json!(1025)),
        target("rate_limit", json!("200/s")),
        target("rate_limit", json!("1000000/h")),
        target("rate_limit", json!("1000001/h")),
        target("rate_limit", json!("0/s")),
        target("rate_limit", json!("1/d")),
        target("rate_limit", json!(5)),
        target("headers", json!({"x-a": "b c"})),
        target("headers", json!({"x-a": " b"})),
        target("headers", json!({"x-a": ""})),
        target("headers", json!({"x a": "b"})),
        target("headers", json!({"x-a": "b\r\nc"})),
        target("headers", json!({"ce-id": "b"})),
        target("headers", json!({"Webhook-Id": "b"})),
        target("headers", json!({"x-a": 1})),
        target("headers", json!({"x-a": {"path": "$.data.a"}})),
        target("headers", json!({"x-a": {"path": "$.data.a", "default": "b"}})),
        target("headers", json!({"x-a": {"path": "$.data.a", "default": null}})),
        target("headers", json!({"x-a": {"path": "$.data.a", "default": "ä"}})),
        target("headers", json!({"x-a": {"path": "$.data.a", "default": 1}})),
        target("headers", json!({"x-a": {"path": "a"}})),
        target("headers", json!({"x-a": {}})),
        target("headers", json!({"x-a": {"path": "$.a", "fallback": "b"}})),
        target("query", json!({"a": "b", "c": {"path": "$.id"}, "d ä": ""})),
        target("query", json!({"a": 1})),
        target("query", json!({"": "a"})),
        target("query", json!([])),
        target("method", json!("POST")),
        target("method", json!("PUT")),
        target("method", json!("PATCH")),
        target("method", json!("DELETE")),
        target("method", json!("GET")),
        target("method", json!("HEAD")),
        target("method", json!("CONNECT")),
        target("method", json!("post")),
        target("path", json!({"a b": "x"})),
        target("path", json!([])),
        target("retry", json!({"max_attempts": 3, "jitter": false})),
        target("retry", json!({"max_attempts": 0})),
        target("reply", json!(true)),
        target("reply", json!(false)),
        target("reply", json!({"bus": "replies"})),
        target("reply", json!({"bus": "a b"})),
        target("reply", json!({})),
        target("reply", json!("yes")),
        target("validation", json!("none")),
        target("validation", json!("cloudevents")),
        target("validation", json!("cloudevent")),
        target("validation", json!({"origin": "bus.example.com"})),
        target("validation", json!({"origin": "bus..com"})),
        target("validation", json!({"origin": "-bus"})),
        target("validation", json!({"origin": "a b"})),
        target("validation", json!({"origin": "x".repeat(64)})),
        target("validation", json!({"origin": "x.".repeat(126) + "x"})),
        target("validation", json!({"origin": "x.".repeat(127) + "x"})),
        target("validation", json!({})),
        target("validation", json!(true)),
        target("dead_letter", json!({})),
        target("dead_letter", json!({"retention": "30d"})),
        target("dead_letter", json!({"url": "https://h/dead"})),
        target("dead_letter", json!({"url": "/dead"})),
        target("dead_letter", json!({"url": "https://h/", "target": "x"})),
        target("dead_letter", json!({"max_age": "1d"})),
        target("disable_after", json!("5d")),
        target("disable_after", json!("never")),
        target("disable_after", json!("Never")),
        target("disable_after", json!(5)),
        target("retry", json!({"max_atempts": 1})),
    ]);
    for pulled in [
        json!({}),
        json!({"pull": {}}),
        json!({"pull": {"lease": "30s", "max_leases": 1}}),
        json!({"pull": {"lease": 30}}),
        json!({"pull": {"max_leases": 0}}),
        json!({"pull": {"max_leases": 10_001}}),
        json!({"pull": {"wait": "1s"}}),
        json!({"pull": true}),
        json!({"pull": {}, "url": "http://h/"}),
        json!({"pull": {}, "timeout": "1s"}),
        json!({"pull": {}, "ordering_key": "subject", "rate_limit": "1/s", "retry": {"max_attempts": 2}}),
    ] {
        let mut rule = base.clone();
        rule["targets"][0] = pulled;
        rule["targets"][0]["id"] = json!("t");
        cases.push(rule);
    }
    for (mode, path) in [
        ("binary", json!({"id": {"path": "$.data.id"}})),
        (
            "binary",
            json!({"id": {"path": "$.data.id", "default": "none"}}),
        ),
        (
            "binary",
            json!({"id": {"path": "$.data.id", "default": null}}),
        ),
        (
            "binary",
            json!({"id": {"path": "$.data.id", "default": ""}}),
        ),
        ("binary", json!({"id": ""})),
        ("batch", json!({"id": "1"})),
        ("batch", json!({"id": {"path": "$.data.id"}})),
    ] {
        let mut rule = target("path", path);
        rule["targets"][0]["url"] = json!("http://h/o/{id}");
        rule["targets"][0]["mode"] = json!(mode);
        cases.push(rule);
    }
    for (name, value) in [
        ("headers", json!({"x-a": {"path": "$.id"}})),
        ("query", json!({"a": {"path": "$.id"}})),
        ("query", json!({"a": "b"})),
    ] {
        let mut rule = target(name, value);
        rule["targets"][0]["mode"] = json!("batch");
        cases.push(rule);
    }
    for (name, value) in [
        ("query", json!({"a": "b"})),
        ("query", json!({"a": {"path": "$.id"}})),
        ("headers", json!({"x-a": {"path": "$.id"}})),
        ("method", json!("PUT")),
        ("method", json!("POST")),
    ] {
        for validation in ["none", "cloudevents"] {
            let mut rule = target(name, value.clone());
            rule["targets"][0]["validation"] = json!(validation);
            cases.push(rule);
        }
    }
    let validator = validator(&schema("rule"));
    for case in cases {
        let problems = RuleDocument::parse(&case.to_string()).err();
        assert_eq!(
            validator.is_valid(&case),
            problems.is_none(),
            "{case}: {problems:?}"
        );
    }
}

#[test]
fn schema_and_code_agree_on_good_and_bad_buses() {
    let validator = validator(&schema("bus"));
    for case in [
        json!({}),
        json!({"retention": {"max_age": "7d", "max_bytes": "8GiB"}, "dedup_window": "10m", "description": "d"}),
        json!({"retention": {"max_bytes": "8 GiB"}}),
        json!({"retention": {"max_bytes": 8}}),
        json!({"retention": {"age": "7d"}}),
        json!({"dedup_window": "10"}),
        json!({"max_age": "7d"}),
        json!([]),
    ] {
        let problems = BusDocument::parse(&case.to_string()).err();
        assert_eq!(
            validator.is_valid(&case),
            problems.is_none(),
            "{case}: {problems:?}"
        );
    }
}
