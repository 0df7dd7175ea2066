//! The keys that secrets are sealed with: read from a file or the environment, never stored beside
//! what they seal by anyone but the user.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

use super::{SecretText, SecretsError};

const KEY_BYTES: usize = 32;

/// Where the keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// One key a line, the first seals; made with a new key when the first secret is set.
    File(PathBuf),
    /// The same lines, from the environment.
    Text(SecretText),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the key file {}", path.display()),
            Self::Text(_) => f.write_str("EVENTYARD_SECRETS_KEY"),
        }
    }
}

/// One key. Which it is shows, what it is does not.
#[derive(Clone)]
pub(super) struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    /// The start of a hash of the key, in hex: says which key sealed a value.
    pub(super) id: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Key {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"eventyard: the id of a key for secrets");
        hash.update(&*bytes);
        let id = hash.finish().as_ref()[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Key { bytes, id }
    }

    pub(super) fn random() -> Result<Key, SecretsError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| SecretsError::NoRandomness)?;
        Ok(Key::new(bytes))
    }

    /// 32 bytes as base64 or as hex.
    fn parse(text: &str) -> Option<Key> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if text.len() == 2 * KEY_BYTES && text.is_ascii() {
            for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
                let pair = std::str::from_utf8(pair).ok()?;
                *byte = u8::from_str_radix(pair, 16).ok()?;
            }
            return Some(Key::new(bytes));
        }
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(text).ok()?);
        *bytes = decoded.as_slice().try_into().ok()?;
        Some(Key::new(bytes))
    }

    fn aead(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.bytes).expect("the length is the algorithm's")
    }

    /// `nonce | ciphertext | tag`; `context` must be the same to open it.
    pub(super) fn seal(&self, context: &[u8], plain: &str) -> Vec<u8> {
        let mut text = Zeroizing::new(plain.as_bytes().to_vec());
        let nonce = self
            .aead()
            .seal_in_place_append_tag(Aad::from(context), &mut *text)
            .expect("a secret is far shorter than what can be sealed");
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&text);
        sealed
    }

    /// `None` when it was sealed with another key or context, or was changed.
    pub(super) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<SecretText> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let plain = self
            .aead()
            .open_in_place(nonce, Aad::from(context), &mut text)
            .ok()?;
        let plain = std::str::from_utf8(plain).ok()?;
        Some(SecretText::new(plain.to_owned()))
    }
}

/// Reads the keys; none when there is no key file yet.
pub(super) fn read(source: &KeySource) -> Result<Vec<Key>, SecretsError> {
    let text = match source {
        KeySource::Text(text) => text.clone(),
        KeySource::File(path) => match std::fs::read_to_string(path) {
            Ok(text) => {
                warn_if_open_to_others(path);
                SecretText::new(text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(SecretsError::KeyFile {
                    path: path.clone(),
                    cause: error.to_string(),
                });
            }
        },
    };
    let bad = |line| SecretsError::BadKey {
        place: source.to_string(),
        line,
    };
    let mut keys = Vec::new();
    for (index, line) in text.expose().lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            keys.push(Key::parse(line).ok_or_else(|| bad(index + 1))?);
        }
    }
    if keys.is_empty() {
        return Err(bad(1));
    }
    Ok(keys)
}

/// Makes a key file with a new key, for its owner alone.
pub(super) fn create(path: &Path) -> Result<Key, SecretsError> {
    let key = Key::random()?;
    let failed = |error: io::Error| SecretsError::KeyFile {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let line = Zeroizing::new(BASE64_STANDARD.encode(*key.bytes));
    writeln!(
        file,
        "# Eventyard's key for secrets. Without it the secrets are lost; whoever has both has them.\n\
         # To change it put a new one (openssl rand -base64 32) above and restart the bus.\n{}",
        *line
    )
    .map_err(failed)?;
    file.sync_all().map_err(failed)?;
    super::file::sync_folder(path).map_err(failed)?;
    tracing::warn!(
        path = %path.display(),
        "made a new key for secrets; keep a copy apart from the data, and see `secrets_key_file`"
    );
    Ok(key)
}

fn warn_if_open_to_others(path: &Path) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format!("{mode:o}"),
            "the key file for secrets can be read by others; chmod 600 it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_context_only() {
        let (key, other) = (Key::random().unwrap(), Key::random().unwrap());
        let sealed = key.seal(b"a/1", "value");
        assert_eq!(key.open(b"a/1", &sealed).unwrap().expose(), "value");
        assert_eq!(key.open(b"a/2", &sealed), None);
        assert_eq!(other.open(b"a/1", &sealed), None);
        assert_ne!(key.seal(b"a/1", "value"), sealed, "nonces differ");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"a/1", &changed), None, "byte {at}");
        }
        assert_eq!(key.open(b"a/1", &sealed[..5]), None);
    }

    #[test]
    fn keys_are_32_bytes_in_hex_or_base64() {
        let hex = "00".repeat(32);
        let base64 = BASE64_STANDARD.encode([0; 32]);
        assert_eq!(
            Key::parse(&hex).unwrap().id,
            Key::parse(&base64).unwrap().id
        );
        for bad in [
            "",
            "00",
            "zz",
            &"0g".repeat(32),
            &BASE64_STANDARD.encode([0; 31]),
        ] {
            assert!(Key::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_first_line_seals_and_comments_are_skipped() {
        let lines = format!("# new\n{}\n\n# old\n{}\n", "11".repeat(32), "22".repeat(32));
        let keys = read(&KeySource::Text(SecretText::new(lines))).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].id, Key::parse(&"11".repeat(32)).unwrap().id);
        let bad = KeySource::Text(SecretText::new("# a\nhunter2".to_owned()));
        let error = read(&bad).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
