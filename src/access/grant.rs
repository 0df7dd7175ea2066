//! What a key may do: scopes, each on all buses or on some.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::event::Event;
use crate::limits;
use crate::log::{BusName, RuleName, TargetName};
use crate::pattern::{EventPattern, PatternError};
use crate::rule;

/// One thing that callers do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Events in.
    Publish,
    /// Look at events, rules, targets, dead letters; change nothing.
    Read,
    /// Change buses, rules, targets, dead letters; and read, since nobody changes blindly.
    Manage,
    /// Pull deliveries, and say what became of them.
    Consume,
}

impl Scope {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Consume => "consume",
        }
    }

    fn covers(self, wanted: Scope) -> bool {
        self == wanted || (self, wanted) == (Self::Manage, Self::Read)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A grant as the API and the file of keys write it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Grant)]
#[serde(deny_unknown_fields)]
pub struct GrantDocument {
    pub scope: Scope,
    /// Absent: all, those to come included.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Vec<String>, required = false, min_items = 1)]
    pub buses: Option<BTreeSet<BusName>>,
    /// Which events may be published.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Object, required = false)]
    pub pattern: Option<Box<RawValue>>,
    /// Which targets may be pulled, as `<rule>/<target>`. Absent: all that are pulled.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Vec<String>, required = false, min_items = 1)]
    pub targets: Option<BTreeSet<String>>,
}

/// Reads what bounds a key where it is given. Absent means no bound; a `null`, perhaps from a template
/// that was filled with nothing, does not.
pub fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A scope and where it holds.
#[derive(Debug, Clone)]
pub struct Grant {
    document: GrantDocument,
    pattern: Option<EventPattern>,
}

/// Why a grant was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error("names no bus; leave `buses` out to grant it on all")]
    NoBus,
    #[error("names {0} buses, {max} at most are taken; leave `buses` out to grant it on all", max = limits::API_KEY_BUSES)]
    ManyBuses(usize),
    #[error("says which events may be published, and belongs to the scope `publish` only")]
    PatternOfOther,
    #[error("{}", .0.first().map_or("does not read", |fault| &fault.reason))]
    Pattern(Vec<PatternError>),
    #[error("says which targets may be pulled, and belongs to the scope `consume` only")]
    TargetsOfOther,
    #[error("names no target; leave `targets` out to grant it on all")]
    NoTarget,
    #[error("names {0} targets, {max} at most are taken; leave `targets` out to grant it on all", max = limits::API_KEY_TARGETS)]
    ManyTargets(usize),
    #[error("{0:?} names no target: write `<rule>/<target>`, such as \"orders/worker\"")]
    Target(String),
}

impl GrantError {
    /// Where in the grant it is wrong.
    #[must_use]
    pub fn pointer(&self) -> String {
        match self {
            Self::NoBus | Self::ManyBuses(_) => "/buses".to_owned(),
            Self::PatternOfOther => "/pattern".to_owned(),
            Self::TargetsOfOther | Self::NoTarget | Self::ManyTargets(_) | Self::Target(_) => {
                "/targets".to_owned()
            }
            Self::Pattern(faults) => {
                let first = faults.first().map_or("", |fault| &fault.pointer);
                format!("/pattern{first}")
            }
        }
    }

    /// Every place in the grant that is wrong, and what is wrong there.
    #[must_use]
    pub fn places(&self) -> Vec<(String, String)> {
        match self {
            Self::Pattern(faults) => faults
                .iter()
                .map(|fault| (format!("/pattern{}", fault.pointer), fault.reason.clone()))
                .collect(),
            _ => vec![(self.pointer(), self.to_string())],
        }
    }
}

impl Grant {
    /// Checks a grant.
    pub fn new(document: GrantDocument) -> Result<Grant, GrantError> {
        match document.buses.as_ref().map(BTreeSet::len) {
            Some(0) => return Err(GrantError::NoBus),
            Some(many) if many > limits::API_KEY_BUSES => return Err(GrantError::ManyBuses(many)),
            _ => {}
        }
        let pattern = match &document.pattern {
            None => None,
            Some(_) if document.scope != Scope::Publish => return Err(GrantError::PatternOfOther),
            Some(text) => Some(EventPattern::parse_whole(text.get()).map_err(GrantError::Pattern)?),
        };
        if let Some(targets) = &document.targets {
            check_targets(document.scope, targets)?;
        }
        Ok(Grant { document, pattern })
    }

