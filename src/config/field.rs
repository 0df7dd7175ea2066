//! The one table of settings: flags, environment, file, help and schema are all made from it.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::guard;
use crate::limits;
use crate::rule::{format_size, parse_duration, parse_size};
use crate::telemetry;

/// Every variable of ours begins so.
pub(super) const ENV_PREFIX: &str = "EVENTYARD_";
/// Names the configuration file.
pub(super) const ENV_FILE: &str = "EVENTYARD_CONFIG";

/// Holds the key that seals secrets. No setting: flags are seen by everybody, and `config show`
/// prints settings.
pub(super) const ENV_SECRETS_KEY: &str = "EVENTYARD_SECRETS_KEY";

/// Holds the root key; no setting, for the same reasons.
pub(super) const ENV_ROOT_KEY: &str = "EVENTYARD_ROOT_KEY";

/// Holds headers for the receiver of spans, with its keys; no setting, for the same reasons.
pub(super) const ENV_OTLP_HEADERS: &str = "EVENTYARD_OTLP_HEADERS";

/// Variables that are none of a bus's settings, and no mistyped ones: the last are for the commands
/// that talk to one.
const OTHER_VARIABLES: &[&str] = &[
    ENV_FILE,
    ENV_SECRETS_KEY,
    ENV_ROOT_KEY,
    ENV_OTLP_HEADERS,
    "EVENTYARD_API_KEY",
    "EVENTYARD_API_KEY_FILE",
    "EVENTYARD_BUS",
    "EVENTYARD_CA",
    "EVENTYARD_CERT",
    "EVENTYARD_CERT_KEY",
    "EVENTYARD_OUTPUT",
    "EVENTYARD_URL",
];

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key in `eventyard.toml`; `EVENTYARD_<KEY>` and `--<key>` follow from it.
    pub key: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    /// One sentence for `--help` and the schema.
    pub help: &'static str,
}

/// What a setting may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `host:port` with an IP address.
    Address,
    Path,
    /// A path, or nothing.
    OptionalPath,
    /// Anything.
    Text,
    /// Bytes, such as `64MiB`, between the two.
    Size {
        min: u64,
        max: u64,
    },
    /// Such as `200ms`, `5s`, `10m`.
    Duration,
    Count {
        min: u64,
        max: u64,
    },
    Choice(&'static [&'static str]),
    /// Networks in CIDR form or addresses, parted by commas; an array of them in the file.
    Networks,
    /// An `http` or `https` URL without credentials, or nothing.
    OptionalUrl,
    /// From 0 to 1.
    Share,
    /// `tracing` directives, such as `info` or `warn,eventyard::delivery=debug`.
    LogFilter,
}

