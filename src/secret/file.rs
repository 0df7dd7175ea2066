//! The file that secrets are kept in: JSON with sealed values, replaced whole.
//!
//! ```json
//! {"format": 1, "secrets": {"billing": [{"version": 1, "created": 0, "expires": null,
//!  "key": "0badcafe", "sealed": "base64 of nonce, ciphertext, tag"}]}}
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::{Secret, SecretName, SecretsError, Version};
use crate::clock::Timestamp;

const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    secrets: BTreeMap<SecretName, Vec<SealedVersion>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedVersion {
    version: u32,
    /// Milliseconds since 1970, as is `expires`.
    created: u64,
    expires: Option<u64>,
    /// The id of the key it is sealed with.
    key: String,
    sealed: String,
}

/// What a file holds, and whether some of it is sealed with a key that is not the first.
pub(super) struct Read {
    pub(super) secrets: BTreeMap<SecretName, Secret>,
    pub(super) resealing_is_due: bool,
}

/// What the seal is bound to: a value cannot be moved to another name or version.
fn context(name: &SecretName, version: u32) -> Vec<u8> {
    format!("eventyard secret {name} {version}").into_bytes()
}

/// Reads and opens everything; an absent file is empty.
pub(super) fn read(path: &Path, keys: &[Key]) -> Result<Read, SecretsError> {
    let damaged = |cause: String| SecretsError::Damaged {
        path: path.to_owned(),
        cause,
    };
    let mut read = Read {
        secrets: BTreeMap::new(),
        resealing_is_due: false,
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(read),
        Err(error) => return Err(SecretsError::file(path, &error)),
    };
    let document: Document =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if document.format != FORMAT {
        return Err(damaged(format!(
            "it has format {}, this version reads {FORMAT}",
            document.format
        )));
    }
    for (name, sealed) in document.secrets {
        let mut versions = Vec::with_capacity(sealed.len());
        for one in sealed {
            let key = keys.iter().find(|key| key.id == one.key);
            let key = key.ok_or_else(|| SecretsError::OtherKey {
                path: path.to_owned(),
                wanted: one.key.clone(),
            })?;
            read.resealing_is_due |= keys.first().is_some_and(|first| first.id != key.id);
            let value = BASE64_STANDARD
                .decode(&one.sealed)
                .ok()
                .and_then(|sealed| key.open(&context(&name, one.version), &sealed));
            versions.push(Version {
                number: one.version,
                created: Timestamp::from_millis(one.created),
                expires: one.expires.map(Timestamp::from_millis),
                value: value.ok_or_else(|| {
                    damaged(format!("version {} of `{name}` does not open", one.version))
                })?,
            });
        }
        if versions.is_empty() {
            return Err(damaged(format!("`{name}` has no version")));
        }
        read.secrets.insert(name, Secret { versions });
    }
    Ok(read)
}

/// Replaces the file: after `Ok` the new content survives a power cut, after `Err` the old one.
pub(super) fn write<'a>(
    path: &Path,
    key: &Key,
    secrets: impl Iterator<Item = (&'a SecretName, &'a Secret)>,
) -> Result<(), SecretsError> {
    let seal = |name: &SecretName, version: &Version| SealedVersion {
        version: version.number,
        created: version.created.as_millis(),
        expires: version.expires.map(Timestamp::as_millis),
        key: key.id.clone(),
        sealed: BASE64_STANDARD
            .encode(key.seal(&context(name, version.number), version.value.expose())),
    };
    let document = Document {
        format: FORMAT,
        secrets: secrets
            .map(|(name, secret)| {
                let versions = secret.versions.iter().map(|one| seal(name, one));
                (name.clone(), versions.collect())
            })
            .collect(),
    };
    let text = serde_json::to_vec_pretty(&document).expect("names are strings");
    replace(path, &text).map_err(|error| SecretsError::file(path, &error))
}

/// Replaces a file that its owner alone may read: a power cut leaves the old content or the new.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&new, path)?;
    sync_folder(path)
}

/// Makes a created or renamed name survive a power cut.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
