//! Who may do what: API keys, of which only hashes are kept, and the scopes that they have.
//!
//! A caller shows a key and becomes a [`Caller`], which is then asked whether it may. Keys stand in
//! a file of their own, as secrets do and for the same reasons.

mod file;
mod grant;
mod key;
mod name;
mod pace;
mod root;
mod token;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::grant::{Grant, GrantDocument, GrantError, Scope, not_null};
pub use self::key::{KeyId, KeyIdError};
pub use self::name::{KeyName, KeyNameError};
pub use self::root::RootKeySource;
pub use self::token::{
    Config as TokenConfig, SignersError, SignersSource, Token, TokenError, look_at_signers,
};

use self::key::{Hasher, KeyHash};
use self::pace::Pace;
use self::root::RootKey;
use self::token::Tokens;
use crate::clock::{Clock, Timestamp};
use crate::event::Event;
use crate::limits;
use crate::log::{BusName, RuleName, TargetName};
use crate::rule::RateLimit;
use crate::secret::{SecretText, Secrets, SecretsError};

/// Whether callers need keys, and where these are kept.
#[derive(Debug, Clone)]
pub struct Config {
    pub mode: Mode,
    pub file: PathBuf,
    pub root_key: Option<RootKeySource>,
    /// Whose tokens are taken beside keys, if anyone's.
    pub tokens: Option<TokenConfig>,
}

/// Whether callers need keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nobody said: open on a loopback address, and on no other.
    Unsaid,
    Off,
    Keys,
}

impl Mode {
    /// Refuses a bus that everybody could reach and command, unless somebody asked for one.
    pub fn check(self, listen: SocketAddr) -> Result<(), AccessError> {
        let is_open = self == Self::Unsaid && !listen.ip().to_canonical().is_loopback();
        match is_open {
            true => Err(AccessError::OpenToOthers(listen)),
            false => Ok(()),
        }
    }
}

/// Why access cannot be controlled or a key not be changed. No variant holds any of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error(
        "others can reach {0}, and nothing would keep them from publishing events and changing rules; set --access keys and a root key (EVENTYARD_ROOT_KEY or --root-key-file) to make API keys with, or listen on 127.0.0.1, or say --access off if something else guards the address"
    )]
    OpenToOthers(SocketAddr),
    #[error(
        "the root key in {0} is too weak: {min} visible ASCII characters or more on one line are wanted, such as `openssl rand -hex 32` prints",
        min = limits::ROOT_KEY_CHARS_MIN
    )]
    WeakRootKey(String),
    #[error("cannot read the root key in {path}, which `root_key_file` names: {cause}")]
    NoRootKey { path: PathBuf, cause: String },
    #[error(
        "cannot read the keys that sign tokens in {source_name}, which `jwt_keys` names: {cause}"
    )]
    Signers { source_name: String, cause: String },
    #[error("{path}: {cause}; restore it from a backup, or move it aside and make new keys")]
    Damaged { path: PathBuf, cause: String },
    #[error("cannot read or write {path}: {cause}")]
    File { path: PathBuf, cause: String },
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("{max} keys hold already, and more are not kept; revoke some", max = limits::API_KEYS)]
    TooMany,
    #[error("there is no key `{0}`")]
    NoKey(KeyId),
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl AccessError {
    fn file(path: &Path, error: &io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            cause: error.to_string(),
        }
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this needs an API key")]
    NoKey,
    #[error("the API key is not known here")]
    Unknown,
    #[error("the token is not taken: {0}")]
    Token(TokenError),
    #[error("the API key `{0}` expired at {1}")]
    Expired(KeyName, Timestamp),
    #[error("the API key `{0}` was revoked at {1}")]
    Revoked(KeyName, Timestamp),
    /// It is known and good, and comes too early by this.
    #[error("the API key `{0}` is used faster than its rate of {1}")]
    TooFast(KeyName, RateLimit, Duration),
}

impl Refused {
    /// Whose key it is that is known, and yet not let in.
    #[must_use]
    pub fn whose(&self) -> Option<&KeyName> {
        match self {
            Self::NoKey | Self::Unknown | Self::Token(_) => None,
            Self::Expired(name, _) | Self::Revoked(name, _) | Self::TooFast(name, _, _) => {
                Some(name)
            }
        }
    }
}

/// What is known of a key.
#[derive(Debug)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: KeyName,
    hash: KeyHash,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
    /// Milliseconds since 1970; 0 is never. Shared by all copies.
    last_used: Arc<AtomicU64>,
    /// How fast it may be used, if that is bounded. Shared by all copies.
    pace: Option<Arc<Pace>>,
    pub grants: Vec<Grant>,
}

impl ApiKey {
    /// When it was last used, within a minute.
    #[must_use]
    pub fn last_used(&self) -> Option<Timestamp> {
        match self.last_used.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }

    /// So many calls it may make, of which each event is one.
    #[must_use]
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.pace.as_ref().map(|pace| pace.rate)
    }

    /// `active`, `expired` or `revoked`
    #[must_use]
    pub fn state(&self, now: Timestamp) -> &'static str {
        match self.check(now) {
            Ok(()) => "active",
            Err(Refused::Expired(..)) => "expired",
            Err(_) => "revoked",
        }
    }

    fn check(&self, now: Timestamp) -> Result<(), Refused> {
        match (self.revoked, self.expires) {
            (Some(at), _) => Err(Refused::Revoked(self.name.clone(), at)),
            (None, Some(at)) if at <= now => Err(Refused::Expired(self.name.clone(), at)),
            _ => Ok(()),
        }
    }

    /// Since when it holds no longer.
    fn ended(&self, now: Timestamp) -> Option<Timestamp> {
        self.revoked.or(self.expires.filter(|at| *at <= now))
    }
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: KeyName,
    /// `None`: never.
    pub expires_in: Option<Duration>,
    /// `None`: as fast as it likes.
    pub rate_limit: Option<RateLimit>,
    pub grants: Vec<Grant>,
}

/// Who asks, as far as that matters for what may be done.
#[derive(Debug, Clone)]
pub enum Caller {
    /// No keys are asked for.
    Anyone,
    /// May do everything.
    Root,
    Key(Arc<ApiKey>),
    /// Was sent by an identity provider.
    Token(Arc<Token>),
}

impl Caller {
    fn grants(&self) -> Option<&[Grant]> {
        match self {
            Self::Anyone | Self::Root => None,
            Self::Key(key) => Some(&key.grants),
            Self::Token(token) => Some(&token.grants),
        }
    }

    /// Whether it may do less than everything.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.grants().is_some()
    }

    /// Counts the events of a call against the key's rate; the first of them is the call.
    pub fn brought(&self, events: usize) {
        if let Self::Key(key) = self
            && let Some(pace) = &key.pace
            && events > 1
        {
            pace.charge(events as u64 - 1, Instant::now());
        }
    }

    /// Whether the scope is the caller's on this bus.
    #[must_use]
    pub fn may(&self, scope: Scope, bus: &BusName) -> bool {
        let grants = self.grants();
        grants.is_none_or(|grants| grant::on_bus(grants, scope, bus))
    }

    /// Whether the scope is the caller's on all buses.
    #[must_use]
    pub fn may_on_all(&self, scope: Scope) -> bool {
        self.grants()
            .is_none_or(|grants| grant::on_all(grants, scope))
    }

    /// Whether the scope is the caller's on some bus.
    #[must_use]
    pub fn may_on_any(&self, scope: Scope) -> bool {
        self.grants()
            .is_none_or(|grants| grant::on_any(grants, scope))
    }

    /// Whether the caller may pull this target.
    #[must_use]
    pub fn may_consume(&self, bus: &BusName, rule: &RuleName, target: &TargetName) -> bool {
        let grants = self.grants();
        grants.is_none_or(|grants| grant::on_target(grants, bus, rule, target))
    }

    /// Whether the caller may publish on this bus whatever it likes.
    #[must_use]
    pub fn may_publish_anything(&self, bus: &BusName) -> bool {
        let grants = self.grants();
        grants.is_none_or(|grants| grant::anything_on_bus(grants, bus))
    }

    /// Whether the caller may publish this event on this bus.
    #[must_use]
    pub fn may_publish(&self, event: &Event, bus: &BusName) -> bool {
        let grants = self.grants();
        grants.is_none_or(|grants| grant::event_on_bus(grants, event, bus))
    }
}

/// The keys of one moment.
#[derive(Debug, Clone, Default)]
struct Keys {
    /// `None` until the first key is made.
    hasher: Option<Hasher>,
    by_id: BTreeMap<KeyId, Arc<ApiKey>>,
}

/// All keys. Clones share them; readers never wait.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    mode: Mode,
    file: PathBuf,
    root: Option<RootKey>,
    tokens: Option<Tokens>,
    secrets: Secrets,
    clock: Clock,
    keys: ArcSwap<Keys>,
    /// Held while the file is written.
    writing: Mutex<()>,
    /// Whether a key was used since the file was written.
    is_used: AtomicBool,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access({})", self.0.keys.load().by_id.len())
    }
}

/// Reads the keys as [`Access::open`] does, and the root key, and writes nothing: how many keys there
/// are.
pub fn look(config: &Config, secrets: &Secrets) -> Result<usize, AccessError> {
    let (keys, _) = file::read(&config.file, secrets)?;
    if let (Mode::Keys, Some(source)) = (config.mode, &config.root_key) {
        RootKey::read(source)?;
    }
    Ok(keys.by_id.len())
}

