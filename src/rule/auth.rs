//! `auth`: what a target's deliveries prove with that they may come.

use http::{HeaderName, header};
use serde::{Serialize, Serializer};

use super::headers::{self, Headers};
use super::problem::Problems;
use super::reader::{Node, Object, Shape, list, nearest, short};
use super::secret_ref::{self, SecretRef};
use super::target_url::check_url;
use crate::limits;
use crate::secret::SecretName;
use crate::transform::Parameter;

pub(super) const AUTH: Shape = Shape {
    what: "`auth`",
    fields: &["basic", "bearer", "api_key", "oauth2"],
    later: &[],
    elsewhere: &[
        ("secret", "into `bearer`, `basic`, `api_key` or `oauth2`"),
        ("ca", "into `tls`, beside `auth`"),
        ("identity", "into `tls`, beside `auth`"),
    ],
};

pub(super) const BASIC: Shape = Shape {
    what: "`basic`",
    fields: &["username", "password"],
    later: &[],
    elsewhere: &[],
};

pub(super) const API_KEY: Shape = Shape {
    what: "`api_key`",
    fields: &["in", "name", "value"],
    later: &[],
    elsewhere: &[],
};

pub(super) const OAUTH2: Shape = Shape {
    what: "`oauth2`",
    fields: &[
        "token_url",
        "client_id",
        "client_secret",
        "scope",
        "audience",
        "client_auth",
    ],
    later: &[],
    elsewhere: &[],
};

/// What a request to a target carries beside the event, so that the target lets it in.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// User and password (RFC 7617).
    Basic {
        username: String,
        password: SecretRef,
    },
    /// A token that somebody gave out (RFC 6750).
    Bearer(SecretRef),
    ApiKey {
        r#in: KeyPlace,
        name: String,
        value: SecretRef,
    },
    /// A token that the bus fetches for itself (RFC 6749, section 4.4).
    #[serde(rename = "oauth2")]
    OAuth2(OAuth2),
}

/// Where an API key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    Header,
    Query,
}

/// Where tokens come from, and who asks for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct OAuth2 {
    #[serde(serialize_with = "as_text")]
    pub token_url: reqwest::Url,
    pub client_id: String,
    pub client_secret: SecretRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    pub client_auth: ClientAuth,
}

/// How the bus proves to a token server who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// By HTTP basic authentication, which every token server must take.
    #[default]
    Basic,
    /// By `client_id` and `client_secret` in the request's body.
    Body,
}

fn as_text<S: Serializer>(url: &reqwest::Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str())
}

impl Auth {
    /// The secret it needs.
    #[must_use]
    pub fn secret(&self) -> &SecretName {
        let SecretRef { secret } = match self {
            Auth::Basic { password, .. } => password,
            Auth::Bearer(token) => token,
            Auth::ApiKey { value, .. } => value,
            Auth::OAuth2(oauth2) => &oauth2.client_secret,
        };
        secret
    }

    /// The header it sets.
    #[must_use]
    pub fn header(&self) -> Option<HeaderName> {
        match self {
            Auth::Basic { .. } | Auth::Bearer(_) | Auth::OAuth2(_) => Some(header::AUTHORIZATION),
            Auth::ApiKey { r#in, name, .. } => match r#in {
                KeyPlace::Header => HeaderName::from_bytes(name.as_bytes()).ok(),
                KeyPlace::Query => None,
            },
        }
    }

    /// The query parameter it sets.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Auth::ApiKey { r#in, name, .. } if *r#in == KeyPlace::Query => Some(name),
            _ => None,
        }
    }

    /// Where the bus connects to for it, beside the target.
    pub(super) fn url(&self) -> Option<&reqwest::Url> {
        match self {
            Auth::OAuth2(oauth2) => Some(&oauth2.token_url),
            _ => None,
        }
    }
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Auth> {
    let object = node.object(&AUTH, problems)?;
    let mut given = AUTH.fields.iter().filter_map(|name| object.field(name));
    match (given.next(), given.next()) {
        (Some(_), None) => {}
        (None, _) => {
            node.problem(
                problems,
                r#"needs one of `basic`, `bearer`, `api_key` and `oauth2`, such as {"bearer": {"secret": "<name>"}}"#,
            );
            return None;
        }
        (Some(_), Some(_)) => {
            node.problem(
                problems,
                "takes one of `basic`, `bearer`, `api_key` and `oauth2`; keep the one that the target asks for",
            );
            return None;
        }
    }
    if let Some(basic) = object.field("basic") {
        return read_basic(basic, problems);
    }
    if let Some(bearer) = object.field("bearer") {
        return secret_ref::read(bearer, problems).map(Auth::Bearer);
    }
    if let Some(api_key) = object.field("api_key") {
        return read_api_key(api_key, problems);
    }
    read_oauth2(object.field("oauth2")?, problems).map(Auth::OAuth2)
}

