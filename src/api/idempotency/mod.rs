//! Requests with an `Idempotency-Key`: one that is sent again is done once, and answered as before.
//!
//! A key holds for one caller and one place. For publishing, answers are in the log, beside the events
//! (`log::Once`); those of requests that create something else are kept here, in memory, for a while.
//! Only successes are kept: what was refused has done nothing, and may succeed the next time.

mod kept;

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

pub(super) use self::kept::KeptAnswers;
use super::{Api, Problem};
use crate::access::Caller;
use crate::limits;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What a sender calls one request, however often it sends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdempotencyKey(String);

impl IdempotencyKey {
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut given = headers.get_all(&IDEMPOTENCY_KEY).iter();
        let (Some(one), other) = (given.next(), given.next()) else {
            return Ok(None);
        };
        let text = one.to_str().ok().filter(|_| other.is_none());
        let key = text.and_then(read);
        let key = key.filter(|key| (1..=limits::IDEMPOTENCY_KEY_BYTES).contains(&key.len()));
        key.map(|key| Some(Self(key))).ok_or_else(|| {
            Problem::malformed(format!(
                "`Idempotency-Key` is one text in quotes, such as \"8e03978e-40d5-43dd-bc93-6a86cffa4d32\", of 1 to {} printable characters of ASCII.",
                limits::IDEMPOTENCY_KEY_BYTES
            ))
        })
    }

    /// What it is known as: this caller's, for what is asked for there.
    pub(super) fn known_as(&self, caller: &Caller, place: &[&str]) -> u128 {
        let id;
        let caller = match caller {
            Caller::Anyone => ["anyone", "", ""],
            Caller::Root => ["root", "", ""],
            Caller::Key(key) => {
                id = key.id.to_string();
                ["key", &id, ""]
            }
            Caller::Token(token) => ["token", &token.issuer, &token.subject],
        };
        let parts = caller.into_iter().chain([self.0.as_str()]);
        let parts = parts.chain(place.iter().copied());
        fingerprint(parts.map(str::as_bytes))
    }
}

/// A string of RFC 9651 (section 3.3.3), or a word without its quotes, as many send it.
fn read(text: &str) -> Option<String> {
    let text = text.trim();
    let Some(inner) = text.strip_prefix('"') else {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,;".contains(&byte);
        return text.bytes().all(plain).then(|| text.to_owned());
    };
    let mut chars = inner.strip_suffix('"')?.chars();
    let mut key = String::with_capacity(inner.len());
    while let Some(char) = chars.next() {
        key.push(match char {
            '\\' => chars.next().filter(|next| matches!(next, '"' | '\\'))?,
            '"' => return None,
            ' '..='~' => char,
            _ => return None,
        });
    }
    Some(key)
}

/// Tells what was asked for from anything else.
pub(super) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u128 {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let start = digest.as_ref().first_chunk();
    u128::from_be_bytes(*start.expect("SHA-256 has 32 bytes"))
}

/// The keys of requests that have no answer yet: no more than there are requests.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<u128>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    under_way: UnderWay,
    key: u128,
}

