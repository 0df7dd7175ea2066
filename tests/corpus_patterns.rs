//! Holds the pattern language against recorded facts: cases that event-ruler or live AWS decided.
//!
//! Runs when the environment variable `EVENTYARD_CORPORA` names the folder of
//! `pattern-cases.jsonl`; passes and says so otherwise.

use std::path::Path;

use eventyard::pattern::{Document, EventPattern, Matcher};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Cases that are decided differently here, by id, each with its reason.
const DIFFERENT: [(&str, &str); 0] = [];

#[derive(Deserialize)]
struct Case<'a> {
    id: String,
    #[serde(borrow)]
    pattern: &'a RawValue,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    /// The raw text where parsing would lose what the case is about.
    pattern_text: Option<String>,
    event_text: Option<String>,
    #[serde(rename = "match")]
    matches: Option<bool>,
    #[serde(default)]
    invalid: bool,
}

#[test]
fn every_recorded_case_is_decided_as_recorded() {
    let Some(folder) = std::env::var_os("EVENTYARD_CORPORA") else {
        println!("skipped: EVENTYARD_CORPORA names no folder");
        return;
    };
    let path = Path::new(&folder).join("pattern-cases.jsonl");
    let corpus = std::fs::read_to_string(&path).expect("the corpus is readable");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in corpus.lines().filter(|line| !line.trim().is_empty()) {
        // Where a raw text stands beside it, `pattern` may hold what only Python takes for JSON.
        let line = line.replace(" Infinity", " null");
        let case: Case<'_> = serde_json::from_str(&line).expect("a case is one JSON object");
        count += 1;
        let expected_here = DIFFERENT.iter().all(|(id, _)| *id != case.id);
        if decided_as_recorded(&case).is_ok() != expected_here {
            wrong.push(format!("{}: {:?}", case.id, decided_as_recorded(&case)));
        }
    }
    println!(
        "{count} cases, {} decided differently on purpose",
        DIFFERENT.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn decided_as_recorded(case: &Case<'_>) -> Result<(), String> {
    let pattern_text = case.pattern_text.as_deref().unwrap_or(case.pattern.get());
    let pattern = match (EventPattern::parse(pattern_text), case.invalid) {
        (Ok(_), true) => return Err(format!("{pattern_text} is taken for valid")),
        (Err(error), false) => {
            return Err(format!(
                "{pattern_text} is refused at {:?}: {error}",
                error.pointer
            ));
        }
        (Err(error), true) => return pointer_is_right(pattern_text, &error.pointer, error.offset),
        (Ok(pattern), false) => pattern,
    };
    let event = match (&case.event_text, case.event) {
        (Some(text), _) => text.as_str(),
        (None, Some(raw)) => raw.get(),
        (None, None) => return Err("the case has no event".into()),
    };
    let document = Document::json(event.as_bytes());
    let mut matcher = Matcher::default();
    matcher.add(1, &pattern);
    let verdicts = [
        pattern.matches(&document),
        pattern.explain(&document).matches,
        !matcher.matches(&document).is_empty(),
    ];
    if verdicts
        .iter()
        .all(|verdict| Some(*verdict) == case.matches)
    {
        Ok(())
    } else {
        Err(format!(
            "{pattern_text} against {event}: {verdicts:?}, not {:?}",
            case.matches
        ))
    }
}

/// A pointer leads to a value; text that is no JSON has an offset instead.
fn pointer_is_right(text: &str, pointer: &str, offset: Option<usize>) -> Result<(), String> {
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    let leads = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => value.pointer(pointer).is_some(),
        // JSON that serde_json's tree does not hold: a number beyond binary64.
        Err(_) => pointer.starts_with('/'),
    };
    match offset {
        None if is_json && leads => Ok(()),
        Some(offset) if !is_json && offset <= text.len() => Ok(()),
        _ => Err(format!(
            "{text}: pointer {pointer:?}, offset {offset:?}, JSON {is_json}"
        )),
    }
}
