//! `eventyard man`: writes manual pages, one a command.

use std::path::PathBuf;

use clap::CommandFactory;

use super::exit::{Exit, Failure};
use super::output::line;

const EXAMPLES: &str = "\
Examples:
  eventyard man ~/.local/share/man/man1
  eventyard man /usr/local/share/man/man1 && man eventyard-rule-test";

/// Write manual pages, one for each command, into a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder; it is made when it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let failed = |error| Failure::failed(format!("{}: {error}", args.folder.display()));
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    let command = super::Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &args.folder).map_err(failed)?;
    line(format_args!(
        "manual pages are in {}",
        args.folder.display()
    ));
    Ok(Exit::Ok)
}
