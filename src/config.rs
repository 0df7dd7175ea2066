//! One `Config` made of each part's: flags over environment over `eventyard.toml` over defaults.

mod field;
mod file;
mod flags;
mod mask;
mod schema;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::guard::{self, Guard};
use crate::rule::parse_duration;
use crate::secret::{KeySource, SecretText};
use crate::{access, api, audit, delivery, limits, log, secret, span, telemetry, tls};

pub use field::{FIELDS, Field, Kind};
pub use flags::Flags;
pub use schema::schema;

/// The file that is read when it exists and no other is named.
pub const DEFAULT_FILE: &str = "eventyard.toml";

/// The file of API keys in the data folder.
const KEYS_FILE: &str = "keys.json";

/// The folder of the audit in the data folder.
const AUDIT_DIR: &str = "audit";

/// Everything the bus can be told when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// The HTTP face.
    pub api: api::Config,
    /// The event log.
    pub log: log::Config,
    /// Where secrets are kept, and the key that seals them.
    pub secrets: secret::Config,
    /// Who may do what.
    pub access: access::Config,
    /// Where it is written down who changed what.
    pub audit: audit::Config,
    /// The listener's certificates; `None` for a bus that speaks no TLS.
    pub tls: Option<tls::Config>,
    /// Where rule files stand; `None` for a bus without.
    pub rules_dir: Option<PathBuf>,
    /// Which addresses targets may have.
    pub targets: guard::Config,
    /// How deliveries are made.
    pub delivery: delivery::Config,
    /// Where spans go.
    pub spans: span::Config,
    /// How long requests and attempts in flight may take to finish on shutdown.
    pub grace: Duration,
    /// Log lines.
    pub telemetry: telemetry::Config,
}

/// Where a setting's value came from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "from", content = "at")]
pub enum Origin {
    Default,
    /// `file:line:column`
    File(String),
    /// The variable's name.
    Env(String),
    /// The flag as typed.
    Flag(String),
}

/// One setting as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub key: &'static str,
    pub value: String,
    pub origin: Origin,
}

/// A configuration with the origin of each of its values.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// In the order of [`FIELDS`].
    settings: Vec<Setting>,
    /// Variables that hold keys, if they are set.
    keys: Vec<&'static str>,
    /// What deserves a look but stops nothing, such as a mistyped variable.
    pub warnings: Vec<String>,
}

/// Why a configuration was refused; each names the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {cause}; name another with --config")]
    Unreadable { path: String, cause: String },
    #[error("{place}: {cause}")]
    Syntax { place: String, cause: String },
    #[error("{place}: unknown setting `{key}`{suggestion}")]
    UnknownKey {
        place: String,
        key: String,
        suggestion: String,
    },
    #[error("{place}: `{key}` is {value:?}, but {cause}")]
    Invalid {
        place: String,
        key: &'static str,
        value: String,
        cause: String,
    },
    #[error(
        "{place}: `{key}` is set, but `{missing}` is not; the three of jwt_keys, jwt_issuer and jwt_audience go together"
    )]
    Without {
        place: String,
        key: &'static str,
        missing: &'static str,
    },
    #[error(
        "{place}: `{key}` is set, but no certificate is, so that the bus would speak no TLS; name one with `tls_cert_file`"
    )]
    NoCertificate { place: String, key: &'static str },
    #[error(
        "{place}: the rules folder {path} is not there; create it, or name another with --rules-dir"
    )]
    NoRulesDir { place: String, path: String },
}

impl Config {
    /// The defaults, with the data kept in `data_dir`: what tests and tools start from.
    pub fn in_dir(data_dir: PathBuf) -> Self {
        Self {
            api: api::Config::default(),
            secrets: secrets(&data_dir, None, None),
            access: access::Config {
                mode: access::Mode::Unsaid,
                file: data_dir.join(KEYS_FILE),
                root_key: None,
                tokens: None,
            },
            audit: audit::Config {
                dir: data_dir.join(AUDIT_DIR),
                retention: limits::AUDIT_RETENTION,
            },
            log: log::Config {
                dir: data_dir,
                segment_bytes: limits::SEGMENT_BYTES,
                cache_bytes: limits::VIEW_CACHE_BYTES,
            },
            tls: None,
            rules_dir: None,
            targets: guard::Config::default(),
            delivery: delivery::Config::default(),
            spans: span::Config::default(),
            grace: limits::GRACE,
            telemetry: telemetry::Config::default(),
        }
    }

    /// The guard over targets' addresses, for a bus that listens there.
    #[must_use]
    pub fn guard(&self, listen: SocketAddr) -> Guard {
        Guard::new(
            self.targets.clone(),
            listen.ip().to_canonical().is_loopback(),
        )
    }
}

