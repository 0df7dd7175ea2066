//! A clause that no key decides: it is asked when a candidate depends on it.

use crate::pattern::consistency::{ClauseKind, Standing, standing};
use crate::pattern::operator::Condition;
use crate::pattern::parse::Clause;
use crate::pattern::value::{Field, Fields, Value};

/// One for all sub-rules that say the same of the same field.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) field: Field,
    absent: bool,
    conditions: Box<[Condition]>,
}

impl Ask {
    pub(super) fn new(clause: &Clause, field: Field) -> Self {
        Self {
            field,
            absent: clause.absent,
            conditions: clause.conditions.clone().into(),
        }
    }

    pub(super) fn accepts(&self, value: &Value<'_>) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.accepts(&value.datum))
    }

    pub(super) fn standing(&self, fields: &Fields<'_>) -> Standing {
        standing(self.absent, |value| self.accepts(value), self.field, fields)
    }

    pub(super) fn kind(&self) -> ClauseKind {
        ClauseKind::of(self.absent, self.conditions.is_empty())
    }
}
