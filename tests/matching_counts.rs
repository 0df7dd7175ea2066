//! Counts the matches of whole rule sets over a large file of events, and measures how fast.
//!
//! Runs when the environment variable `EVENTYARD_MATCHING_DATA` names a folder that holds
//! `rulesets/*.jsonl` (lines of `id`, `pattern`, `expected`) and `cl2s.jsonl`, the events, one a
//! line; passes and says so otherwise. Build it with `--release` for figures that mean something.

use std::path::Path;
use std::time::Instant;

use eventyard::pattern::{Document, EventPattern, Matcher};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Rule<'a> {
    #[serde(borrow)]
    pattern: &'a RawValue,
    expected: Option<usize>,
}

#[test]
fn whole_rule_sets_match_as_often_as_expected() {
    let Some(folder) = std::env::var_os("EVENTYARD_MATCHING_DATA") else {
        println!("skipped: EVENTYARD_MATCHING_DATA names no folder");
        return;
    };
    let folder = Path::new(&folder);
    let events = std::fs::read(folder.join("cl2s.jsonl")).expect("the events are readable");
    let events: Vec<&[u8]> = events
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let sets = std::fs::read_dir(folder.join("rulesets")).expect("the rule sets are readable");
    let mut sets: Vec<_> = sets
        .map(|entry| entry.expect("a rule set").path())
        .collect();
    sets.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    sets.sort();
    let mut wrong = Vec::new();
    for path in sets {
        let text = std::fs::read_to_string(&path).expect("a rule set is readable");
        let rules: Vec<Rule<'_>> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a rule is one JSON object"))
            .collect();
        let mut matcher = Matcher::default();
        for (at, rule) in rules.iter().enumerate() {
            match EventPattern::parse(rule.pattern.get()) {
                Ok(pattern) => matcher.add(at, &pattern),
                Err(error) => wrong.push(format!("{path:?} {at}: {error}")),
            }
        }
        let mut counts = vec![0; rules.len()];
        let start = Instant::now();
        for event in &events {
            for at in matcher.matches(&Document::Json(event)) {
                counts[at] += 1;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        println!(
            "{name}: {} rules, {:.0} events/s",
            rules.len(),
            events.len() as f64 / seconds
        );
        for (at, rule) in rules.iter().enumerate() {
            if rule.expected.is_some_and(|expected| expected != counts[at]) {
                wrong.push(format!(
                    "{name} {at}: {} not {:?}",
                    counts[at], rule.expected
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
