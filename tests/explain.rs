//! Holds `explain` to its word: of every pattern that does not match, it names fields that, changed
//! as it says, hold; and once all of them do, the pattern matches.
//!
//! Over patterns and events that are made up (`EVENTYARD_SEED` repeats a run), and over recorded
//! cases when the environment variable `EVENTYARD_CORPORA` names the folder of
//! `pattern-cases.jsonl`.

use std::path::Path;

use eventyard::pattern::{Document, EventPattern, Explanation, FieldExplanation};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Case<'a> {
    id: String,
    #[serde(borrow)]
    pattern: &'a RawValue,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    pattern_text: Option<String>,
    event_text: Option<String>,
    #[serde(rename = "match")]
    matches: Option<bool>,
}

/// Why a case could not be tried.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    fields: usize,
    /// The event is no JSON, or says something else once its doubled keys are gone.
    not_rewritable: usize,
    /// The condition holds of no value, or none was found.
    no_value: usize,
    /// Fields of one pattern that cannot hold together.
    at_odds: usize,
}

#[test]
fn what_explain_names_is_what_keeps_a_pattern_from_matching() {
    let Some(folder) = std::env::var_os("EVENTYARD_CORPORA") else {
        println!("skipped: EVENTYARD_CORPORA names no folder");
        return;
    };
    let path = Path::new(&folder).join("pattern-cases.jsonl");
    let corpus = std::fs::read_to_string(&path).expect("the corpus is readable");
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for line in corpus.lines().filter(|line| !line.trim().is_empty()) {
        let line = line.replace(" Infinity", " null");
        let case: Case<'_> = serde_json::from_str(&line).expect("a case is one JSON object");
        if case.matches != Some(false) {
            continue;
        }
        let pattern = case.pattern_text.as_deref().unwrap_or(case.pattern.get());
        let raw = case.event.map(RawValue::get);
        let event = case.event_text.as_deref().or(raw).expect("an event");
        if let Err(error) = check(pattern, event, &mut tally) {
            wrong.push(format!("{}: {pattern} against {event}: {error}", case.id));
        }
    }
    println!("{tally:?}");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(tally.tried > 200, "most cases can be tried: {tally:?}");
}

/// Conditions whose values can be found, every operator among them.
const CONDITIONS: [&str; 26] = [
    r#""x""#,
    "1",
    "2.5",
    "true",
    "null",
    r#"{"exactly": "xy"}"#,
    r#"{"prefix": "x"}"#,
    r#"{"prefix": {"equals-ignore-case": "Xy"}}"#,
    r#"{"suffix": "y"}"#,
    r#"{"suffix": {"equals-ignore-case": "xY"}}"#,
    r#"{"equals-ignore-case": "XY"}"#,
    r#"{"wildcard": "x*y"}"#,
    r#"{"wildcard": "*.\\*"}"#,
    r#"{"anything-but": "x"}"#,
    r#"{"anything-but": ["x", "y"]}"#,
    r#"{"anything-but": [1, 2]}"#,
    r#"{"anything-but": {"prefix": ["x", "y"]}}"#,
    r#"{"anything-but": {"suffix": "y"}}"#,
    r#"{"anything-but": {"equals-ignore-case": ["X", "xy"]}}"#,
    r#"{"anything-but": {"wildcard": "x*"}}"#,
    r#"{"numeric": ["=", 2]}"#,
    r#"{"numeric": [">", 1, "<", 1.5]}"#,
    r#"{"numeric": ["<=", -3]}"#,
    r#"{"cidr": "10.0.0.0/8"}"#,
    r#"{"exists": true}"#,
    r#"{"exists": false}"#,
];

const SCALARS: [&str; 10] = [
    r#""x""#,
    r#""y""#,
    r#""xy""#,
    r#""""#,
    "1",
    "2",
    "-4",
    "true",
    "null",
    r#""10.1.2.3""#,
];

