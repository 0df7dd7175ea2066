//! Decides whether clauses hold together: values of different fields that are taken from one array
//! must come from the same element of it.

use std::ops::{BitAnd, BitOr, Not};

use super::flatten::{Fields, OUTSIDE, Place, Value};
use super::parse::Clause;
use super::paths::Field;
use crate::limits;

/// A clause and the field it is about.
pub(crate) trait Bound {
    fn field(&self) -> Field;
    fn clause(&self) -> &Clause;
}

/// Whether one value fulfils the clause.
pub(crate) fn accepts(clause: &Clause, value: &Value<'_>) -> bool {
    clause
        .conditions
        .iter()
        .any(|condition| condition.accepts(&value.datum))
}

/// Whether the clause holds, seen alone.
pub(crate) fn holds_alone(clause: &Clause, values: &[Value<'_>]) -> bool {
    (clause.absent && values.is_empty()) || values.iter().any(|value| accepts(clause, value))
}

/// Whether all the clauses of one sub-rule, in the order of their paths, hold together.
///
/// A value is taken for every clause so that no array is entered at two elements. A clause that
/// accepts absence may do without: then every value of its field must lie in another element of an
/// array that a clause *before* it has entered. This order is event-ruler's and shows:
/// `{"c": {"a": ["x"], "b": [{"exists": false}]}}` matches `{"c": [{"a": "x"}, {"b": 1}]}`, and
/// with `a` and `b` swapped it does not.
pub(crate) fn hold_together<B: Bound>(bounds: &[B], fields: &Fields<'_>) -> bool {
    if !fields.has_elements() {
        return bounds
            .iter()
            .all(|bound| holds_alone(bound.clause(), fields.values(bound.field())));
    }
    // Clauses that hold outside of all arrays, or whose field is nowhere, bind no other clause.
    let mut bound_to_elements = 0;
    let mut absence_to_judge = false;
    for bound in bounds {
        let clause = bound.clause();
        let values = fields.values(bound.field());
        if clause.absent {
            absence_to_judge |= !values.is_empty();
            continue;
        }
        let mut accepted = values.iter().filter(|value| accepts(clause, value));
        match accepted.next() {
            None => return false,
            Some(value) if value.place == OUTSIDE => {}
            Some(_) if accepted.any(|value| value.place == OUTSIDE) => {}
            Some(_) => bound_to_elements += 1,
        }
    }
    if !absence_to_judge && bound_to_elements <= 1 {
        return true;
    }
    Placing::new(bounds, fields).possible()
}

/// A set of clauses, by their index in the sub-rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clauses([u64; limits::PATTERN_FIELDS / 64]);

impl Clauses {
    const NONE: Clauses = Clauses([0; limits::PATTERN_FIELDS / 64]);
    const ALL: Clauses = Clauses([u64::MAX; limits::PATTERN_FIELDS / 64]);

    fn of(index: usize) -> Clauses {
        let mut clauses = Self::NONE;
        clauses.0[index / 64] = 1 << (index % 64);
        clauses
    }

    /// Those that come after the first of these: for them an array is entered.
    fn after_first(self) -> Clauses {
        let mut after = Self::NONE;
        for (at, word) in self.0.iter().enumerate() {
            if *word != 0 {
                after.0[at] = u64::MAX.checked_shl(word.trailing_zeros() + 1).unwrap_or(0);
                after.0[at + 1..].fill(u64::MAX);
                break;
            }
        }
        after
    }

    fn is_empty(self) -> bool {
        self == Self::NONE
    }

    fn holds_all(self, other: Clauses) -> bool {
        other & self == other
    }
}

impl BitAnd for Clauses {
    type Output = Clauses;
    fn bitand(self, other: Clauses) -> Clauses {
        Clauses(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }
}

impl BitOr for Clauses {
    type Output = Clauses;
    fn bitor(self, other: Clauses) -> Clauses {
        Clauses(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }
}

impl Not for Clauses {
    type Output = Clauses;
    fn not(self) -> Clauses {
        Clauses(self.0.map(|word| !word))
    }
}

/// A value that matters: it fulfils a clause, or it stands against a clause that accepts absence.
#[derive(Debug, Clone, Copy)]
struct Hit {
    place: Place,
    clause: Clauses,
    accepted: bool,
}

/// What one way of choosing elements within a place achieves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    /// Clauses that have an accepted value in the chosen elements.
    placed: Clauses,
    /// Clauses of which every value in this place is left behind by the choice.
    gone: Clauses,
}

impl Choice {
    fn is_as_good_as(&self, other: &Choice) -> bool {
        self.placed.holds_all(other.placed) && self.gone.holds_all(other.gone)
    }
}

/// Works from the inside out, each element once, so that it is linear in the values. More placed
/// clauses are never worse, so only the best choices of a place are kept; and a clause that can
/// be placed nowhere but in one array must be placed by every choice there, so that almost always
/// one choice is left.
struct Placing<'f, 'd> {
    fields: &'f Fields<'d>,
    /// By place.
    hits: Vec<Hit>,
    /// Clauses that need a value.
    required: Clauses,
    /// Clauses that accept absence.
    absent: Clauses,
    /// Clauses that accept nothing but absence.
    only_absent: Clauses,
}

impl<'f, 'd> Placing<'f, 'd> {
    fn new<B: Bound>(bounds: &[B], fields: &'f Fields<'d>) -> Self {
        let mut placing = Placing {
            fields,
            hits: Vec::new(),
            required: Clauses::NONE,
            absent: Clauses::NONE,
            only_absent: Clauses::NONE,
        };
        for (index, bound) in bounds.iter().enumerate() {
            let clause = bound.clause();
            let this = Clauses::of(index);
            match (clause.absent, clause.conditions.is_empty()) {
                (true, true) => {
                    placing.absent = placing.absent | this;
                    placing.only_absent = placing.only_absent | this;
                }
                (true, false) => placing.absent = placing.absent | this,
                (false, _) => placing.required = placing.required | this,
            }
            for value in fields.values(bound.field()) {
                let accepted = accepts(clause, value);
                if accepted || clause.absent {
                    placing.hits.push(Hit {
                        place: value.place,
                        clause: this,
                        accepted,
                    });
                }
            }
        }
        placing.hits.sort_by_key(|hit| hit.place);
        placing
    }

    fn possible(&self) -> bool {
        let optional = if self.absent.is_empty() {
            Clauses::NONE
        } else {
            Clauses::ALL
        };
        self.within(OUTSIDE, &self.hits, self.required, optional)
            .iter()
            .any(|choice| {
                choice.placed.holds_all(self.required)
                    && (choice.placed | choice.gone).holds_all(self.absent)
            })
    }

    /// The best choices within the document or an element: all place what is `required`, and as
    /// much as can be of what is `optional`.
    fn within(
        &self,
        place: Place,
        hits: &[Hit],
        required: Clauses,
        optional: Clauses,
    ) -> Vec<Choice> {
        let direct = hits.iter().take_while(|hit| hit.place == place).count();
        let (direct, inner) = hits.split_at(direct);
        let here = accepted(direct) & (required | optional);
        let start = Choice {
            placed: here,
            gone: self.without(direct),
        };
        if !start.gone.holds_all(self.only_absent) {
            return Vec::new();
        }
        let arrays = self.arrays(place, inner);
        let mut once = Clauses::NONE;
        // Placed in either of two arrays side by side: only duplicate keys make that.
        let mut twice = Clauses::NONE;
        for (_, hits) in &arrays {
            let clauses = accepted(hits);
            twice = twice | (once & clauses);
            once = once | clauses;
        }
        if !(here | once).holds_all(required) {
            return Vec::new();
        }
        let mut choices = vec![start];
        for (array, hits) in &arrays {
            let placeable = accepted(hits) & (required | optional);
            let needed = placeable & required & !here & !twice;
            // A clause that is placed already gains nothing here, unless it drives others away.
            let welcome = if self.absent.is_empty() {
                placeable & !here
            } else {
                placeable
            };
            if self.absent.is_empty() && welcome.is_empty() {
                continue;
            }
            let options = self.options(*array, hits, needed, welcome);
            let mut combined = Vec::new();
            for choice in &choices {
                for option in &options {
                    let placed = choice.placed | option.placed;
                    let gone = choice.gone & option.gone;
                    keep_best(&mut combined, Choice { placed, gone });
                }
            }
            choices = combined;
        }
        choices.retain(|choice| choice.placed.holds_all(required));
        choices
    }

    /// The best choices of an element of one array, or of none where nothing is needed.
    fn options(
        &self,
        array: Place,
        hits: &[Hit],
        needed: Clauses,
        welcome: Clauses,
    ) -> Vec<Choice> {
        let left_alone = self.without(hits);
        let mut options = Vec::new();
        if needed.is_empty() && left_alone.holds_all(self.only_absent) {
            options.push(Choice {
                placed: Clauses::NONE,
                gone: left_alone,
            });
        }
        let best = Choice {
            placed: welcome,
            gone: Clauses::ALL,
        };
        let mut rest = hits;
        while let Some(first) = rest.first() {
            let element = self.child_of(array, first.place);
            let (hits, others) = self.split(element, rest);
            rest = others;
            for choice in self.within(element, hits, needed, welcome) {
                if choice.placed.is_empty() {
                    continue;
                }
                let entered_before = choice.placed.after_first();
                let gone = (choice.gone & entered_before) | (left_alone & !entered_before);
                if gone.holds_all(self.only_absent) {
                    keep_best(
                        &mut options,
                        Choice {
                            placed: choice.placed,
                            gone,
                        },
                    );
                }
            }
            if options.iter().any(|option| option.is_as_good_as(&best)) {
                break;
            }
        }
        options
    }

    /// The clauses that no value here stands against.
    fn without(&self, hits: &[Hit]) -> Clauses {
        let present = hits
            .iter()
            .fold(Clauses::NONE, |clauses, hit| clauses | hit.clause);
        !(present & self.absent)
    }

    /// The arrays directly within a place, with their hits.
    fn arrays<'h>(&self, place: Place, hits: &'h [Hit]) -> Vec<(Place, &'h [Hit])> {
        let mut arrays = Vec::new();
        let mut rest = hits;
        while let Some(first) = rest.first() {
            let array = self.child_of(place, first.place);
            let (hits, others) = self.split(array, rest);
            arrays.push((array, hits));
            rest = others;
        }
        arrays
    }

    /// Of two nested places, the child of the outer one that holds the inner one.
    fn child_of(&self, outer: Place, inner: Place) -> Place {
        let mut place = inner;
        loop {
            let parent = self.fields.place(place).parent;
            if parent == outer {
                return place;
            }
            place = parent;
        }
    }

    fn split<'h>(&self, place: Place, hits: &'h [Hit]) -> (&'h [Hit], &'h [Hit]) {
        let end = self.fields.place(place).end;
        hits.split_at(hits.partition_point(|hit| hit.place < end))
    }
}

fn accepted(hits: &[Hit]) -> Clauses {
    let accepted = hits.iter().filter(|hit| hit.accepted);
    accepted.fold(Clauses::NONE, |clauses, hit| clauses | hit.clause)
}

/// Adds a choice unless another is as good, and drops those that it makes superfluous.
fn keep_best(choices: &mut Vec<Choice>, choice: Choice) {
    if choices.iter().any(|known| known.is_as_good_as(&choice)) {
        return;
    }
    choices.retain(|known| !choice.is_as_good_as(known));
    if choices.len() < limits::ELEMENT_CHOICES {
        choices.push(choice);
    }
}
