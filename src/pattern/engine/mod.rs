//! Matches many patterns at once, at a cost that depends on the event and on the rules that match.
//!
//! ```text
//!  patterns ──add, remove──▶ Matcher ──snapshot──▶ Snapshot ◀──matches── events
//!                            (one writer)          (any number of readers)
//! ```
//!
//! Each sub-rule is kept in the index under keys of *one* of its clauses, those that the fewest events
//! hold and the fewest other rules stand under (`access`). A document is walked once; for each value
//! that some rule asks about, the keys that it has are looked up (`asking`, `probing`, `table`). What is
//! found there (`entry`) are candidates, and of each its other clauses are checked against what the walk
//! has found (`checking`). So a rule costs nothing for an event that does not hold its key.
//!
//! `docs/matching.md` says more, with pictures.

mod access;
mod asking;
mod asks;
mod checking;
mod entry;
mod found;
mod index;
mod key;
mod matched;
mod matcher;
mod numbered;
mod paths;
mod probing;
mod seen;
mod snapshot;
mod table;
mod wanted;

#[cfg(test)]
mod tests;

pub use matcher::Matcher;
pub use snapshot::Snapshot;
