//! `method`, `query`, `path` and the headers that come from the event: a request beside its body.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serializer;
use serde::ser::SerializeMap as _;

use super::headers::value_of;
use super::parameter::{self, Wanted};
use super::problem::Problems;
use super::reader::{Node, list, nearest, short};
use super::url_path::{PathTemplate, percent_encode};
use crate::limits;
use crate::query::Subject;
use crate::transform::{Parameter, Work};

/// Methods that a target may be sent. Not GET and HEAD: they carry no body, and whoever stands
/// between may answer or repeat them.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// A request to a target beside its body and the headers that never change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestShape {
    pub method: Method,
    /// Headers whose values come from the event.
    pub headers: Vec<(HeaderName, Parameter)>,
    /// Bytes that these may have together.
    pub header_room: usize,
    /// In the place of what a transform's result is by itself.
    pub content_type: Option<HeaderValue>,
    pub query: Vec<(String, Parameter)>,
    pub path: Option<PathTemplate>,
}

/// What a shape gives for one event.
#[derive(Debug)]
pub struct FilledShape {
    pub url: reqwest::Url,
    pub headers: HeaderMap,
}

impl RequestShape {
    /// The URL and headers for an event; else why they cannot be made, now or later.
    pub(crate) fn fill(
        &self,
        url: &reqwest::Url,
        subject: &Subject<'_>,
    ) -> Result<FilledShape, String> {
        let mut work = Work::default();
        let url = self.url(url, subject, &mut work)?;
        let headers = self.fill_headers(subject, &mut work)?;
        Ok(FilledShape { url, headers })
    }

    /// The URL alone.
    pub(crate) fn fill_url(
        &self,
        url: &reqwest::Url,
        subject: &Subject<'_>,
    ) -> Result<reqwest::Url, String> {
        self.url(url, subject, &mut Work::default())
    }

    fn url(
        &self,
        url: &reqwest::Url,
        subject: &Subject<'_>,
        work: &mut Work,
    ) -> Result<reqwest::Url, String> {
        let mut url = url.clone();
        if let Some(template) = &self.path {
            let path = template.fill(subject, work)?;
            url.set_path(&path);
            // The parser's own view of what a path is; it must be ours.
            if url.path() != path {
                return Err(format!("the URL would have the path {:?}", short(&path)));
            }
        }
        if !self.query.is_empty() {
            let query = self.fill_query(url.query().unwrap_or_default(), subject, work)?;
            url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        }
        if url.as_str().len() > limits::URL_BYTES {
            return Err(format!(
                "the URL would have {} bytes, at most {} are sent",
                url.as_str().len(),
                limits::URL_BYTES
            ));
        }
        Ok(url)
    }

    fn fill_query(
        &self,
        before: &str,
        subject: &Subject<'_>,
        work: &mut Work,
    ) -> Result<String, String> {
        let mut query = before.to_owned();
        for (name, parameter) in &self.query {
            let text = parameter.text(subject, work);
            let text = text.map_err(|error| format!("the query's `{name}`: {error}"))?;
            let Some(text) = text else { continue };
            if text.len() > limits::URL_BYTES {
                return Err(format!(
                    "the query's `{name}` has {} bytes, and a URL at most {}",
                    text.len(),
                    limits::URL_BYTES
                ));
            }
            if !query.is_empty() {
                query.push('&');
            }
            percent_encode(name, &mut query);
            query.push('=');
            percent_encode(&text, &mut query);
        }
        Ok(query)
    }

    fn fill_headers(&self, subject: &Subject<'_>, work: &mut Work) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        let mut bytes = 0;
        for (name, parameter) in &self.headers {
            let refuse = |reason: &dyn std::fmt::Display| format!("the header `{name}`: {reason}");
            let text = parameter
                .text(subject, work)
                .map_err(|error| refuse(&error))?;
            let Some(text) = text else { continue };
            // Blanks around a value are not part of it (RFC 9110, section 5.5).
            let text = text.trim_matches([' ', '\t']);
            bytes += name.as_str().len() + text.len();
            if bytes > self.header_room {
                return Err(refuse(&format_args!(
                    "with it the rule's headers have more than {} bytes together",
                    limits::TARGET_HEADER_BYTES
                )));
            }
            headers.insert(name, value_of(text).map_err(|reason| refuse(&reason))?);
        }
        Ok(headers)
    }
}

