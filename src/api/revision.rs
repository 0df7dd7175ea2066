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

/// What the conditions of a request come to, where `current` is the `ETag` of what is there (RFC 9110,
/// section 13.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There are none.
    Free,
    /// They hold of anything that is there.
    IfPresent,
    /// They hold of what is there now.
    IfSame,
    /// They hold while nothing is there.
    IfAbsent,
    /// `If-None-Match` does not hold: the caller has it, or wants nothing to be there.
    Known,
    /// `If-Match` does not hold.
    Unmet,
}

pub(super) fn judge(headers: &HeaderMap, current: Option<&str>) -> Result<Verdict, Problem> {
    let wanted = match (tags(headers, header::IF_MATCH)?, current) {
        (None, _) => Verdict::Free,
        (Some(Tags::Any), Some(_)) => Verdict::IfPresent,
        // Compared strongly: a weak tag is never the same.
        (Some(Tags::These(tags)), Some(current)) if tags.iter().any(|tag| tag == current) => {
            Verdict::IfSame
        }
        (Some(_), _) => return Ok(Verdict::Unmet),
    };
    Ok(match (tags(headers, header::IF_NONE_MATCH)?, current) {
        (Some(Tags::Any), None) => Verdict::IfAbsent,
        (Some(Tags::Any), Some(_)) => Verdict::Known,
        (Some(Tags::These(tags)), Some(current))
            if tags.iter().any(|tag| opaque(tag) == opaque(current)) =>
        {
            Verdict::Known
        }
        _ => wanted,
    })
}

/// What the headers of a change expect, where `current` is the revision now. The change itself checks
/// it, so that nothing can slip in between, and so that what stands in its way anyway is said first
/// (section 13.2.1).
pub(super) fn expected(headers: &HeaderMap, current: Option<Sequence>) -> Result<IfMatch, Problem> {
    let tag = current.map(etag_text);
    Ok(match (judge(headers, tag.as_deref())?, current) {
        (Verdict::Free, _) => IfMatch::Always,
        (Verdict::IfPresent, _) => IfMatch::Exists,
        (Verdict::IfAbsent, _) => IfMatch::Absent,
        (Verdict::IfSame, Some(current)) => IfMatch::Revision(current),
        (Verdict::IfSame | Verdict::Known | Verdict::Unmet, _) => IfMatch::Unmet,
    })
}

/// The same for a change with a body, which is looked at only when the conditions hold: they are
/// judged before it is (section 13.2.1).
pub(super) fn expected_before_body(
    headers: &HeaderMap,
    current: Option<Sequence>,
) -> Result<IfMatch, Problem> {
    match expected(headers, current)? {
        IfMatch::Unmet => Err(Problem::changed(current.map(etag_text).as_deref())),
        expected => Ok(expected),
    }
}

/// For a reader: nothing but 304 where it has what is there, and 412 where it wants something else.
pub(super) fn known(headers: &HeaderMap, current: &str) -> Result<Option<Response>, Problem> {
    match judge(headers, Some(current))? {
        Verdict::Unmet => Err(Problem::changed(Some(current))),
        Verdict::Known => {
            let tag = HeaderValue::try_from(current).map_err(Problem::internal)?;
            let etag = [(header::ETAG, tag)];
            Ok(Some((StatusCode::NOT_MODIFIED, etag).into_response()))
        }
        _ => Ok(None),
    }
}

/// A document with its revision.
pub(super) fn document(status: StatusCode, revision: Sequence, text: &str) -> Response {
    let json = HeaderValue::from_static("application/json");
    let headers = [(header::ETAG, etag(revision)), (header::CONTENT_TYPE, json)];
    (status, headers, Body::from(text.to_owned())).into_response()
}

/// The same for a reader, who may have it already.
pub(super) fn shown(
    headers: &HeaderMap,
    revision: Sequence,
    text: &str,
) -> Result<Response, Problem> {
    let known = known(headers, &etag_text(revision))?;
    Ok(known.unwrap_or_else(|| document(StatusCode::OK, revision, text)))
}

/// 201 when a put created something, 200 when it replaced it.
pub(super) fn put_status(outcome: PutOutcome) -> StatusCode {
    match outcome {
        PutOutcome::Created => StatusCode::CREATED,
        PutOutcome::Replaced | PutOutcome::Unchanged => StatusCode::OK,
    }
}

/// `"17"`, as text.
pub(super) fn etag_text(revision: Sequence) -> String {
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
        these.extend(list(text).map(str::to_owned));
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

/// The parts between commas that do not stand in quotes; a tag of somebody else's may hold some.
fn list(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = text.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// A tag without its mark of being weak, and its quotes inside it.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn is_tag(tag: &str) -> bool {
    let inner = opaque(tag).strip_prefix('"');
    let inner = inner.and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| {
        inner
            .bytes()
            .all(|byte| byte > b' ' && byte != b'"' && byte != 0x7F)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(conditions: &[(&'static str, &'static str)], current: Option<Sequence>) -> String {
        let headers = conditions.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        match expected(&headers.collect(), current) {
            Ok(expect) => format!("{expect:?}"),
            Err(problem) => problem.status().as_u16().to_string(),
        }
    }

    #[test]
    fn conditions_become_expectations() {
        let one = |name, value, current| check(&[(name, value)], current);
        assert_eq!(one("accept", "*/*", Some(3)), "Always");
        assert_eq!(one("if-match", "\"3\"", Some(3)), "Revision(3)");
        assert_eq!(one("if-match", "\"1\", \"3\"", Some(3)), "Revision(3)");
        assert_eq!(one("if-match", "*", Some(3)), "Exists");
        assert_eq!(one("if-match", "\"4\"", Some(3)), "Unmet");
        assert_eq!(one("if-match", "W/\"3\"", Some(3)), "Unmet");
        assert_eq!(one("if-match", "*", None), "Unmet");
        assert_eq!(one("if-match", "\"3\"", None), "Unmet");
        assert_eq!(one("if-match", "3", Some(3)), "400");
        assert_eq!(one("if-none-match", "*", Some(3)), "Unmet");
        assert_eq!(one("if-none-match", "*", None), "Absent");
        assert_eq!(one("if-none-match", "\"3\"", Some(3)), "Unmet");
        assert_eq!(one("if-none-match", "W/\"3\"", Some(3)), "Unmet");
        assert_eq!(one("if-none-match", "\"4\"", Some(3)), "Always");
        assert_eq!(one("if-none-match", "\"4\"", None), "Always");
    }

    #[test]
    fn both_conditions_must_hold() {
        let both =
            |one, other, current| check(&[("if-match", one), ("if-none-match", other)], current);
        assert_eq!(both("\"3\"", "\"4\"", Some(3)), "Revision(3)");
        assert_eq!(both("\"3\"", "\"3\"", Some(3)), "Unmet");
        assert_eq!(both("\"4\"", "\"4\"", Some(3)), "Unmet");
        assert_eq!(both("*", "*", None), "Unmet");
        assert_eq!(both("*", "*", Some(3)), "Unmet");
    }

    #[test]
    fn a_tag_may_hold_what_separates_tags() {
        let tags = |text| list(text).collect::<Vec<_>>();
        assert_eq!(tags("\"a,b\" , W/\"c\""), ["\"a,b\"", "W/\"c\""]);
        assert_eq!(tags(" , \"a\","), ["\"a\""]);
        assert_eq!(
            check(&[("if-match", "\"a,b\",\"3\"")], Some(3)),
            "Revision(3)"
        );
        assert_eq!(check(&[("if-match", "\"a\"b\"")], Some(3)), "400");
    }
}
