//! Where the key set comes from: a file, or a URL that is asked within bounds.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use crate::limits;

/// A file or a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignersSource {
    File(PathBuf),
    Url(Url),
}

impl SignersSource {
    /// A text that begins as a URL is one.
    pub fn parse(text: &str) -> Result<SignersSource, String> {
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
        let host = url.host_str().unwrap_or_default();
        let is_near = ["127.0.0.1", "[::1]", "localhost"].contains(&host);
        match url.scheme() {
            "https" => Ok(Self::Url(url)),
            // Whoever stands between could put keys of their own in.
            "http" if is_near => Ok(Self::Url(url)),
            _ => Err("an https:// URL is wanted, or a file".to_owned()),
        }
    }

    /// How often it is read without being asked for.
    pub(super) fn every(&self) -> Duration {
        match self {
            Self::File(_) => limits::SIGNERS_READ_EVERY,
            Self::Url(_) => limits::SIGNERS_FETCHED_EVERY,
        }
    }

    /// The set's text.
    pub(super) async fn read(&self, client: &reqwest::Client) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => {
                let text = tokio::fs::read(path)
                    .await
                    .map_err(|error| error.to_string())?;
                match text.len() > limits::SIGNERS_BYTES {
                    true => Err(too_large()),
                    false => Ok(text),
                }
            }
            Self::Url(url) => fetch(client, url).await,
        }
    }
}

impl fmt::Display for SignersSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("eventyard/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(limits::SIGNERS_TIMEOUT)
        .build()
}

async fn fetch(client: &reqwest::Client, url: &Url) -> Result<Vec<u8>, String> {
    let asked = client.get(url.clone()).header("accept", "application/json");
    let mut answer = asked.send().await.map_err(|error| innermost(&error))?;
    if answer.status() != 200 {
        return Err(format!("it answered {}", answer.status()));
    }
    let mut text = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| innermost(&error))? {
        if text.len() + part.len() > limits::SIGNERS_BYTES {
            return Err(too_large());
        }
        text.extend_from_slice(&part);
    }
    Ok(text)
}

fn too_large() -> String {
    format!("it is larger than {} bytes", limits::SIGNERS_BYTES)
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