const PATHS: [&[&str]; 8] = [
    &["a"],
    &["b", "x"],
    &["b", "y"],
    &["c", "z", "x"],
    &["c", "z", "y"],
    &["c", "w"],
    &["d"],
    &["e/~", "x"],
];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Some of the paths with conditions, each once; those of `paths` that were used are taken away.
fn some_fields(random: &mut fastrand::Rng, paths: &mut Vec<&'static [&'static str]>) -> Value {
    let mut fields = json!({});
    for _ in 0..random.usize(1..=3) {
        let Some(path) = paths.pop() else { break };
        let count = random.usize(1..=2);
        let conditions = (0..count).map(|_| parsed(CONDITIONS[random.usize(..CONDITIONS.len())]));
        let conditions: Vec<Value> = conditions.collect();
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        set(&mut fields, &path, Some(Value::Array(conditions)));
    }
    fields
}

fn some_pattern(random: &mut fastrand::Rng) -> Value {
    let mut paths = PATHS.to_vec();
    random.shuffle(&mut paths);
    let mut pattern = some_fields(random, &mut paths);
    if random.bool() && paths.len() > 1 {
        let first = some_fields(random, &mut paths);
        // The other alternative may be about the same fields.
        let mut others = PATHS.to_vec();
        random.shuffle(&mut others);
        pattern["$or"] = json!([first, some_fields(random, &mut others)]);
    }
    if pattern["$or"][0] == json!({}) {
        pattern.as_object_mut().expect("an object").remove("$or");
    }
    pattern
}

fn some_value(random: &mut fastrand::Rng, depth: usize) -> Value {
    match random.usize(..if depth == 0 { 2 } else { 6 }) {
        0 | 1 => parsed(SCALARS[random.usize(..SCALARS.len())]),
        2 => {
            let count = random.usize(..3);
            Value::Array((0..count).map(|_| some_value(random, depth - 1)).collect())
        }
        _ => some_object(random, depth - 1),
    }
}

fn some_object(random: &mut fastrand::Rng, depth: usize) -> Value {
    let keys = ["a", "b", "c", "d", "e/~", "w", "x", "y", "z"];
    let mut object = Map::new();
    for _ in 0..random.usize(..5) {
        let key = keys[random.usize(..keys.len())];
        object.insert(key.to_owned(), some_value(random, depth));
    }
    Value::Object(object)
}

#[test]
fn of_any_pattern_that_does_not_match_explain_names_what_would() {
    let seed = std::env::var("EVENTYARD_SEED").ok();
    let seed: u64 = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("EVENTYARD_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    for _ in 0..5_000 {
        let (text, event) = (
            some_pattern(&mut random).to_string(),
            some_object(&mut random, 3),
        );
        let pattern = EventPattern::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        if pattern.matches(&Document::json(event.to_string().as_bytes())) {
            continue;
        }
        if let Err(error) = check(&text, &event.to_string(), &mut tally) {
            panic!("{text} against {event}: {error}");
        }
    }
    println!("{tally:?}");
    assert!(tally.tried > 3_000 && tally.no_value == 0, "{tally:?}");
}

fn explain(pattern: &EventPattern, event: &Value) -> Explanation {
    pattern.explain(&Document::json(event.to_string().as_bytes()))
}

