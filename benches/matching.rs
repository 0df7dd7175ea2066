//! What matching costs, by processor time: `cargo bench --bench matching [-- OPTION...]`, which is
//! `eventyard bench match` in a build of the bench profile.

fn main() -> std::process::ExitCode {
    let options = std::env::args_os()
        .skip(1)
        .filter(|option| option != "--bench");
    let program = ["eventyard", "bench", "match"].map(std::ffi::OsString::from);
    eventyard::cli::run_with(program.into_iter().chain(options))
}
