//! Keeps secrets: named, apart from the rules that use them, sealed at rest, changed without a
//! restart.
//!
//! They stand in a file of their own and not in the journal: what is deleted there must be gone, and
//! a journal keeps what was. The file is small and replaced whole.

mod file;
mod key;
mod name;
mod sealed;
mod value;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::file::replace as replace_file;
pub use self::key::KeySource;
pub use self::name::{SecretName, SecretNameError};
pub use self::sealed::Sealed;
pub use self::value::{Secret, SecretText, Version};

use self::key::Key;
use crate::clock::{Clock, Timestamp};
use crate::limits;

/// Where secrets are kept.
#[derive(Debug, Clone)]
pub struct Config {
    pub file: PathBuf,
    pub key: KeySource,
}

/// Why secrets cannot be read or changed. No variant holds any of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    #[error("cannot read or write the key file {path}: {cause}")]
    KeyFile { path: PathBuf, cause: String },
    #[error(
        "line {line} of {place} is no key: 32 bytes in base64 or hex are wanted, such as `openssl rand -base64 32` prints"
    )]
    BadKey { place: String, line: usize },
    #[error("{path}: {cause}; restore it from a backup, or move it aside and set the secrets anew")]
    Damaged { path: PathBuf, cause: String },
    #[error(
        "{path} is sealed with the key {wanted}, which is not given; add that key as a further line of the key file, or move {path} aside and set anew what it held"
    )]
    OtherKey { path: PathBuf, wanted: String },
    #[error("cannot read or write {path}: {cause}; nothing was changed")]
    File { path: PathBuf, cause: String },
    #[error("a secret has 1 to {max} bytes, this one has {0}", max = limits::SECRET_BYTES)]
    Length(usize),
    #[error("there are {max} secrets already, and more are not kept", max = limits::SECRETS)]
    TooMany,
    #[error("there is no secret `{0}`")]
    NoSecret(SecretName),
    #[error("the secret `{0}` has no version {1}")]
    NoVersion(SecretName, u32),
    #[error(
        "version {1} of the secret `{0}` is the one in use; set a new value first, or delete the secret"
    )]
    InUse(SecretName, u32),
    #[error("the system gives no random bytes")]
    NoRandomness,
    #[error("it is not as the request expects it")]
    NotAsExpected,
}

impl SecretsError {
    fn file(path: &Path, error: &io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            cause: error.to_string(),
        }
    }
}

type All = BTreeMap<SecretName, Arc<Secret>>;

/// What a change requires of a secret, at the moment that it is made.
#[derive(Debug, Clone, Default)]
pub enum Expected {
    #[default]
    Anything,
    Present,
    Absent,
    /// As it was when it was looked at.
    Same(Arc<Secret>),
}

impl Expected {
    fn check(&self, current: Option<&Arc<Secret>>) -> Result<(), SecretsError> {
        let holds = match self {
            Self::Anything => true,
            Self::Present => current.is_some(),
            Self::Absent => current.is_none(),
            Self::Same(seen) => current == Some(seen),
        };
        holds.then_some(()).ok_or(SecretsError::NotAsExpected)
    }
}

/// All secrets. Clones share them; readers never wait.
#[derive(Clone)]
pub struct Secrets(Arc<Shared>);

struct Shared {
    /// `None`: kept in memory only.
    config: Option<Config>,
    clock: Clock,
    all: ArcSwap<All>,
    /// The key that seals, once there is one; held while a change is written.
    key: Mutex<Option<Key>>,
    /// Those that only open.
    older: Vec<Key>,
    changes: watch::Sender<u64>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.all.load().len())
    }
}

impl Secrets {
    /// Reads the file; what is sealed with an older key of several is sealed anew with the first.
    pub fn open(config: Config, clock: Clock) -> Result<Secrets, SecretsError> {
        Self::read(config, clock, true)
    }

    /// Reads the file, and writes nothing unless something is set.
    pub fn look(config: Config, clock: Clock) -> Result<Secrets, SecretsError> {
        Self::read(config, clock, false)
    }

    fn read(config: Config, clock: Clock, reseals: bool) -> Result<Secrets, SecretsError> {
        let keys = key::read(&config.key)?;
        let read = file::read(&config.file, &keys)?;
        let mut keys = keys.into_iter();
        let first = keys.next();
        if let (true, Some(key)) = (reseals && read.resealing_is_due, &first) {
            file::write(&config.file, key, read.secrets.iter())?;
            tracing::info!(key = key.id, "secrets are sealed with the first key now");
        }
        let all = read.secrets.into_iter().map(|(n, s)| (n, Arc::new(s)));
        Ok(Secrets(Arc::new(Shared {
            config: Some(config),
            clock,
            all: ArcSwap::from_pointee(all.collect()),
            key: Mutex::new(first),
            older: keys.collect(),
            changes: watch::Sender::new(0),
        })))
    }

