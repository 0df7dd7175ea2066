//! Decides whether clauses hold together: values of different fields that are taken from one array
//! must come from the same element of it.

use std::ops::{BitAnd, BitOr, Not};

use super::parse::Clause;
use super::value::{Field, Fields, OUTSIDE, Place, Value};
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
pub(crate) fn holds_alone(clause: &Clause, field: Field, fields: &Fields<'_>) -> bool {
    (clause.absent && fields.is_absent(field))
        || fields.values(field).any(|value| accepts(clause, value))
}

/// How a clause stands, before it is seen beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Fails,
    /// It holds outside of all arrays, or because its field is nowhere: it binds no other clause.
    Free,
    /// It holds by values in elements of arrays.
    InElements,
    /// It accepts absence, and its field is somewhere: the others decide.
    Unclear,
}

/// How a clause stands that accepts the values that `accepts` does, and absence if `absent`.
pub(crate) fn standing(
    absent: bool,
    accepts: impl Fn(&Value<'_>) -> bool,
    field: Field,
    fields: &Fields<'_>,
) -> Standing {
    if absent {
        return match fields.values(field).next() {
            None => Standing::Free,
            Some(_) if fields.has_elements() => Standing::Unclear,
            Some(_) if fields.values(field).any(accepts) => Standing::Free,
            Some(_) => Standing::Fails,
        };
    }
    let mut standing = Standing::Fails;
    for value in fields.values(field) {
        // Once it holds in an element, only a value outside of all arrays says more.
        if (standing == Standing::Fails || value.place == OUTSIDE) && accepts(value) {
            if value.place == OUTSIDE {
                return Standing::Free;
            }
            standing = Standing::InElements;
        }
    }
    standing
}

/// Whether clauses that stand like this hold together, as far as that shows; `None` when the values'
/// places decide.
pub(crate) fn verdict(standings: impl Iterator<Item = Standing>) -> Option<bool> {
    let mut in_elements = 0;
    let mut unclear = false;
    for standing in standings {
        match standing {
            Standing::Fails => return Some(false),
            Standing::Free => {}
            Standing::InElements => in_elements += 1,
            Standing::Unclear => unclear = true,
        }
    }
    (!unclear && in_elements <= 1).then_some(true)
}

/// Whether all the clauses of one sub-rule, in the order of their paths, hold together.
///
/// A value is taken for every clause so that no array is entered at two elements. A clause that
/// accepts absence may do without: then every value of its field must lie in another element of an
/// array that a clause *before* it has entered. This order is event-ruler's and shows:
/// `{"c": {"a": ["x"], "b": [{"exists": false}]}}` matches `{"c": [{"a": "x"}, {"b": 1}]}`, and
/// with `a` and `b` swapped it does not.
pub(crate) fn hold_together<B: Bound>(bounds: &[B], fields: &Fields<'_>) -> bool {
    let standings = bounds.iter().map(|bound| {
        let clause = bound.clause();
        standing(
            clause.absent,
            |value| accepts(clause, value),
            bound.field(),
            fields,
        )
    });
    verdict(standings).unwrap_or_else(|| {
        let mut placing = Placing::new(fields);
        for bound in bounds {
            let clause = bound.clause();
            let kind = ClauseKind::of(clause.absent, clause.conditions.is_empty());
            let values = fields.values(bound.field());
            placing.add(
                kind,
                values.map(|value| (value.place, accepts(clause, value))),
            );
        }
        placing.possible()
    })
}

/// What a clause accepts, as far as placing it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClauseKind {
    /// It needs a value.
    Value,
    /// It takes a value or none.
    ValueOrAbsence,
    Absence,
}

impl ClauseKind {
    pub(crate) fn of(absent: bool, nothing_else: bool) -> Self {
        match (absent, nothing_else) {
            (false, _) => ClauseKind::Value,
            (true, false) => ClauseKind::ValueOrAbsence,
            (true, true) => ClauseKind::Absence,
        }
    }
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