    /// As it is written.
    #[must_use]
    pub fn document(&self) -> &GrantDocument {
        &self.document
    }

    fn is_on(&self, bus: &BusName) -> bool {
        let buses = self.document.buses.as_ref();
        buses.is_none_or(|buses| buses.contains(bus))
    }

    fn covers(&self, wanted: Scope) -> bool {
        self.document.scope.covers(wanted)
    }
}

fn check_targets(scope: Scope, targets: &BTreeSet<String>) -> Result<(), GrantError> {
    if scope != Scope::Consume {
        return Err(GrantError::TargetsOfOther);
    }
    match targets.len() {
        0 => return Err(GrantError::NoTarget),
        many if many > limits::API_KEY_TARGETS => return Err(GrantError::ManyTargets(many)),
        _ => {}
    }
    let is_name = |text: &str| {
        let parts = text.split_once('/');
        parts.is_some_and(|(rule, target)| {
            RuleName::new(rule).is_ok() && TargetName::new(target).is_ok()
        })
    };
    match targets.iter().find(|text| !is_name(text)) {
        Some(bad) => Err(GrantError::Target(bad.chars().take(100).collect())),
        None => Ok(()),
    }
}

/// Whether one of the grants lets pull this target of this bus.
pub(super) fn on_target(
    grants: &[Grant],
    bus: &BusName,
    rule: &RuleName,
    target: &TargetName,
) -> bool {
    let name = format!("{rule}/{target}");
    grants.iter().any(|grant| {
        let targets = grant.document.targets.as_ref();
        grant.covers(Scope::Consume)
            && grant.is_on(bus)
            && targets.is_none_or(|targets| targets.contains(&name))
    })
}

/// Whether one of the grants has the scope on this bus.
pub(super) fn on_bus(grants: &[Grant], wanted: Scope, bus: &BusName) -> bool {
    grants
        .iter()
        .any(|grant| grant.covers(wanted) && grant.is_on(bus))
}

/// Whether one of the grants has the scope on all buses.
pub(super) fn on_all(grants: &[Grant], wanted: Scope) -> bool {
    grants
        .iter()
        .any(|grant| grant.covers(wanted) && grant.document.buses.is_none())
}

/// Whether one of the grants has the scope somewhere.
pub(super) fn on_any(grants: &[Grant], wanted: Scope) -> bool {
    grants.iter().any(|grant| grant.covers(wanted))
}

/// Whether one of the grants lets every event in on this bus.
pub(super) fn anything_on_bus(grants: &[Grant], bus: &BusName) -> bool {
    grants
        .iter()
        .any(|grant| grant.covers(Scope::Publish) && grant.is_on(bus) && grant.pattern.is_none())
}

