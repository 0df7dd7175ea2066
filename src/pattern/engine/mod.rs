//! Matches many patterns at once, at a cost that depends on the event and on the rules that match.
//!
//! ```text
//!  patterns ──add, remove──▶ Matcher ──snapshot──▶ Snapshot ◀──matches── events
//!                            (one writer)          (any number of readers)
//! ```
//!
//! Each sub-rule is kept in the index under keys of *one* of its clauses, those that the fewest events
//! hold and the fewest other rules stand under (`access`). A document is walked once; for each value
//! that some rule asks about, the keys that it has are looked up (`probes`, `table`). What is found
//! there (`entry`) are candidates, and of each its other clauses are checked against what the walk has
//! found. So a rule costs nothing for an event that does not hold its key.
//!
//! `docs/matching.md` says more, with pictures.

mod access;
mod asks;
mod entry;
mod index;
mod key;
mod matcher;
mod paths;
mod seen;
mod snapshot;
mod table;

#[cfg(test)]
mod tests;

pub use matcher::Matcher;
pub use snapshot::Snapshot;
