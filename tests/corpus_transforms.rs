//! Holds the transformer against recorded facts: what live AWS delivered.
//!
//! Runs when the environment variable `EVENTYARD_CORPORA` names the folder of
//! `transform-cases.jsonl`; passes and says so otherwise.

use std::path::Path;

use eventyard::query::{Query, Subject};
use eventyard::rule::RuleDocument;
use eventyard::transform::{Marks, Template, Transform, Variable, Variables};
use serde_json::{Value, json};

const VARIABLES: Variables<'_> = Variables {
    bus: "<bus-name>",
    rule: "<rule-name>",
    target: "<target-id>",
    rule_arn: "arn:aws:events:us-east-1:123456789012:rule/<bus-name>/<rule-name>",
    ingestion_time: "<ingestion-time>",
    sequence: 1,
};

#[test]
fn every_recorded_case_is_transformed_as_recorded() {
    let Some(folder) = std::env::var_os("EVENTYARD_CORPORA") else {
        println!("skipped: EVENTYARD_CORPORA names no folder");
        return;
    };
    let path = Path::new(&folder).join("transform-cases.jsonl");
    let corpus = std::fs::read_to_string(&path).expect("the corpus is readable");
    let cases: Vec<Value> = corpus
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("a case is one JSON object"))
        .collect();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case["id"], decide(case).err()?)))
        .collect();
    println!("{} cases", cases.len());
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn decide(case: &Value) -> Result<(), String> {
    if case.get("put_targets_error").is_some() {
        return refused(case);
    }
    // The order of members in what is delivered is the event's own.
    let event = case["event"].to_string();
    let subject = Subject::json(event.as_bytes()).ok_or("the event is not JSON")?;
    let result = compile(case)?.apply(&subject, &VARIABLES);
    let body = match (result, case["delivered"] == false) {
        (Err(_), true) => return Ok(()),
        (Ok(payload), true) => return Err(format!("{:?} would be delivered", payload.bytes)),
        (Err(error), false) => return Err(error.to_string()),
        (Ok(payload), false) => String::from_utf8(payload.bytes.to_vec()).map_err(|_| "no text")?,
    };
    let right = match (case.get("body_json"), case.get("body_text")) {
        (Some(expected), _) => {
            serde_json::from_str::<Value>(&body).is_ok_and(|body| body == *expected)
        }
        (None, Some(expected)) => *expected == body,
        (None, None) => return Err("the case expects nothing".to_owned()),
    };
    if right { Ok(()) } else { Err(body) }
}

fn compile(case: &Value) -> Result<Transform, String> {
    if let Some(input) = case.get("input") {
        return Ok(Transform::Constant(input.to_string()));
    }
    let query = |path: &Value| Query::parse(path.as_str().unwrap_or_default());
    if let Some(path) = case.get("input_path") {
        return query(path)
            .map(Transform::Path)
            .map_err(|error| error.to_string());
    }
    let mut variables = Vec::new();
    for (name, path) in case["input_paths"].as_object().into_iter().flatten() {
        let query = query(path).map_err(|error| error.to_string())?;
        variables.push((name.clone(), Variable::Path(query)));
    }
    let template = case["input_template"].as_str().unwrap_or_default();
    Template::parse(template, Marks::Angles, &variables)
        .map(Transform::Template)
        .map_err(|error| error.to_string())
}

/// What AWS refuses when the target is put is refused when the rule is.
fn refused(case: &Value) -> Result<(), String> {
    let mut transform = json!({});
    for (ours, theirs) in [
        ("input", "input"),
        ("input_path", "input_path"),
        ("input_paths", "input_paths"),
        ("template", "input_template"),
    ] {
        if let Some(value) = case.get(theirs) {
            transform[ours] = value.clone();
        }
    }
    let rule = json!({"pattern": {"type": ["a"]}, "targets": [{"id": "a", "url": "http://h/", "transform": transform}]});
    match RuleDocument::parse(&rule.to_string()) {
        Ok(_) => Err(format!("{transform} is taken")),
        Err(problems)
            if problems
                .iter()
                .all(|problem| problem.pointer.starts_with("/targets/0/transform")) =>
        {
            Ok(())
        }
        Err(problems) => Err(format!("{problems:?}")),
    }
}
