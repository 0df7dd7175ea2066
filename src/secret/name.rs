//! Names of secrets: what rules refer to.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;

/// The name of a secret: 1 to 64 of `A-Z a-z 0-9 . - _`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(Arc<str>);

/// Why a name was refused. The text is not repeated: somebody may have pasted the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret's name has 1 to {max} letters, digits, `.`, `-` and `_` and starts with a letter or digit",
    max = limits::NAME_BYTES
)]
pub struct SecretNameError;

impl SecretName {
    /// Checks and keeps a name.
    pub fn new(text: &str) -> Result<Self, SecretNameError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let good = text.len() <= limits::NAME_BYTES
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(fits);
        good.then(|| Self(Arc::from(text))).ok_or(SecretNameError)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SecretName {
    type Error = SecretNameError;
    fn try_from(text: String) -> Result<Self, SecretNameError> {
        Self::new(&text)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> String {
        name.0.to_string()
    }
}
