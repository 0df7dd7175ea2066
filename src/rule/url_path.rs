//! Places in a URL's path, `/orders/{id}`, that `path` fills with values of the event.
//!
//! A value never leaves its segment: it is percent-encoded, and one that a lax receiver could take
//! for more (a slash, a backslash, `..`) is refused, since many decode a path before they walk it.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::parameter::{self, Wanted};
use super::problem::Problems;
use super::reader::{Node, list, nearest, short};
use crate::limits;
use crate::query::Subject;
use crate::transform::{Parameter, Work};

/// A path with places for values.
#[derive(Debug, Clone, PartialEq)]
pub struct PathTemplate {
    segments: Vec<Vec<Piece>>,
    values: Vec<(String, Parameter)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    /// As it stands in the URL.
    Literal(String),
    /// The value at this place of `values`.
    Value(usize),
}

impl Serialize for PathTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, parameter) in &self.values {
            map.serialize_entry(name, parameter)?;
        }
        map.end()
    }
}

impl PathTemplate {
    /// The path for an event; else why it cannot be made.
    pub(super) fn fill(&self, subject: &Subject<'_>, work: &mut Work) -> Result<String, String> {
        let mut texts = Vec::with_capacity(self.values.len());
        for (name, parameter) in &self.values {
            let text = parameter.text(subject, work);
            let text = text.map_err(|error| error.to_string()).and_then(|text| {
                let text = text.unwrap_or_default();
                check(&text)?;
                Ok(text)
            });
            texts.push(text.map_err(|reason| format!("`{{{name}}}` of the URL: {reason}"))?);
        }
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            let start = path.len();
            for piece in segment {
                match piece {
                    Piece::Literal(text) => path.push_str(text),
                    Piece::Value(at) => percent_encode(&texts[*at], &mut path),
                }
            }
            if leads_up(&path[start..]) {
                return Err(format!(
                    "the URL would have the segment {:?}, which leads elsewhere",
                    &path[start..]
                ));
            }
        }
        Ok(path)
    }
}

/// Why a text cannot stand in a path.
fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty, so that the URL would mean something else".to_owned());
    }
    if text.len() > limits::URL_BYTES {
        let most = limits::URL_BYTES;
        return Err(format!(
            "has {} bytes, and a URL at most {most}",
            text.len()
        ));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| matches!(c, '/' | '\\') || c.is_control())
    {
        return Err(format!(
            "holds {bad:?}, which could lead out of its place in the path; a value of `query` may hold it"
        ));
    }
    if leads_up(text) {
        return Err(format!("is {text:?}, which leads elsewhere"));
    }
    Ok(())
}

/// Whether a segment is `.` or `..` in any spelling.
fn leads_up(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(plain.as_str(), "." | "..")
}

/// Appends a text with all but unreserved characters (RFC 3986, section 2.3) percent-encoded.
pub(super) fn percent_encode(text: &str, to: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            to.push('%');
            to.push(char::from(HEX[usize::from(byte >> 4)]));
            to.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The first name in braces in a URL's text that looks like a placeholder.
pub(super) fn placeholder(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        if let Some((name, _)) = after.split_once('}')
            && is_name(name)
        {
            return Some(name);
        }
        rest = after;
    }
    None
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= limits::NAME_BYTES && name.bytes().all(fits)
}

