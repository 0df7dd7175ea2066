//! What travels between a client and a bus, apart from events themselves.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ClientError;

/// A JSON document as text, exactly as the bus sent it.
pub type Json = Box<RawValue>;

/// What the bus says of one published event: it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The event's `id`.
    pub id: String,
    /// The event's `source`.
    pub source: String,
    /// Its place in the log: increasing, not dense.
    pub sequence: u64,
    /// The bus had this (source, id) already; `sequence` is the first one's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The documents, in the bus's order.
    pub items: Vec<Json>,
    /// Pass it as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

/// A document and the revision it has.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The document; `null` when the bus sent none.
    pub document: Json,
    /// Its `ETag`, for `if_match`.
    pub etag: Option<String>,
}

/// Which events to list; all given filters must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Ascending from behind this sequence, or a page's `next`.
    pub after: Option<String>,
    /// Most events of the page.
    pub limit: Option<usize>,
    /// The `type` attribute.
    pub kind: Option<String>,
    /// The `source` attribute.
    pub source: Option<String>,
    /// The `id` attribute.
    pub id: Option<String>,
    /// Accepted at or after this moment (RFC 3339).
    pub since: Option<String>,
    /// Accepted before this moment (RFC 3339).
    pub until: Option<String>,
}

impl EventFilter {
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("after", &self.after),
            ("type", &self.kind),
            ("source", &self.source),
            ("id", &self.id),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let mut pairs: Vec<(&'static str, String)> = texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect();
        if let Some(limit) = self.limit {
            pairs.push(("limit", limit.to_string()));
        }
        pairs
    }
}

/// Which dead letters an action is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Selection {
    /// These.
    Ids {
        /// Dead-letter ids, such as `17-120044`.
        ids: Vec<String>,
    },
    /// Every one of the target.
    All {
        /// Always true.
        all: bool,
    },
}

impl Selection {
    /// Every dead letter of the target.
    #[must_use]
    pub fn all() -> Self {
        Selection::All { all: true }
    }

    /// The dead letters with these ids.
    #[must_use]
    pub fn ids(ids: Vec<String>) -> Self {
        Selection::Ids { ids }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PatternQuestion<'a> {
    pub(super) pattern: &'a RawValue,
    pub(super) event: &'a RawValue,
}

/// The bus's answer to [`super::Client::test_pattern`].
#[derive(Debug, Clone, Deserialize)]
pub struct PatternVerdict {
    /// Whether the pattern matches the event.
    pub matches: bool,
    /// Per field of the pattern: what was wanted, what was seen, whether it held.
    #[serde(default)]
    pub explanation: Option<Json>,
}

/// Checks that `text` is JSON and borrows it as such.
pub(super) fn raw<'a>(what: &str, text: &'a str) -> Result<&'a RawValue, ClientError> {
    serde_json::from_str(text)
        .map_err(|error| ClientError::Invalid(format!("{what} is not valid JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_written_as_ids_or_all() {
        let ids = serde_json::to_string(&Selection::ids(vec!["1-2".into()])).unwrap();
        let all = serde_json::to_string(&Selection::all()).unwrap();
        assert_eq!(ids, r#"{"ids":["1-2"]}"#);
        assert_eq!(all, r#"{"all":true}"#);
    }

    #[test]
    fn only_given_filters_are_sent() {
        let filter = EventFilter {
            kind: Some("order.created".into()),
            limit: Some(5),
            ..EventFilter::default()
        };
        assert_eq!(
            filter.pairs(),
            [("type", "order.created".to_owned()), ("limit", "5".into())]
        );
    }
}
