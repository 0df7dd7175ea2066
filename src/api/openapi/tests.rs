//! The document and the table of routes say the same, and every example is what its schema says.

use std::collections::BTreeSet;

use jsonschema::Validator;

use super::*;

/// A part of the document as a schema, with what it may refer to.
fn validator(schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = description()["components"].clone();
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

#[track_caller]
fn check(place: &str, schema: &Value, example: &Value) {
    let errors: Vec<String> = validator(schema)
        .iter_errors(example)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{place}: {example}\n{}",
        errors.join("\n")
    );
}

/// Every operation with its name in messages.
fn operations() -> Vec<(String, &'static Value)> {
    let paths = description()["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation)
        })
    });
    operations.collect()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let routes: BTreeSet<String> = contract()
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let described: BTreeSet<String> = operations().into_iter().map(|(name, _)| name).collect();
    let differs: Vec<_> = routes.symmetric_difference(&described).collect();
    assert!(
        differs.is_empty(),
        "a route or an operation, but not both: {differs:#?}"
    );
}

#[test]
fn every_operation_has_examples_that_its_schemas_take() {
    let mut examples = 0;
    let mut media = |place: &str, content: &Value| {
        for (media_type, media) in content.as_object().into_iter().flatten() {
            let place = format!("{place} {media_type}");
            let some = media["examples"].as_object();
            let some = some.into_iter().flatten().map(|(_, one)| &one["value"]);
            let all: Vec<&Value> = media.get("example").into_iter().chain(some).collect();
            assert!(!all.is_empty(), "{place} has no example");
            for example in all {
                check(&place, &media["schema"], example);
                examples += 1;
            }
        }
    };
    for (name, operation) in operations() {
        let parameters = operation["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let place = format!("{name} {}", parameter["name"]);
            let example = parameter.get("example");
            let example = example.unwrap_or_else(|| panic!("{place} has no example"));
            check(&place, &parameter["schema"], example);
            let description = parameter["description"].as_str();
            assert!(description.is_some_and(|text| !text.is_empty()), "{place}");
        }
        media(&name, &operation["requestBody"]["content"]);
        let mut successes = 0;
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let status: u16 = status.parse().unwrap();
            media(&format!("{name} {status}"), &answer["content"]);
            successes += usize::from((200..300).contains(&status));
            if ![204, 304].contains(&status) && answer.get("$ref").is_none() {
                let has_body = answer.get("content").is_some() || name.starts_with("OPTIONS");
                assert!(has_body, "{name} {status} has no content");
            }
        }
        assert!(successes > 0, "{name} never succeeds");
    }
    for (name, answer) in description()["components"]["responses"]
        .as_object()
        .unwrap()
    {
        media(name, &answer["content"]);
    }
    assert!(examples > 80, "{examples}");
}

#[test]
fn examples_of_documents_are_ones_that_the_bus_takes() {
    let example = |path: &str| {
        let content = &description()["paths"][path]["put"]["requestBody"]["content"];
        content["application/json"]["example"].to_string()
    };
    crate::rule::RuleDocument::parse(&example("/v1/buses/{bus}/rules/{rule}")).unwrap();
    crate::rule::BusDocument::parse(&example("/v1/buses/{bus}")).unwrap();
}

#[test]
fn names_of_operations_are_different() {
    let operations = operations();
    let ids: BTreeSet<_> = operations
        .iter()
        .map(|(_, one)| one["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len());
}

#[test]
fn what_a_route_needs_is_what_its_operation_says() {
    for (method, path, need) in contract() {
        let operation = &description()["paths"][&path][method.as_str().to_ascii_lowercase()];
        let expected = match need {
            Need::Nothing => json!([]),
            Need::Publish => json!([{"apiKey": ["publish"]}]),
            Need::Consume => json!([{"apiKey": ["consume"]}]),
            Need::OnBus(scope) | Need::OnAll(scope) | Need::OnAny(scope) => {
                json!([{"apiKey": [scope.as_str()]}])
            }
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
        let guarded = operation["responses"].get("401").is_some();
        assert_eq!(guarded, need != Need::Nothing, "{method} {path}");
    }
}

/// Collects what is referred to.
fn references(at: &Value, found: &mut BTreeSet<String>) {
    match at {
        Value::Object(fields) => {
            for (name, below) in fields {
                match (name.as_str(), below.as_str()) {
                    ("$ref", Some(text)) => drop(found.insert(text.to_owned())),
                    _ => references(below, found),
                }
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| references(part, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_one() {
    let mut found = BTreeSet::new();
    references(description(), &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description().pointer(pointer).is_some(), "{reference}");
    }
    for (name, schema) in description()["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
        let referred = format!("#/components/schemas/{name}");
        let part = format!("{referred}/");
        let used = found
            .iter()
            .any(|one| *one == referred || one.starts_with(&part));
        assert!(used, "{name} is described and not used");
        for example in schema["examples"].as_array().into_iter().flatten() {
            check(name, schema, example);
        }
    }
}
