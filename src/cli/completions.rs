//! `eventyard completions`: writes a shell's completion script.

use clap::CommandFactory;

use super::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  eventyard completions bash > ~/.local/share/bash-completion/completions/eventyard
  eventyard completions zsh > ~/.zfunc/_eventyard
  eventyard completions fish > ~/.config/fish/completions/eventyard.fish";

/// Write a shell's completion script to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell to write for.
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::Cli::command(),
        "eventyard",
        &mut script,
    );
    super::output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Ok)
}
