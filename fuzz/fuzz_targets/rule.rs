//! Reads arbitrary text as a rule. What is accepted reads again as it is shown, and its schedule goes
//! on, each moment behind the last.

#![no_main]

use eventyard::guard::Guard;
use eventyard::rule::RuleDocument;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // A rule, or the text of a cron expression, which few random rules would hold.
    rule(text);
    let cron = serde_json::to_string(text).expect("a string is JSON");
    rule(&format!(
        r#"{{"schedule":{{"cron":{cron},"timezone":"Europe/Berlin"}},"targets":[{{"id":"t","url":"http://h/"}}]}}"#
    ));
});

fn rule(text: &str) {
    let Ok(document) = RuleDocument::parse(text) else {
        return;
    };
    if document.refused(&Guard::off()).is_empty() {
        let shown = serde_json::to_string(&document).expect("a rule is JSON");
        RuleDocument::parse(&shown).expect("what is shown of a rule is a rule");
    }
    let Some(schedule) = &document.schedule else {
        return;
    };
    // From 2020 on.
    let mut at = 1_577_836_800_000;
    for _ in 0..4 {
        let Some(next) = schedule.next(at) else { break };
        assert!(next > at);
        assert_eq!(schedule.latest(at, next), Some(next));
        at = next;
    }
}
