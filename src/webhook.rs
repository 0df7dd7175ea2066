//! Standard Webhooks signatures: keys, signing, verifying.
//!
//! What is signed is `id.timestamp.body`, the bytes of the body as they travel (specification,
//! "Signature scheme"). `v1` is HMAC-SHA256 with a key that both sides hold (`whsec_…`); `v1a` is
//! ed25519, where the receiver holds a key that only verifies (`whsk_…` signs, `whpk_…` verifies).
//! A `webhook-signature` header carries any number of them, so that keys can be rotated.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use aws_lc_rs::{hmac, rand};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

const SYMMETRIC: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

/// Bytes of a symmetric key (specification: between 24 and 64 bytes).
const SYMMETRIC_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const SEED_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 32;

/// How far the receiver's clock and the timestamp may be apart, in seconds: what every library of
/// the standard takes.
pub const TOLERANCE_SECONDS: u64 = 300;

/// Why a text is no key. It holds none of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "a signing key starts with `whsec_` (HMAC-SHA256) or `whsk_` (ed25519) and goes on in base64"
    )]
    Form,
    #[error("behind `whsec_` 24 to 64 bytes in base64 are wanted, these are {0}")]
    SymmetricLength(usize),
    #[error(
        "behind `whsk_` an ed25519 key is wanted: 32 bytes of seed, or 64 of seed and public key, in base64"
    )]
    Ed25519,
    #[error("behind `whpk_` the 32 bytes of an ed25519 public key are wanted, in base64")]
    Public,
}

/// Why a request is not from whom it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the timestamp is no whole number of seconds")]
    Timestamp,
    #[error("the timestamp is more than {TOLERANCE_SECONDS} seconds away from now")]
    Time,
    #[error("no signature fits")]
    Signature,
}

enum Scheme {
    /// Boxed: two prepared hash states make it large.
    Hmac(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
}

/// A key that signs. `Debug` shows its kind only.
pub struct SigningKey(Scheme);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Scheme::Hmac(_) => "SigningKey(v1)",
            Scheme::Ed25519(_) => "SigningKey(v1a)",
        })
    }
}

impl SigningKey {
    /// Reads `whsec_…` or `whsk_…`.
    pub fn parse(text: &str) -> Result<SigningKey, KeyError> {
        if let Some(base64) = text.strip_prefix(SYMMETRIC) {
            let key = decode(base64).ok_or(KeyError::Form)?;
            if !SYMMETRIC_BYTES.contains(&key.len()) {
                return Err(KeyError::SymmetricLength(key.len()));
            }
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            return Ok(Self(Scheme::Hmac(Box::new(key))));
        }
        let base64 = text.strip_prefix(PRIVATE).ok_or(KeyError::Form)?;
        let bytes = decode(base64).ok_or(KeyError::Ed25519)?;
        let pair = match bytes.len() {
            SEED_BYTES => Ed25519KeyPair::from_seed_unchecked(&bytes),
            64 => {
                let (seed, public) = bytes.split_at(SEED_BYTES);
                Ed25519KeyPair::from_seed_and_public_key(seed, public)
            }
            _ => return Err(KeyError::Ed25519),
        };
        pair.map(|pair| Self(Scheme::Ed25519(pair)))
            .map_err(|_| KeyError::Ed25519)
    }

    /// One signature as the header carries it, `v1,…` or `v1a,…`. `timestamp` is in seconds since
    /// 1970; the id must hold no dot, or `a.1` at 2 and `a` at 12 would be one text.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        match &self.0 {
            Scheme::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(head(id, timestamp).as_bytes());
                context.update(body);
                format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
            }
            Scheme::Ed25519(pair) => {
                let signature = pair.sign(&signed(id, timestamp, body));
                format!("v1a,{}", BASE64_STANDARD.encode(signature))
            }
        }
    }

    /// The key that verifies, `whpk_…`; `None` for a symmetric key.
    #[must_use]
    pub fn public(&self) -> Option<String> {
        match &self.0 {
            Scheme::Hmac(_) => None,
            Scheme::Ed25519(pair) => {
                let public = BASE64_STANDARD.encode(pair.public_key());
                Some(format!("{PUBLIC}{public}"))
            }
        }
    }
}

