//! Puts what is known of a dead letter onto its event, as extension attributes: what an export and
//! a dead-letter target get.

use crate::event::{Event, Value};
use crate::log::DeadLetter;

/// The event with the dead letter's facts. They take the place of ones that the event has already.
/// An event so large that there is no room for them loses the error's text first; when there is
/// none even then, it is given as it is.
#[must_use]
pub fn with_facts(event: &Event, letter: &DeadLetter) -> Event {
    let id = format!("{}-{}", letter.target.0, letter.sequence);
    let (since, dead_at) = (letter.since.to_string(), letter.dead_at.to_string());
    let error = letter.last_error.as_deref().map(plain);
    let mut facts: Vec<(&str, Value<'_>)> = vec![
        ("deadletterid", Value::String(&id)),
        ("deadletterreason", Value::String(letter.reason.as_str())),
        (
            "deadletterattempts",
            Value::Integer(i32::try_from(letter.attempts).unwrap_or(i32::MAX)),
        ),
        ("deadlettersince", Value::String(&since)),
        ("deadletterat", Value::String(&dead_at)),
        ("deadletterbus", Value::String(letter.bus.as_str())),
        ("deadletterrule", Value::String(letter.rule.as_str())),
        (
            "deadlettertarget",
            Value::String(letter.target_name.as_str()),
        ),
    ];
    if let Some(status) = letter.last_status {
        facts.push(("deadletterstatus", Value::Integer(i32::from(status))));
    }
    let told = facts.len();
    if let Some(error) = error.as_deref().filter(|error| !error.is_empty()) {
        facts.push(("deadlettererror", Value::String(error)));
    }
    event
        .with(&facts)
        .or_else(|_| event.with(&facts[..told]))
        .unwrap_or_else(|_| event.clone())
}

/// Without what an attribute may not hold: control characters and noncharacters become blanks.
fn plain(text: &str) -> String {
    let may_stand = |c: char| {
        let code = u32::from(c);
        !(c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE)
    };
    text.chars()
        .map(|c| if may_stand(c) { c } else { ' ' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::limits;
    use crate::log::{BusName, DeadLetterReason, RuleName, TargetId, TargetName};

    fn letter(error: &str) -> DeadLetter {
        DeadLetter {
            target: TargetId(17),
            sequence: 42,
            bus: BusName::default_bus(),
            rule: RuleName::new("orders").unwrap(),
            target_name: TargetName::new("billing").unwrap(),
            reason: DeadLetterReason::Refused,
            attempts: 3,
            since: Timestamp::default(),
            dead_at: Timestamp::from_millis(1_700_000_000_120),
            last_status: Some(422),
            last_error: Some(error.to_owned()),
        }
    }

    #[test]
    fn an_event_bears_its_letters_facts_and_keeps_its_data() {
        let event = Event::builder("1", "/shop", "order.placed")
            .attribute("deadletterreason", "an earlier one")
            .attribute("tenant", "acme")
            .json("{\"n\":  1.10}")
            .build()
            .unwrap();
        let shown = with_facts(&event, &letter("no\r\nsuch \u{fffe} thing"));
        let text = |name: &str| match shown.attribute(name) {
            Some(Value::String(text)) => text.to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(text("id"), "1");
        assert_eq!(text("tenant"), "acme");
        assert_eq!(text("deadletterid"), "17-42");
        assert_eq!(text("deadletterreason"), "refused");
        assert_eq!(text("deadlettererror"), "no  such   thing");
        assert_eq!(text("deadletterat"), "2023-11-14T22:13:20.120Z");
        assert_eq!(
            shown.attribute("deadletterstatus"),
            Some(Value::Integer(422))
        );
        assert_eq!(
            shown.attribute("deadletterattempts"),
            Some(Value::Integer(3))
        );
        assert_eq!(shown.data(), event.data());
    }

    #[test]
    fn an_event_without_room_is_given_with_less_or_as_it_is() {
        let filled = |bytes: usize| {
            Event::builder("1", "/shop", "order.placed")
                .attribute("filler", "x".repeat(bytes).as_str())
                .build()
                .unwrap()
        };
        let room = limits::ATTRIBUTES_BYTES;
        let less = with_facts(&filled(room - 700), &letter(&"e".repeat(1_000)));
        assert!(less.attribute("deadletterid").is_some());
        assert!(less.attribute("deadlettererror").is_none());
        let full = filled(room - 60);
        assert_eq!(with_facts(&full, &letter("e")), full);
    }
}
