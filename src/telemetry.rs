//! Sets up log lines: for people or as JSON, filtered by level and module.

use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};
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
    let filter = filter(&config.level)?;
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

/// What a level lets through. Of the watcher of the rules folder nothing below `info`, unless it is
/// named: a log file beside that folder is seen by it, and each line would make the next.
fn filter(level: &str) -> anyhow::Result<Targets> {
    let filter: Targets = level.parse()?;
    Ok(if level.contains(WATCHER) {
        filter
    } else {
        filter.with_target(WATCHER, LevelFilter::INFO)
    })
}

const WATCHER: &str = "notify";

/// Colour on a terminal, unless `NO_COLOR` says otherwise (no-color.org).
fn colour_is_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::IsTerminal::is_terminal(&std::io::stderr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_watcher_of_files_does_not_log_about_the_log() {
        let all = filter("trace").unwrap();
        assert!(all.would_enable("hyper::client", &Level::TRACE));
        assert!(!all.would_enable("notify::inotify", &Level::TRACE));
        assert!(all.would_enable("notify::inotify", &Level::WARN));
        let named = filter("info,notify=trace").unwrap();
        assert!(named.would_enable("notify::inotify", &Level::TRACE));
    }
}
