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
//! assert!(pattern.matches(&Document::Json(br#"{"data": {"total": 120}}"#)));
//! # Ok::<(), eventyard::pattern::PatternError>(())
//! ```
//!
//! A pattern becomes *sub-rules* (its `$or`s multiplied out), a sub-rule *clauses* (one a field). A
//! document is flattened once, along the paths that patterns ask for, into values that remember
//! their array elements; then clauses are checked, first each alone, then whether they hold
//! together.

mod complexity;
mod consistency;
mod error;
mod explain;
mod flatten;
mod index;
mod json;
mod matcher;
mod number;
mod operator;
mod parse;
mod paths;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use error::PatternError;
pub use explain::{Explanation, FieldExplanation};
pub use matcher::Matcher;

use consistency::Bound;
use flatten::Fields;
use parse::{Clause, SubRule};
use paths::{Field, Paths};

/// What a pattern is matched against.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// Any JSON object, as raw bytes. Bytes that are no JSON object, or nested deeper than
    /// `limits::JSON_DEPTH`, count as an object without fields.
    Json(&'a [u8]),
    /// An event: scalars at the top, raw JSON (if the data is JSON) under `data`. Data that is
    /// not JSON, or nested too deeply, counts as absent.
    Event {
        attributes: &'a [(&'a str, Scalar<'a>)],
        data: Option<&'a [u8]>,
    },
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
    paths: Paths,
}

/// A clause and its field in some `Paths`.
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
        let sub_rules = parse::parse(text)?;
        let mut paths = Paths::default();
        let bound = sub_rules
            .iter()
            .map(|sub_rule| bind(sub_rule, &mut paths))
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
    pub fn matches(&self, document: &Document<'_>) -> bool {
        let fields = Fields::read(document, &self.compiled.paths);
        self.compiled
            .bound
            .iter()
            .any(|clauses| consistency::hold_together(clauses, &fields))
    }

    /// Why it matches or does not, field by field.
    pub fn explain(&self, document: &Document<'_>) -> Explanation {
        let fields = Fields::read(document, &self.compiled.paths);
        explain::explain(&self.compiled.bound, &fields)
    }
}

fn bind(sub_rule: &SubRule, paths: &mut Paths) -> Vec<BoundClause> {
    let clauses = sub_rule.clauses.iter();
    clauses
        .map(|(path, clause)| BoundClause {
            field: paths.intern(path),
            clause: Arc::clone(clause),
        })
        .collect()
}