/// Reads `path`, an object of names and values, and finds their places in the URL, whose text is
/// `text`.
pub(super) fn read(
    node: &Node<'_>,
    url: &Node<'_>,
    (text, parsed): (&str, &reqwest::Url),
    problems: &mut Problems,
) -> Option<PathTemplate> {
    let wanted = r#"an object of names and values such as {"id": {"path": "$.data.id"}}, for `{id}` in `url`"#;
    let mut values: Vec<(String, Parameter)> = Vec::new();
    let mut complete = true;
    for (name, value) in node.members(wanted, problems)? {
        let offset = value.key_offset(&name);
        let refusal = if !is_name(&name) {
            Some("takes letters, digits, `_`, `-` and `.`".to_owned())
        } else if values.iter().any(|(known, _)| *known == *name) {
            Some("is given twice; keep one of the two".to_owned())
        } else if !text.contains(&format!("{{{name}}}")) {
            Some(format!(
                "has no place: write `{{{name}}}` into the path of `url`, or remove it here"
            ))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let detail = format!("the name `{}` {refusal}", short(&name));
            problems.add(&value.pointer, offset, detail);
            complete = false;
            continue;
        }
        let wanted = Wanted {
            check,
            may_omit: false,
        };
        match parameter::read(&value, wanted, problems) {
            Some(parameter) => values.push((name.into_owned(), parameter)),
            None => complete = false,
        }
    }
    if !complete {
        return None;
    }
    match places(text, parsed, &values) {
        Ok(segments) => Some(PathTemplate { segments, values }),
        Err(detail) => {
            url.problem(problems, detail);
            None
        }
    }
}

/// The segments of the URL's path.
fn places(
    text: &str,
    parsed: &reqwest::Url,
    values: &[(String, Parameter)],
) -> Result<Vec<Vec<Piece>>, String> {
    // `check_url` has seen to the scheme.
    let after_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
    let (before_query, query) = after_scheme.split_once('?').unwrap_or((after_scheme, ""));
    let (host, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    if host.contains('{') {
        return Err(
            "has a `{` in its host: placeholders stand in the path, the host never comes from an event"
                .to_owned(),
        );
    }
    if let Some(name) = placeholder(query) {
        return Err(format!(
            "takes placeholders in its path only; move `{{{name}}}` into `query`"
        ));
    }
    if path.to_ascii_lowercase().contains("%7b") {
        return Err(
            "holds `%7B`, an encoded brace, beside placeholders; leave one of the two out"
                .to_owned(),
        );
    }
    let mut found = 0;
    let mut segments = Vec::new();
    // The parser has encoded the braces, and taken `.` and `..` out.
    for segment in parsed.path().split('/').skip(1) {
        let mut pieces = Vec::new();
        let mut rest = segment;
        while let Some((before, after)) = rest.split_once("%7B") {
            let (name, after) = after
                .split_once("%7D")
                .ok_or("has a `{` without its `}`; write `%7B` where a brace itself is meant")?;
            let Some(at) = values.iter().position(|(known, _)| known == name) else {
                let known: Vec<&str> = values.iter().map(|(known, _)| known.as_str()).collect();
                let remedy = nearest(name, &known).map_or_else(
                    || format!("it has {}; add it there", list(&known)),
                    |near| format!("did you mean `{{{near}}}`?"),
                );
                return Err(format!(
                    "names `{{{}}}`, which `path` does not have; {remedy}",
                    short(name)
                ));
            };
            if !before.is_empty() {
                pieces.push(Piece::Literal(before.to_owned()));
            }
            pieces.push(Piece::Value(at));
            found += 1;
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        segments.push(pieces);
    }
    // One that a `..` behind it takes away, or that stands in the query.
    if found != path.matches('{').count() {
        return Err("loses a placeholder to the `..` behind it".to_owned());
    }
    let is_used = |at: usize| {
        let mut pieces = segments.iter().flatten();
        pieces.any(|piece| *piece == Piece::Value(at))
    };
    match (0..values.len()).find(|at| !is_used(*at)) {
        Some(unused) => Err(format!(
            "has no place for `{}` in its path",
            values[unused].0
        )),
        None => Ok(segments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        let mut encoded = String::new();
        percent_encode("aZ9-._~ %/?#&=+ü\u{0}", &mut encoded);
        assert_eq!(encoded, "aZ9-._~%20%25%2F%3F%23%26%3D%2B%C3%BC%00");
    }

    #[test]
    fn a_segment_that_leads_elsewhere_is_known_in_every_spelling() {
        for up in [".", "..", "%2e", "%2E.", ".%2e", "%2e%2E"] {
            assert!(leads_up(up), "{up}");
        }
        for plain in ["", "...", "a..", "%252e", ". ", "..;"] {
            assert!(!leads_up(plain), "{plain}");
        }
    }
}
