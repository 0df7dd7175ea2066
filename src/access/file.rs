//! The file that API keys are kept in: JSON with a hash of each key, replaced whole.
//!
//! ```json
//! {"format": 1, "hasher": {"key": "0badcafe", "sealed": "base64"},
//!  "keys": [{"id": "eyk_0123456789ab", "name": "shop", "hash": "base64", "created": 0,
//!   "expires": null, "revoked": null, "last_used": null, "grants": [{"scope": "publish"}]}]}
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::grant::{Grant, GrantDocument};
use super::key::{Hasher, KeyId};
use super::pace::Pace;
use super::{AccessError, ApiKey, KeyName, Keys};
use crate::clock::Timestamp;
use crate::rule::RateLimit;
use crate::secret::{self, Sealed, Secrets};

const FORMAT: u32 = 1;
/// What the hasher's seal is bound to.
const CONTEXT: &str = "eventyard API keys";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    hasher: Sealed,
    keys: Vec<KeptKey>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptKey {
    id: KeyId,
    name: KeyName,
    hash: String,
    /// Milliseconds since 1970, as are the following.
    created: Timestamp,
    expires: Option<Timestamp>,
    revoked: Option<Timestamp>,
    last_used: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_limit: Option<String>,
    grants: Vec<GrantDocument>,
}

/// Reads the keys, and whether their hasher is sealed with a key that is not the first; an absent
/// file holds none.
pub(super) fn read(path: &Path, secrets: &Secrets) -> Result<(Keys, bool), AccessError> {
    let damaged = |cause: String| AccessError::Damaged {
        path: path.to_owned(),
        cause,
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((Keys::default(), false));
        }
        Err(error) => return Err(AccessError::file(path, &error)),
    };
    let document: Document =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if document.format != FORMAT {
        return Err(damaged(format!(
            "it has format {}, this version reads {FORMAT}",
            document.format
        )));
    }
    let hasher = secrets
        .unseal(path, CONTEXT, &document.hasher)?
        .and_then(|text| Hasher::parse(&text))
        .ok_or_else(|| damaged("what hashes the keys does not open".to_owned()))?;
    let mut by_id = BTreeMap::new();
    for kept in document.keys {
        let id = kept.id;
        let key = key(kept).map_err(|cause| damaged(format!("the key {id}: {cause}")))?;
        by_id.insert(id, Arc::new(key));
    }
    let keys = Keys {
        hasher: Some(hasher),
        by_id,
    };
    Ok((keys, secrets.sealing_is_due(&document.hasher)))
}

fn key(kept: KeptKey) -> Result<ApiKey, String> {
    let hash = BASE64_STANDARD.decode(&kept.hash).unwrap_or_default();
    let hash = hash.as_slice().try_into();
    let grants = kept.grants.into_iter().map(Grant::new);
    let last_used = kept.last_used.map_or(0, Timestamp::as_millis);
    let rate = kept.rate_limit.map(|text| text.parse::<RateLimit>());
    let rate = rate.transpose().map_err(|error| error.to_string())?;
    let pace = rate.map(|rate| Arc::new(Pace::new(rate, Instant::now())));
    Ok(ApiKey {
        id: kept.id,
        name: kept.name,
        hash: hash.map_err(|_| "its hash has not 32 bytes".to_owned())?,
        created: kept.created,
        expires: kept.expires,
        revoked: kept.revoked,
        last_used: Arc::new(AtomicU64::new(last_used)),
        pace,
        grants: grants
            .collect::<Result<_, _>>()
            .map_err(|error| format!("a grant: {}: {error}", error.pointer()))?,
    })
}

/// Replaces the file: after `Ok` the new content survives a power cut, after `Err` the old one.
pub(super) fn write(
    path: &Path,
    secrets: &Secrets,
    hasher: &Hasher,
    keys: &BTreeMap<KeyId, Arc<ApiKey>>,
) -> Result<(), AccessError> {
    let keys = keys.values().map(|key| KeptKey {
        id: key.id,
        name: key.name.clone(),
        hash: BASE64_STANDARD.encode(key.hash),
        created: key.created,
        expires: key.expires,
        revoked: key.revoked,
        last_used: key.last_used(),
        rate_limit: key.rate_limit().map(|rate| rate.to_string()),
        grants: key
            .grants
            .iter()
            .map(|one| one.document().clone())
            .collect(),
    });
    let document = Document {
        format: FORMAT,
        hasher: secrets.seal(CONTEXT, &hasher.text)?,
        keys: keys.collect(),
    };
    let text = serde_json::to_vec_pretty(&document).expect("names are strings");
    secret::replace_file(path, &text).map_err(|error| AccessError::file(path, &error))
}
