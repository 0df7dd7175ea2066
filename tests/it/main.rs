//! The bus from outside: everything here goes over HTTP to a whole bus in this process.

#![allow(clippy::unwrap_used, reason = "tests may")]

#[path = "../harness/mod.rs"]
#[allow(dead_code, reason = "a harness offers more than one test binary uses")]
mod harness;

mod access;
mod access_cli;
mod access_keys;
mod access_open;
mod apply;
mod audit;
mod audit_refused;
mod auth;
mod backtest;
mod backup;
mod dead_letter_cli;
mod dead_letters;
mod delivery;
mod drain;
mod events;
mod exposition;
mod guard;
mod health;
mod hostile;
mod idempotency;
mod insight;
mod leaks;
mod limits;
mod listener_tls;
mod log_level;
mod methods;
mod metrics;
mod openapi;
mod ordering;
mod pace;
mod packed;
mod paging;
mod patterns;
mod preconditions;
mod previews;
mod publish;
mod pull;
mod pull_client;
mod refused_bodies;
mod replies;
mod request_ids;
mod requests;
mod rules;
mod scheduled;
mod schedules;
mod secrets;
mod spans;
mod standings;
mod tail;
mod tls;
mod tokens;
mod trace;
mod transforms;
mod validation;