/// A new symmetric key of 32 random bytes, `whsec_…`; `None` when the system gives none.
#[must_use]
pub fn new_symmetric_key() -> Option<Zeroizing<String>> {
    let seed = random()?;
    let base64 = Zeroizing::new(BASE64_STANDARD.encode(*seed));
    Some(Zeroizing::new(format!("{SYMMETRIC}{}", *base64)))
}

/// A new ed25519 key, `whsk_…` (seed and public key, the form that the standard's tools write).
#[must_use]
pub fn new_ed25519_key() -> Option<Zeroizing<String>> {
    let seed = random()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?;
    let mut both = Zeroizing::new(seed.to_vec());
    both.extend_from_slice(pair.public_key().as_ref());
    let base64 = Zeroizing::new(BASE64_STANDARD.encode(&*both));
    Some(Zeroizing::new(format!("{PRIVATE}{}", *base64)))
}

fn random() -> Option<Zeroizing<[u8; SEED_BYTES]>> {
    let mut bytes = Zeroizing::new([0; SEED_BYTES]);
    rand::fill(&mut *bytes).ok()?;
    Some(bytes)
}

enum Verifier {
    /// Boxed: two prepared hash states make it large.
    Hmac(Box<hmac::Key>),
    Ed25519(Vec<u8>),
}

/// A receiver's keys: checks that a request was signed with one of them, not long ago.
pub struct Verifying(Vec<Verifier>);

impl fmt::Debug for Verifying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifying({} keys)", self.0.len())
    }
}

impl Verifying {
    /// Reads keys of the forms `whsec_…` and `whpk_…`.
    pub fn with_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Verifying, KeyError> {
        let keys = keys.into_iter().map(|text| {
            if let Some(base64) = text.strip_prefix(PUBLIC) {
                let public = decode(base64).filter(|bytes| bytes.len() == PUBLIC_BYTES);
                let public = public.ok_or(KeyError::Public)?;
                return Ok(Verifier::Ed25519(public.to_vec()));
            }
            match SigningKey::parse(text)?.0 {
                Scheme::Hmac(key) => Ok(Verifier::Hmac(key)),
                Scheme::Ed25519(pair) => Ok(Verifier::Ed25519(pair.public_key().as_ref().to_vec())),
            }
        });
        keys.collect::<Result<_, _>>().map(Verifying)
    }

    /// Checks the three headers `webhook-id`, `webhook-timestamp` and `webhook-signature` and the
    /// body as it came; `now` is in seconds since 1970.
    pub fn verify(
        &self,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: u64,
    ) -> Result<(), VerifyError> {
        let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = timestamp.parse::<u64>().ok().filter(|_| digits);
        let at = parsed.ok_or(VerifyError::Timestamp)?;
        if at.abs_diff(now) > TOLERANCE_SECONDS {
            return Err(VerifyError::Time);
        }
        for signature in signatures.split(' ') {
            let Some((version, base64)) = signature.split_once(',') else {
                continue;
            };
            let Ok(signature) = BASE64_STANDARD.decode(base64) else {
                continue;
            };
            if self
                .0
                .iter()
                .any(|key| key.fits(version, id, at, body, &signature))
            {
                return Ok(());
            }
        }
        Err(VerifyError::Signature)
    }
}

impl Verifier {
    fn fits(&self, version: &str, id: &str, at: u64, body: &[u8], signature: &[u8]) -> bool {
        match (self, version) {
            (Self::Hmac(key), "v1") => {
                let mut context = hmac::Context::with_key(key);
                context.update(head(id, at).as_bytes());
                context.update(body);
                // Of equal length only: an empty signature must never compare as equal.
                verify_slices_are_equal(context.sign().as_ref(), signature).is_ok()
            }
            (Self::Ed25519(public), "v1a") => UnparsedPublicKey::new(&ED25519, public)
                .verify(&signed(id, at, body), signature)
                .is_ok(),
            _ => false,
        }
    }
}

fn head(id: &str, timestamp: u64) -> String {
    format!("{id}.{timestamp}.")
}

fn signed(id: &str, timestamp: u64, body: &[u8]) -> Vec<u8> {
    let mut text = head(id, timestamp).into_bytes();
    text.extend_from_slice(body);
    text
}

