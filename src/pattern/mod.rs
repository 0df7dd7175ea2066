//! Event patterns: parse, match many at once, explain one. No I/O, no other module.
//!
//! The language is that of AWS EventBridge, whole, with the meaning that its open matcher
//! (event-ruler 2.0) gives it. A pattern is a JSON object shaped like the documents it matches; at
//! its leaves stand arrays of what a value may be:
//!
//! ```
//! use eventyard::pattern::{Document, EventPattern};
//!
//! let pattern = EventPattern::parse(r#"{"data": {"total": [{"numeric": [">=", 100]}]}}"#)?;
//! assert!(pattern.matches(&Document::json(br#"{"data": {"total": 120}}"#)));
//! # Ok::<(), eventyard::pattern::PatternError>(())
//! ```
//!
//! A pattern becomes *sub-rules* (its `$or`s multiplied out), a sub-rule *clauses* (one a field). A
//! document is walked once, along the paths that patterns ask for, and gives values that remember
//! their array elements; then clauses are checked, first each alone, then whether they hold
//! together. `engine` does that for many patterns; one by itself does it plainly.

mod ahead;
mod ask;
mod complexity;
mod consistency;
mod engine;
mod error;
mod explain;
mod filter;
mod kinds;
mod marks;
mod number;
mod operator;
mod parse;
mod probes;
mod tree;
mod value;
mod walk;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use crate::json::JsonText;
pub use engine::{Matcher, Snapshot};
pub use error::PatternError;
pub use explain::{Explanation, FieldExplanation};

use consistency::Bound;
use parse::{Clause, SubRule};
use tree::Branch;
use value::{Field, Fields};

/// What a pattern is matched against.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// Any JSON object. Another JSON value counts as an object without fields.
    Json(JsonText<'a>),
    /// An event: scalars at the top, the data below `data` if it is JSON.
    Event {
        attributes: &'a [(&'a str, Scalar<'a>)],
        data: Option<JsonText<'a>>,
    },
}

impl<'a> Document<'a> {
    /// Checks the bytes of a JSON object. Bytes that are no JSON, or nest deeper than
    /// `limits::JSON_DEPTH`, count as an object without fields.
    #[must_use]
    pub fn json(bytes: &'a [u8]) -> Document<'a> {
        Document::Json(JsonText::check(bytes).unwrap_or(JsonText::trusted(b"{}", true)))
    }
}

/// A context attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    String(&'a str),
    Integer(i64),
    Boolean(bool),
}

/// A valid event pattern, compiled. Cloning shares it.
#[derive(Debug, Clone)]
pub struct EventPattern {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    sub_rules: Vec<SubRule>,
    /// The clauses of each sub-rule, bound to this pattern's own paths.
    bound: Vec<Vec<BoundClause>>,
    paths: Branch,
}

/// A clause and its field.
#[derive(Debug, Clone)]
struct BoundClause {
    field: Field,
    clause: Arc<Clause>,
}

impl Bound for BoundClause {
    fn field(&self) -> Field {
        self.field
    }
    fn clause(&self) -> &Clause {
        &self.clause
    }
}

impl EventPattern {
    /// Reads a pattern from its JSON text, at most `limits::PATTERN_BYTES` long.
    pub fn parse(text: &str) -> Result<EventPattern, PatternError> {
        let parsed = EventPattern::parse_whole(text);
        parsed.map_err(|faults| faults.into_iter().next().expect("a fault at least"))
    }

    /// The same, where all that is wrong is wanted, in the order in which it stands: what is not JSON
    /// has one fault, and of more than `limits::PATTERN_FAULTS` the last says how many are left out.
    pub fn parse_whole(text: &str) -> Result<EventPattern, Vec<PatternError>> {
        let sub_rules = parse::parse(text)?;
        let mut paths = Branch::default();
        let mut fields = 0;
        let bound = sub_rules
            .iter()
            .map(|sub_rule| bind(sub_rule, &mut paths, &mut fields))
            .collect();
        Ok(EventPattern {
            compiled: Arc::new(Compiled {
                sub_rules,
                bound,
                paths,
            }),
        })
    }

    /// Whether this one pattern matches.
    #[must_use]
    pub fn matches(&self, document: &Document<'_>) -> bool {
        let fields = self.read(document);
        self.compiled
            .bound
            .iter()
            .any(|clauses| consistency::hold_together(clauses, &fields))
    }

    /// Why it matches or does not, field by field.
    #[must_use]
    pub fn explain(&self, document: &Document<'_>) -> Explanation {
        let fields = self.read(document);
        explain::explain(&self.compiled.bound, &fields)
    }

    fn read<'a>(&self, document: &Document<'a>) -> Fields<'a> {
        let mut fields = Fields::default();
        walk::walk(document, &self.compiled.paths, &mut fields);
        fields
    }

    fn sub_rules(&self) -> &[SubRule] {
        &self.compiled.sub_rules
    }
}

fn bind(sub_rule: &SubRule, paths: &mut Branch, fields: &mut Field) -> Vec<BoundClause> {
    let clauses = sub_rule.clauses.iter();
    clauses
        .map(|(path, clause)| {
            let branch = paths.at_mut(path);
            if branch.field == 0 {
                *fields += 1;
                branch.field = *fields;
            }
            BoundClause {
                field: branch.field,
                clause: Arc::clone(clause),
            }
        })
        .collect()
}
