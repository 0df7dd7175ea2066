//! What people call a key.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;

/// 1 to 64 of `A-Z a-z 0-9 . - _`, the first a letter or digit. Two keys may share one: a new key
/// takes the place of an old one while both hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(Arc<str>);

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key's name has 1 to {max} letters, digits, `.`, `-` and `_` and starts with a letter or digit",
    max = limits::NAME_BYTES
)]
pub struct KeyNameError;

impl KeyName {
    /// Checks and keeps a name.
    pub fn new(text: &str) -> Result<Self, KeyNameError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let good = text.len() <= limits::NAME_BYTES
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(fits);
        good.then(|| Self(Arc::from(text))).ok_or(KeyNameError)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KeyName {
    type Error = KeyNameError;
    fn try_from(text: String) -> Result<Self, KeyNameError> {
        Self::new(&text)
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> String {
        name.0.to_string()
    }
}
