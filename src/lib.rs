//! Eventyard: a serverless event bus with rule routing.
//!
//! Publishers POST CloudEvents; the bus puts each on disk before it answers, finds every rule whose
//! event pattern matches, and pushes the event to the rule's HTTP targets with retries and dead
//! letters. The modules below are in reading order, bottom up: each uses only what stands above it
//! in this list (the table is in `docs/ARCHITECTURE.md`, and `tests/layering.rs` holds it).
//!
//! A program that uses a bus wants [`client`], which publishes and subscribes, [`event`], and
//! [`webhook`] to verify what it is sent; `examples/` shows each.

pub mod limits;

pub mod clock;

pub mod measure;

mod cause;

mod seldom;

mod json;

pub mod secret;

pub mod webhook;

pub mod event;

pub mod span;

pub mod pattern;

pub mod query;

pub mod guard;

pub mod transform;

pub mod journal;

pub mod store;

pub mod log;

pub mod rule;

pub mod access;

pub mod backtest;

pub mod delivery;

pub mod router;

pub mod schedule;

pub mod stages;

pub mod telemetry;

pub mod tls;

pub mod audit;

pub mod backup;

pub mod api;

pub mod config;

pub mod app;

pub mod client;

pub mod cli;
