//! Tokens of an identity provider (JWT): who signed one that is for this bus, and what it allows.
//!
//! | claim value | allows |
//! |---|---|
//! | `eventyard:publish`, `:consume`, `:read`, `:manage` | the scope on all buses |
//! | `eventyard:publish:orders` | the scope on the bus `orders` |

mod jwt;
mod signers;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::time::Instant;

pub use self::source::SignersSource;

use self::jwt::Wanted;
use self::signers::Signers;
use super::grant::{Grant, GrantDocument, Scope};
use crate::clock::Timestamp;
use crate::limits;
use crate::log::BusName;

/// Whose tokens are taken, and where they say what they allow.
#[derive(Debug, Clone)]
pub struct Config {
    pub signers: SignersSource,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or hold.
    pub audience: String,
    /// The claim with the scopes.
    pub scope_claim: String,
}

/// A token that was judged good.
#[derive(Debug, Clone)]
pub struct Token {
    pub issuer: String,
    /// Whom it speaks for: one name for one party, among those of its issuer (RFC 7519, section 4.1.2).
    pub subject: String,
    pub(super) grants: Vec<Grant>,
}

impl Token {
    #[cfg(test)]
    pub(crate) fn of(issuer: &str, subject: &str) -> Token {
        Token {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            grants: Vec::new(),
        }
    }

    /// Its subject, as it is shown to people.
    #[must_use]
    pub fn name(&self) -> String {
        shown(&self.subject)
    }
}

fn shown(subject: &str) -> String {
    let shown = subject.chars().filter(|c| !c.is_control());
    shown.take(limits::TOKEN_SUBJECT_CHARS).collect()
}

/// Why a token is not taken. Nothing of it is repeated but its times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it does not read")]
    Malformed,
    #[error("it is larger than {max} bytes", max = limits::TOKEN_BYTES)]
    TooLarge,
    #[error("its algorithm is not RS256, ES256 or EdDSA")]
    Algorithm,
    #[error("the key that it names, or is signed with, is not known")]
    UnknownSigner,
    #[error("its signature does not fit")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has no expiry")]
    NoExpiry,
    #[error("it does not say whom it speaks for (`sub`)")]
    NoSubject,
    #[error("it expired at {0}")]
    Expired(Timestamp),
    #[error("it holds from {0} on")]
    NotYet(Timestamp),
}

/// Why keys that sign tokens are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignersError {
    /// The file cannot be read, or the URL does not answer with one.
    #[error("{0}")]
    Unread(String),
    /// It was read, and no key in it is of use.
    #[error("{0}")]
    Unfit(String),
}

/// Reads the keys as a bus that starts does, a URL too: how many are of use.
pub async fn look_at_signers(source: &SignersSource) -> Result<usize, SignersError> {
    let unread = SignersError::Unread;
    let client = source::client().map_err(|error| unread(error.to_string()))?;
    let text = source.read(&client).await.map_err(unread)?;
    let signers = Signers::parse(&text).map_err(SignersError::Unfit)?;
    Ok(signers.count())
}

/// What begins a scope of ours among those of others.
const PREFIX: &str = "eventyard:";

pub(super) struct Tokens {
    config: Config,
    client: reqwest::Client,
    signers: ArcSwap<Signers>,
    /// When the keys were asked for because a token named an unknown one. Held while they are.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Tokens {
    /// Reads a file at once, which must be good; a URL is asked later, by [`Tokens::refresh`].
    pub(super) fn open(config: Config) -> Result<Tokens, String> {
        let signers = match &config.signers {
            SignersSource::Url(_) => Signers::default(),
            SignersSource::File(path) => {
                let text = std::fs::read(path).map_err(|error| error.to_string())?;
                Signers::parse(&text)?
            }
        };
        Ok(Tokens {
            client: source::client().map_err(|error| error.to_string())?,
            signers: ArcSwap::from_pointee(signers),
            asked: tokio::sync::Mutex::default(),
            config,
        })
    }

    pub(super) fn may_be(text: &str) -> bool {
        jwt::may_be(text)
    }

    /// Judges a token.
    pub(super) fn judge(&self, text: &str, now: Timestamp) -> Result<Token, TokenError> {
        let token = jwt::parse(text)?;
        self.signers.load().judge(&token)?;
        let wanted = Wanted {
            issuer: &self.config.issuer,
            audience: &self.config.audience,
            now,
        };
        let claims = token.claims(&wanted)?;
        // Two parties without a name would be one: to the audit, and to what is done once for each.
        let subject = claims.get("sub").and_then(Value::as_str);
        let subject = subject.filter(|subject| !shown(subject).trim().is_empty());
        Ok(Token {
            issuer: self.config.issuer.clone(),
            subject: subject.ok_or(TokenError::NoSubject)?.to_owned(),
            grants: grants(&claims, &self.config.scope_claim),
        })
    }

    pub(super) fn every(&self) -> Duration {
        self.config.signers.every()
    }

    /// Asks for the keys; when that fails, those that were known go on holding.
    pub(super) async fn refresh(&self) {
        let source = &self.config.signers;
        let read = source.read(&self.client).await;
        match read.and_then(|text| Signers::parse(&text)) {
            Ok(signers) => self.signers.store(Arc::new(signers)),
            Err(cause) => tracing::error!(
                %source, %cause,
                "the keys that sign tokens cannot be read; those that are known go on holding"
            ),
        }
    }

    /// Asks for the keys because one is unknown, once a minute at most. Who comes while they are asked
    /// for waits for that answer.
    pub(super) async fn learn(&self) {
        let mut asked = self.asked.lock().await;
        let now = Instant::now();
        let is_recent = |at: Instant| now.duration_since(at) < limits::SIGNERS_LEARNED_EVERY;
        if asked.is_some_and(is_recent) {
            return;
        }
        *asked = Some(now);
        self.refresh().await;
    }
}

/// What a claim allows: a list, or one text with blanks between. What is not ours, or does not read,
/// allows nothing.
fn grants(claims: &Map<String, Value>, claim: &str) -> Vec<Grant> {
    let values: Vec<&str> = match claims.get(claim) {
        Some(Value::String(text)) => text.split_whitespace().collect(),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    // The scope on all buses, or on these.
    let mut allowed: BTreeMap<Scope, Option<BTreeSet<BusName>>> = BTreeMap::new();
    for value in values
        .into_iter()
        .filter_map(|value| value.strip_prefix(PREFIX))
    {
        let (scope, bus) = match value.split_once(':') {
            Some((scope, bus)) => (scope, Some(bus)),
            None => (value, None),
        };
        let scopes = [Scope::Publish, Scope::Consume, Scope::Read, Scope::Manage];
        let Some(scope) = scopes.into_iter().find(|known| known.as_str() == scope) else {
            continue;
        };
        match bus.map(BusName::new) {
            None => {
                allowed.insert(scope, None);
            }
            Some(Ok(bus)) => {
                let buses = allowed
                    .entry(scope)
                    .or_insert_with(|| Some(BTreeSet::new()));
                buses.iter_mut().for_each(|buses| {
                    buses.insert(bus.clone());
                });
            }
            Some(Err(_)) => {}
        }
    }
    let documents = allowed.into_iter().map(|(scope, buses)| GrantDocument {
        scope,
        buses,
        pattern: None,
        targets: None,
    });
    documents
        .filter_map(|document| Grant::new(document).ok())
        .collect()
}

#[cfg(test)]
mod tests;
