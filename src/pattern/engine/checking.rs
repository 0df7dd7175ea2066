//! Decides whether a candidate's clauses hold, by what the walk has seen.

use std::sync::Arc;

use super::entry::{ASK, Candidate, Entry};
use super::numbered::Numbered;
use super::seen::Seen;
use crate::pattern::ask::Ask;
use crate::pattern::consistency::{ClauseKind, Placing, Standing, verdict};
use crate::pattern::value::Fields;

/// Decides whether a candidate's clauses hold.
pub(super) struct Checking<'s, 'f, 'a> {
    pub(super) asks: &'s imbl::Vector<Option<Arc<Ask>>>,
    /// The same, once one of them is wanted.
    pub(super) numbered: Option<Numbered<'s, Arc<Ask>>>,
    pub(super) fields: &'f Fields<'a>,
    pub(super) seen: &'s Seen,
    pub(super) answers: &'s mut Answers,
}

impl Checking<'_, '_, '_> {
    /// Whether the clauses of a candidate of the entry hold.
    #[inline]
    pub(super) fn holds(&mut self, entry: Entry<'_>, candidate: Candidate<'_>) -> bool {
        if let [only] = *candidate.program {
            if only == entry.id() {
                // The one clause is that there is this very entry.
                return true;
            }
            if only & ASK != 0 {
                match self.answer(only & !ASK) {
                    Standing::Fails => return false,
                    Standing::Free | Standing::InElements => return true,
                    Standing::Unclear => {}
                }
            }
        }
        // What is known already rejects most candidates; asking may take several misses of the cache.
        let known = candidate.program.iter().filter(|word| **word & ASK == 0);
        for atom in known {
            if self.seen.standing(*atom) == Standing::Fails {
                return false;
            }
        }
        let mut standings = candidate.program.iter();
        let standings = std::iter::from_fn(|| {
            let word = *standings.next()?;
            Some(if word & ASK == 0 {
                self.seen.standing(word)
            } else {
                self.answer(word & !ASK)
            })
        });
        match verdict(standings) {
            Some(verdict) => verdict,
            None => self.can_be_placed(candidate),
        }
    }

    fn answer(&mut self, number: u32) -> Standing {
        let asks = self
            .numbered
            .get_or_insert_with(|| Numbered::new(self.asks));
        self.answers.get(number, || match asks.get(number) {
            Some(ask) => ask.standing(self.fields),
            None => Standing::Fails,
        })
    }

    fn can_be_placed(&self, candidate: Candidate<'_>) -> bool {
        let mut placing = Placing::new(self.fields);
        for word in candidate.program {
            if word & ASK == 0 {
                let values = self.seen.values(*word);
                placing.add(
                    ClauseKind::Value,
                    values.map(|value| (self.fields.value(value).place, true)),
                );
            } else if let Some(Some(ask)) = self.asks.get((word & !ASK) as usize) {
                let values = self.fields.values(ask.field);
                placing.add(
                    ask.kind(),
                    values.map(|value| (value.place, ask.accepts(value))),
                );
            }
        }
        placing.possible()
    }
}

/// Remembers, for one event, what clauses have answered.
#[derive(Debug)]
pub(super) struct Answers {
    slots: Box<[Answer; ANSWERS]>,
    event: u32,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    event: u32,
    number: u32,
    standing: Standing,
}

/// As many clauses as are remembered; more push each other out.
const ANSWERS: usize = 256;

impl Default for Answers {
    fn default() -> Self {
        let none = Answer {
            event: 0,
            number: 0,
            standing: Standing::Fails,
        };
        Self {
            slots: Box::new([none; ANSWERS]),
            event: 0,
        }
    }
}

impl Answers {
    pub(super) fn clear(&mut self) {
        self.event = self.event.wrapping_add(1);
        if self.event == 0 {
            *self = Self::default();
            self.event = 1;
        }
    }

    #[inline]
    fn get(&mut self, number: u32, ask: impl FnOnce() -> Standing) -> Standing {
        let slot = &mut self.slots[number as usize % ANSWERS];
        if (slot.event, slot.number) != (self.event, number) {
            *slot = Answer {
                event: self.event,
                number,
                standing: ask(),
            };
        }
        slot.standing
    }
}