fn read_basic(node: &Node<'_>, problems: &mut Problems) -> Option<Auth> {
    let object = node.object(&BASIC, problems)?;
    let username = object
        .required("username", r#"such as "username": "eventyard""#, problems)
        .and_then(|node| {
            let text = read_text(node, 0, problems)?;
            if text.contains(':') {
                node.problem(
                    problems,
                    "holds a colon, which ends a user name in HTTP; ask the target for another one",
                );
                return None;
            }
            Some(text)
        });
    let password = read_secret(&object, "password", problems);
    Some(Auth::Basic {
        username: username?,
        password: password?,
    })
}

fn read_api_key(node: &Node<'_>, problems: &mut Problems) -> Option<Auth> {
    const PLACES: [&str; 2] = ["header", "query"];
    let object = node.object(&API_KEY, problems)?;
    let place = object
        .required("in", r#""in": "header" or "in": "query""#, problems)
        .and_then(|node| match one_of(node, &PLACES, problems)? {
            "query" => Some(KeyPlace::Query),
            _ => Some(KeyPlace::Header),
        });
    let name = object
        .required("name", r#"such as "name": "x-api-key""#, problems)
        .and_then(|node| {
            let text = read_text(node, 1, problems)?;
            if place == Some(KeyPlace::Header) {
                let checked = match headers::check_name(&text) {
                    Ok(header::CONTENT_TYPE) => Err(
                        "`content-type` cannot be set by a rule: it says what the body is"
                            .to_owned(),
                    ),
                    other => other.map(drop),
                };
                if let Err(detail) = checked {
                    node.problem(problems, detail);
                    return None;
                }
            }
            Some(text)
        });
    let value = read_secret(&object, "value", problems);
    Some(Auth::ApiKey {
        r#in: place?,
        name: name?,
        value: value?,
    })
}

fn read_oauth2(node: &Node<'_>, problems: &mut Problems) -> Option<OAuth2> {
    const WAYS: [&str; 2] = ["basic", "body"];
    let object = node.object(&OAUTH2, problems)?;
    let example = r#"where tokens are fetched, such as "token_url": "https://login.example.com/oauth2/token""#;
    let token_url = object
        .required("token_url", example, problems)
        .and_then(|node| {
            let text = node.string(
                r#"a URL such as "https://login.example.com/oauth2/token""#,
                problems,
            )?;
            match check_url(&text) {
                Ok(url) => Some(url),
                Err(detail) => {
                    node.problem(problems, detail);
                    None
                }
            }
        });
    let client_id = object
        .required("client_id", r#"such as "client_id": "eventyard""#, problems)
        .and_then(|node| read_text(node, 1, problems));
    let client_secret = read_secret(&object, "client_secret", problems);
    let mut optional = |name: &str| match object.field(name) {
        Some(node) => read_text(node, 1, problems).map(Some),
        None => Some(None),
    };
    let (scope, audience) = (optional("scope"), optional("audience"));
    let client_auth = match object.field("client_auth") {
        Some(node) => one_of(node, &WAYS, problems).map(|way| match way {
            "body" => ClientAuth::Body,
            _ => ClientAuth::Basic,
        }),
        None => Some(ClientAuth::default()),
    };
    Some(OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: scope?,
        audience: audience?,
        client_auth: client_auth?,
    })
}

fn read_secret(object: &Object<'_>, name: &str, problems: &mut Problems) -> Option<SecretRef> {
    let example = format!(r#"a secret by its name: "{name}": {{"secret": "<name>"}}"#);
    let field = object.required(name, &example, problems)?;
    secret_ref::read(field, problems)
}

/// A text that travels in a header or a form: without control characters, of bounded length.
fn read_text(node: &Node<'_>, least: usize, problems: &mut Problems) -> Option<String> {
    let text = node.string("a string", problems)?;
    let fits = (least..=limits::AUTH_TEXT_BYTES).contains(&text.len());
    if !fits || text.chars().any(char::is_control) {
        let most = limits::AUTH_TEXT_BYTES;
        node.problem(
            problems,
            format!("must be a text of {least} to {most} bytes without control characters"),
        );
        return None;
    }
    Some(text)
}

fn one_of<'n>(node: &Node<'_>, names: &[&'n str], problems: &mut Problems) -> Option<&'n str> {
    let text = node.string(&format!("one of {}", list(names)), problems)?;
    let found = names.iter().find(|name| **name == text);
    if found.is_none() {
        let near = nearest(&text, names).map_or_else(
            || format!("it is one of {}", list(names)),
            |near| format!("did you mean `{near}`?"),
        );
        node.problem(
            problems,
            format!("{:?} is not known here; {near}", short(&text)),
        );
    }
    found.copied()
}

/// What `auth` sets must have no other value from elsewhere.
pub(super) fn check(
    auth: &Auth,
    node: &Node<'_>,
    headers: Option<&Headers>,
    query: Option<&[(String, Parameter)]>,
    url: Option<&reqwest::Url>,
    problems: &mut Problems,
) {
    if let (Some(name), Some(headers)) = (auth.header(), headers)
        && headers.has(&name)
    {
        node.problem(
            problems,
            format!("sets the header `{name}`, and so does `headers`; remove it there"),
        );
    }
    let Some(name) = auth.parameter() else {
        return;
    };
    let in_query = query.is_some_and(|query| query.iter().any(|(other, _)| other == name));
    let in_url = url.is_some_and(|url| url.query_pairs().any(|(other, _)| other == name));
    let place = match (in_query, in_url) {
        (true, _) => "query",
        (false, true) => "url",
        (false, false) => return,
    };
    node.problem(
        problems,
        format!(
            "sets the query parameter `{}`, and so does `{place}`; remove it there",
            short(name)
        ),
    );
}
