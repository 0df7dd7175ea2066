//! What requests prove with that they may come: looked up when a request is made, put on it, and
//! kept out of whatever is written down about it.
//!
//! [`tokens`] keeps the tokens that token servers gave, [`fetch`] asks for them, [`hidden`] takes
//! values out of texts.

mod fetch;
mod hidden;
mod tokens;

use std::collections::HashSet;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderName, HeaderValue, header};

use self::hidden::Hidden;
use self::tokens::{Token, Tokens};
use super::clients::Clients;
use super::next_step::Outcome;
use super::signing::missing;
use crate::clock::Clock;
use crate::rule::{Auth, Target};
use crate::secret::{Secret, SecretName, Secrets};

/// The credentials of all targets.
pub(crate) struct Credentials {
    secrets: Secrets,
    clients: Clients,
    tokens: Tokens,
}

/// What one attempt shows to its target.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    header: Option<(HeaderName, HeaderValue)>,
    parameter: Option<(String, Arc<Secret>)>,
    token: Option<Arc<Token>>,
    hidden: Hidden,
}

impl Credentials {
    pub(crate) fn new(secrets: Secrets, clients: Clients, clock: Clock) -> Self {
        Self {
            secrets,
            clients,
            tokens: Tokens::new(clock),
        }
    }

    /// What a request to the target needs; `Err` is what becomes of its delivery without.
    pub(crate) async fn of(&self, target: &Target) -> Result<Shown, Outcome> {
        let Some(auth) = &target.auth else {
            return Ok(Shown::default());
        };
        let name = auth.secret();
        let secret = self.secrets.get(name);
        let secret = secret.ok_or_else(|| Outcome::NotPrepared(missing(name)))?;
        let value = secret.newest().value.expose();
        let unfit = |_| Outcome::NotPrepared(unfit(name));
        match auth {
            Auth::Basic { username, .. } => {
                let pair = BASE64_STANDARD.encode(format!("{username}:{value}"));
                let header = sensitive(&format!("Basic {pair}")).map_err(unfit)?;
                Ok(Shown {
                    header: Some((header::AUTHORIZATION, header)),
                    hidden: Hidden::basic(username.clone(), secret),
                    ..Shown::default()
                })
            }
            Auth::Bearer(_) => {
                let header = sensitive(&format!("Bearer {value}")).map_err(unfit)?;
                Ok(Shown {
                    header: Some((header::AUTHORIZATION, header)),
                    hidden: Hidden::secret(secret),
                    ..Shown::default()
                })
            }
            Auth::ApiKey { name: key, .. } => match auth.header() {
                Some(header) => Ok(Shown {
                    header: Some((header, sensitive(value).map_err(unfit)?)),
                    hidden: Hidden::secret(secret),
                    ..Shown::default()
                }),
                None => Ok(Shown {
                    parameter: Some((key.clone(), secret.clone())),
                    hidden: Hidden::secret(secret),
                    ..Shown::default()
                }),
            },
            Auth::OAuth2(oauth2) => {
                let service = self.clients.for_tokens(target, &self.secrets).await?;
                let token = self.tokens.get(oauth2, &secret, service).await?;
                Ok(Shown {
                    header: Some((header::AUTHORIZATION, token.header.clone())),
                    hidden: Hidden::token(token.clone()),
                    token: Some(token),
                    ..Shown::default()
                })
            }
        }
    }

    /// Lets go of what was made with secrets that are others by now.
    pub(crate) fn secrets_changed(&self) {
        let all = self.secrets.all();
        let current: HashSet<*const Secret> = all.iter().map(|(_, s)| Arc::as_ptr(s)).collect();
        let is_current = |secret: &Arc<Secret>| current.contains(&Arc::as_ptr(secret));
        self.tokens.forget_all_but(is_current);
        self.clients.forget_all_but(is_current);
    }

    /// What to show after the target answered 401 to a token: a newer one. `None` when there is
    /// nothing newer to be had, so that the 401 stands.
    pub(crate) async fn renewed(
        &self,
        target: &Target,
        refused: &Shown,
    ) -> Option<Result<Shown, Outcome>> {
        let (Some(Auth::OAuth2(oauth2)), Some(token)) = (&target.auth, &refused.token) else {
            return None;
        };
        if !self.tokens.reject(oauth2, token) {
            return None;
        }
        Some(self.of(target).await)
    }
}

impl Shown {
    /// Puts it on a request.
    pub(crate) fn put_on(&self, request: &mut reqwest::Request) {
        if let Some((name, value)) = &self.header {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        if let Some((name, secret)) = &self.parameter {
            let value = secret.newest().value.expose();
            request.url_mut().query_pairs_mut().append_pair(name, value);
        }
    }

    /// Whether there may be a newer one.
    pub(crate) fn may_be_renewed(&self) -> bool {
        self.token.is_some()
    }

    /// Takes out of an outcome's text whatever was shown: targets repeat requests in their errors.
    pub(crate) fn hide_in(&self, outcome: &mut Outcome) {
        if let Some(text) = outcome.text_mut() {
            self.hidden.take_out_of(text);
        }
    }
}

fn unfit(name: &SecretName) -> String {
    format!(
        "the secret `{name}` does not fit into a header, which takes visible ASCII characters; set it anew with `eventyard secret set {name}`"
    )
}

/// A header's value that shows in no log.
fn sensitive(text: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    // An invalid value, for the error that it makes.
    let mut value = HeaderValue::from_str(if visible { text } else { "\n" })?;
    value.set_sensitive(true);
    Ok(value)
}
