//! A clause that no key decides: it is asked when a candidate depends on it.

use std::sync::Arc;

use crate::pattern::consistency::{ClauseKind, Standing, standing};
use crate::pattern::kinds::Kinds;
use crate::pattern::marks::{Marks, Named};
use crate::pattern::operator::Condition;
use crate::pattern::parse::Clause;
use crate::pattern::value::{Field, Fields, Value};

/// One for all sub-rules that say the same of the same field.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) field: Field,
    absent: bool,
    /// Of the values that its one condition excludes.
    named: Named,
    conditions: Box<[Condition]>,
}

impl Ask {
    pub(crate) fn new(clause: &Clause, field: Field) -> Self {
        let named = match clause.conditions.as_slice() {
            [Condition::AnythingBut(anything_but)] => anything_but.marks(),
            _ => Named::UNKNOWN,
        };
        Self {
            field,
            absent: clause.absent,
            named,
            conditions: clause.conditions.clone().into(),
        }
    }

    #[inline]
    pub(crate) fn accepts(&self, value: &Value<'_>) -> bool {
        if let [only] = &*self.conditions {
            return only.accepts(&value.datum);
        }
        self.conditions
            .iter()
            .any(|condition| condition.accepts(&value.datum))
    }

    #[inline]
    pub(crate) fn standing(&self, fields: &Fields<'_>) -> Standing {
        // Nearly all fields of nearly all events.
        if let Some(value) = fields.only(self.field)
            && !self.absent
        {
            return if self.accepts(value) {
                Standing::Free
            } else {
                Standing::Fails
            };
        }
        standing(self.absent, |value| self.accepts(value), self.field, fields)
    }

    /// Whether it is about values alone, so that it holds or fails whatever else is asked.
    pub(crate) fn needs_value(&self) -> bool {
        !self.absent
    }

    pub(crate) fn kind(&self) -> ClauseKind {
        ClauseKind::of(self.absent, self.conditions.is_empty())
    }
}

/// A rule that matches when one clause, which needs a value of its field, holds.
#[derive(Debug, Clone)]
pub(crate) struct Alone {
    pub(crate) rule: u32,
    /// The same as the clause's own, which is further away.
    named: Named,
    pub(crate) ask: Arc<Ask>,
}

impl Alone {
    pub(crate) fn new(rule: u32, ask: Arc<Ask>) -> Self {
        Self {
            rule,
            named: ask.named,
            ask,
        }
    }

    /// By what the values show that it excludes.
    pub(crate) fn shown_by(&self) -> Kinds {
        self.named.kinds()
    }

    /// Whether a value with these marks, of a clause that needs one, fulfils it.
    #[inline]
    pub(crate) fn accepts(&self, marks: &Marks, value: &Value<'_>) -> bool {
        !self.named.may_be(marks) || self.ask.accepts(value)
    }
}
