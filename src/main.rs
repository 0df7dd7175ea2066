//! The `eventyard` program: parse arguments, run, wait, drain.

fn main() {}
