//! Sets up log lines: for people or as JSON, filtered by level and module, which can be changed while
//! the bus runs.

use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

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

/// What is logged now. Clones share it.
#[derive(Debug, Clone)]
pub struct LogLevel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the configuration says.
    configured: String,
    now: Mutex<String>,
    /// `None` where somebody else has set logging up: then nothing changes but what is said.
    filter: Option<reload::Handle<Targets, Registry>>,
}

/// Starts logging to standard error, once per process; later calls change nothing, so that tests
/// and embedding programs keep their own.
pub fn start(config: &Config) -> anyhow::Result<LogLevel> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
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
    Ok(LogLevel(Arc::new(Inner {
        configured: config.level.clone(),
        now: Mutex::new(config.level.clone()),
        filter: started.is_ok().then_some(handle),
    })))
}

impl LogLevel {
    /// Of a bus whose logging is not ours.
    #[must_use]
    pub fn of_others(config: &Config) -> LogLevel {
        LogLevel(Arc::new(Inner {
            configured: config.level.clone(),
            now: Mutex::new(config.level.clone()),
            filter: None,
        }))
    }

    /// The directives that hold now.
    #[must_use]
    pub fn now(&self) -> String {
        self.0.now.lock().clone()
    }

    /// Those of the configuration.
    #[must_use]
    pub fn configured(&self) -> &str {
        &self.0.configured
    }

    /// Logs by these directives from now on, until the process ends; `Err` says what would be right.
    pub fn set(&self, level: &str) -> Result<(), String> {
        check(level)?;
        let filter = filter(level).map_err(|error| error.to_string())?;
        // Held meanwhile, so that what is said is what holds.
        let mut now = self.0.now.lock();
        // By the old levels or by the new ones, whichever let it through.
        let tell = |before: &str| tracing::info!(before, now = level, "the log level was changed");
        let is_told = tracing::enabled!(tracing::Level::INFO);
        if is_told {
            tell(&now);
        }
        if let Some(handle) = &self.0.filter {
            handle.reload(filter).map_err(|error| error.to_string())?;
        }
        let before = std::mem::replace(&mut *now, level.to_owned());
        if !is_told {
            tell(&before);
        }
        Ok(())
    }
}

/// Whether these are log directives; else what would be right. A word alone would read as a module of
/// which everything is logged, and of the bus nothing: so `inof` would be silence.
pub fn check(level: &str) -> Result<(), String> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let mut directives = level.split(',').map(str::trim);
    if let Some(word) = directives.find(|each| !each.contains('=') && !is_level(each)) {
        return Err(format!(
            "\"{word}\" is no level; error, warn, info, debug, trace, off or \
             module=level is wanted, such as info,eventyard::delivery=debug"
        ));
    }
    level
        .parse::<Targets>()
        .map(drop)
        .map_err(|cause| format!("log directives are wanted, such as info: {cause}"))
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

    #[test]
    fn a_level_that_is_none_changes_nothing() {
        let level = LogLevel::of_others(&Config::default());
        let error = level.set("warn,inof").unwrap_err();
        assert!(error.starts_with("\"inof\" is no level"), "{error}");
        level.set("eventyard=loud").unwrap_err();
        assert_eq!(level.now(), "info");
        level.set("warn,eventyard::delivery=debug").unwrap();
        assert_eq!(level.now(), "warn,eventyard::delivery=debug");
        assert_eq!(level.configured(), "info");
    }
}
