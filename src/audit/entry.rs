//! What is written down of a call, and how a line of it looks.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::limits;

/// Stands for what may be secret.
pub const MASK: &str = "***";

/// `eyk_` and the digits that name a key.
const KEY_PREFIX_BYTES: usize = 16;

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// Nobody was asked who it is.
    Anyone,
    /// Showed no key, or one that is not known.
    Stranger,
    Root,
    Key {
        prefix: String,
        name: String,
    },
    /// By the name that an identity provider gave it.
    Token {
        name: String,
    },
    /// Nobody called: a file of the rules folder says so.
    RulesFolder {
        /// Below the folder.
        file: String,
    },
}

impl Actor {
    /// Whether this is the actor that is called so.
    pub(super) fn is(&self, called: &str) -> bool {
        match self {
            Self::Anyone => called == "anyone",
            Self::Stranger => called == "stranger",
            Self::Root => called == "root",
            Self::Key { prefix, name } => called == prefix || called == name,
            Self::Token { name } => called == name,
            Self::RulesFolder { file } => called == "rules_folder" || called == file,
        }
    }
}

/// A call that is about to be answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub actor: Actor,
    pub peer: Option<IpAddr>,
    pub request_id: Option<String>,
    pub method: String,
    /// As the API is described, `/v1/buses/{bus}`.
    pub route: String,
    /// As it was called.
    pub path: String,
    /// What is there.
    pub before: Option<Value>,
    /// What was asked for, where that is not what comes of it.
    pub asked: Option<Value>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub status: u16,
    /// What is there now.
    pub after: Option<Value>,
}

/// A call as it was written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub entry: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub call: Call,
    /// `None`: nobody knows.
    pub status: Option<u16>,
    pub after: Option<Value>,
    /// Refused calls since the entry of one before that were only counted.
    pub refusals_left_out: Option<u64>,
}

