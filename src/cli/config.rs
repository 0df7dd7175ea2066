//! `eventyard config show`: every setting, its value, and where that came from.

use super::exit::{Exit, Failure};
use super::output::{self, Format, OutputArgs, note};
use crate::config::{self, Flags, Origin};

/// Show the configuration.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(ShowArgs),
}

const EXAMPLES: &str = "\
Examples:
  eventyard config show
  EVENTYARD_GRACE=5s eventyard config show --config /etc/eventyard.toml
  eventyard config show --output json

Flags win over EVENTYARD_… variables, these over the file, this over the defaults.
What may be secret is shown as ***.";

/// Show every setting of the bus, its value, and where the value comes from.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct ShowArgs {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let Command::Show(args) = args.command;
    let loaded = config::load(&args.flags).map_err(|error| Failure::invalid(error.to_string()))?;
    for warning in &loaded.warnings {
        note(warning);
    }
    let settings = loaded.shown();
    match args.output.output {
        Format::Json => {
            let text = serde_json::to_string(&settings)
                .map_err(|error| Failure::failed(format!("the settings: {error}")))?;
            output::json(&text);
        }
        Format::Table => {
            let rows = settings.iter().map(|setting| {
                let origin = match &setting.origin {
                    Origin::Default => "default".to_owned(),
                    Origin::File(place) => place.clone(),
                    Origin::Env(name) => name.clone(),
                    Origin::Flag(flag) => flag.clone(),
                };
                [setting.key.to_owned(), setting.value.clone(), origin]
            });
            output::table(["SETTING", "VALUE", "FROM"], rows);
        }
    }
    Ok(Exit::Ok)
}
