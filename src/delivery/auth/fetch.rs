//! Asks a token server for a token (RFC 6749, section 4.4), and reads what it says.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

use super::sensitive;
use crate::clock::Clock;
use crate::delivery::attempt::AGENT;
use crate::delivery::next_step::Outcome;
use crate::delivery::retry_after;
use crate::delivery::wire::{self, TargetService};
use crate::limits;
use crate::rule::{ClientAuth, OAuth2};
use crate::secret::SecretText;

/// A token as its server gave it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) text: SecretText,
    pub(super) header: HeaderValue,
    pub(super) lifetime: Duration,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct Failed {
    /// What becomes of deliveries that need it.
    pub(super) outcome: Outcome,
    /// How long the server asks to be left alone.
    pub(super) asked: Duration,
}

/// Error codes that servers may answer with (RFC 6749 section 5.2, RFC 8707), with what to do about
/// them. No other text of a server is repeated: it might hold what it was sent.
const CODES: [(&str, &str); 9] = [
    ("invalid_request", ""),
    (
        "invalid_client",
        "; it does not take `client_id` with this secret, or not by this `client_auth`",
    ),
    ("invalid_grant", ""),
    (
        "unauthorized_client",
        "; this client may not ask for tokens in this way",
    ),
    (
        "unsupported_grant_type",
        "; it does not give tokens for client credentials",
    ),
    ("invalid_scope", "; mend `scope`"),
    ("invalid_target", "; mend `audience`"),
    ("access_denied", ""),
    ("temporarily_unavailable", ""),
];

/// The server's host, for people; a URL's query may hold what they must not see.
pub(super) fn host(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Fetches a token, within [`limits::TOKEN_TIMEOUT`].
pub(super) async fn fetch(
    service: TargetService,
    oauth2: &OAuth2,
    secret: &SecretText,
    clock: &Clock,
) -> Result<Fetched, Failed> {
    let server = format!("the token server {}", host(&oauth2.token_url));
    let request = request(oauth2, secret);
    let exchange = tokio::time::timeout(limits::TOKEN_TIMEOUT, exchange(service, request));
    let (status, headers, body) = match exchange.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let outcome = match wire::refusal(&*error) {
                Some(refusal) => Outcome::AddressRefused(format!("{server}: {refusal}")),
                None => not(format!("{server}: {}", wire::describe(&*error))),
            };
            return Err(outcome.into());
        }
        Err(_) => {
            let timeout = limits::TOKEN_TIMEOUT;
            return Err(not(format!("{server} did not answer within {timeout:?}")).into());
        }
    };
    if !status.is_success() {
        let now = clock.now();
        let asked = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after::parse(value, now))
            .map_or(Duration::ZERO, |at| at.since(now));
        let outcome = not(format!("{server} answered {}", refusal(status, &body)));
        return Err(Failed { outcome, asked });
    }
    token(&body).map_err(|reason| not(format!("{server} gave no token: {reason}")).into())
}

fn not(text: String) -> Outcome {
    Outcome::NotPrepared(text)
}

impl From<Outcome> for Failed {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            asked: Duration::ZERO,
        }
    }
}

fn request(oauth2: &OAuth2, secret: &SecretText) -> reqwest::Request {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", &oauth2.scope), ("audience", &oauth2.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    let mut request = reqwest::Request::new(Method::POST, oauth2.token_url.clone());
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    match oauth2.client_auth {
        ClientAuth::Basic => {
            // Both are form-encoded before they are joined (RFC 6749, section 2.3.1).
            let encoded = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let pair = Zeroizing::new(format!(
                "{}:{}",
                encoded(&oauth2.client_id),
                encoded(secret.expose())
            ));
            let value = sensitive(&format!("Basic {}", BASE64_STANDARD.encode(&*pair)));
            headers.insert(AUTHORIZATION, value.expect("base64 fits a header"));
        }
        ClientAuth::Body => {
            form.append_pair("client_id", &oauth2.client_id);
            form.append_pair("client_secret", secret.expose());
        }
    }
    *request.body_mut() = Some(form.finish().into());
    request
}

/// Status, headers, and the body up to its bound and one byte more.
async fn exchange(
    service: TargetService,
    request: reqwest::Request,
) -> Result<(StatusCode, HeaderMap, Zeroizing<Vec<u8>>), tower::BoxError> {
    let mut response = service.oneshot(request).await?;
    let mut body = Zeroizing::new(Vec::new());
    while body.len() <= limits::TOKEN_RESPONSE_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), response.headers().clone(), body))
}

/// What an answer other than 2xx says.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Error {
        error: String,
    }
    let status = status.as_u16();
    if (300..400).contains(&status) {
        return format!("{status}: it leads elsewhere, which is not followed; mend `token_url`");
    }
    let error = serde_json::from_slice::<Error>(body).ok();
    let known = error.and_then(|error| CODES.iter().find(|(code, _)| *code == error.error));
    match known {
        Some((code, remedy)) => format!("{status} {code}{remedy}"),
        None => status.to_string(),
    }
}

