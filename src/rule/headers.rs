//! The extra headers that a target may be sent, and the names that are not the user's to set.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::parameter::{self, Wanted};
use super::problem::Problems;
use super::reader::{Node, short};
use crate::event::is_media_type;
use crate::limits;
use crate::transform::Parameter;

/// Names a rule may not set, each with the reason.
const FORBIDDEN: [(&str, &str); 18] = [
    ("connection", HOP),
    ("keep-alive", HOP),
    ("proxy-authenticate", HOP),
    ("proxy-authorization", HOP),
    ("proxy-connection", HOP),
    ("te", HOP),
    ("trailer", HOP),
    ("transfer-encoding", HOP),
    ("upgrade", HOP),
    ("http2-settings", HOP),
    ("expect", HOP),
    ("content-length", "it is computed from the body"),
    ("content-encoding", "bodies are sent as they are"),
    ("host", "it follows from the target's `url`"),
    ("date", "the bus sends the time as `webhook-timestamp`"),
    ("user-agent", "the bus names itself there"),
    ("traceparent", "it carries the delivery's own trace"),
    ("tracestate", "it carries the delivery's own trace"),
];

const HOP: &str = "it belongs to one connection, not to the request";

/// Beginnings of names a rule may not set, each with the reason.
const FORBIDDEN_PREFIXES: [(&str, &str); 2] = [
    ("ce-", "these headers carry the event's attributes"),
    (
        "webhook-",
        "these headers carry the delivery's id, time and signature",
    ),
];

/// Whether a rule may set a header of this name; `Err` says why not.
pub(super) fn check_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        format!(
            "{:?} is no header name: it takes letters, digits and `-`",
            short(text)
        )
    })?;
    match forbidden(&name) {
        Some(reason) => Err(format!("`{name}` cannot be set by a rule: {reason}")),
        None => Ok(name),
    }
}

fn forbidden(name: &HeaderName) -> Option<&'static str> {
    let exact = FORBIDDEN.iter().find(|(other, _)| name == *other);
    let prefix = FORBIDDEN_PREFIXES
        .iter()
        .find(|(prefix, _)| name.as_str().starts_with(prefix));
    exact.or(prefix).map(|(_, reason)| *reason)
}

/// Headers as a rule writes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers {
    /// Marked sensitive, since tokens travel there: they do not show in logs.
    pub constant: HeaderMap,
    pub from_event: Vec<(HeaderName, Parameter)>,
    /// In the place of what a transform's result is by itself.
    pub content_type: Option<HeaderValue>,
}

impl Headers {
    /// Bytes that are left to the values from the event.
    pub(super) fn room(&self) -> usize {
        let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        let taken: usize = self.constant.iter().map(bytes).sum();
        limits::TARGET_HEADER_BYTES.saturating_sub(taken)
    }
}

/// In full, since they are the user's own text.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let content_type = self.content_type.iter().map(|value| (&CONTENT_TYPE, value));
        for (name, value) in self.constant.iter().chain(content_type) {
            map.serialize_entry(name.as_str(), value.to_str().unwrap_or_default())?;
        }
        for (name, value) in &self.from_event {
            map.serialize_entry(name.as_str(), value)?;
        }
        map.end()
    }
}

/// A header's value; else why the text cannot be one.
pub(super) fn value_of(text: &str) -> Result<HeaderValue, &'static str> {
    if !text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
        return Err("a header's value takes visible ASCII characters and blanks, no line breaks");
    }
    if text.trim_matches([' ', '\t']).len() < text.len() {
        return Err("starts or ends with a blank; remove it");
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| "is no header's value")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads `headers`, an object of strings and of values from the event. The content type is the
/// rule's to say only where the body is a transform's bare result: else it is a CloudEvent, or data
/// that its publisher has named.
pub(super) fn read(node: &Node<'_>, bare_result: bool, problems: &mut Problems) -> Option<Headers> {
    let wanted = r#"an object of strings such as {"x-tenant": "acme"}"#;
    let mut headers = Headers::default();
    let mut bytes = 0;
    for (text, value) in node.members(wanted, problems)? {
        let offset = value.key_offset(&text);
        let mut refuse = |detail: String| problems.add(&value.pointer, offset, detail);
        let name = match check_name(&text) {
            Ok(name) => name,
            Err(detail) => {
                refuse(detail);
                continue;
            }
        };
        if headers.has(&name) {
            refuse(format!("`{name}` is given twice; keep one of the two"));
            continue;
        }
        bytes += name.as_str().len();
        if name == CONTENT_TYPE {
            if !bare_result {
                refuse("`content-type` cannot be set by a rule: it follows from the event and from `mode`; only with a `transform` in mode binary it is the rule's to say".to_owned());
                continue;
            }
            headers.content_type = read_content_type(&value, problems);
            continue;
        }
        let wanted = Wanted {
            check: |text| value_of(text).map(drop).map_err(str::to_owned),
            may_omit: true,
        };
        match parameter::read(&value, wanted, problems) {
            Some(Parameter::Constant(text)) => {
                bytes += text.len();
                if let Ok(text) = value_of(&text) {
                    headers.constant.insert(name, text);
                }
            }
            Some(parameter) => headers.from_event.push((name, parameter)),
            None => {}
        }
    }
    let count = headers.constant.len() + headers.from_event.len();
    if count > limits::TARGET_HEADERS || bytes > limits::TARGET_HEADER_BYTES {
        node.problem(
            problems,
            format!(
                "at most {} headers of {} bytes together; these are {count} of {bytes} bytes",
                limits::TARGET_HEADERS,
                limits::TARGET_HEADER_BYTES,
            ),
        );
    }
    Some(headers)
}

impl Headers {
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.constant.contains_key(name)
            || self.from_event.iter().any(|(known, _)| known == name)
            || (name == CONTENT_TYPE && self.content_type.is_some())
    }
}

fn read_content_type(node: &Node<'_>, problems: &mut Problems) -> Option<HeaderValue> {
    let text = node.string(
        r#"a media type such as "application/x-www-form-urlencoded""#,
        problems,
    )?;
    if !is_media_type(&text) {
        let example = "one is written type/subtype, such as text/csv";
        node.problem(
            problems,
            format!("{:?} is no media type; {example}", short(&text)),
        );
        return None;
    }
    HeaderValue::from_str(&text).ok()
}