fn decode(base64: &str) -> Option<Zeroizing<Vec<u8>>> {
    BASE64_STANDARD.decode(base64).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn verify(key: &str, id: &str, at: &str, signatures: &str, body: &[u8]) -> bool {
        let keys = Verifying::with_keys([key]).unwrap();
        keys.verify(id, at, signatures, body, NOW).is_ok()
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let body = b"{\"a\":1}\xff\x00 not only text";
        let at = NOW.to_string();
        for key in [new_symmetric_key().unwrap(), new_ed25519_key().unwrap()] {
            let signing = SigningKey::parse(&key).unwrap();
            let verifying = signing.public().unwrap_or_else(|| key.to_string());
            let good = signing.sign("msg_1", NOW, body);
            assert!(verify(&verifying, "msg_1", &at, &good, body));
            assert!(!verify(&verifying, "msg_2", &at, &good, body));
            assert!(!verify(
                &verifying,
                "msg_1",
                &(NOW + 1).to_string(),
                &good,
                body
            ));
            assert!(!verify(&verifying, "msg_1", &at, &good, b"{\"a\":2}"));
            // Among others, in any order, as while keys are rotated.
            let other = SigningKey::parse(&new_symmetric_key().unwrap()).unwrap();
            let other = other.sign("msg_1", NOW, body);
            assert!(verify(
                &verifying,
                "msg_1",
                &at,
                &format!("{other} v9,AAAA {good}"),
                body
            ));
            let (version, base64) = good.split_once(',').unwrap();
            let wrong_version = format!("{},{base64}", if version == "v1" { "v1a" } else { "v1" });
            for bad in [
                other.as_str(),
                &format!("{version},"),
                &good[..good.len() - 4],
                &wrong_version,
                &format!("v2,{base64}"),
                base64,
                "",
                ",",
                &format!("{version} {base64}"),
            ] {
                assert!(!verify(&verifying, "msg_1", &at, bad, body), "{bad}");
            }
        }
    }

    #[test]
    fn the_time_may_be_five_minutes_off() {
        let key = new_symmetric_key().unwrap();
        let signing = SigningKey::parse(&key).unwrap();
        for (at, fits) in [
            (NOW - 300, true),
            (NOW - 301, false),
            (NOW + 300, true),
            (NOW + 301, false),
            (0, false),
        ] {
            let signature = signing.sign("m", at, b"");
            assert_eq!(
                verify(&key, "m", &at.to_string(), &signature, b""),
                fits,
                "{at}"
            );
        }
        let keys = Verifying::with_keys([key.as_str()]).unwrap();
        for bad in ["", "x", "+1700000000", "-1", "1700000000.0", " 1700000000"] {
            let verdict = keys.verify("m", bad, "v1,", b"", NOW);
            assert_eq!(verdict, Err(VerifyError::Timestamp), "{bad:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_told_and_not_repeated() {
        for (text, error) in [
            ("", KeyError::Form),
            ("hunter2hunter2hunter2hunter2", KeyError::Form),
            ("whsec_%%%", KeyError::Form),
            ("whsec_aHVudGVyMg==", KeyError::SymmetricLength(7)),
            ("whsk_aHVudGVyMg==", KeyError::Ed25519),
            ("whpk_aHVudGVyMg==", KeyError::Form),
        ] {
            assert_eq!(SigningKey::parse(text).unwrap_err(), error, "{text}");
            assert!(!error.to_string().contains("aHV"));
        }
        // A public half that belongs to another seed.
        let (one, two) = (new_ed25519_key().unwrap(), new_ed25519_key().unwrap());
        let bytes = |key: &str| decode(key.strip_prefix(PRIVATE).unwrap()).unwrap();
        let mut mixed = bytes(&one)[..32].to_vec();
        mixed.extend_from_slice(&bytes(&two)[32..]);
        let mixed = format!("{PRIVATE}{}", BASE64_STANDARD.encode(mixed));
        assert_eq!(SigningKey::parse(&mixed).unwrap_err(), KeyError::Ed25519);
        assert_eq!(
            Verifying::with_keys(["whpk_aHVudGVyMg=="]).unwrap_err(),
            KeyError::Public
        );
    }

    #[test]
    fn debug_shows_no_key() {
        for key in [new_symmetric_key().unwrap(), new_ed25519_key().unwrap()] {
            let shown = format!("{:?}", SigningKey::parse(&key).unwrap());
            assert!(shown.len() < 20, "{shown}");
        }
    }
}
