//! What a match is, as plainly as can be: the engine is held against it.
//!
//! Everything here is its own: documents and patterns are small trees, values are JSON texts, an
//! operator is its JSON beside a closure, and a sub-rule is checked by trying every value of every
//! field in turn.

use std::collections::BTreeMap;

/// A document. Keys may repeat and may hold dots.
#[derive(Debug, Clone)]
pub(super) enum Json {
    Object(Vec<(&'static str, Json)>),
    Array(Vec<Json>),
    Scalar(&'static str),
}

/// An alternative of a field: its JSON, and what it accepts of a scalar's JSON; `None` is
/// `exists: false`.
pub(super) type Want = (&'static str, Option<fn(&str) -> bool>);

/// An object of a pattern, entry by entry.
pub(super) type Pattern = Vec<Entry>;

#[derive(Debug, Clone)]
pub(super) enum Entry {
    Field(&'static str, Vec<Want>),
    Object(&'static str, Pattern),
    Or(Vec<Pattern>),
}

pub(super) fn json_text(json: &Json) -> String {
    match json {
        Json::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("\"{key}\":{}", json_text(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Json::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(json_text).collect();
            format!("[{}]", elements.join(", "))
        }
        Json::Scalar(text) => (*text).to_owned(),
    }
}

pub(super) fn pattern_text(pattern: &Pattern) -> String {
    let entries: Vec<String> = pattern
        .iter()
        .map(|entry| match entry {
            Entry::Field(key, wants) => {
                let wants: Vec<&str> = wants.iter().map(|(json, _)| *json).collect();
                format!("\"{key}\": [{}]", wants.join(","))
            }
            Entry::Object(key, inner) => format!("\"{key}\": {}", pattern_text(inner)),
            Entry::Or(branches) => {
                let branches: Vec<String> = branches.iter().map(pattern_text).collect();
                format!("\"$or\": [{}]", branches.join(","))
            }
        })
        .collect();
    format!("{{{}}}", entries.join(","))
}

/// Whether the pattern matches the document.
pub(super) fn matches(pattern: &Pattern, document: &Json) -> bool {
    let mut values = Vec::new();
    flatten(document, "", &Elements::new(), &mut 0, &mut values);
    let mut rules = vec![Rule::new()];
    compile(pattern, "", &mut rules);
    rules.iter().any(|rule| {
        let fields: Vec<(&String, &Vec<Want>)> = rule.iter().collect();
        holds(&fields, &values, &Elements::new())
    })
}

/// A sub-rule; a `BTreeMap` for the order of the keys.
type Rule = BTreeMap<String, Vec<Want>>;

/// For each array entered, the element.
type Elements = BTreeMap<usize, usize>;

struct Value {
    path: String,
    scalar: &'static str,
    elements: Elements,
}

fn compile(pattern: &Pattern, path: &str, rules: &mut Vec<Rule>) {
    for entry in pattern {
        match entry {
            Entry::Field(key, wants) => {
                for rule in rules.iter_mut() {
                    rule.insert(join(path, key), wants.clone());
                }
            }
            Entry::Object(key, inner) => compile(inner, &join(path, key), rules),
            Entry::Or(branches) => {
                let before = std::mem::take(rules);
                for branch in branches {
                    let mut branched = before.clone();
                    compile(branch, path, &mut branched);
                    rules.append(&mut branched);
                }
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn flatten(
    json: &Json,
    path: &str,
    elements: &Elements,
    arrays: &mut usize,
    values: &mut Vec<Value>,
) {
    match json {
        Json::Object(entries) => {
            for (key, value) in entries {
                flatten(value, &join(path, key), elements, arrays, values);
            }
        }
        Json::Array(items) => {
            let array = *arrays;
            *arrays += 1;
            for (index, item) in items.iter().enumerate() {
                let mut inside = elements.clone();
                if !matches!(item, Json::Scalar(_)) {
                    inside.insert(array, index);
                }
                flatten(item, path, &inside, arrays, values);
            }
        }
        Json::Scalar(scalar) => {
            values.push(Value {
                path: path.to_owned(),
                scalar,
                elements: elements.clone(),
            });
        }
    }
}

/// Whether the fields hold, given the elements that fields before them have entered.
fn holds(fields: &[(&String, &Vec<Want>)], values: &[Value], entered: &Elements) -> bool {
    let Some(((path, wants), rest)) = fields.split_first() else {
        return true;
    };
    let mut consistent = values.iter().filter(|value| {
        let agrees = |(array, element)| entered.get(array).is_none_or(|known| known == element);
        value.path == **path && value.elements.iter().all(agrees)
    });
    if wants.iter().any(|(_, accepts)| accepts.is_none())
        && consistent.clone().next().is_none()
        && holds(rest, values, entered)
    {
        return true;
    }
    consistent.any(|value| {
        let accepted = wants
            .iter()
            .any(|(_, accepts)| accepts.is_some_and(|accepts| accepts(value.scalar)));
        let mut entered = entered.clone();
        entered.extend(&value.elements);
        accepted && holds(rest, values, &entered)
    })
}