fn check(text: &str, event: &str, tally: &mut Tally) -> Result<(), String> {
    let pattern = EventPattern::parse(text).map_err(|error| error.to_string())?;
    let first = pattern.explain(&Document::json(event.as_bytes()));
    if first.matches {
        return Err("explain says that it matches".to_owned());
    }
    if !first.fields.iter().any(fails) {
        return Err(format!("no field is named: {:?}", first.fields));
    }
    let Ok(event @ Value::Object(_)) = serde_json::from_str::<Value>(event) else {
        tally.not_rewritable += 1;
        return Ok(());
    };
    let before = explain(&pattern, &event);
    if before != first {
        tally.not_rewritable += 1;
        return Ok(());
    }
    tally.tried += 1;
    for (at, field) in before.fields.iter().enumerate() {
        if field.matches {
            continue;
        }
        let Some(value) = value_for(field) else {
            tally.no_value += 1;
            continue;
        };
        tally.fields += 1;
        let mut changed = event.clone();
        set(&mut changed, &path_of(field), value.clone());
        let after = explain(&pattern, &changed);
        if !after.fields[at].matches {
            return Err(format!(
                "{value:?} does not make {field:?} hold in {changed}"
            ));
        }
    }
    until_it_matches(&pattern, event, tally)
}

/// Does what the explanations say, one field at a time, of one combination of every `$or`.
fn until_it_matches(
    pattern: &EventPattern,
    mut event: Value,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut explanation = explain(pattern, &event);
    let count = explanation.fields.len();
    let paths = explanation.fields.iter().filter(|field| is_first(field));
    let paths: Vec<Vec<String>> = paths.map(path_of).collect();
    let below = |one: &Vec<String>, other: &Vec<String>| other.starts_with(one);
    let meet = paths.iter().enumerate().any(|(at, one)| {
        let mut others = paths.iter().enumerate();
        others.any(|(other_at, other)| at != other_at && below(one, other))
    });
    if meet {
        // Such as one field of the pattern and of its `$or`.
        tally.at_odds += 1;
        return Ok(());
    }
    for _ in 0..=2 * count {
        if explanation.matches {
            return Ok(());
        }
        let named = explanation.fields.iter().filter(|field| is_first(field));
        let Some(field) = named.clone().find(|field| fails(field)) else {
            return Err(format!(
                "no field is named any more: {explanation:?} of {event}"
            ));
        };
        let Some(value) = value_for(field) else {
            tally.no_value += 1;
            return Ok(());
        };
        set(&mut event, &path_of(field), value);
        explanation = explain(pattern, &event);
    }
    match explanation.matches {
        true => Ok(()),
        false => Err(format!("it never matches: {explanation:?} of {event}")),
    }
}

/// Whether the explanation says that this field keeps the pattern from matching.
fn fails(field: &FieldExplanation) -> bool {
    !field.matches || field.reason.contains("no one array element")
}

/// Whether the field belongs to the first alternative of every `$or` above it.
fn is_first(field: &FieldExplanation) -> bool {
    let parts: Vec<&str> = field.pointer.split('/').collect();
    let mut pairs = parts.windows(2);
    pairs.all(|pair| pair[0] != "$or" || pair[1] == "0" || pair[1].parse::<usize>().is_err())
}

/// The field in the event: the pointer in the pattern without its `$or`s.
fn path_of(field: &FieldExplanation) -> Vec<String> {
    let parts: Vec<String> = field
        .pointer
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    let (mut path, mut at) = (Vec::new(), 0);
    while at < parts.len() {
        let number = parts
            .get(at + 1)
            .is_some_and(|next| next.parse::<usize>().is_ok());
        if parts[at] == "$or" && number && at + 2 < parts.len() {
            at += 2;
        } else {
            path.push(parts[at].clone());
            at += 1;
        }
    }
    path
}

/// Puts the value there, or takes it away; arrays and scalars on the way give place to objects.
fn set(event: &mut Value, path: &[String], value: Option<Value>) {
    let Some(object) = event.as_object_mut() else {
        *event = Value::Object(Map::new());
        return set(event, path, value);
    };
    let (name, deeper) = path.split_first().expect("a field has a path");
    // The same field in another spelling: a key with dots.
    let whole = path.join(".");
    object.retain(|key, _| {
        !(key.contains('.') && (*key == whole || whole.starts_with(&format!("{key}."))))
    });
    match (deeper.is_empty(), value) {
        (true, Some(value)) => drop(object.insert(name.clone(), value)),
        (true, None) => drop(object.remove(name)),
        (false, value) => {
            let below = object.entry(name.clone()).or_insert_with(|| json!({}));
            set(below, deeper, value);
        }
    }
}

