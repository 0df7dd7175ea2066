//! An API key as text, and the keyed hash that is all the bus keeps of it.

use std::fmt;

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::AccessError;
use crate::secret::SecretText;

/// What every key begins with, so that people and scanners for leaked secrets know one.
const MARK: &str = "eyk_";
const ID_BYTES: usize = 6;
/// 256 random bits: nobody tries them all, so a fast hash is enough.
const RANDOM_BYTES: usize = 32;
const ID_CHARS: usize = MARK.len() + 2 * ID_BYTES;
const KEY_CHARS: usize = ID_CHARS + 1 + 2 * RANDOM_BYTES;

/// Names a key without giving it away: the key's own first 16 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; ID_BYTES]);

/// Why a text is no key's prefix. The text is not repeated: it may be a whole key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is named by its prefix, `eyk_` and 12 hex digits, as the list of keys shows it")]
pub struct KeyIdError;

impl KeyId {
    /// Reads a key's prefix.
    pub fn parse(text: &str) -> Result<KeyId, KeyIdError> {
        let digits = text.strip_prefix(MARK).ok_or(KeyIdError)?;
        let mut id = [0; ID_BYTES];
        from_hex(digits, &mut id).ok_or(KeyIdError)?;
        Ok(KeyId(id))
    }

    /// The prefix of a whole key; `None` for what has not a key's form.
    #[must_use]
    pub fn of_key(text: &str) -> Option<KeyId> {
        let (prefix, rest) = text.split_at_checked(ID_CHARS)?;
        let digits = rest.strip_prefix('_')?;
        let whole = text.len() == KEY_CHARS && digits.bytes().all(is_hex);
        whole.then(|| KeyId::parse(prefix).ok()).flatten()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARK)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;
    fn try_from(text: String) -> Result<Self, KeyIdError> {
        Self::parse(&text)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.to_string()
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn from_hex(digits: &str, bytes: &mut [u8]) -> Option<()> {
    if digits.len() != 2 * bytes.len() || !digits.bytes().all(is_hex) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(())
}

/// A new key and its prefix.
pub(super) fn generate() -> Result<(KeyId, SecretText), AccessError> {
    let mut id = [0; ID_BYTES];
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    fill(&mut id)?;
    fill(&mut *random)?;
    let id = KeyId(id);
    // As long as it gets, so that no part of it stays behind in memory that was outgrown.
    let mut text = String::with_capacity(KEY_CHARS);
    text.push_str(&id.to_string());
    text.push('_');
    for byte in random.iter() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).expect("a nibble is a hex digit"));
        }
    }
    Ok((id, SecretText::new(text)))
}

fn fill(bytes: &mut [u8]) -> Result<(), AccessError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| AccessError::NoRandomness)
}

pub(super) const HASH_BYTES: usize = 32;

/// What is kept of a key.
pub(super) type KeyHash = [u8; HASH_BYTES];

/// Hashes keys (HMAC-SHA-256). Whoever reads the file of keys cannot even check a guess without it.
#[derive(Clone)]
pub(super) struct Hasher {
    key: hmac::Key,
    /// The same in base64, to be sealed.
    pub(super) text: SecretText,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    pub(super) fn random() -> Result<Hasher, AccessError> {
        let mut bytes = Zeroizing::new([0; HASH_BYTES]);
        fill(&mut *bytes)?;
        Ok(Hasher::new(&bytes))
    }

    fn new(bytes: &[u8; HASH_BYTES]) -> Hasher {
        Hasher {
            key: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            text: SecretText::new(BASE64_STANDARD.encode(bytes)),
        }
    }

    /// Reads what `text` holds.
    pub(super) fn parse(text: &SecretText) -> Option<Hasher> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.expose()).ok()?);
        Some(Hasher::new(bytes.as_slice().try_into().ok()?))
    }

    pub(super) fn hash(&self, key: &str) -> KeyHash {
        let tag = hmac::sign(&self.key, key.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether `hash` is the key's; takes as long wherever they differ.
    pub(super) fn fits(&self, key: &str, hash: &KeyHash) -> bool {
        hmac::verify(&self.key, key.as_bytes(), hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_prefix_and_256_random_bits() {
        let (id, key) = generate().unwrap();
        assert_eq!(KeyId::of_key(key.expose()), Some(id));
        assert_eq!(KeyId::parse(&id.to_string()), Ok(id));
        assert!(key.expose().starts_with(&format!("{id}_")));
        assert_eq!(key.expose().len(), 81);
        let (other, another) = generate().unwrap();
        assert_ne!(id, other);
        assert_ne!(key.expose()[17..], another.expose()[17..]);
    }

    #[test]
    fn what_has_not_a_key_s_form_is_none() {
        let good = format!("eyk_{}_{}", "0a".repeat(6), "1b".repeat(32));
        assert!(KeyId::of_key(&good).is_some());
        for bad in [
            "",
            "eyk_",
            "eyk_0a0a0a0a0a0a",
            &good[..80],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace("_1b", "-1b"),
            &good.replace("1b", "1g"),
            &good.replacen("0a", "é", 1),
        ] {
            assert_eq!(KeyId::of_key(bad), None, "{bad}");
        }
        assert_eq!(KeyId::parse(&good), Err(KeyIdError));
        assert!(!KeyIdError.to_string().contains("1b1b"));
    }

    #[test]
    fn a_hash_fits_its_key_under_its_hasher_only() {
        let (hasher, other) = (Hasher::random().unwrap(), Hasher::random().unwrap());
        let hash = hasher.hash("key");
        assert!(hasher.fits("key", &hash));
        assert!(!hasher.fits("kez", &hash));
        assert!(!other.fits("key", &hash));
        assert!(Hasher::parse(&hasher.text).unwrap().fits("key", &hash));
        for at in 0..HASH_BYTES {
            let mut changed = hash;
            changed[at] ^= 1;
            assert!(!hasher.fits("key", &changed), "byte {at}");
        }
    }
}
