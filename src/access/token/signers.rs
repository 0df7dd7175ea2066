//! The public keys of who signs tokens: a JSON Web Key Set (RFC 7517).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;

use super::TokenError;
use super::jwt::{Algorithm, Unjudged};
use crate::limits;

/// The keys that are of use here.
#[derive(Debug, Default)]
pub(super) struct Signers(Vec<Signer>);

#[derive(Debug)]
struct Signer {
    kid: Option<String>,
    key: PublicKey,
}

/// A key is for one algorithm: a token cannot choose how it is checked.
#[derive(Debug)]
enum PublicKey {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Debug, Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

impl Signers {
    /// Reads a set; keys of other kinds and for other uses are passed over.
    pub(super) fn parse(text: &[u8]) -> Result<Signers, String> {
        let document: Document =
            serde_json::from_slice(text).map_err(|error| format!("it is no key set: {error}"))?;
        let most = limits::TOKEN_SIGNERS;
        if document.keys.len() > most {
            return Err(format!("it holds more than {most} keys"));
        }
        let signers: Vec<Signer> = document.keys.into_iter().filter_map(signer).collect();
        match signers.is_empty() {
            true => Err("it holds no key for RS256, ES256 or EdDSA signatures".to_owned()),
            false => Ok(Signers(signers)),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether one of these keys signed the token. The one that it names; where several have a name,
    /// any of them; where it names none, the only one of its kind.
    pub(super) fn judge(&self, token: &Unjudged<'_>) -> Result<(), TokenError> {
        let fitting = self.0.iter().filter(|signer| {
            signer.key.algorithm() == token.algorithm
                && token
                    .kid
                    .as_ref()
                    .is_none_or(|kid| signer.kid.as_ref() == Some(kid))
        });
        let fitting: Vec<&Signer> = fitting.collect();
        if fitting.is_empty() || (token.kid.is_none() && fitting.len() > 1) {
            return Err(TokenError::UnknownSigner);
        }
        match fitting.iter().any(|signer| signer.key.signed(token)) {
            true => Ok(()),
            false => Err(TokenError::Signature),
        }
    }
}

fn signer(jwk: Jwk) -> Option<Signer> {
    let is_for_signatures = jwk.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if !is_for_signatures {
        return None;
    }
    let bytes = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let coordinate = |text: &str| bytes(text).filter(|bytes| bytes.len() == 32);
    let key = match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("RSA", _) => {
            let n: Vec<u8> = bytes(&jwk.n)?
                .into_iter()
                .skip_while(|byte| *byte == 0)
                .collect();
            let e: Vec<u8> = bytes(&jwk.e)?
                .into_iter()
                .skip_while(|byte| *byte == 0)
                .collect();
            // 2048 bits and more.
            (256..=1024)
                .contains(&n.len())
                .then_some(PublicKey::Rsa { n, e })?
        }
        ("EC", "P-256") => {
            let point = [vec![4], coordinate(&jwk.x)?, coordinate(&jwk.y)?].concat();
            PublicKey::P256(point)
        }
        ("OKP", "Ed25519") => PublicKey::Ed25519(coordinate(&jwk.x)?),
        _ => return None,
    };
    let is_for_its_algorithm = jwk
        .alg
        .as_deref()
        .is_none_or(|name| Algorithm::parse(name) == Some(key.algorithm()));
    is_for_its_algorithm.then_some(Signer { kid: jwk.kid, key })
}

impl PublicKey {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn signed(&self, token: &Unjudged<'_>) -> bool {
        let (message, signature) = (token.signed, token.signature.as_slice());
        let verified = match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}