impl Entry {
    /// Whether its path is this one, or below it.
    pub(super) fn is_about(&self, subject: &str) -> bool {
        let rest = self.call.path.strip_prefix(subject.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Call {
    pub(super) fn entry(self, entry: u64, at: Timestamp) -> Entry {
        let mut path = without_keys(&self.path);
        let mut end = path.len().min(limits::AUDIT_PATH_BYTES);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        path.truncate(end);
        Entry {
            entry,
            at,
            call: Call {
                path,
                before: self.before.map(bounded),
                asked: self.asked.map(bounded),
                ..self
            },
            status: None,
            after: None,
            refusals_left_out: None,
        }
    }
}

/// A path in which no whole API key stands: people paste one where its prefix is wanted.
fn without_keys(path: &str) -> String {
    let masked = |segment: &str| match segment.get(..KEY_PREFIX_BYTES) {
        Some(prefix) if segment.starts_with("eyk_") && segment.len() > prefix.len() => {
            format!("{prefix}_{MASK}")
        }
        _ => segment.to_owned(),
    };
    path.split('/').map(masked).collect::<Vec<_>>().join("/")
}

/// What came of the entry of that number.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) ends: u64,
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Line {
    Entry(Box<Entry>),
    Ending(Ending),
}

/// How the line of an ending begins, and no other.
const ENDING: &[u8] = br#"{"ends":"#;

impl Line {
    /// With its end.
    pub(super) fn text(self) -> Vec<u8> {
        let text = match self {
            Self::Entry(entry) => serde_json::to_vec(&entry),
            Self::Ending(mut ending) => {
                ending.outcome.after = ending.outcome.after.map(bounded);
                serde_json::to_vec(&ending)
            }
        };
        let mut text = text.expect("what is written down has names that are strings");
        text.push(b'\n');
        text
    }

    pub(super) fn at(&self) -> Timestamp {
        match self {
            Self::Entry(entry) => entry.at,
            Self::Ending(ending) => ending.at,
        }
    }

    /// `None`: it was damaged, or written by another version.
    pub(super) fn read(text: &[u8]) -> Option<Line> {
        match text.starts_with(ENDING) {
            true => serde_json::from_slice(text).ok().map(Line::Ending),
            false => serde_json::from_slice(text).ok().map(Line::Entry),
        }
    }
}

/// Large documents are told by their size.
fn bounded(value: Value) -> Value {
    let bytes = value.to_string().len();
    match bytes > limits::AUDIT_DOCUMENT_BYTES {
        true => json!({"left_out_bytes": bytes}),
        false => value,
    }
}

/// What is there: a document of ours, as of a revision, without what may be secret.
#[must_use]
pub fn document(revision: u64, text: &str) -> Value {
    let document = serde_json::from_str(text).unwrap_or_default();
    json!({"revision": revision, "document": masked(document)})
}

/// A document of ours without what may be secret in it: the values of headers and query parameters,
/// and of a URL the user and the query. Secrets that it names are names.
#[must_use]
pub fn masked(mut document: Value) -> Value {
    mask(&mut document);
    document
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("headers" | "query", Value::Object(values)) => {
                        values.values_mut().for_each(mask_text);
                    }
                    ("url" | "token_url", Value::String(url)) => *url = mask_url(url),
                    (_, member) => mask(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

fn mask_text(value: &mut Value) {
    match value {
        // A value that comes from the event, by its path.
        Value::Object(members) => {
            if let Some(default) = members.get_mut("default") {
                mask_text(default);
            }
        }
        other => *other = MASK.into(),
    }
}

fn mask_url(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, format!("?{MASK}")),
        None => (url, String::new()),
    };
    let masked = url.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://{MASK}@{host}{path}"))
    });
    masked.unwrap_or_else(|| url.to_owned()) + &query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_a_document_is_masked() {
        let document = json!({"targets": [{
            "id": "t",
            "url": "https://user:hunter2@example.com:8443/hook?token=hunter2",
            "headers": {"x-api-key": "hunter2", "x-tenant": {"path": "$.data.t", "default": "hunter2"}},
            "query": {"key": "hunter2"},
            "auth": {"bearer": {"secret": "billing"}},
        }], "pattern": {"data": {"url": ["a"]}}});
        let masked = masked(document);
        let text = masked.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        let target = &masked["targets"][0];
        assert_eq!(target["url"], "https://***@example.com:8443/hook?***");
        assert_eq!(target["headers"]["x-tenant"]["path"], "$.data.t");
        assert_eq!(target["auth"]["bearer"]["secret"], "billing");
        assert_eq!(masked["pattern"]["data"]["url"][0], "a");
        assert_eq!(
            mask_url("https://example.com/a@b"),
            "https://example.com/a@b"
        );
    }

    #[test]
    fn a_key_that_was_pasted_into_a_path_does_not_stand_there() {
        assert_eq!(
            without_keys("/v1/keys/eyk_0123456789ab_hunter2/x"),
            "/v1/keys/eyk_0123456789ab_***/x"
        );
        for same in ["/v1/keys/eyk_0123456789ab", "/v1/buses/eyk_", "/", "/v1/é"] {
            assert_eq!(without_keys(same), same);
        }
    }

    #[test]
    fn a_subject_is_a_path_and_what_is_below_it() {
        let call = |path: &str| Call {
            actor: Actor::Root,
            peer: None,
            request_id: None,
            method: "PUT".to_owned(),
            route: String::new(),
            path: path.to_owned(),
            before: None,
            asked: None,
        };
        let check = |path: &str, subject: &str, expected: bool| {
            let entry = call(path).entry(1, Timestamp::default());
            assert_eq!(entry.is_about(subject), expected, "{path} {subject}");
        };
        check("/v1/buses/a", "/v1/buses/a", true);
        check("/v1/buses/a/rules/r", "/v1/buses/a/", true);
        check("/v1/buses/ab", "/v1/buses/a", false);
        check("/v1/buses/a", "/v1/buses/a/rules", false);
    }
}
