//! Texts of other parts of the bus, sealed with the same key, which these keep in files of their own.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};

use super::{SecretText, Secrets, SecretsError};

/// A sealed text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The id of the key it is sealed with.
    key: String,
    sealed: String,
}

impl Secrets {
    /// Seals a text; `context` must be the same to open it. Makes the key when there is none.
    pub fn seal(&self, context: &str, text: &SecretText) -> Result<Sealed, SecretsError> {
        let mut key = self.0.key.lock();
        let key = self.sealing_key(&mut key)?;
        Ok(Sealed {
            key: key.id.clone(),
            sealed: BASE64_STANDARD.encode(key.seal(context.as_bytes(), text.expose())),
        })
    }

    /// Opens what [`Secrets::seal`] sealed and `file` kept; `None` when it was changed.
    pub fn unseal(
        &self,
        file: &Path,
        context: &str,
        sealed: &Sealed,
    ) -> Result<Option<SecretText>, SecretsError> {
        let first = self.0.key.lock().clone();
        let mut keys = first.iter().chain(&self.0.older);
        let key = keys.find(|key| key.id == sealed.key);
        let key = key.ok_or_else(|| SecretsError::OtherKey {
            path: file.to_owned(),
            wanted: sealed.key.clone(),
        })?;
        let bytes = BASE64_STANDARD.decode(&sealed.sealed).ok();
        Ok(bytes.and_then(|bytes| key.open(context.as_bytes(), &bytes)))
    }

    /// Whether it is sealed with an older key, which should get out of use.
    #[must_use]
    pub fn sealing_is_due(&self, sealed: &Sealed) -> bool {
        let first = self.0.key.lock();
        first.as_ref().is_some_and(|key| key.id != sealed.key)
    }
}