/// Reads an answer (RFC 6749, section 5.1); `Err` repeats nothing of it.
fn token(body: &[u8]) -> Result<Fetched, String> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        token_type: Option<String>,
        /// Seconds; some servers write the number as a string.
        expires_in: Option<Value>,
    }
    if body.len() > limits::TOKEN_RESPONSE_BYTES {
        let most = limits::TOKEN_RESPONSE_BYTES;
        return Err(format!("its answer is larger than {most} bytes"));
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| "its answer is no JSON object with `access_token`".to_owned())?;
    let bearer = |kind: &String| kind.eq_ignore_ascii_case("bearer");
    if !answer.token_type.as_ref().is_none_or(bearer) {
        return Err("its `token_type` is not `Bearer`".to_owned());
    }
    let text = SecretText::new(answer.access_token);
    let header = Zeroizing::new(format!("Bearer {}", text.expose()));
    let header = sensitive(&header)
        .ok()
        .filter(|_| !text.expose().is_empty());
    let header =
        header.ok_or_else(|| "its `access_token` does not fit into a header".to_owned())?;
    let seconds = match &answer.expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let lifetime = seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    Ok(Fetched {
        text,
        header,
        lifetime: lifetime
            .unwrap_or(limits::TOKEN_LIFETIME_DEFAULT)
            .clamp(Duration::from_secs(1), limits::TOKEN_LIFETIME_MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_servers_write_them() {
        let seconds = |body: &str| token(body.as_bytes()).map(|token| token.lifetime.as_secs());
        for (body, expected) in [
            (
                r#"{"access_token": "t", "token_type": "Bearer", "expires_in": 3600}"#,
                3600,
            ),
            (
                r#"{"access_token": "t", "token_type": "bearer", "expires_in": "120"}"#,
                120,
            ),
            (
                r#"{"access_token": "t", "expires_in": 59.6, "scope": "a"}"#,
                59,
            ),
            (r#"{"access_token": "t", "expires_in": 0}"#, 1),
            (r#"{"access_token": "t", "expires_in": -5}"#, 300),
            (r#"{"access_token": "t", "expires_in": 1e300}"#, 300),
            (r#"{"access_token": "t", "expires_in": 99999999}"#, 86_400),
            (r#"{"access_token": "t", "expires_in": null}"#, 300),
            (r#"{"access_token": "t"}"#, 300),
        ] {
            assert_eq!(seconds(body), Ok(expected), "{body}");
        }
        for (body, part) in [
            ("", "no JSON object"),
            ("hunter2", "no JSON object"),
            (r#"{"token": "hunter2"}"#, "with `access_token`"),
            (r#"{"access_token": ["hunter2"]}"#, "with `access_token`"),
            (
                r#"{"access_token": "hunter2", "token_type": "mac"}"#,
                "not `Bearer`",
            ),
            (r#"{"access_token": "hunter2\r\nx: y"}"#, "does not fit"),
            (r#"{"access_token": ""}"#, "does not fit"),
            (&"x".repeat(limits::TOKEN_RESPONSE_BYTES + 1), "larger than"),
        ] {
            let error = token(body.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn refusals_say_the_code_and_nothing_else_of_the_server() {
        let text = |status: u16, body: &str| {
            refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        let said = text(
            401,
            r#"{"error": "invalid_client", "error_description": "hunter2"}"#,
        );
        assert!(
            said.starts_with("401 invalid_client; it does not take"),
            "{said}"
        );
        assert_eq!(text(400, r#"{"error": "hunter2"}"#), "400");
        assert_eq!(text(503, "hunter2"), "503");
        assert!(text(302, "").contains("mend `token_url`"));
    }

    #[test]
    fn the_client_is_named_as_the_rule_says() {
        let oauth2 = |client_auth| OAuth2 {
            token_url: "https://t/token?tenant=a".parse().unwrap(),
            client_id: "a b".to_owned(),
            client_secret: crate::rule::SecretRef {
                secret: crate::secret::SecretName::new("s").unwrap(),
            },
            scope: Some("read write".to_owned()),
            audience: None,
            client_auth,
        };
        let sent = |client_auth| {
            let request = request(&oauth2(client_auth), &SecretText::new("p:w".to_owned()));
            let body = request.body().unwrap().as_bytes().unwrap().to_vec();
            let header = request.headers().get(AUTHORIZATION).cloned();
            (String::from_utf8(body).unwrap(), header)
        };
        let (body, header) = sent(ClientAuth::Basic);
        assert_eq!(body, "grant_type=client_credentials&scope=read+write");
        let pair = BASE64_STANDARD.encode("a+b:p%3Aw");
        assert_eq!(header.unwrap().to_str().unwrap(), format!("Basic {pair}"));
        let (body, header) = sent(ClientAuth::Body);
        assert_eq!(
            body,
            "grant_type=client_credentials&scope=read+write&client_id=a+b&client_secret=p%3Aw"
        );
        assert_eq!(header, None);
    }
}
