//! The `eventyard` program: parse arguments, run, wait, drain.

fn main() -> std::process::ExitCode {
    eventyard::cli::main()
}
