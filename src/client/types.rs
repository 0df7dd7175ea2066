//! What travels between a client and a bus, apart from events themselves.

use std::collections::BTreeMap;

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

impl Page {
    /// A whole list: every page, each asked for behind the one before.
    pub(crate) async fn all<E>(
        mut page: impl AsyncFnMut(Option<&str>) -> Result<Page, E>,
    ) -> Result<Page, E> {
        let mut all = Page::default();
        loop {
            let after = all.next.take();
            let page = page(after.as_deref()).await?;
            all.items.extend(page.items);
            match page.next {
                None => return Ok(all),
                next => all.next = next,
            }
        }
    }
}

/// A document and the revision it has.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The document; `null` when the bus sent none.
    pub document: Json,
    /// Its `ETag`, for `if_match`.
    pub etag: Option<String>,
    /// What the bus finds worth a word of what was put.
    pub warnings: Vec<String>,
}

/// A whole configuration of buses and rules, by name.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// Every bus that it is about.
    pub buses: BTreeMap<String, BusConfiguration>,
}

/// One bus of a configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BusConfiguration {
    /// Without it, a bus that is there keeps its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Json>,
    /// Its rules' documents.
    pub rules: BTreeMap<String, Json>,
}

/// How a configuration is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Rules that it does not have are deleted, on the buses that it has.
    pub prune: bool,
    /// Nothing is changed; the answer tells what would be.
    pub dry_run: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ApplyRequest<'a> {
    pub(super) buses: &'a BTreeMap<String, BusConfiguration>,
    pub(super) prune: bool,
    pub(super) dry_run: bool,
}

/// What became of a configuration, or would.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Applied {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Whether anything is not as before.
    pub changed: bool,
    /// One entry a document, buses before rules.
    pub changes: Vec<AppliedDocument>,
    /// What the bus finds worth a word of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What became of one document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppliedDocument {
    /// The bus.
    pub bus: String,
    /// The rule; absent when it is the bus's own document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `created`, `replaced`, `unchanged` or `deleted`.
    pub change: String,
    /// Of what is there afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What was there, of what is replaced or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Json>,
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

/// Which calls of the audit are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Older than this, a page's `next`.
    pub after: Option<String>,
    /// Most entries of the page.
    pub limit: Option<usize>,
    /// A key's prefix or name, or `root`, `anyone`, `stranger`, `rules_folder`.
    pub actor: Option<String>,
    /// A path of the API, and what is below it.
    pub subject: Option<String>,
    /// At or after this moment (RFC 3339).
    pub since: Option<String>,
    /// Before this moment (RFC 3339).
    pub until: Option<String>,
}

impl AuditFilter {
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("after", self.after.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("actor", self.actor.clone()),
            ("subject", self.subject.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
        ];
        let given = texts.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// What dead letters must be like; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterFilter {
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why it was given up, such as `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `503`, `5xx`, or `none` for no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The event's `type`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Given up at or after this moment (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Given up before this moment (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl DeadLetterFilter {
    /// Whether it asks for nothing, so that every dead letter fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("rule", &self.rule),
            ("target", &self.target),
            ("reason", &self.reason),
            ("status", &self.status),
            ("type", &self.kind),
            ("since", &self.since),
            ("until", &self.until),
        ];
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect()
    }
}

/// What is to be done with dead letters.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetterAction<'a> {
    /// Which.
    pub selection: &'a Selection,
    /// Count them and change nothing.
    pub dry_run: bool,
    /// For a redrive: so many in so long, such as `50/s`, in the background.
    pub rate: Option<&'a str>,
    /// For a redrive: to another rule's target.
    pub to: Option<(&'a str, &'a str)>,
}

impl Serialize for DeadLetterAction<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        match self.selection {
            Selection::Ids { ids } => map.serialize_entry("ids", ids)?,
            Selection::Filter { filter } => map.serialize_entry("filter", filter)?,
            Selection::All { all } => map.serialize_entry("all", all)?,
        }
        if self.dry_run {
            map.serialize_entry("dry_run", &true)?;
        }
        if let Some(rate) = self.rate {
            map.serialize_entry("rate", rate)?;
        }
        if let Some((rule, target)) = self.to {
            let to = BTreeMap::from([("rule", rule), ("target", target)]);
            map.serialize_entry("to", &to)?;
        }
        map.end()
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Redriven {
    /// So many are done.
    Now(u64),
    /// Of a dry run: counted by group.
    Counted(Json),
    /// At a rate: how the work in the background stands.
    Job(Json),
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
    /// Those that fit.
    Filter {
        /// What they must be like.
        filter: DeadLetterFilter,
    },
    /// Every one of the bus.
    All {
        /// Always true.
        all: bool,
    },
}

impl Selection {
    /// Every dead letter of the bus.
    #[must_use]
    pub fn all() -> Self {
        Selection::All { all: true }
    }

    /// The dead letters that fit.
    #[must_use]
    pub fn filter(filter: DeadLetterFilter) -> Self {
        Selection::Filter { filter }
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
    fn an_action_is_written_as_the_bus_reads_it() {
        let write = |selection: Selection, dry_run, rate, to| {
            let selection = &selection;
            let action = DeadLetterAction {
                selection,
                dry_run,
                rate,
                to,
            };
            serde_json::to_string(&action).unwrap()
        };
        let ids = Selection::ids(vec!["1-2".into()]);
        assert_eq!(write(ids, false, None, None), r#"{"ids":["1-2"]}"#);
        assert_eq!(
            write(Selection::all(), true, None, None),
            r#"{"all":true,"dry_run":true}"#
        );
        let filter = DeadLetterFilter {
            kind: Some("a".into()),
            ..DeadLetterFilter::default()
        };
        assert_eq!(
            write(
                Selection::filter(filter),
                false,
                Some("5/s"),
                Some(("r", "t"))
            ),
            r#"{"filter":{"type":"a"},"rate":"5/s","to":{"rule":"r","target":"t"}}"#
        );
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
