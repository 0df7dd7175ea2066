//! Measures how many beginnings of a field's wildcards one value may match at once.
//!
//! event-ruler walks all of a field's wildcards at the same time, and every beginning that the
//! value's start matches is one more state to walk on from; AWS refuses patterns by this number
//! (its documentation: "Rule is too complex"). The matcher here does not walk that way and would
//! bear more, yet a pattern that is valid here should be valid there.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::operator::{Condition, Wildcard};
use crate::limits;

/// Whether some value can match more than `limits::WILDCARD_COMPLEXITY` beginnings.
pub(crate) fn too_complex(conditions: &[Condition]) -> bool {
    let mut beginnings = Beginnings::default();
    for condition in conditions {
        match condition {
            Condition::Wildcard(wildcard) => beginnings.add_group(std::slice::from_ref(wildcard)),
            Condition::AnythingBut(anything_but) => {
                beginnings.add_group(anything_but.wildcards());
            }
            _ => {}
        }
    }
    // Not more than the bound altogether: so not at once either.
    beginnings.states.len() > limits::WILDCARD_COMPLEXITY && beginnings.explode()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Byte(u8),
    Star,
}

/// All beginnings as trees. The wildcards of one operator share their common beginnings; those of
/// different operators do not, as in event-ruler.
#[derive(Default)]
struct Beginnings {
    states: Vec<State>,
    starts: Vec<HashMap<Step, usize>>,
    seen: Vec<Vec<Wildcard>>,
}

#[derive(Default)]
struct State {
    next: HashMap<Step, usize>,
    star: bool,
}

impl Beginnings {
    fn add_group(&mut self, wildcards: &[Wildcard]) {
        if wildcards.is_empty() || self.seen.iter().any(|seen| seen == wildcards) {
            return;
        }
        self.seen.push(wildcards.to_vec());
        let mut start = HashMap::new();
        for wildcard in wildcards {
            let mut state: Option<usize> = None;
            for step in steps(wildcard) {
                let new = self.states.len();
                let next = match state {
                    Some(state) => &mut self.states[state].next,
                    None => &mut start,
                };
                let found = *next.entry(step).or_insert(new);
                if found == new {
                    self.states.push(State {
                        star: step == Step::Star,
                        ..State::default()
                    });
                }
                state = Some(found);
            }
        }
        self.starts.push(start);
    }

    /// Walks through every set of beginnings that some value reaches.
    fn explode(&self) -> bool {
        let mut seen: HashSet<BTreeSet<usize>> = HashSet::new();
        let mut open: Vec<BTreeSet<usize>> = Vec::new();
        let first: BTreeSet<usize> = self
            .starts
            .iter()
            .flat_map(|start| start.values().copied())
            .collect();
        open.push(first);
        let mut budget = limits::WILDCARD_COMPLEXITY_STEPS;
        while let Some(mut live) = open.pop() {
            // A star that follows is reached without a character of its own.
            let stars: Vec<usize> = live
                .iter()
                .filter_map(|state| self.states[*state].next.get(&Step::Star).copied())
                .collect();
            live.extend(stars);
            if live.len() > limits::WILDCARD_COMPLEXITY {
                return true;
            }
            if seen.contains(&live) {
                continue;
            }
            let bytes: BTreeSet<u8> = live
                .iter()
                .flat_map(|state| self.states[*state].next.keys())
                .filter_map(|step| match step {
                    Step::Byte(byte) => Some(*byte),
                    Step::Star => None,
                })
                .collect();
            for byte in bytes {
                if budget == 0 {
                    return true;
                }
                budget -= 1;
                let next: BTreeSet<usize> = live
                    .iter()
                    .flat_map(|state| {
                        let stays = self.states[*state].star.then_some(*state);
                        let goes = self.states[*state].next.get(&Step::Byte(byte)).copied();
                        stays.into_iter().chain(goes)
                    })
                    .collect();
                open.push(next);
            }
            seen.insert(live);
        }
        false
    }
}

/// A wildcard's steps, with the quotes that event-ruler counts in.
fn steps(wildcard: &Wildcard) -> Vec<Step> {
    let mut steps = vec![Step::Byte(b'"')];
    for (at, piece) in wildcard.pieces().iter().enumerate() {
        if at > 0 {
            steps.push(Step::Star);
        }
        steps.extend(piece.bytes().map(Step::Byte));
    }
    steps.push(Step::Byte(b'"'));
    steps
}
