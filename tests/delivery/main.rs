//! Lanes, retries, dead letters and the router, without the HTTP API around them.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod attempts;
mod batches;
mod bus;
mod changes;
mod crashes;
mod isolation;
mod target;
