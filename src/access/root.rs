//! The root key: given from outside, it may do everything, and so makes the first key.

use std::fmt;
use std::path::PathBuf;

use super::AccessError;
use super::key::{Hasher, KeyHash};
use crate::limits;
use crate::secret::SecretText;

/// Where the root key comes from.
#[derive(Debug, Clone)]
pub enum RootKeySource {
    File(PathBuf),
    /// From the environment.
    Text(SecretText),
}

impl fmt::Display for RootKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text(_) => f.write_str("EVENTYARD_ROOT_KEY"),
        }
    }
}

/// The root key, hashed under a key that ends with the process.
#[derive(Debug)]
pub(super) struct RootKey {
    hasher: Hasher,
    hash: KeyHash,
}

impl RootKey {
    pub(super) fn read(source: &RootKeySource) -> Result<RootKey, AccessError> {
        let text = match source {
            RootKeySource::Text(text) => text.clone(),
            RootKeySource::File(path) => {
                let text = std::fs::read_to_string(path);
                SecretText::new(text.map_err(|error| AccessError::NoRootKey {
                    path: path.clone(),
                    cause: error.to_string(),
                })?)
            }
        };
        let text = text.expose().trim();
        // What else there is could not be sent in a header.
        let sendable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !sendable || text.len() < limits::ROOT_KEY_CHARS_MIN {
            return Err(AccessError::WeakRootKey(source.to_string()));
        }
        let hasher = Hasher::random()?;
        let hash = hasher.hash(text);
        Ok(RootKey { hasher, hash })
    }

    pub(super) fn fits(&self, key: &str) -> bool {
        self.hasher.fits(key, &self.hash)
    }
}
