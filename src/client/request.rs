//! Sends one request to the bus and reads its answer, or its problem.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use super::compression::Compression;
use super::reason::reason;
use super::types::{Json, Page, Versioned};
use super::{ClientError, Problem};

/// A bus's HTTP API behind a base URL. Cheap to clone; clones share the connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    pub(super) compression: Option<Compression>,
    pub(super) retries: Retries,
}

/// How often a publish is tried again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retries {
    pub(super) most: u32,
    /// Before the second try; it doubles.
    pub(super) first_wait: Duration,
}

/// How long one call may take: far above what a bus needs that is well, so that a broken one is
/// noticed.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// A client of the bus at `base`, such as `http://127.0.0.1:8080`, that asks for no API keys.
    pub fn new(base: &str) -> Result<Client, ClientError> {
        Client::builder(base).build()
    }

    /// A client that shows this API key with every call.
    pub fn with_api_key(base: &str, key: &str) -> Result<Client, ClientError> {
        Client::builder(base).api_key(key).build()
    }

    pub(super) fn over(http: reqwest::Client, base: Url) -> Client {
        Client {
            http,
            base,
            compression: None,
            retries: Retries::default(),
        }
    }

    /// The same client, which publishes up to so many times more where the bus did not answer or could
    /// not take it just then: after `first_wait`, then twice that and so on, or when the bus says. Each
    /// try has the same idempotency key, so that the events are accepted once.
    #[must_use]
    pub fn retrying(self, retries: u32, first_wait: Duration) -> Client {
        let retries = Retries {
            most: retries,
            first_wait,
        };
        Client { retries, ..self }
    }

    /// The same client, which compresses the events that it publishes: worth it where the network is
    /// slower than the processors.
    #[must_use]
    pub fn compressing(self, compression: Compression) -> Client {
        Client {
            compression: Some(compression),
            ..self
        }
    }

    /// The base URL, without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(super) fn get(&self, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        self.request(Method::GET, path)
    }

    /// A `GET` with query parameters.
    pub(super) fn get_with(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.get(self.url_with(path, query)?))
    }

    /// A `DELETE` with query parameters.
    pub(super) fn delete_with(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.delete(self.url_with(path, query)?))
    }

    fn url_with(&self, path: &[&str], query: &[(&str, String)]) -> Result<Url, ClientError> {
        let mut segments = vec!["v1"];
        segments.extend_from_slice(path);
        let mut url = self.url(&segments)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    pub(super) fn post(&self, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        self.request(Method::POST, path)
    }

    /// A `POST` with query parameters.
    pub(super) fn post_with(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.post(self.url_with(path, query)?))
    }

    pub(super) fn put(&self, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        let request = self.request(Method::PUT, path)?;
        Ok(request.header("content-type", "application/json"))
    }

    pub(super) fn delete(&self, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        self.request(Method::DELETE, path)
    }

    /// A `GET` outside `/v1`.
    pub(super) fn get_root(&self, name: &str) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.get(self.url(&[name])?))
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        let mut segments = vec!["v1"];
        segments.extend_from_slice(path);
        Ok(self.http.request(method, self.url(&segments)?))
    }

    fn url(&self, segments: &[&str]) -> Result<Url, ClientError> {
        // `.` and `..` would be taken out by URL rules and the call would go somewhere else.
        if let Some(bad) = segments.iter().find(|s| matches!(**s, "" | "." | "..")) {
            return Err(ClientError::Invalid(format!(
                "{bad:?} cannot be the name of anything on a bus"
            )));
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ClientError::Invalid(format!("{} takes no path", self.base)))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    /// Sends and reads a JSON answer.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        let response = self.ok(request).await?;
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.not_a_bus(&error.to_string()))
    }

    /// Sends, and hands the answer over to be read part by part.
    pub(super) async fn send_stream(&self, request: RequestBuilder) -> Result<Export, ClientError> {
        let response = self.ok(request).await?;
        let client = self.clone();
        Ok(Export { client, response })
    }

    /// Sends and expects success; whatever the answer holds is let go.
    pub(super) async fn send_empty(&self, request: RequestBuilder) -> Result<(), ClientError> {
        let response = self.ok(request).await?;
        self.body(response).await?;
        Ok(())
    }

    /// Sends and reads one page of a list: the array under `name` (or `items`) and `next`.
    pub(super) async fn send_page(
        &self,
        request: RequestBuilder,
        name: &str,
    ) -> Result<Page, ClientError> {
        let mut answer: std::collections::BTreeMap<String, Json> = self.send(request).await?;
        let list = answer
            .remove(name)
            .or_else(|| answer.remove("items"))
            .ok_or_else(|| self.not_a_bus(&format!("the answer has no list `{name}`")))?;
        let items = serde_json::from_str(list.get())
            .map_err(|error| self.not_a_bus(&format!("`{name}`: {error}")))?;
        let next = match answer.get("next").map(|next| next.get()) {
            None | Some("null") => None,
            // A cursor is opaque: a number goes back as its digits, a string without its quotes.
            Some(text) => Some(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())),
        };
        Ok(Page { items, next })
    }

    /// Sends and reads a document with its `ETag`.
    pub(super) async fn send_versioned(
        &self,
        request: RequestBuilder,
    ) -> Result<Versioned, ClientError> {
        let response = self.ok(request).await?;
        let etag = response
            .headers()
            .get("etag")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let warnings = response.headers().get_all("eventyard-warning").iter();
        let warnings = warnings.filter_map(|value| value.to_str().ok().map(str::to_owned));
        let warnings = warnings.collect();
        let body = self.body(response).await?;
        let body = if body.is_empty() { &b"null"[..] } else { &body };
        let document =
            serde_json::from_slice(body).map_err(|error| self.not_a_bus(&error.to_string()))?;
        Ok(Versioned {
            document,
            etag,
            warnings,
        })
    }

    pub(super) async fn ok(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after_seconds = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = self.body(response).await?;
        let mut problem: Problem = serde_json::from_slice(&body).unwrap_or_else(|_| Problem {
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            detail: Some(start_of(&body)).filter(|text| !text.is_empty()),
            ..Problem::default()
        });
        problem.status = status.as_u16();
        problem.retry_after_seconds = retry_after_seconds;
        Err(ClientError::Problem(Box::new(problem)))
    }

    async fn body(&self, response: Response) -> Result<bytes::Bytes, ClientError> {
        response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.base().to_owned(),
            reason: if error.is_timeout() {
                format!("no answer within {} s", CALL_TIMEOUT.as_secs())
            } else {
                reason(error)
            },
        }
    }

    pub(super) fn not_a_bus(&self, reason: &str) -> ClientError {
        ClientError::NotABus {
            url: self.base().to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// An answer that is read part by part, so that its size does not matter.
#[derive(Debug)]
pub struct Export {
    client: Client,
    response: Response,
}

impl Export {
    /// The next part; `None` at the end of a whole answer. One that broke off is an error.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, ClientError> {
        let part = self.response.chunk().await;
        part.map_err(|error| self.client.unreachable(&error))
    }
}

/// The first 300 characters of a body that is no problem document.
fn start_of(body: &[u8]) -> String {
    String::from_utf8_lossy(body)
        .trim()
        .chars()
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(base: &str, segments: &[&str]) -> String {
        let client = Client::new(base).unwrap();
        client.url(segments).unwrap().to_string()
    }

    #[test]
    fn paths_are_encoded_and_joined_to_the_base() {
        assert_eq!(
            path("http://bus:1", &["v1", "buses", "a b/c"]),
            "http://bus:1/v1/buses/a%20b%2Fc"
        );
        assert_eq!(
            path("http://bus:1/prefix/", &["readyz"]),
            "http://bus:1/prefix/readyz"
        );
    }

    #[test]
    fn a_name_that_would_change_the_path_is_refused() {
        let client = Client::new("http://bus:1").unwrap();
        for name in ["", ".", ".."] {
            assert!(client.url(&["v1", "buses", name]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_key_does_not_show() {
        let client = Client::with_api_key("http://bus:1", "eyk_hunter2").unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
        let error = Client::with_api_key("http://bus:1", "hunter2\n").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_base_that_is_no_url_is_refused_with_an_example() {
        for base in ["", "localhost:8080", "bus", "ftp://bus"] {
            let error = Client::new(base).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:8080"), "{error}");
        }
    }
}
