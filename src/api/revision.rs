//! Revisions as `ETag`s, and what a writer expects to replace (RFC 9110, section 13).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Problem;
use crate::log::Sequence;
use crate::rule::{IfMatch, PutOutcome};

/// `"17"`
pub(super) fn etag(revision: Sequence) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits in quotes are a header value")
}

/// What the headers of a change expect, where `current` is the revision now. The change itself
/// checks it again, so nothing can slip in between.
pub(super) fn expected(headers: &HeaderMap, current: Option<Sequence>) -> Result<IfMatch, Problem> {
    if let Some(tags) = tags(headers, header::IF_NONE_MATCH)? {
        return match tags {
            Tags::Any => Ok(IfMatch::Absent),
            Tags::These(_) => Err(Problem::malformed(
                "A change takes `If-None-Match: *` (only create) or `If-Match` with an ETag.",
            )),
        };
    }
    match (tags(headers, header::IF_MATCH)?, current) {
        (None, _) => Ok(IfMatch::Always),
        (Some(Tags::Any), _) => Ok(IfMatch::Exists),
        (Some(Tags::These(tags)), Some(current)) if tags.contains(&etag_text(current)) => {
            Ok(IfMatch::Revision(current))
        }
        (Some(_), current) => Err(Problem::changed(current)),
    }
}

/// A document with its revision, or 304 when the reader has it already.
pub(super) fn document(
    headers: &HeaderMap,
    status: StatusCode,
    revision: Sequence,
    text: &str,
) -> Result<Response, Problem> {
    let etag_header = (header::ETAG, etag(revision));
    let known = match tags(headers, header::IF_NONE_MATCH)? {
        Some(Tags::These(tags)) => tags.contains(&etag_text(revision)),
        _ => false,
    };
    if known && status == StatusCode::OK {
        return Ok((StatusCode::NOT_MODIFIED, [etag_header]).into_response());
    }
    let json = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok((status, [etag_header, json], Body::from(text.to_owned())).into_response())
}

/// The same for a change that takes no condition of its own.
pub(super) fn check(headers: &HeaderMap, current: Option<Sequence>) -> Result<(), Problem> {
    match expected(headers, current)? {
        IfMatch::Absent if current.is_some() => Err(Problem::changed(current)),
        _ => Ok(()),
    }
}

/// 201 when a put created something, 200 when it replaced it.
pub(super) fn put_status(outcome: PutOutcome) -> StatusCode {
    match outcome {
        PutOutcome::Created => StatusCode::CREATED,
        PutOutcome::Replaced | PutOutcome::Unchanged => StatusCode::OK,
    }
}

fn etag_text(revision: Sequence) -> String {
    format!("\"{revision}\"")
}

enum Tags {
    Any,
    /// As written, quotes included.
    These(Vec<String>),
}

fn tags(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<Tags>, Problem> {
    let mut these = Vec::new();
    for value in headers.get_all(&name) {
        let text = value
            .to_str()
            .map_err(|_| Problem::malformed(format!("`{name}` is not readable text.")))?;
        these.extend(text.split(',').map(|tag| tag.trim().to_owned()));
    }
    if these.is_empty() {
        return Ok(None);
    }
    if these == ["*"] {
        return Ok(Some(Tags::Any));
    }
    match these.iter().find(|tag| !is_tag(tag)) {
        Some(tag) => Err(Problem::malformed(format!(
            "`{name}` holds {tag:?}; an ETag stands in quotes, such as \"17\"."
        ))),
        None => Ok(Some(Tags::These(these))),
    }
}

fn is_tag(tag: &str) -> bool {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, value: &'static str, current: Option<Sequence>) -> String {
        let headers = HeaderMap::from_iter([(
            header::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )]);
        match expected(&headers, current) {
            Ok(expect) => format!("{expect:?}"),
            Err(problem) => problem.into_response().status().as_u16().to_string(),
        }
    }

    #[test]
    fn conditions_become_expectations() {
        assert_eq!(check("accept", "*/*", Some(3)), "Always");
        assert_eq!(check("if-match", "\"3\"", Some(3)), "Revision(3)");
        assert_eq!(check("if-match", "\"1\", \"3\"", Some(3)), "Revision(3)");
        assert_eq!(check("if-match", "*", Some(3)), "Exists");
        assert_eq!(check("if-match", "\"4\"", Some(3)), "412");
        assert_eq!(check("if-match", "W/\"3\"", Some(3)), "412");
        assert_eq!(check("if-match", "*", None), "Exists");
        assert_eq!(check("if-match", "3", Some(3)), "400");
        assert_eq!(check("if-none-match", "*", Some(3)), "Absent");
        assert_eq!(check("if-none-match", "\"3\"", Some(3)), "400");
    }
}
