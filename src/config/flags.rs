//! The settings as command-line flags, made from the table of fields.

use clap::{Arg, ArgMatches, Command};

use super::field::{FIELDS, Field};

/// What the command line set; flatten it into a subcommand's arguments.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config FILE`
    pub(super) file: Option<String>,
    values: Vec<(&'static str, String)>,
}

impl Flags {
    /// Sets `key` as its flag would; keys that are no setting are ignored.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        if let Some(field) = FIELDS.iter().find(|field| field.key == key) {
            self.values.retain(|(known, _)| *known != field.key);
            self.values.push((field.key, value.into()));
        }
        self
    }

    /// Reads this file instead of `eventyard.toml`.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<String>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// The value that the flag of `key` was given.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value.as_str())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .help("Configuration file [env: EVENTYARD_CONFIG] [default: eventyard.toml]");
        FIELDS
            .iter()
            .fold(command.arg(file), |command, field| command.arg(arg(field)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(field: &Field) -> Arg {
    Arg::new(field.key)
        .long(field.flag().trim_start_matches('-').to_owned())
        .value_name(field.key.to_ascii_uppercase())
        .help(format!(
            "{} [env: {}] [default: {}]",
            field.help,
            field.env(),
            field.default
        ))
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<String>("config").cloned();
        self.values = FIELDS
            .iter()
            .filter_map(|field| Some((field.key, matches.get_one::<String>(field.key)?.clone())))
            .collect();
        Ok(())
    }
}
