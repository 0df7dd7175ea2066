//! Types that only the bus itself gives to events: who gets one can rely on where it is from.

/// What a rule's schedule emits when the rule names no type. Anybody may publish it: so a rule is
/// fired by hand.
pub const SCHEDULE_FIRED: &str = "eventyard.schedule.fired";

/// How the types begin.
const OWN: &str = "eventyard.";

/// Whether a type is the bus's own, which no publisher may use.
#[must_use]
pub fn is_reserved(kind: &str) -> bool {
    kind.starts_with(OWN) && kind != SCHEDULE_FIRED
}
