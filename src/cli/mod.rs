//! The command line: one file for each subcommand; what they share stands in `exit`, `input`,
//! `output`, `diff`, `connect` and `rule_file`.

mod audit;
mod backup;
mod bench;
mod completions;
mod config;
mod connect;
mod dead_letter;
mod diff;
mod doctor;
mod event;
mod exit;
mod follow;
mod health;
mod input;
mod key;
mod listen;
mod log_level;
mod man;
mod open_files;
mod output;
mod pull;
mod quickstart;
mod rule;
mod rule_file;
mod scratch;
mod secret;
mod send;
mod serve;
mod tail;
mod target;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  eventyard quickstart                       see an event go through the bus
  eventyard serve                            run the bus on 127.0.0.1:8080
  eventyard send --type order.created --data '{\"total\": 120}'
  eventyard tail
  eventyard listen --forward-to http://localhost:3000/hooks
  eventyard rule explain rules/default/large-orders.json --event event.json
  eventyard dead-letter list

Environment:
  EVENTYARD_URL      the bus that client commands talk to
  EVENTYARD_API_KEY  the API key that they show it
  EVENTYARD_CA       the authorities that they trust to vouch for it, where it speaks TLS
  NO_COLOR           plain output, as when the output is no terminal

Exit codes:
  0  done
  1  failed: the bus or the system refused
  2  wrong usage; of `rule apply --dry-run`: there are changes
  3  not found, or the rule did not match
  4  the bus cannot be reached, or is not ready
  5  a rule, event or configuration file is invalid";

/// A serverless event bus with rule routing: CloudEvents in, JSON event patterns, HTTP targets out.
#[derive(Debug, Parser)]
#[command(name = "eventyard", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Quickstart(quickstart::Args),
    Send(send::Args),
    Tail(tail::Args),
    Listen(listen::Args),
    Pull(pull::Args),
    Rule(rule::Args),
    Event(event::Args),
    Target(target::Args),
    DeadLetter(dead_letter::Args),
    Secret(secret::Args),
    Key(key::Args),
    LogLevel(log_level::Args),
    Audit(audit::Args),
    Backup(backup::Args),
    Restore(backup::RestoreArgs),
    Bench(bench::Args),
    #[command(hide = true)]
    BenchPeer(bench::PeerArgs),
    Doctor(doctor::Args),
    Config(config::Args),
    Health(health::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the program with the process's arguments; the exit code is documented in `--help`.
#[must_use]
pub fn main() -> ExitCode {
    run_with(std::env::args_os())
}

/// The same with arguments of the caller's, the program's name first.
#[must_use]
pub fn run_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    let code = match run(cli.command) {
        Ok(exit) => exit,
        Err(failure) => {
            output::error(&failure);
            failure.exit
        }
    };
    ExitCode::from(code as u8)
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => many_threads()?.block_on(serve::run(args)),
        Command::Quickstart(args) => {
            open_files::raise();
            many_threads()?.block_on(quickstart::run(args))
        }
        Command::BenchPeer(args) => many_threads()?.block_on(bench::run_peer(args)),
        Command::Bench(args) => bench::run(args),
        Command::Restore(args) => backup::restore(args),
        Command::Backup(args) => one_thread()?.block_on(backup::run(args)),
        Command::Doctor(args) => one_thread()?.block_on(doctor::run(args)),
        Command::Config(args) => config::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Tail(args) => one_thread()?.block_on(tail::run(args)),
        Command::Listen(args) => one_thread()?.block_on(listen::run(args)),
        Command::Pull(args) => one_thread()?.block_on(pull::run(args)),
        Command::Send(args) => one_thread()?.block_on(send::run(args)),
        Command::Rule(args) => one_thread()?.block_on(rule::run(args)),
        Command::Event(args) => one_thread()?.block_on(event::run(args)),
        Command::Target(args) => one_thread()?.block_on(target::run(args)),
        Command::DeadLetter(args) => one_thread()?.block_on(dead_letter::run(args)),
        Command::Secret(args) => one_thread()?.block_on(secret::run(args)),
        Command::Key(args) => one_thread()?.block_on(key::run(args)),
        Command::LogLevel(args) => one_thread()?.block_on(log_level::run(args)),
        Command::Audit(args) => one_thread()?.block_on(audit::run(args)),
        Command::Health(args) => one_thread()?.block_on(health::run(args)),
    }
}

fn many_threads() -> Result<tokio::runtime::Runtime, Failure> {
    runtime(tokio::runtime::Builder::new_multi_thread())
}

fn one_thread() -> Result<tokio::runtime::Runtime, Failure> {
    runtime(tokio::runtime::Builder::new_current_thread())
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime does not start: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() {
                    check(sub, &path);
                    continue;
                }
                let help = sub.get_after_help().map(ToString::to_string);
                let help = help.unwrap_or_default();
                assert!(help.contains(&path), "`{path} --help` shows no example");
            }
        }
        check(&Cli::command(), "eventyard");
    }
}
