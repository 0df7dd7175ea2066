//! Says of one pattern and one document, field by field, why they match or do not.

use std::sync::Arc;

use super::BoundClause;
use super::consistency::{accepts, hold_together, holds_alone};
use super::parse::Clause;
use super::value::{Fields, OUTSIDE, Values};
use crate::limits;

/// Per field of the pattern: what was wanted, what was seen, whether it held.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = PatternExplanation)]
pub struct Explanation {
    pub matches: bool,
    /// In the order of the pattern's text. Without a `$or` the pattern matches when all of them
    /// hold and come from the same array elements; with one, when those of one combination do.
    pub fields: Vec<FieldExplanation>,
}

/// One field of the pattern.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct FieldExplanation {
    /// RFC 6901 pointer of the field inside the pattern, such as `/data/total` or `/$or/0/type`.
    pub pointer: String,
    /// Whether the field holds, by itself or as part of what matched.
    pub matches: bool,
    /// The pattern's condition, as JSON text.
    pub wanted: String,
    /// The values the event holds there, as JSON texts, at most `limits::EXPLAINED_VALUES`; empty
    /// when the field is absent.
    pub seen: Vec<String>,
    /// A sentence, such as `is absent` or `"ab" does not start with "x"`.
    pub reason: String,
}

pub(super) fn explain(sub_rules: &[Vec<BoundClause>], fields: &Fields<'_>) -> Explanation {
    let matched = sub_rules
        .iter()
        .find(|clauses| hold_together(clauses, fields));
    let apart = match matched {
        Some(_) => None,
        None => sub_rules.iter().find(|clauses| {
            clauses
                .iter()
                .all(|bound| holds_alone(&bound.clause, bound.field, fields))
        }),
    };
    let mut distinct: Vec<&BoundClause> = Vec::new();
    let mut all: Vec<&BoundClause> = sub_rules.iter().flatten().collect();
    all.sort_by_key(|bound| bound.clause.start);
    for bound in all {
        if distinct
            .last()
            .is_none_or(|last| !Arc::ptr_eq(&last.clause, &bound.clause))
        {
            distinct.push(bound);
        }
    }
    let fields = distinct
        .into_iter()
        .map(|bound| {
            let within = |clauses: Option<&Vec<BoundClause>>| {
                clauses.is_some_and(|clauses| {
                    clauses
                        .iter()
                        .any(|other| Arc::ptr_eq(&other.clause, &bound.clause))
                })
            };
            field(bound, fields, within(matched), within(apart))
        })
        .collect();
    Explanation {
        matches: matched.is_some(),
        fields,
    }
}

fn field(bound: &BoundClause, fields: &Fields<'_>, matched: bool, apart: bool) -> FieldExplanation {
    let clause = &*bound.clause;
    let values = fields.values(bound.field);
    let alone = holds_alone(clause, bound.field, fields);
    let mut reason = match (alone, matched) {
        (true, _) => why(clause, values.clone()),
        (false, true) => {
            "is absent from the array element that the fields before it match in".to_owned()
        }
        (false, false) => why_not(clause, values.clone()),
    };
    let in_elements = values.clone().any(|value| value.place != OUTSIDE);
    if apart && in_elements {
        reason.push_str(
            "; but no one array element holds this together with the other fields of the same array",
        );
    }
    FieldExplanation {
        pointer: clause.pointer.clone(),
        matches: alone || matched,
        wanted: clause.wanted.clone(),
        seen: seen(values),
        reason,
    }
}

fn seen(values: Values<'_, '_>) -> Vec<String> {
    let shown = values.take(limits::EXPLAINED_VALUES);
    shown.map(|value| value.datum.to_json()).collect()
}

fn why(clause: &Clause, values: Values<'_, '_>) -> String {
    for value in values {
        let condition = clause
            .conditions
            .iter()
            .find(|condition| condition.accepts(&value.datum));
        if let Some(condition) = condition {
            return format!("{} {}", value.datum.to_json(), condition.words().holds);
        }
    }
    "is absent, as it should be".to_owned()
}

fn why_not(clause: &Clause, values: Values<'_, '_>) -> String {
    let Some(first) = values.clone().find(|value| !accepts(clause, value)) else {
        return "is absent".to_owned();
    };
    if clause.conditions.is_empty() {
        return format!("{} is present and should be absent", first.datum.to_json());
    }
    let fails: Vec<String> = clause
        .conditions
        .iter()
        .map(|condition| condition.words().fails)
        .collect();
    let first = format!("{} {}", first.datum.to_json(), fails.join(" and "));
    match values.count() {
        1 => first,
        count => format!("none of its {count} values fits: {first}, and so on"),
    }
}
