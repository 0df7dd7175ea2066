//! Holds every answer that a test gets against the bus's own description of it.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use eventyard::api::description;
use jsonschema::Validator;
use serde_json::Value;

use super::Answer;

/// Checks the answer to a request, where the API describes one: its status, its media type, its body.
pub(crate) fn check(method: &str, path: &str, answer: &Answer) {
    let id = answer.header("x-request-id");
    assert!(!id.is_empty(), "{method} {path} answered without a name");
    if answer.status.is_client_error() || answer.status.is_server_error() {
        // A HEAD has no body.
        let said = answer.body.is_empty() || answer.json()["request_id"] == id;
        assert!(said, "{method} {path}: {id:?} is not in {}", answer.text());
    }
    if answer.status == 422 && !answer.body.is_empty() {
        check_places(&format!("{method} {path}"), &answer.json());
    }
    let Some((template, operation)) = operation(method, path) else {
        return;
    };
    let place = format!("{method} {path} answered {}", answer.status);
    let status = answer.status.as_str();
    let Some(described) = operation["responses"].get(status) else {
        panic!(
            "{place}, which {template} is not described to: {}",
            answer.text()
        );
    };
    let described = resolved(described);
    let content_type = answer.header("content-type");
    let Some(content) = described.get("content") else {
        assert!(
            answer.body.is_empty(),
            "{place} with a body: {}",
            answer.text()
        );
        return;
    };
    let Some(media) = content.get(content_type) else {
        panic!("{place} in the media type {content_type:?}, which is not described");
    };
    if !content_type.contains("json") {
        return;
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let key = format!("{method} {template} {status}");
    static VALIDATORS: OnceLock<Mutex<HashMap<String, Validator>>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(Mutex::default);
    let mut validators = validators
        .lock()
        .unwrap_or_else(|broken| broken.into_inner());
    let validator = validators.entry(key).or_insert_with(|| {
        let mut schema = media["schema"].clone();
        schema["components"] = description()["components"].clone();
        jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap()
    });
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{place}, not as described: {body}\n{}",
        errors.join("\n")
    );
}

/// Who is refused for what stands in the body is told where, and what would be right. (What is
/// wrong with an idempotency key stands in no body.)
fn check_places(what: &str, problem: &Value) {
    if problem["type"].as_str().unwrap().ends_with("key-reused") {
        return;
    }
    let places = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(!places.is_empty(), "{what}: no place in {problem}");
    for place in places {
        let pointer = place["pointer"].as_str().unwrap();
        let is_pointer = pointer.is_empty() || pointer.starts_with('/');
        assert!(is_pointer, "{what}: {pointer:?} in {problem}");
        let detail = place["detail"].as_str().unwrap();
        assert!(!detail.is_empty(), "{what}: nothing said in {problem}");
    }
}

/// The operation that a request is for, the one with the fewest placeholders.
fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = description()["paths"].as_object().unwrap();
    let fitting = paths.iter().filter(|(template, _)| fits(template, path));
    let (template, item) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    let operation = item.get(method.to_ascii_lowercase())?;
    Some((template, operation))
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    let mut segments = template.clone().zip(path.clone());
    template.count() == path.count()
        && segments.all(|(wanted, given)| {
            wanted == given || (wanted.starts_with('{') && !given.is_empty())
        })
}

fn resolved(part: &'static Value) -> &'static Value {
    match part.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            description().pointer(pointer).unwrap()
        }
        None => part,
    }
}