/// Every setting, in the order `config show` prints them.
pub const FIELDS: &[Field] = &[
    Field {
        key: "listen",
        kind: Kind::Address,
        default: "127.0.0.1:8080",
        help: "Address and port the bus answers on; port 0 takes a free one",
    },
    Field {
        key: "data_dir",
        kind: Kind::Path,
        default: "./data",
        help: "Folder of the journal and its view; created when absent",
    },
    Field {
        key: "rules_dir",
        kind: Kind::Path,
        default: "./rules",
        help: "Folder of rule files, <bus>/<rule>.json; the default one may be absent",
    },
    Field {
        key: "secrets_key_file",
        kind: Kind::OptionalPath,
        default: "",
        help: "File with the key that seals secrets; without it <data_dir>/secrets.key, made when first needed. EVENTYARD_SECRETS_KEY may hold the key instead",
    },
    Field {
        key: "access",
        kind: Kind::Choice(&["off", "keys"]),
        default: "off",
        help: "Whether callers need API keys; on an address that others can reach it must be said",
    },
    Field {
        key: "root_key_file",
        kind: Kind::OptionalPath,
        default: "",
        help: "File with a key that may do everything, to make the first API key with. EVENTYARD_ROOT_KEY may hold it instead",
    },
    Field {
        key: "jwt_keys",
        kind: Kind::Text,
        default: "",
        help: "File or https:// URL with the public keys (JWKS) of an identity provider whose tokens are taken beside API keys",
    },
    Field {
        key: "jwt_issuer",
        kind: Kind::Text,
        default: "",
        help: "What a token's `iss` must be",
    },
    Field {
        key: "jwt_audience",
        kind: Kind::Text,
        default: "",
        help: "What a token's `aud` must be or hold",
    },
    Field {
        key: "jwt_scope_claim",
        kind: Kind::Text,
        default: "scope",
        help: "The claim of a token that holds its scopes, such as eventyard:publish:orders",
    },
    Field {
        key: "metrics_access",
        kind: Kind::Choice(&["keys", "open"]),
        default: "keys",
        help: "Whether /metrics needs a key with the scope read on all buses while access is keys, or is open to everybody",
    },
    Field {
        key: "audit_retention",
        kind: Kind::Duration,
        default: "90d",
        help: "How long it is kept who changed what",
    },
    Field {
        key: "tls_cert_file",
        kind: Kind::OptionalPath,
        default: "",
        help: "File with the bus's certificate in PEM, those that lead to its authority behind it: the bus speaks TLS. Read again when it changes",
    },
    Field {
        key: "tls_key_file",
        kind: Kind::OptionalPath,
        default: "",
        help: "File with the certificate's private key in PEM; without it the key stands in tls_cert_file",
    },
    Field {
        key: "tls_client_ca_file",
        kind: Kind::OptionalPath,
        default: "",
        help: "File with the authorities, in PEM, whose certificates clients show, in addition to an API key",
    },
    Field {
        key: "tls_client_certs",
        kind: Kind::Choice(&["required", "optional"]),
        default: "required",
        help: "Whether a client that shows no certificate is let in while tls_client_ca_file is set",
    },
    Field {
        key: "segment_bytes",
        kind: Kind::Size {
            min: limits::SEGMENT_BYTES_MIN,
            max: limits::SEGMENT_BYTES_MAX,
        },
        default: "64MiB",
        help: "Size of one journal segment: disk is given back a segment at a time",
    },
    Field {
        key: "view_cache_bytes",
        kind: Kind::Size {
            min: 1 << 20,
            max: 64 << 30,
        },
        default: "64MiB",
        help: "Memory for the keyed view's page cache",
    },
    Field {
        key: "connections",
        kind: Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        default: "10000",
        help: "Connections open at once; more wait until one closes",
    },
    Field {
        key: "targets_guard",
        kind: Kind::Choice(&["auto", "on", "off"]),
        default: "auto",
        help: "Refuses targets outside of the public internet; auto: not while the bus listens on a loopback address, but for cloud metadata addresses",
    },
    Field {
        key: "targets_allow",
        kind: Kind::Networks,
        default: "",
        help: "Networks that targets may be in all the same, such as 10.0.0.0/8,fd00::/8; cloud metadata addresses must be named one by one",
    },
    Field {
        key: "targets_deny",
        kind: Kind::Networks,
        default: "",
        help: "Networks that targets may never be in; stronger than targets_allow and targets_guard",
    },
    Field {
        key: "own_events",
        kind: Kind::Choice(&["on", "off"]),
        default: "on",
        help: "Whether the bus publishes events about its own targets: disabled ones, breakers, dead letters",
    },
    Field {
        key: "traces",
        kind: Kind::Choice(&["all", "failures", "off"]),
        default: "all",
        help: "Which attempts are remembered for the traces of events: all, those that failed (and the one that then worked), or none",
    },
    Field {
        key: "traces_bytes",
        kind: Kind::Size {
            min: 64 << 10,
            max: 64 << 30,
        },
        default: "32MiB",
        help: "Memory for the attempts that are remembered; half of it is for failures",
    },
    Field {
        key: "traces_age",
        kind: Kind::Duration,
        default: "24h",
        help: "How long an attempt is remembered at most",
    },
    Field {
        key: "otlp_endpoint",
        kind: Kind::OptionalUrl,
        default: "",
        help: "Base URL of an OpenTelemetry receiver (OTLP over HTTP), such as http://collector:4318, to send spans to. EVENTYARD_OTLP_HEADERS may hold headers for it, as name=value,name=value",
    },
    Field {
        key: "otlp_sample",
        kind: Kind::Share,
        default: "1",
        help: "Share of the traces that begin at the bus which is recorded, from 0 to 1; of others, who began them decides",
    },
    Field {
        key: "grace",
        kind: Kind::Duration,
        default: "20s",
        help: "How long requests and attempts in flight may take to finish on shutdown",
    },
    Field {
        key: "log_level",
        kind: Kind::LogFilter,
        default: "info",
        help: "What is logged: error, warn, info, debug, or directives such as info,eventyard::delivery=debug",
    },
    Field {
        key: "log_format",
        kind: Kind::Choice(&["human", "json"]),
        default: "human",
        help: "How log lines look",
    },
];