impl Access {
    /// Reads the file of keys. They can be made and revoked also while none is asked for.
    pub fn open(config: Config, secrets: Secrets, clock: Clock) -> Result<Access, AccessError> {
        let (keys, sealing_is_due) = file::read(&config.file, &secrets)?;
        if let (true, Some(hasher)) = (sealing_is_due, &keys.hasher) {
            file::write(&config.file, &secrets, hasher, &keys.by_id)?;
        }
        let is_on = config.mode == Mode::Keys;
        if !is_on && !keys.by_id.is_empty() {
            tracing::warn!(
                keys = keys.by_id.len(),
                "there are API keys, but `access` is not `keys`: nobody is asked for one"
            );
        }
        let root = match &config.root_key {
            Some(source) if is_on => Some(RootKey::read(source)?),
            Some(_) => {
                tracing::warn!(
                    "there is a root key, but `access` is not `keys`: nobody is asked for one"
                );
                None
            }
            None => None,
        };
        let tokens = match config.tokens {
            Some(tokens) if is_on => Some(open_tokens(tokens)?),
            Some(_) => {
                tracing::warn!(
                    "`jwt_keys` is set, but `access` is not `keys`: nobody is asked for a token"
                );
                None
            }
            None => None,
        };
        if is_on {
            tracing::info!(
                keys = keys.by_id.len(),
                root_key = root.is_some(),
                tokens = tokens.is_some(),
                "callers need API keys"
            );
        }
        let now = clock.now();
        let manages =
            |key: &Arc<ApiKey>| key.check(now).is_ok() && grant::on_all(&key.grants, Scope::Manage);
        if is_on && root.is_none() && !keys.by_id.values().any(manages) {
            tracing::warn!(
                "no API key may manage this bus, and there is no root key to make one with: set EVENTYARD_ROOT_KEY or root_key_file and start it again"
            );
        }
        Ok(Access(Arc::new(Shared {
            mode: config.mode,
            file: config.file,
            root,
            tokens,
            secrets,
            clock,
            keys: ArcSwap::from_pointee(keys),
            writing: Mutex::new(()),
            is_used: AtomicBool::new(false),
        })))
    }

    /// Whether callers need keys.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// Lets a caller in who shows this key, or says why not. Each time is a call of the key's rate.
    pub fn admit(&self, shown: Option<&str>) -> Result<Caller, Refused> {
        let caller = self.recognise(shown)?;
        if let Caller::Key(key) = &caller
            && let Some(pace) = &key.pace
        {
            let taken = pace.take(Instant::now());
            taken.map_err(|wait| Refused::TooFast(key.name.clone(), pace.rate, wait))?;
        }
        Ok(caller)
    }

    /// Whose key this is, if it holds. For calls that last, which ask whether it still does.
    pub fn recognise(&self, shown: Option<&str>) -> Result<Caller, Refused> {
        let shared = &*self.0;
        if shared.mode != Mode::Keys {
            return Ok(Caller::Anyone);
        }
        let shown = shown.ok_or(Refused::NoKey)?;
        let keys = shared.keys.load();
        let known = KeyId::of_key(shown).and_then(|id| keys.by_id.get(&id));
        let (Some(key), Some(hasher)) = (known, &keys.hasher) else {
            // Whatever its form: somebody may take a key of another bus for it.
            let root = shared.root.as_ref();
            let is_root = root.is_some_and(|root| root.fits(shown));
            return match &shared.tokens {
                _ if is_root => Ok(Caller::Root),
                Some(tokens) if Tokens::may_be(shown) => {
                    let token = tokens.judge(shown, shared.clock.now());
                    let token = token.map_err(Refused::Token)?;
                    Ok(Caller::Token(Arc::new(token)))
                }
                _ => Err(Refused::Unknown),
            };
        };
        if !hasher.fits(shown, &key.hash) {
            return Err(Refused::Unknown);
        }
        let now = shared.clock.now();
        key.check(now)?;
        self.touch(key, now);
        Ok(Caller::Key(Arc::clone(key)))
    }

    /// Asks for the keys that sign tokens, since one named a key that is not known: once a minute at
    /// most.
    pub async fn learn_signers(&self) {
        if let Some(tokens) = &self.0.tokens {
            tokens.learn().await;
        }
    }

    /// Asks for the keys that sign tokens.
    pub async fn refresh_signers(&self) {
        if let Some(tokens) = &self.0.tokens {
            tokens.refresh().await;
        }
    }

    /// How often [`Access::refresh_signers`] is to be called, where tokens are taken.
    #[must_use]
    pub fn signers_every(&self) -> Option<Duration> {
        self.0.tokens.as_ref().map(Tokens::every)
    }