impl Loaded {
    /// Every setting, and the keys that the environment holds, without what may be secret.
    #[must_use]
    pub fn shown(&self) -> Vec<Setting> {
        let settings = self.settings.iter().map(|setting| Setting {
            value: mask::masked(&setting.value),
            ..setting.clone()
        });
        let keys = self.keys.iter().map(|name| Setting {
            key: match *name {
                field::ENV_ROOT_KEY => "root_key",
                _ => "secrets_key",
            },
            value: mask::MASK.to_owned(),
            origin: Origin::Env((*name).to_owned()),
        });
        settings.chain(keys).collect()
    }
}

/// Loads from the process's environment and the files in the working directory.
pub fn load(flags: &Flags) -> Result<Loaded, ConfigError> {
    let env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(field::ENV_PREFIX))
        .collect();
    load_from(flags, &env)
}

/// Loads with this environment: the strongest source that has a value wins.
pub fn load_from(flags: &Flags, env: &[(String, String)]) -> Result<Loaded, ConfigError> {
    let env_of = |name: &str| {
        env.iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    };
    let named_file = flags.file.as_ref().or_else(|| env_of(field::ENV_FILE));
    let file = file::read(named_file.map(String::as_str))?;
    let mut settings = Vec::with_capacity(FIELDS.len());
    for field in FIELDS {
        let env_name = field.env();
        let (value, origin) = if let Some(value) = flags.value(field.key) {
            (value.to_owned(), Origin::Flag(field.flag()))
        } else if let Some(value) = env_of(&env_name) {
            (value.clone(), Origin::Env(env_name))
        } else if let Some((value, place)) = file.get(field.key) {
            (value.clone(), Origin::File(place.clone()))
        } else {
            (field.default.to_owned(), Origin::Default)
        };
        field
            .kind
            .check(&value)
            .map_err(|cause| ConfigError::Invalid {
                place: origin.place(),
                key: field.key,
                value: mask::masked(&value),
                cause,
            })?;
        settings.push(Setting {
            key: field.key,
            value,
            origin,
        });
    }
    let key = |name: &str| env_of(name).filter(|key| !key.is_empty());
    let held = [field::ENV_SECRETS_KEY, field::ENV_ROOT_KEY];
    Ok(Loaded {
        config: build(
            &settings,
            &Keys {
                secrets: key(field::ENV_SECRETS_KEY),
                root: key(field::ENV_ROOT_KEY),
                otlp_headers: key(field::ENV_OTLP_HEADERS),
            },
        )?,
        settings,
        keys: held
            .into_iter()
            .filter(|name| key(name).is_some())
            .collect(),
        warnings: field::mistyped_variables(env),
    })
}

impl Origin {
    /// How an error names it.
    fn place(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File(place) => place.clone(),
            Self::Env(name) => format!("environment variable {name}"),
            Self::Flag(flag) => format!("flag {flag}"),
        }
    }
}

/// What stands in the environment and is no setting.
struct Keys<'a> {
    secrets: Option<&'a String>,
    root: Option<&'a String>,
    otlp_headers: Option<&'a String>,
}

/// Turns checked settings into typed ones.
fn build(settings: &[Setting], keys: &Keys<'_>) -> Result<Config, ConfigError> {
    let setting = |key: &str| {
        settings
            .iter()
            .find(|setting| setting.key == key)
            .expect("every field has a setting")
    };
    let text = |key: &str| setting(key).value.as_str();
    let bytes = |key: &str| field::bytes(text(key)).expect("sizes were checked");
    let networks = |key: &str| guard::parse_networks(text(key)).expect("the networks were checked");
    let listen: SocketAddr = text("listen").parse().expect("the address was checked");
    Ok(Config {
        api: api::Config {
            listen,
            connections: text("connections").parse().expect("the count was checked"),
            metrics_are_open: text("metrics_access") == "open",
            ..api::Config::default()
        },
        log: log::Config {
            dir: PathBuf::from(text("data_dir")),
            segment_bytes: bytes("segment_bytes"),
            cache_bytes: bytes("view_cache_bytes"),
        },
        secrets: secrets(
            Path::new(text("data_dir")),
            Some(text("secrets_key_file")).filter(|path| !path.is_empty()),
            keys.secrets,
        ),
        access: access::Config {
            mode: access_mode(setting("access")),
            file: Path::new(text("data_dir")).join(KEYS_FILE),
            root_key: match (keys.root, text("root_key_file")) {
                (Some(key), _) => {
                    let text = SecretText::new(key.clone());
                    Some(access::RootKeySource::Text(text))
                }
                (None, "") => None,
                (None, path) => Some(access::RootKeySource::File(PathBuf::from(path))),
            },
            tokens: tokens(&setting)?,
        },
        audit: audit::Config {
            dir: Path::new(text("data_dir")).join(AUDIT_DIR),
            retention: parse_duration(text("audit_retention")).expect("the duration was checked"),
        },
        tls: tls(&setting)?,
        rules_dir: Some(rules_dir(setting("rules_dir"))?),
        targets: guard::Config {
            mode: match text("targets_guard") {
                "on" => guard::Mode::On,
                "off" => guard::Mode::Off,
                _ => guard::Mode::Auto,
            },
            allow: networks("targets_allow"),
            deny: networks("targets_deny"),
        },
        delivery: delivery::Config {
            own_events: text("own_events") == "on",
            traces: delivery::TracesConfig {
                mode: match text("traces") {
                    "off" => delivery::TracesMode::Off,
                    "failures" => delivery::TracesMode::Failures,
                    _ => delivery::TracesMode::All,
                },
                bytes: bytes("traces_bytes"),
                age: parse_duration(text("traces_age")).expect("the duration was checked"),
            },
            ..delivery::Config::default()
        },
        spans: span::Config {
            endpoint: text("otlp_endpoint").parse().ok(),
            headers: match keys.otlp_headers {
                Some(text) => field::headers(text).map_err(|cause| ConfigError::Invalid {
                    place: format!("environment variable {}", field::ENV_OTLP_HEADERS),
                    key: "otlp_headers",
                    // It may hold a key.
                    value: "…".to_owned(),
                    cause,
                })?,
                None => http::HeaderMap::new(),
            },
            sample: text("otlp_sample").parse().expect("the share was checked"),
        },
        grace: parse_duration(text("grace")).expect("the duration was checked"),
        telemetry: telemetry::Config {
            level: text("log_level").to_owned(),
            format: text("log_format").parse().expect("the format was checked"),
        },
    })
}

