//! A JSON Web Token (RFC 7519) in compact form: taken apart, and its claims judged. Its signature is
//! judged by who knows the keys.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::TokenError;
use crate::clock::Timestamp;
use crate::limits;

/// The algorithms that are taken. Not those with a shared key, under which whoever can check a token
/// can make one (and a public key is no secret), and not `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Algorithm> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// Of a header only this is read: what else stands there (a key, or where to fetch one) is the
/// sender's word.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What must be understood, by name; nothing of it is.
    crit: Option<Value>,
}

/// A token whose signature is not judged yet.
#[derive(Debug)]
pub(super) struct Unjudged<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What is signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    claims: &'a str,
}

/// Whether a text that is no key may be a token.
pub(super) fn may_be(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Takes a token apart.
pub(super) fn parse(token: &str) -> Result<Unjudged<'_>, TokenError> {
    if token.len() > limits::TOKEN_BYTES {
        return Err(TokenError::TooLarge);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = read(header)?;
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    Ok(Unjudged {
        algorithm: Algorithm::parse(&header.alg).ok_or(TokenError::Algorithm)?,
        kid: header.kid,
        signed: signed.as_bytes(),
        signature: decode(signature)?,
        claims,
    })
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part);
    bytes.map_err(|_| TokenError::Malformed)
}

fn read<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| TokenError::Malformed)
}

/// What a token must say.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) now: Timestamp,
}

impl Unjudged<'_> {
    /// The claims, if they are for here and now. Not before the signature was judged.
    pub(super) fn claims(&self, wanted: &Wanted<'_>) -> Result<Map<String, Value>, TokenError> {
        let claims: Map<String, Value> = read(self.claims)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(wanted.issuer) {
            return Err(TokenError::Issuer);
        }
        let is_ours = match claims.get("aud") {
            Some(Value::String(one)) => one == wanted.audience,
            Some(Value::Array(many)) => many.iter().any(|one| one == wanted.audience),
            _ => false,
        };
        if !is_ours {
            return Err(TokenError::Audience);
        }
        let leeway = limits::TOKEN_LEEWAY;
        let expires = moment(&claims, "exp")?.ok_or(TokenError::NoExpiry)?;
        if expires.plus(leeway) <= wanted.now {
            return Err(TokenError::Expired(expires));
        }
        if let Some(begins) = moment(&claims, "nbf")?
            && begins > wanted.now.plus(leeway)
        {
            return Err(TokenError::NotYet(begins));
        }
        Ok(claims)
    }
}

/// A claim in seconds since 1970, perhaps with a fraction.
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
    let seconds = seconds.ok_or(TokenError::Malformed)?;
    // Beyond the range it is the greatest.
    Ok(Some(Timestamp::from_millis((seconds * 1_000.0) as u64)))
}