    /// Notes a use, at most once a minute: more often it would be a write by every request to what
    /// all processors read.
    fn touch(&self, key: &ApiKey, now: Timestamp) {
        let last = Timestamp::from_millis(key.last_used.load(Ordering::Relaxed));
        if last.plus(limits::API_KEY_USE_STEP) <= now {
            key.last_used.store(now.as_millis(), Ordering::Relaxed);
            self.0.is_used.store(true, Ordering::Release);
        }
    }

    /// A key as it is now.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<Arc<ApiKey>> {
        self.0.keys.load().by_id.get(&id).cloned()
    }

    /// Every key, by its id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ApiKey>> {
        self.0.keys.load().by_id.values().cloned().collect()
    }

    /// The time by which keys hold or do not.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Makes a key, which is on disk when this returns, and gives out its text: nobody can ever
    /// again. Reads and writes files: not for a thread that others wait for.
    pub fn create(&self, new: NewKey) -> Result<(Arc<ApiKey>, SecretText), AccessError> {
        let now = self.now();
        let (id, text) = key::generate()?;
        let key = self.change(|keys| {
            make_room(&mut keys.by_id, limits::API_KEYS, now)?;
            let hasher = match &keys.hasher {
                Some(hasher) => hasher,
                None => keys.hasher.insert(Hasher::random()?),
            };
            let key = Arc::new(ApiKey {
                id,
                hash: hasher.hash(text.expose()),
                name: new.name,
                created: now,
                expires: new.expires_in.map(|time| now.plus(time)),
                revoked: None,
                last_used: Arc::default(),
                pace: new
                    .rate_limit
                    .map(|rate| Arc::new(Pace::new(rate, Instant::now()))),
                grants: new.grants,
            });
            keys.by_id.insert(id, Arc::clone(&key));
            Ok(key)
        })?;
        tracing::info!(key = %id, name = %key.name, "an API key was made");
        Ok((key, text))
    }

    /// Ends a key at once, for good; one that is revoked stays so. It is shown for some time yet.
    pub fn revoke(&self, id: KeyId) -> Result<(), AccessError> {
        let now = self.now();
        let revoked = self.change(|keys| {
            let key = keys.by_id.get_mut(&id).ok_or(AccessError::NoKey(id))?;
            if key.revoked.is_some() {
                return Ok(None);
            }
            *key = Arc::new(ApiKey {
                id,
                name: key.name.clone(),
                hash: key.hash,
                created: key.created,
                expires: key.expires,
                revoked: Some(now),
                last_used: Arc::clone(&key.last_used),
                pace: key.pace.clone(),
                grants: key.grants.clone(),
            });
            Ok(Some(key.name.clone()))
        })?;
        if let Some(name) = revoked {
            tracing::info!(key = %id, %name, "an API key was revoked");
        }
        Ok(())
    }

    /// Writes down when keys were last used, if any was. Writes files, as above.
    pub fn write_uses(&self) -> Result<(), AccessError> {
        if !self.0.is_used.load(Ordering::Acquire) {
            return Ok(());
        }
        self.change(|_| Ok(()))
    }

    /// Writes what `change` makes of the keys, and only then shows it.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Keys) -> Result<T, AccessError>,
    ) -> Result<T, AccessError> {
        let shared = &*self.0;
        let _writing = shared.writing.lock();
        let mut keys = Keys::clone(&shared.keys.load());
        let now = self.now();
        let is_shown = |key: &ApiKey| {
            let ended = key.ended(now);
            ended.is_none_or(|at| now < at.plus(limits::API_KEY_SHOWN_AFTER_END))
        };
        keys.by_id.retain(|_, key| is_shown(key));
        let done = change(&mut keys)?;
        if let Some(hasher) = &keys.hasher {
            // Before the uses are read: one that comes meanwhile is written the next time.
            let is_used = shared.is_used.swap(false, Ordering::AcqRel);
            let written = file::write(&shared.file, &shared.secrets, hasher, &keys.by_id);
            if let Err(error) = written {
                shared.is_used.fetch_or(is_used, Ordering::AcqRel);
                return Err(error);
            }
        }
        shared.keys.store(Arc::new(keys));
        Ok(done)
    }
}

fn open_tokens(config: TokenConfig) -> Result<Tokens, AccessError> {
    let source_name = config.signers.to_string();
    Tokens::open(config).map_err(|cause| AccessError::Signers { source_name, cause })
}

/// Makes room for one more of `most` keys: those that hold no longer, which are only shown, give way,
/// the one that ended first before the others.
fn make_room(
    by_id: &mut BTreeMap<KeyId, Arc<ApiKey>>,
    most: usize,
    now: Timestamp,
) -> Result<(), AccessError> {
    while by_id.len() >= most {
        let ended = by_id
            .values()
            .filter_map(|key| Some((key.ended(now)?, key.id)));
        let (_, first) = ended.min().ok_or(AccessError::TooMany)?;
        by_id.remove(&first);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
