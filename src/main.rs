//! The `eventyard` program: parse arguments, run, wait, drain.

/// For the static build: musl's own allocator serves one thread at a time. With glibc no difference
/// was measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    eventyard::cli::main()
}