/// Whether one of the grants lets this event in on this bus.
pub(super) fn event_on_bus(grants: &[Grant], event: &Event, bus: &BusName) -> bool {
    grants.iter().any(|grant| {
        let pattern = grant.pattern.as_ref();
        grant.covers(Scope::Publish)
            && grant.is_on(bus)
            && pattern.is_none_or(|pattern| rule::matches(pattern, event))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(json: &str) -> Result<Grant, GrantError> {
        Grant::new(serde_json::from_str(json).unwrap())
    }

    fn grants(json: &[&str]) -> Vec<Grant> {
        json.iter().map(|json| grant(json).unwrap()).collect()
    }

    #[test]
    fn a_scope_holds_where_it_was_granted() {
        let (a, b) = (BusName::new("a").unwrap(), BusName::new("b").unwrap());
        // The grants; then for each scope: on bus a, on bus b, on all, on any.
        let check = |json: &[&str], expected: [&str; 3]| {
            let grants = grants(json);
            for (scope, expected) in [Scope::Publish, Scope::Read, Scope::Manage]
                .into_iter()
                .zip(expected)
            {
                let found = [
                    (on_bus(&grants, scope, &a), 'a'),
                    (on_bus(&grants, scope, &b), 'b'),
                    (on_all(&grants, scope), '*'),
                    (on_any(&grants, scope), '?'),
                ];
                let found = found.into_iter().filter(|(holds, _)| *holds);
                let found: String = found.map(|(_, mark)| mark).collect();
                assert_eq!(found, expected, "{scope} of {json:?}");
            }
        };
        check(&[], ["", "", ""]);
        check(&[r#"{"scope":"publish"}"#], ["ab*?", "", ""]);
        check(&[r#"{"scope":"read"}"#], ["", "ab*?", ""]);
        check(&[r#"{"scope":"manage"}"#], ["", "ab*?", "ab*?"]);
        check(&[r#"{"scope":"manage","buses":["a"]}"#], ["", "a?", "a?"]);
        check(
            &[
                r#"{"scope":"publish","buses":["b"]}"#,
                r#"{"scope":"read","buses":["a","b"]}"#,
            ],
            ["b?", "ab?", ""],
        );
    }

    #[test]
    fn an_event_is_let_in_where_its_pattern_matches() {
        let (a, b) = (BusName::new("a").unwrap(), BusName::new("b").unwrap());
        let event = |kind: &str| {
            Event::builder("1", "/shop", kind)
                .json(r#"{"total":5}"#)
                .build()
                .unwrap()
        };
        let grants = grants(&[
            r#"{"scope":"publish","buses":["a"],"pattern":{"type":[{"prefix":"shop."}],"data":{"total":[5]}}}"#,
            r#"{"scope":"publish","buses":["b"],"pattern":{"type":["x"]}}"#,
            r#"{"scope":"manage"}"#,
        ]);
        assert!(event_on_bus(&grants, &event("shop.order"), &a));
        assert!(!event_on_bus(&grants, &event("x"), &a));
        assert!(event_on_bus(&grants, &event("x"), &b));
        assert!(!event_on_bus(&grants, &event("shop.order"), &b));
        assert!(!anything_on_bus(&grants, &a));
        let whole = r#"{"scope":"publish","buses":["a"]}"#;
        let whole = [grants, vec![grant(whole).unwrap()]].concat();
        assert!(anything_on_bus(&whole, &a));
        assert!(!anything_on_bus(&whole, &b));
    }

    #[test]
    fn a_target_is_pulled_by_who_may() {
        let check = |json: &str, expected: [bool; 4]| {
            let grants = grants(&[json]);
            let places = [
                ("a", "orders", "worker"),
                ("a", "orders", "other"),
                ("a", "other", "worker"),
                ("b", "orders", "worker"),
            ];
            let found = places.map(|(bus, rule, target)| {
                on_target(
                    &grants,
                    &BusName::new(bus).unwrap(),
                    &RuleName::new(rule).unwrap(),
                    &TargetName::new(target).unwrap(),
                )
            });
            assert_eq!(found, expected, "{json}");
        };
        check(r#"{"scope":"consume"}"#, [true; 4]);
        check(r#"{"scope":"manage"}"#, [false; 4]);
        check(r#"{"scope":"read"}"#, [false; 4]);
        let one = r#"{"scope":"consume","buses":["a"],"targets":["orders/worker"]}"#;
        check(one, [true, false, false, false]);
        let one = r#"{"scope":"consume","targets":["orders/worker"]}"#;
        check(one, [true, false, false, true]);
    }

    #[test]
    fn null_grants_nothing() {
        let buses = serde_json::from_str::<GrantDocument>(r#"{"scope":"read","buses":null}"#);
        assert!(buses.is_err());
        let error = grant(r#"{"scope":"publish","pattern":null}"#).unwrap_err();
        assert_eq!(error.pointer(), "/pattern");
    }

    #[test]
    fn a_grant_that_means_nothing_is_refused_with_its_place() {
        let check = |json: &str, pointer: &str| {
            assert_eq!(grant(json).unwrap_err().pointer(), pointer, "{json}");
        };
        check(r#"{"scope":"read","buses":[]}"#, "/buses");
        check(r#"{"scope":"read","pattern":{"type":["a"]}}"#, "/pattern");
        check(
            r#"{"scope":"publish","pattern":{"type":"a"}}"#,
            "/pattern/type",
        );
        check(r#"{"scope":"read","targets":["a/b"]}"#, "/targets");
        check(r#"{"scope":"consume","targets":[]}"#, "/targets");
        check(r#"{"scope":"consume","targets":["a"]}"#, "/targets");
        check(r#"{"scope":"consume","targets":["a/b/c"]}"#, "/targets");
    }
}