    /// Secrets that end with the process, for tools and tests.
    #[must_use]
    pub fn in_memory(clock: Clock) -> Secrets {
        Secrets(Arc::new(Shared {
            config: None,
            clock,
            all: ArcSwap::default(),
            key: Mutex::new(None),
            older: Vec::new(),
            changes: watch::Sender::new(0),
        }))
    }

    /// A secret as it is now.
    #[must_use]
    pub fn get(&self, name: &SecretName) -> Option<Arc<Secret>> {
        self.0.all.load().get(name).cloned()
    }

    /// Every secret, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(SecretName, Arc<Secret>)> {
        let all = self.0.all.load();
        all.iter().map(|(n, s)| (n.clone(), s.clone())).collect()
    }

    /// Resolves whenever a secret changes (a counter that grows).
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The time by which versions hold or do not.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Gives a secret a new value, which is on disk when this returns; earlier ones hold for
    /// `keep_old` more. Reads and writes files: not for a thread that others wait for.
    pub fn set(
        &self,
        name: &SecretName,
        value: SecretText,
        keep_old: Duration,
    ) -> Result<Arc<Secret>, SecretsError> {
        self.set_if(name, value, keep_old, &Expected::Anything)
    }

    /// The same, where the secret is as it is expected.
    pub fn set_if(
        &self,
        name: &SecretName,
        value: SecretText,
        keep_old: Duration,
        expected: &Expected,
    ) -> Result<Arc<Secret>, SecretsError> {
        let bytes = value.expose().len();
        if !(1..=limits::SECRET_BYTES).contains(&bytes) {
            return Err(SecretsError::Length(bytes));
        }
        let now = self.0.clock.now();
        self.change(|all| {
            expected.check(all.get(name))?;
            if all.len() >= limits::SECRETS && !all.contains_key(name) {
                return Err(SecretsError::TooMany);
            }
            let old = all.get(name).map(|secret| secret.versions.clone());
            let mut old = old.unwrap_or_default();
            let number = old.first().map_or(0, |newest| newest.number) + 1;
            let until = now.plus(keep_old);
            for version in &mut old {
                version.expires = Some(version.expires.map_or(until, |sooner| sooner.min(until)));
            }
            old.retain(|version| version.expires.is_none_or(|until| now < until));
            old.truncate(limits::SECRET_VERSIONS - 1);
            old.insert(
                0,
                Version {
                    number,
                    created: now,
                    expires: None,
                    value,
                },
            );
            let secret = Arc::new(Secret { versions: old });
            all.insert(name.clone(), secret.clone());
            Ok(secret)
        })
    }

    /// Forgets a secret with all its versions, where it is as it is expected.
    pub fn remove(&self, name: &SecretName, expected: &Expected) -> Result<(), SecretsError> {
        self.change(|all| {
            let removed = all.remove(name);
            let removed = removed.ok_or_else(|| SecretsError::NoSecret(name.clone()))?;
            expected.check(Some(&removed))
        })
    }

    /// Forgets one of the earlier versions before its time: it may be known to somebody.
    pub fn remove_version(&self, name: &SecretName, number: u32) -> Result<(), SecretsError> {
        self.change(|all| {
            let secret = all.get_mut(name);
            let secret = secret.ok_or_else(|| SecretsError::NoSecret(name.clone()))?;
            if secret.newest().number == number {
                return Err(SecretsError::InUse(name.clone(), number));
            }
            let mut left = Secret::clone(secret);
            left.versions.retain(|version| version.number != number);
            if left.versions.len() == secret.versions.len() {
                return Err(SecretsError::NoVersion(name.clone(), number));
            }
            *secret = Arc::new(left);
            Ok(())
        })
    }

    /// Writes what `change` makes of the secrets, and only then shows it.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut All) -> Result<T, SecretsError>,
    ) -> Result<T, SecretsError> {
        let mut key = self.0.key.lock();
        let mut all = All::clone(&self.0.all.load());
        let done = change(&mut all)?;
        if let Some(config) = &self.0.config {
            let key = self.sealing_key(&mut key)?;
            file::write(&config.file, key, all.iter().map(|(n, s)| (n, &**s)))?;
        }
        self.0.all.store(Arc::new(all));
        self.0.changes.send_modify(|changes| *changes += 1);
        Ok(done)
    }

    /// The key that seals, made when it is first needed.
    fn sealing_key<'a>(&self, key: &'a mut Option<Key>) -> Result<&'a Key, SecretsError> {
        let made = match (&*key, &self.0.config) {
            (Some(_), _) => None,
            (None, None) => Some(Key::random()?),
            (None, Some(config)) => match &config.key {
                KeySource::File(path) => Some(key::create(path)?),
                KeySource::Text(_) => None,
            },
        };
        if made.is_some() {
            *key = made;
        }
        Ok(key.as_ref().expect("read from the environment or made"))
    }
}

#[cfg(test)]
mod tests;
