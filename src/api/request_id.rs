//! Gives every request a name, by which its answer, its log lines and its caller speak of it.
//!
//! A caller's own `X-Request-Id` is taken when it cannot be mistaken for anything else in a log line;
//! else the bus makes one up.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use tracing::Span;

use super::Problem;
use crate::limits;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What one request is called.
#[derive(Debug, Clone)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The name that the caller gave, or a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(&REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(one), None) if is_plain(one.as_bytes()) => Self(one.clone()),
            _ => Self::new(),
        }
    }

    /// Whoever looks at the request finds its name there.
    pub(super) fn name(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.0.clone());
    }

    fn new() -> Self {
        let text = format!("{:032x}", fastrand::u128(..));
        Self(HeaderValue::try_from(text).expect("hex digits are a header value"))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().expect("it is printable ASCII")
    }

    /// What log lines of the request stand in. The name is written in quotes, with its own escaped.
    pub(super) fn span(&self) -> Span {
        tracing::error_span!("request", id = self.as_str())
    }

    /// The answer, under the request's name. What a problem says is written here, since the name is
    /// part of it.
    pub(super) fn mark(self, mut response: Response) -> Response {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let problem = problem.with("request_id", self.as_str().into());
            *response.body_mut() = Body::from(problem.to_bytes());
            // Of the body that was not written.
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        response.headers_mut().insert(REQUEST_ID, self.0);
        response
    }
}

/// Whether it is one word of printable ASCII, not too long.
fn is_plain(text: &[u8]) -> bool {
    (1..=limits::REQUEST_ID_BYTES).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn a_plain_name_of_the_callers_is_taken() {
        let check = |given: &[&[u8]], taken: bool| {
            let values = given
                .iter()
                .map(|value| (REQUEST_ID, HeaderValue::from_bytes(value).unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            let id = RequestId::of(&headers);
            if taken {
                assert_eq!(id.as_str().as_bytes(), given[0]);
            } else {
                assert_eq!(id.as_str().len(), 32, "{given:?}");
                assert!(id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        };
        check(&[b"order-17/retry.2"], true);
        check(&[b"\"quoted\""], true);
        check(&[&[b'x'; 128]], true);
        check(&[], false);
        check(&[b""], false);
        check(&[&[b'x'; 129]], false);
        check(&[b"two words"], false);
        check(&[b"tab\there"], false);
        check(&["é".as_bytes()], false);
        check(&[b"one", b"two"], false);
    }

    /// Collects log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_name_in_a_log_line_is_nothing_else() {
        let value = HeaderValue::from_static(r#"1"}:forged{id="2"#);
        let id = RequestId::of(&HeaderMap::from_iter([(REQUEST_ID, value)]));
        let lines = Lines::default();
        let writer = lines.clone();
        let logging = tracing_subscriber::fmt().with_ansi(false);
        let logging = logging.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(logging, || {
            id.span().in_scope(|| tracing::error!("a request failed"));
        });
        let line = String::from_utf8(lines.0.lock().clone()).unwrap();
        let name = r#"request{id="1\"}:forged{id=\"2"}"#;
        assert!(line.contains(name), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn names_that_the_bus_gives_differ() {
        assert_ne!(RequestId::new().as_str(), RequestId::new().as_str());
    }
}