pub(super) fn read_method(node: &Node<'_>, problems: &mut Problems) -> Option<Method> {
    let text = node.string(r#""POST", "PUT", "PATCH" or "DELETE""#, problems)?;
    if METHODS.contains(&text.as_str()) {
        return Method::from_bytes(text.as_bytes()).ok();
    }
    let detail = match text.as_str() {
        "GET" | "HEAD" => format!("{text} carries no body, so that the event would be lost"),
        other => match nearest(other, &METHODS) {
            Some(near) => format!(
                "there is no method {:?}; did you mean `{near}`?",
                short(other)
            ),
            None => format!("cannot be {:?}", short(other)),
        },
    };
    let detail = match detail.ends_with('?') {
        true => detail,
        false => format!("{detail}; it is one of {}", list(&METHODS)),
    };
    node.problem(problems, detail);
    None
}

/// Reads `query`, an object of names and values that are added to the URL's own query.
pub(super) fn read_query(
    node: &Node<'_>,
    url: Option<&reqwest::Url>,
    problems: &mut Problems,
) -> Option<Vec<(String, Parameter)>> {
    let wanted = r#"an object of names and values such as {"tenant": {"path": "$.data.tenant"}}"#;
    let members = node.members(wanted, problems)?;
    if members.len() > limits::TARGET_PARAMETERS {
        let most = limits::TARGET_PARAMETERS;
        let detail = format!("at most {most} parameters; these are {}", members.len());
        node.problem(problems, detail);
        return None;
    }
    let mut query: Vec<(String, Parameter)> = Vec::with_capacity(members.len());
    let mut complete = true;
    for (name, value) in members {
        let in_url = url.is_some_and(|url| url.query_pairs().any(|(known, _)| known == name));
        let refusal = if name.is_empty() || name.chars().any(char::is_control) {
            Some("a parameter's name is text without control characters".to_owned())
        } else if query.iter().any(|(known, _)| *known == *name) {
            Some(format!(
                "`{}` is given twice; keep one of the two",
                short(&name)
            ))
        } else if in_url {
            let name = short(&name);
            Some(format!(
                "`{name}` is in the query of `url` already; keep one of the two"
            ))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            problems.add(&value.pointer, value.key_offset(&name), refusal);
            complete = false;
            continue;
        }
        let wanted = Wanted {
            check: |text| match text.len() <= limits::URL_BYTES {
                true => Ok(()),
                false => Err(format!("has more than {} bytes", limits::URL_BYTES)),
            },
            may_omit: true,
        };
        match parameter::read(&value, wanted, problems) {
            Some(parameter) => query.push((name.into_owned(), parameter)),
            None => complete = false,
        }
    }
    complete.then_some(query)
}

/// Says of a method other than POST, and of each value from the event in the URL, that a target which
/// is asked for its agreement cannot have it.
pub(super) fn refuse_for_validation(node: &Node<'_>, problems: &mut Problems) {
    if node.raw().starts_with('"') {
        if node.raw() != "\"POST\"" {
            node.problem(
                problems,
                "does not go with `validation`, which asks about POST",
            );
        }
        return;
    }
    for (_, value) in node.entries().unwrap_or_default() {
        if value.raw().starts_with('{') {
            value.problem(
                problems,
                "does not go with `validation`: agreement is asked for one URL, and this makes many",
            );
        }
    }
}

pub(super) fn serialize_method<S: Serializer>(
    method: &Method,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}

pub(super) fn serialize_query<S: Serializer>(
    query: &[(String, Parameter)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(query.len()))?;
    for (name, parameter) in query {
        map.serialize_entry(name, parameter)?;
    }
    map.end()
}