impl UnderWay {
    /// Begins, unless the same is under way.
    pub(super) fn begin(&self, key: u128) -> Result<Turn, Problem> {
        if !self.0.lock().insert(key) {
            return Err(Problem::under_way());
        }
        Ok(Turn {
            under_way: self.clone(),
            key,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.0.lock().remove(&self.key);
    }
}

/// The mark of an answer that was given before.
pub(super) fn replayed(mut response: Response) -> Response {
    let yes = HeaderValue::from_static("true");
    response.headers_mut().insert(REPLAYED, yes);
    response
}

/// The layer around every handler that creates something.
pub(super) async fn creating(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let answer = create_once(&api, request, next).await;
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn create_once(api: &Arc<Api>, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = IdempotencyKey::of(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let caller = request.extensions().get::<Caller>();
    let caller = caller.cloned().unwrap_or(Caller::Anyone);
    let (head, body) = request.into_parts();
    let place = [head.method.as_str(), head.uri.path()];
    let key = key.known_as(&caller, &place);
    let whole = api.bodies.read(body, limits::BODY_BYTES).await?;
    let coding = head.headers.get(header::CONTENT_ENCODING);
    let coding = coding.map_or(&[][..], HeaderValue::as_bytes);
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let asked = fingerprint([query, coding, &whole.bytes]);
    let turn = api.under_way.begin(key)?;
    if let Some(kept) = api.kept_answers.get(key) {
        return kept.again(asked);
    }
    let request = Request::from_parts(head, Body::from(whole.bytes.clone()));
    drop(whole);
    let owner = Arc::clone(api);
    // To its end: else it might be done and not remembered.
    let work = async move {
        let response = next.run(request).await;
        let response = owner.kept_answers.keep(key, asked, response).await;
        drop(turn);
        response
    };
    api.to_its_end(work).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Token;

    #[test]
    fn a_key_is_one_string() {
        let check = |values: &[&str], expected: Result<Option<&str>, ()>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::try_from(*value).unwrap());
            }
            let read = IdempotencyKey::of(&headers).map_err(|_| ());
            let read = read.map(|key| key.map(|key| key.0));
            assert_eq!(
                read,
                expected.map(|key| key.map(str::to_owned)),
                "{values:?}"
            );
        };
        let longest = "k".repeat(255);
        check(&[], Ok(None));
        check(&[r#""a b""#], Ok(Some("a b")));
        check(&["8e03978e-40d5"], Ok(Some("8e03978e-40d5")));
        check(&[r#""a\"\\b""#], Ok(Some(r#"a"\b"#)));
        check(&[&longest], Ok(Some(&longest)));
        for bad in [
            "",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "a b",
            "a,b",
            "\"a\", \"b\"",
            "\"a\";p=1",
            "\"\\a\"",
            "\"a\\\"",
            "caf\u{e9}",
            "\"a\tb\"",
            &"k".repeat(256),
        ] {
            check(&[bad], Err(()));
        }
        check(&["a", "a"], Err(()));
    }

    #[test]
    fn a_key_holds_for_one_caller_and_one_place() {
        let key = IdempotencyKey("k".to_owned());
        let known = key.known_as(&Caller::Anyone, &["publish", "default"]);
        assert_eq!(
            known,
            key.known_as(&Caller::Anyone, &["publish", "default"])
        );
        let token = |issuer: &str, subject: &str| {
            let caller = Caller::Token(Arc::new(Token::of(issuer, subject)));
            key.known_as(&caller, &["publish", "default"])
        };
        let longest = "s".repeat(limits::TOKEN_SUBJECT_CHARS);
        let of_token = token("https://id.example", &longest);
        assert_eq!(of_token, token("https://id.example", &longest));
        assert_ne!(of_token, token("https://other.example", &longest));
        // It is shown shortened, and told apart by all of it.
        assert_ne!(of_token, token("https://id.example", &(longest + "s")));
        for other in [
            of_token,
            key.known_as(&Caller::Root, &["publish", "default"]),
            key.known_as(&Caller::Anyone, &["publish", "other"]),
            key.known_as(&Caller::Anyone, &["publishd", "efault"]),
            IdempotencyKey("l".to_owned()).known_as(&Caller::Anyone, &["publish", "default"]),
        ] {
            assert_ne!(known, other);
        }
    }

    #[test]
    fn the_same_is_under_way_once() {
        let under_way = UnderWay::default();
        let turn = under_way.begin(1).unwrap();
        assert_eq!(under_way.begin(1).unwrap_err().status(), 409);
        under_way.begin(2).unwrap();
        drop(turn);
        under_way.begin(1).unwrap();
        assert!(under_way.0.lock().is_empty());
    }
}
