//! The JSONPath filter of a rule: compiled once, bounded in what it may cost, asked after the pattern.
//!
//! `{"jsonpath": "$.data.items[?@.price > 10]"}` holds when the query selects anything of the event.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::query::{Query, QueryError, Subject};

/// A valid filter. Clones share the compiled query.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Query);

/// Whether a filter holds for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Matches,
    Differs,
    /// The event is too large, too deep or too bushy for this query; it counts as no match.
    TooCostly,
}

impl Filter {
    /// Compiles a JSONPath query.
    pub fn parse(text: &str) -> Result<Filter, QueryError> {
        Query::parse(text).map(Filter)
    }

    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text()
    }

    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> Verdict {
        match self.0.selects_any(subject) {
            Ok(true) => Verdict::Matches,
            Ok(false) => Verdict::Differs,
            Err(_) => Verdict::TooCostly,
        }
    }

    /// Asks any JSON document in an event's place; one that is no JSON is too deep or worse.
    #[must_use]
    pub fn matches_json(&self, document: &[u8]) -> Verdict {
        Subject::json(document).map_or(Verdict::TooCostly, |subject| self.matches(&subject))
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("jsonpath", self.text())?;
        map.end()
    }
}
