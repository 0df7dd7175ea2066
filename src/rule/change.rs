//! What a change of buses and rules asks for, what became of it, and why it did not happen.

use super::bus::BusDocument;
use super::document::RuleDocument;
use super::problem::Problem;
use crate::limits;
use crate::log::{AppendError, BusName, LogError, RuleName, Sequence};

/// A wish to change buses or rules.
#[derive(Debug, Clone)]
pub enum Change {
    PutBus {
        bus: BusName,
        document: BusDocument,
    },
    DeleteBus {
        bus: BusName,
    },
    PutRule {
        bus: BusName,
        rule: RuleName,
        document: RuleDocument,
    },
    DeleteRule {
        bus: BusName,
        rule: RuleName,
    },
}

/// What a change requires of what it replaces or deletes (HTTP's `If-Match` and `If-None-Match: *`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfMatch {
    #[default]
    Always,
    /// Something must be there (`If-Match: *`).
    Exists,
    /// Nothing may be there (`If-None-Match: *`).
    Absent,
    /// This revision must be there.
    Revision(Sequence),
    /// What was required does not hold: it is refused for that, unless something else is in its way.
    Unmet,
}

/// A change and its condition.
#[derive(Debug, Clone)]
pub struct Expected {
    pub change: Change,
    pub expected: IfMatch,
}

impl From<Change> for Expected {
    fn from(change: Change) -> Self {
        Expected {
            change,
            expected: IfMatch::Always,
        }
    }
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Created,
    Replaced,
    /// The same text was there already; nothing was written.
    Unchanged,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Put {
        outcome: PutOutcome,
        revision: Sequence,
    },
    Deleted {
        revision: Sequence,
    },
}

/// Why a change did not happen; nothing of it did.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuleError {
    #[error("there is no bus `{0}`; create it with PUT /v1/buses/{0}")]
    NoBus(BusName),
    #[error("there is no rule `{1}` on bus `{0}`")]
    NoRule(BusName, RuleName),
    /// `current` is the revision that is there, if any.
    #[error("{}", precondition(*.current))]
    PreconditionFailed { current: Option<Sequence> },
    #[error("the document is not valid: {}", summary(.0))]
    Invalid(Vec<Problem>),
    #[error("the bus `default` always exists; it cannot be deleted")]
    DefaultBusStays,
    #[error("bus `{bus}` still has rules ({rules}); delete them first")]
    BusHasRules { bus: BusName, rules: usize },
    #[error("the bus holds its most rules ({}); delete some first", limits::RULES)]
    TooManyRules,
    #[error("`{0}` is changed twice in one step; send one change of it")]
    ChangedTwice(String),
    /// The log did not take the change.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The bus is shutting down.
    #[error("the bus is shutting down")]
    Closing,
}

fn precondition(current: Option<Sequence>) -> String {
    match current {
        Some(revision) => format!(
            "the condition does not hold: its revision is {revision} now; read it again and repeat the change"
        ),
        None => "it does not exist (any more)".to_owned(),
    }
}

fn summary(problems: &[Problem]) -> String {
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| match problem.pointer.as_str() {
            "" => problem.detail.clone(),
            pointer => format!("{pointer}: {}", problem.detail),
        })
        .collect();
    shown.join("; ")
}
