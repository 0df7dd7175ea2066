//! Sets a client up: where the bus is, which key and certificate it is shown, whom it must be vouched
//! for by.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::ClientError;
use super::reason::reason;
use super::request::{CALL_TIMEOUT, Client};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client to be; see [`Client::builder`].
#[derive(Clone)]
pub struct ClientBuilder {
    base: String,
    api_key: Option<String>,
    authorities: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

/// Without what is secret.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the bus at `base`, such as `https://bus.example.com`, with what it needs there.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use eventyard::client::Client;
    ///
    /// let client = Client::builder("https://bus.internal:8443")
    ///     .api_key(std::fs::read_to_string("shop.key")?.trim())
    ///     .authorities(std::fs::read("ca.pem")?)
    ///     .identity(std::fs::read("shop.pem")?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn builder(base: &str) -> ClientBuilder {
        ClientBuilder {
            base: base.to_owned(),
            api_key: None,
            authorities: None,
            identity: None,
        }
    }
}

impl ClientBuilder {
    /// Shows this API key with every call.
    #[must_use]
    pub fn api_key(mut self, key: &str) -> Self {
        self.api_key = Some(key.to_owned());
        self
    }

    /// Trusts these authorities, in PEM, and no others: those of the system are not asked.
    #[must_use]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Shows this certificate, in PEM, with its private key in the same text.
    #[must_use]
    pub fn identity(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.identity = Some(pem.into());
        self
    }

    /// The client. Nothing is connected to yet. No error repeats a key.
    pub fn build(self) -> Result<Client, ClientError> {
        let url = base_url(&self.base)?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("eventyard-client/", env!("CARGO_PKG_VERSION")))
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(key) = &self.api_key {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization(key)?)]);
            http = http.default_headers(headers);
        }
        if let Some(pem) = &self.authorities {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).ok();
            let authorities = authorities.filter(|found| !found.is_empty());
            let authorities = authorities.ok_or_else(|| {
                ClientError::Invalid(
                    "there is no certificate in PEM among the authorities to trust".to_owned(),
                )
            })?;
            http = http.tls_certs_only(authorities);
        }
        if let Some(pem) = &self.identity {
            let identity = reqwest::Identity::from_pem(pem).map_err(|_| {
                ClientError::Invalid(
                    "the client's certificate is not one in PEM with its private key beside it"
                        .to_owned(),
                )
            })?;
            http = http.identity(identity);
        }
        let http = http.build().map_err(|error| {
            let why = match (&self.authorities, &self.identity) {
                (None, None) => reason(&error),
                _ => format!(
                    "a certificate does not read, or its private key is another's ({})",
                    reason(&error)
                ),
            };
            ClientError::Invalid(format!("the client cannot be set up: {why}"))
        })?;
        Ok(Client::over(http, url))
    }
}

fn base_url(base: &str) -> Result<Url, ClientError> {
    let invalid = |reason: &str| {
        ClientError::Invalid(format!(
            "{base:?} is not the URL of a bus: {reason}; an example is http://127.0.0.1:8080"
        ))
    };
    let url = Url::parse(base).map_err(|error| invalid(&error.to_string()))?;
    match matches!(url.scheme(), "http" | "https") && url.host_str().is_some() {
        true => Ok(url),
        false => Err(invalid("it must start with http:// or https://")),
    }
}

fn authorization(key: &str) -> Result<HeaderValue, ClientError> {
    let value = HeaderValue::try_from(format!("Bearer {key}"));
    let mut value = value.map_err(|_| {
        ClientError::Invalid(
            "the API key holds characters that cannot be sent; it is one line of letters, digits and `_`"
                .to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}