    /// The clauses one by one.
    fn each(self) -> impl Iterator<Item = Clauses> {
        // Nearly always there are none.
        let most = if self.is_empty() {
            0
        } else {
            limits::PATTERN_FIELDS
        };
        let all = (0..most).map(Clauses::of);
        all.filter(move |clause| self.holds_all(*clause))
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
pub(crate) struct Placing<'f, 'd> {
    clauses: usize,
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
    pub(crate) fn new(fields: &'f Fields<'d>) -> Self {
        Placing {
            clauses: 0,
            fields,
            hits: Vec::new(),
            required: Clauses::NONE,
            absent: Clauses::NONE,
            only_absent: Clauses::NONE,
        }
    }

    /// The next clause, in the order of paths, with the places of its field's values and whether it
    /// accepts them. Values that are not accepted matter to clauses that accept absence only.
    pub(crate) fn add(&mut self, kind: ClauseKind, values: impl Iterator<Item = (Place, bool)>) {
        let this = Clauses::of(self.clauses);
        self.clauses += 1;
        match kind {
            ClauseKind::Value => self.required = self.required | this,
            ClauseKind::ValueOrAbsence => self.absent = self.absent | this,
            ClauseKind::Absence => {
                self.absent = self.absent | this;
                self.only_absent = self.only_absent | this;
            }
        }
        for (place, accepted) in values {
            if accepted || kind != ClauseKind::Value {
                self.hits.push(Hit {
                    place,
                    clause: this,
                    accepted,
                });
            }
        }
    }

    /// Whether there is a choice of elements by which all hold.
    pub(crate) fn possible(mut self) -> bool {
        self.hits.sort_by_key(|hit| hit.place);
        let optional = if self.absent.is_empty() {
            Clauses::NONE
        } else {
            Clauses::ALL
        };
        self.within(OUTSIDE, &self.hits, self.required, optional, Clauses::NONE)
            .iter()
            .any(|choice| {
                choice.placed.holds_all(self.required)
                    && (choice.placed | choice.gone).holds_all(self.absent)
            })
    }

    /// The best choices within the document or an element: all place what is `required`, and as
    /// much as can be of what is `optional`; what is `exclusive` may be wanted elsewhere.
    fn within(
        &self,
        place: Place,
        hits: &[Hit],
        required: Clauses,
        optional: Clauses,
        exclusive: Clauses,
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
        // Placed in either of two arrays side by side, never in both, since a clause takes one value:
        // only duplicate keys make that.
        let mut twice = Clauses::NONE;
        for (_, hits) in &arrays {
            let clauses = accepted(hits);
            twice = twice | (once & clauses);
            once = once | clauses;
        }
        if !(here | once).holds_all(required) {
            return Vec::new();
        }
        // What is here may be left to an array elsewhere.
        let leavable = here & exclusive;
        let exclusive = exclusive | twice;
        // A value out here may be left for one in an array: what it places counts at the end.
        let mut choices = vec![Choice {
            placed: here & !twice,
            gone: start.gone,
        }];
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
            let options = self.options(*array, hits, needed, welcome, exclusive);
            let mut combined = Vec::new();
            for choice in &choices {
                for option in &options {
                    if !(choice.placed & option.placed & twice).is_empty() {
                        continue;
                    }
                    let placed = choice.placed | option.placed;
                    let gone = choice.gone & option.gone;
                    keep_best(&mut combined, Choice { placed, gone }, exclusive);
                }
            }
            choices = combined;
        }
        for choice in &mut choices {
            choice.placed = choice.placed | here;
        }
        for clause in leavable.each() {
            for choice in choices.clone() {
                let placed = choice.placed & !clause;
                keep_best(&mut choices, Choice { placed, ..choice }, exclusive);
            }
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
        exclusive: Clauses,
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
            for choice in self.within(element, hits, needed, welcome, exclusive) {
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
                        exclusive,
                    );
                }
            }
            if exclusive.is_empty() && options.iter().any(|option| option.is_as_good_as(&best)) {
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

/// Adds a choice unless another is as good, and drops those that it makes superfluous. Of clauses that
/// may be placed in one array only, placing more is not better: it takes them from the others.
fn keep_best(choices: &mut Vec<Choice>, choice: Choice, exclusive: Clauses) {
    let as_good = |one: &Choice, other: &Choice| {
        one.placed & exclusive == other.placed & exclusive && one.is_as_good_as(other)
    };
    if choices.iter().any(|known| as_good(known, &choice)) {
        return;
    }
    choices.retain(|known| !as_good(&choice, known));
    if choices.len() < limits::ELEMENT_CHOICES {
        choices.push(choice);
    }
}