/// Tokens are taken once it is said who signs them, for whom, and in which name: without an issuer and
/// an audience every token of a provider would do, whoever it was made for.
fn tokens<'a>(
    setting: &dyn Fn(&str) -> &'a Setting,
) -> Result<Option<access::TokenConfig>, ConfigError> {
    let needed = ["jwt_keys", "jwt_issuer", "jwt_audience"].map(setting);
    let [signers, issuer, audience] = needed.map(|setting| setting.value.as_str());
    let Some(set) = needed.into_iter().find(|setting| !setting.value.is_empty()) else {
        return Ok(None);
    };
    if let Some(missing) = needed.into_iter().find(|setting| setting.value.is_empty()) {
        return Err(ConfigError::Without {
            place: set.origin.place(),
            key: set.key,
            missing: missing.key,
        });
    }
    let keys = needed[0];
    let signers = access::SignersSource::parse(signers).map_err(|cause| ConfigError::Invalid {
        place: keys.origin.place(),
        key: keys.key,
        value: mask::masked(&keys.value),
        cause,
    })?;
    Ok(Some(access::TokenConfig {
        signers,
        issuer: issuer.to_owned(),
        audience: audience.to_owned(),
        scope_claim: setting("jwt_scope_claim").value.clone(),
    }))
}

/// TLS is on once there is a certificate; what would be without effect is refused.
fn tls<'a>(setting: &dyn Fn(&str) -> &'a Setting) -> Result<Option<tls::Config>, ConfigError> {
    let path = |key: &str| {
        let value = setting(key).value.as_str();
        (!value.is_empty()).then(|| PathBuf::from(value))
    };
    let Some(certificate) = path("tls_cert_file") else {
        let idle = ["tls_key_file", "tls_client_ca_file"]
            .into_iter()
            .find(|key| path(key).is_some());
        return match idle {
            None => Ok(None),
            Some(key) => Err(ConfigError::NoCertificate {
                place: setting(key).origin.place(),
                key,
            }),
        };
    };
    let clients = path("tls_client_ca_file").map(|authorities| tls::Clients {
        authorities,
        are_optional: setting("tls_client_certs").value == "optional",
    });
    Ok(Some(tls::Config {
        clients,
        ..tls::Config::new(certificate, path("tls_key_file"))
    }))
}

fn access_mode(setting: &Setting) -> access::Mode {
    match (setting.value.as_str(), &setting.origin) {
        ("keys", _) => access::Mode::Keys,
        (_, Origin::Default) => access::Mode::Unsaid,
        _ => access::Mode::Off,
    }
}

/// Secrets stand beside the data; their key too, unless it is kept elsewhere.
fn secrets(data_dir: &Path, key_file: Option<&str>, key: Option<&String>) -> secret::Config {
    let key = match (key, key_file) {
        (Some(key), _) => KeySource::Text(SecretText::new(key.clone())),
        (None, Some(path)) => KeySource::File(PathBuf::from(path)),
        (None, None) => KeySource::File(data_dir.join("secrets.key")),
    };
    secret::Config {
        file: data_dir.join("secrets.json"),
        key,
    }
}

/// The default folder may be absent; one that somebody named may not.
fn rules_dir(setting: &Setting) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(&setting.value);
    match (&setting.origin, path.is_dir()) {
        (_, true) | (Origin::Default, false) => Ok(path),
        (origin, false) => Err(ConfigError::NoRulesDir {
            place: origin.place(),
            path: setting.value.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
