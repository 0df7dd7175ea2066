//! The extra headers that a target may be sent, and the names that are not the user's to set.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::Problems;
use super::reader::{Node, short};
use crate::limits;

/// Names a rule may not set, each with the reason.
const FORBIDDEN: [(&str, &str); 19] = [
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
    ("content-type", "it follows from the event and from `mode`"),
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

fn forbidden(name: &HeaderName) -> Option<&'static str> {
    let exact = FORBIDDEN.iter().find(|(other, _)| name == *other);
    let prefix = FORBIDDEN_PREFIXES
        .iter()
        .find(|(prefix, _)| name.as_str().starts_with(prefix));
    exact.or(prefix).map(|(_, reason)| *reason)
}

/// Reads `headers`, an object of strings. Values are marked sensitive, since tokens travel there:
/// they do not show in logs.
pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<HeaderMap> {
    let wanted = r#"an object of strings such as {"x-tenant": "acme"}"#;
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (text, value) in node.members(wanted, problems)? {
        let offset = value.key_offset(&text);
        let mut refuse = |detail: String| problems.add(&value.pointer, offset, detail);
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            refuse(format!(
                "{:?} is no header name: it takes letters, digits and `-`",
                short(&text)
            ));
            continue;
        };
        if let Some(reason) = forbidden(&name) {
            refuse(format!("`{name}` cannot be set by a rule: {reason}"));
            continue;
        }
        if headers.contains_key(&name) {
            refuse(format!("`{name}` is given twice; keep one of the two"));
            continue;
        }
        let Some(text) = value.string("a string", problems) else {
            continue;
        };
        let trimmed = text.trim_matches([' ', '\t']);
        let visible = text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'));
        match HeaderValue::from_str(&text) {
            Ok(mut parsed) if visible && trimmed.len() == text.len() => {
                bytes += name.as_str().len() + text.len();
                parsed.set_sensitive(true);
                headers.insert(name, parsed);
            }
            Ok(_) if visible => value.problem(problems, "starts or ends with a blank; remove it"),
            _ => value.problem(
                problems,
                "a header's value takes visible ASCII characters and blanks, no line breaks",
            ),
        }
    }
    if headers.len() > limits::TARGET_HEADERS || bytes > limits::TARGET_HEADER_BYTES {
        node.problem(
            problems,
            format!(
                "at most {} headers of {} bytes together; these are {} of {bytes} bytes",
                limits::TARGET_HEADERS,
                limits::TARGET_HEADER_BYTES,
                headers.len(),
            ),
        );
    }
    Some(headers)
}