/// A value that the field's condition wants: `Some(None)` is no value. None when none was found.
fn value_for(field: &FieldExplanation) -> Option<Option<Value>> {
    let wanted: Value = serde_json::from_str(&field.wanted).ok()?;
    let wanted = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted]);
    wanted.iter().find_map(of_condition)
}

fn of_condition(condition: &Value) -> Option<Option<Value>> {
    let Some(object) = condition.as_object() else {
        return Some(Some(condition.clone()));
    };
    let (operator, operand) = object.iter().next()?;
    let value = match operator.as_str() {
        "exists" if operand == &json!(false) => return Some(None),
        "exists" => json!("x"),
        "exactly" | "equals-ignore-case" => first_text(operand)?,
        "prefix" | "suffix" => match operand.get("equals-ignore-case") {
            Some(text) => first_text(text)?,
            None => first_text(operand)?,
        },
        "wildcard" => json!(unescaped(first_text(operand)?.as_str()?)),
        "cidr" => json!(operand.as_str()?.split('/').next()?),
        "numeric" => number_within(operand.as_array()?)?,
        "anything-but" => other_than(operand)?,
        _ => return None,
    };
    Some(Some(value))
}

fn first_text(operand: &Value) -> Option<Value> {
    match operand {
        Value::Array(several) => several.first().cloned(),
        other => Some(other.clone()),
    }
}

/// The wildcard's text with nothing in the place of each star.
fn unescaped(wildcard: &str) -> String {
    let (mut text, mut chars) = (String::new(), wildcard.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            '*' => {}
            c => text.push(c),
        }
    }
    text
}

fn number_within(conditions: &[Value]) -> Option<Value> {
    let pairs: Vec<(&str, f64)> = conditions
        .chunks(2)
        .map(|pair| Some((pair.first()?.as_str()?, pair.get(1)?.as_f64()?)))
        .collect::<Option<_>>()?;
    let bounds: Vec<f64> = pairs.iter().map(|(_, bound)| *bound).collect();
    let mut candidates = bounds.clone();
    for bound in &bounds {
        candidates.extend([bound + 1.0, bound - 1.0, bound + 0.001, bound - 0.001]);
    }
    if let [one, other] = bounds[..] {
        candidates.push(f64::midpoint(one, other));
    }
    let holds = |value: f64| {
        pairs.iter().all(|(operator, bound)| match *operator {
            "=" => value == *bound,
            "<" => value < *bound,
            "<=" => value <= *bound,
            ">" => value > *bound,
            ">=" => value >= *bound,
            _ => false,
        })
    };
    let value = candidates.into_iter().find(|value| holds(*value))?;
    Some(json!(value))
}

/// Of several texts that nobody forbids all of, one that this operand does not name.
fn other_than(operand: &Value) -> Option<Value> {
    let texts: Vec<String> = match operand {
        Value::Array(several) => several.iter().map(text_of).collect(),
        Value::Object(object) => match first_text(object.values().next()?)? {
            Value::Object(inner) => inner.values().map(text_of).collect(),
            _ => match object.values().next()? {
                Value::Array(several) => several.iter().map(text_of).collect(),
                one => vec![text_of(one)],
            },
        },
        one => vec![text_of(one)],
    };
    // No letter of theirs: no prefix, suffix or equal of it, and a wildcard only when it is all stars.
    let foreign = ('\u{2460}'..'\u{24ff}').find(|c| texts.iter().all(|text| !text.contains(*c)))?;
    let all_stars = |text: &String| text.chars().all(|c| c == '*');
    match operand.get("wildcard").is_some() && texts.iter().any(all_stars) {
        true => Some(json!(1)),
        false => Some(json!(foreign.to_string())),
    }
}

fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
