//! JSONPath queries (RFC 9535) over an event's JSON form: parsed once, bounded in what they cost.
//!
//! Whoever asks an event by JSONPath asks here: a rule's filter, its transforms, its headers, its
//! ordering key. A plain path, `$.data.order['id'][0]`, is looked up in the event's bytes; every
//! other query runs over a tree, after its cost was counted. Numbers are compared as 64-bit floats
//! where they fit no 64-bit integer; what is selected keeps its digits.

mod cost;
mod found;
mod plain;
mod subject;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde::{Serialize, Serializer};

pub use found::{Found, Kind};
pub use subject::Subject;

use crate::limits;
use plain::Step;

/// A valid query. Clones share it.
#[derive(Debug, Clone)]
pub struct Query(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Plain(Vec<Step>),
    Full { query: JpQuery, singular: bool },
}

/// Why a query was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("a JSONPath query has at most {max} bytes, this one has {0}", max = limits::QUERY_BYTES)]
    TooLong(usize),
    #[error("a JSONPath query nests at most {max} brackets and parentheses", max = MAX_NESTING)]
    TooDeep,
    #[error(
        "a JSONPath query has at most {max} descendant segments (`..`), this one has {0}: each searches the whole event again",
        max = limits::QUERY_DESCENTS
    )]
    TooManyDescents(usize),
    #[error("is no JSONPath query (RFC 9535): {0}")]
    Syntax(String),
    #[error(
        "there is no function `{0}`; JSONPath has `length`, `count`, `match`, `search` and `value`"
    )]
    Function(String),
    #[error(
        "the second argument of `match` and `search` must be a pattern in quotes, not a query: it would let a publisher choose it"
    )]
    PatternFromEvent,
    #[error(
        "the pattern {0:?} is too costly: take at most 256 bytes, small counts in {{…}}, and [a-z] instead of \\w"
    )]
    CostlyPattern(String),
}

/// The event is too large, too deep or too bushy for the query, which was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event is too large or too deep for this query, which was not run")]
pub struct TooCostly;

/// Deepest nesting of a query: pest's reader tries each open parenthesis in several ways, so that
/// its time doubles and more with every level (`$[?((((…@.a))))]`).
const MAX_NESTING: usize = 8;

impl Query {
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        if text.len() > limits::QUERY_BYTES {
            return Err(QueryError::TooLong(text.len()));
        }
        let form = match plain::parse(text) {
            Some(steps) => Form::Plain(steps),
            None => full(text)?,
        };
        let text = text.to_owned();
        Ok(Query(Arc::new(Compiled { text, form })))
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it is names and indices only, such as `$.data.order['id'][0]`: then asking it costs
    /// a look at the event's bytes and cannot fail.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.0.form, Form::Plain(_))
    }

    /// The member of the event that a plain path begins with, and whether it leads below it. `None`
    /// of every other query, and of one that begins with an index.
    #[must_use]
    pub fn member(&self) -> Option<(&str, bool)> {
        match &self.0.form {
            Form::Plain(steps) => match steps.split_first() {
                Some((Step::Name(name), below)) => Some((name, !below.is_empty())),
                _ => None,
            },
            Form::Full { .. } => None,
        }
    }

    /// Whether it selects one value at most, whatever the event.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        match &self.0.form {
            Form::Plain(_) => true,
            Form::Full { singular, .. } => *singular,
        }
    }

    /// Upper bound of the work of asking: about visited nodes and copied bytes, nothing for a plain
    /// path. More than [`limits::QUERY_WORK`] is [`TooCostly`].
    #[must_use]
    pub fn work(&self, subject: &Subject<'_>) -> u64 {
        match &self.0.form {
            Form::Plain(_) => 0,
            Form::Full { query, .. } => match subject.tree() {
                Some(tree) => cost::work(query, &tree.measures),
                None => u64::MAX,
            },
        }
    }

    /// The first value that it selects.
    pub fn first<'s>(&self, subject: &'s Subject<'_>) -> Result<Option<Found<'s>>, TooCostly> {
        match &self.0.form {
            Form::Plain(steps) => Ok(subject.at(steps)),
            Form::Full { .. } => {
                let nodes = self.nodes(subject)?;
                Ok(subject.places(nodes.get(..1).unwrap_or_default()).pop())
            }
        }
    }

    /// All values that it selects, in order.
    pub fn all<'s>(&self, subject: &'s Subject<'_>) -> Result<Vec<Found<'s>>, TooCostly> {
        match &self.0.form {
            Form::Plain(steps) => Ok(Vec::from_iter(subject.at(steps))),
            Form::Full { .. } => Ok(subject.places(&self.nodes(subject)?)),
        }
    }

    /// Whether it selects anything.
    pub fn selects_any(&self, subject: &Subject<'_>) -> Result<bool, TooCostly> {
        match &self.0.form {
            Form::Plain(steps) => Ok(subject.at(steps).is_some()),
            Form::Full { .. } => Ok(!self.nodes(subject)?.is_empty()),
        }
    }

    fn nodes<'s>(&self, subject: &'s Subject<'_>) -> Result<Vec<&'s serde_json::Value>, TooCostly> {
        let Form::Full { query, .. } = &self.0.form else {
            return Ok(Vec::new());
        };
        let tree = subject.tree().ok_or(TooCostly)?;
        if cost::work(query, &tree.measures) > limits::QUERY_WORK {
            return Err(TooCostly);
        }
        // A query whose result is no node (never so for a whole query) selects nothing.
        let nodes = js_path_process(query, &tree.json).unwrap_or_default();
        Ok(nodes.into_iter().map(|node| node.val).collect())
    }
}

impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Query {}

impl Serialize for Query {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

fn full(text: &str) -> Result<Form, QueryError> {
    if nesting(text) > MAX_NESTING {
        return Err(QueryError::TooDeep);
    }
    if !text.starts_with('$') {
        let reason = "it begins with `$`, which is the event, as in \"$.data.order.id\"";
        return Err(QueryError::Syntax(reason.to_owned()));
    }
    let query = parse_json_path(text).map_err(|error| {
        // pest's message is a drawing of several lines; its last says what was expected.
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default();
        QueryError::Syntax(last.trim().trim_start_matches("= ").to_owned())
    })?;
    cost::check(&query)?;
    let singular = query.segments.iter().all(|segment| {
        matches!(
            segment,
            Segment::Selector(Selector::Name(_) | Selector::Index(_))
        )
    });
    Ok(Form::Full { query, singular })
}

/// Deepest nesting of `(` and `[` outside of quotes.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    deepest
}