impl Field {
    /// The environment variable, `EVENTYARD_DATA_DIR`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.key.to_ascii_uppercase())
    }

    /// The flag, `--data-dir`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }
}

impl Kind {
    /// Whether `text` may be the value; else what would be right.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Address => text
                .parse::<std::net::SocketAddr>()
                .map(drop)
                .map_err(|_| "an IP address and port is wanted, such as 0.0.0.0:8080".to_owned()),
            Self::Path if text.is_empty() => Err("a path is wanted".to_owned()),
            Self::Path | Self::OptionalPath | Self::Text => Ok(()),
            Self::Size { min, max } => match bytes(text) {
                Some(bytes) if (min..=max).contains(&bytes) => Ok(()),
                Some(_) => Err(format!(
                    "a size from {} to {} is wanted",
                    format_size(min),
                    format_size(max)
                )),
                None => Err("a size is wanted, such as 64MiB or 1048576".to_owned()),
            },
            Self::Duration => parse_duration(text)
                .map(drop)
                .map_err(|_| "a duration is wanted, such as 500ms, 20s or 2m".to_owned()),
            Self::Count { min, max } => match text.parse::<u64>() {
                Ok(count) if (min..=max).contains(&count) => Ok(()),
                _ => Err(format!("a whole number from {min} to {max} is wanted")),
            },
            Self::Choice(choices) if choices.contains(&text) => Ok(()),
            Self::Choice(choices) => Err(format!("one of {} is wanted", choices.join(", "))),
            Self::Networks => guard::parse_networks(text).map(drop),
            Self::OptionalUrl => check_url(text),
            Self::Share => match text.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(()),
                _ => Err("a number from 0 to 1 is wanted, such as 0.1".to_owned()),
            },
            Self::LogFilter => telemetry::check(text),
        }
    }
}

fn check_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if !cfg!(feature = "otlp") {
        return Err("this build has no exporter; build it with the feature `otlp`".to_owned());
    }
    match text.parse::<reqwest::Url>() {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(format!(
            "it holds credentials; put them into {ENV_OTLP_HEADERS}"
        )),
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        _ => Err("an HTTP URL is wanted, such as http://collector:4318".to_owned()),
    }
}

/// Headers as OpenTelemetry's own variable has them: `name=value,name=value`.
pub(super) fn headers(text: &str) -> Result<HeaderMap, String> {
    let wanted = || "headers are wanted as name=value,name=value".to_owned();
    let mut headers = HeaderMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(wanted)?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| wanted())?;
        let mut value = HeaderValue::try_from(value.trim()).map_err(|_| wanted())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// A size with a unit, or a plain number of bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain {
        text.parse().ok()
    } else {
        parse_size(text).ok()
    }
}

/// The known key that `key` was probably meant to be.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(key, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .map(|(_, candidate)| candidate)
}

/// Warnings for variables that look like a setting of ours and are none. They are no errors:
/// Kubernetes sets `EVENTYARD_PORT` and the like for a service of this name.
pub(super) fn mistyped_variables(env: &[(String, String)]) -> Vec<String> {
    let known: Vec<String> = FIELDS.iter().map(Field::env).collect();
    env.iter()
        .filter(|(name, _)| !OTHER_VARIABLES.contains(&name.as_str()) && !known.contains(name))
        .filter_map(|(name, _)| {
            let suffix = name.strip_prefix(ENV_PREFIX)?.to_ascii_lowercase();
            let near = nearest(&suffix, FIELDS.iter().map(|field| field.key))?;
            let near = format!("{ENV_PREFIX}{}", near.to_ascii_uppercase());
            Some(format!(
                "environment variable {name} is no setting and is ignored; did you mean {near}?"
            ))
        })
        .collect()
}
