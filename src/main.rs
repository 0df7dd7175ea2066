//! The `eventyard` program: parse arguments, run, wait, drain.

/// glibc's allocator took a fifth of the publishing path, and musl's, in the static build, is slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    eventyard::cli::main()
}
