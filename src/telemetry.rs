//! Sets up log lines: for people or as JSON, filtered by level and module.

use std::str::FromStr;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged, and how it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `tracing` directives, such as `info` or `info,eventyard::delivery=debug`.
    pub level: String,
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: Format::Human,
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Human,
    Json,
}

impl FromStr for Format {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("a log format is `human` or `json`"),
        }
    }
}

/// Starts logging to standard error, once per process; later calls change nothing, so that tests
/// and embedding programs keep their own.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let filter: Targets = config.level.parse()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        Format::Human => registry
            .with(lines.with_ansi(colour_is_wanted()).with_target(false))
            .try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
    Ok(())
}

/// Colour on a terminal, unless `NO_COLOR` says otherwise (no-color.org).
fn colour_is_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::IsTerminal::is_terminal(&std::io::stderr())
}
