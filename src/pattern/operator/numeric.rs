//! `{"numeric": [">", 0, "<=", 5]}`: a number equal to another, or within a range.

use std::ops::RangeInclusive;

use super::super::PatternError;
use super::super::error::Pointer;
use super::super::number::Number;
use super::super::value::Datum;
use super::{Words, quoted};
use crate::json::{Node, Tree};

#[derive(Debug, Clone)]
pub(crate) struct Numeric {
    /// As it was written: `> 0 and <= 5`.
    said: Box<str>,
    ranks: RangeInclusive<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Above,
    AtLeast,
    Below,
    AtMost,
}

const SHAPE: &str =
    "\"numeric\" takes a list such as [\"=\", 5], [\"<\", 5] or [\">=\", 0, \"<\", 5]";

impl Numeric {
    pub(super) fn parse(operand: &Node<'_>, at: &Pointer<'_>) -> Result<Numeric, PatternError> {
        let Tree::Array(elements) = &operand.tree else {
            return Err(at.error(SHAPE));
        };
        let (first, second) = match elements.as_slice() {
            [_, _] => ((0, 1), None),
            [_, _, _, _] => ((0, 1), Some((2, 3))),
            [] => return Err(at.error(format!("the list is empty; {SHAPE}"))),
            [_] | [_, _, _] => {
                let (comparison, _) = comparison(&elements[elements.len() - 1], at)?;
                return Err(at.error(format!(
                    "a number must follow {}; {SHAPE}",
                    quoted(comparison)
                )));
            }
            [..] => return Err(at.error(format!("the list is too long; {SHAPE}"))),
        };
        let mut said = Vec::new();
        let mut bounds = Vec::new();
        for (sign_at, number_at) in [Some(first), second].into_iter().flatten() {
            let inside = at.index(sign_at);
            let (sign, comparison) = comparison(&elements[sign_at], &inside)?;
            let allowed = match (bounds.len(), comparison) {
                (1, Comparison::Below | Comparison::AtMost) => true,
                (1, _) => false,
                (_, Comparison::Above | Comparison::AtLeast) => true,
                _ => second.is_none(),
            };
            if !allowed {
                return Err(inside.error(
                    "a range is written \">\" or \">=\" with its lower end first, then \"<\" or \"<=\" with its upper end",
                ));
            }
            let inside = at.index(number_at);
            let number = operand_number(sign, &elements[number_at], &inside)?;
            if let Some((_, bottom)) = bounds.first()
                && number <= *bottom
            {
                return Err(
                    inside.error("the upper end of a range must be greater than its lower end")
                );
            }
            if let Tree::Number(text) = &elements[number_at].tree {
                said.push(format!("{sign} {text}"));
            }
            bounds.push((comparison, number));
        }
        Ok(Numeric {
            said: said.join(" and ").into(),
            ranks: ranks(&bounds),
        })
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        let Datum::Number(text) = datum else {
            return false;
        };
        // Most numbers are out of a range, and which one it is exactly and whether it compares takes
        // longer to find out.
        if let Some(near) = text.near()
            && (near.end() < self.ranks.start() || near.start() > self.ranks.end())
        {
            return false;
        }
        let in_range = |number: Number| self.ranks.contains(&number.rank());
        text.number().is_some_and(in_range)
    }

    /// The number, when nothing but one number is accepted.
    pub(crate) fn only(&self) -> Option<Number> {
        let (lowest, highest) = (self.ranks.start(), self.ranks.end());
        (lowest == highest).then(|| Number::of_rank(*lowest))
    }

    /// The ranks of all numbers that are accepted.
    pub(crate) fn ranks(&self) -> RangeInclusive<u64> {
        self.ranks.clone()
    }

    pub(super) fn words(&self) -> Words {
        let said = &self.said;
        Words::new(format!("is {said}"), format!("is no number {said}"))
    }
}

/// Two neighbouring numbers have neighbouring ranks.
fn ranks(bounds: &[(Comparison, Number)]) -> RangeInclusive<u64> {
    let (mut lowest, mut highest) = (0, u64::MAX);
    for (comparison, bound) in bounds {
        match comparison {
            Comparison::Equal => (lowest, highest) = (bound.rank(), bound.rank()),
            // A number has neighbours: infinities are none and stand beyond.
            Comparison::Above => lowest = bound.rank() + 1,
            Comparison::AtLeast => lowest = bound.rank(),
            Comparison::Below => highest = bound.rank() - 1,
            Comparison::AtMost => highest = bound.rank(),
        }
    }
    lowest..=highest
}

fn comparison<'n>(
    node: &'n Node<'_>,
    at: &Pointer<'_>,
) -> Result<(&'n str, Comparison), PatternError> {
    let Tree::String(sign) = &node.tree else {
        return Err(at.error(format!("a comparison must stand here; {SHAPE}")));
    };
    let comparison = match sign.as_str() {
        "=" => Comparison::Equal,
        ">" => Comparison::Above,
        ">=" => Comparison::AtLeast,
        "<" => Comparison::Below,
        "<=" => Comparison::AtMost,
        other => {
            return Err(at.error(format!(
                "{} is no comparison; use \"=\", \"<\", \"<=\", \">\" or \">=\"",
                quoted(other)
            )));
        }
    };
    Ok((sign, comparison))
}

fn operand_number(sign: &str, node: &Node<'_>, at: &Pointer<'_>) -> Result<Number, PatternError> {
    match node.tree {
        Tree::Number(text) => exact(text, at),
        _ => Err(at.error(format!("a number, without quotes, must follow \"{sign}\""))),
    }
}

/// A number of a pattern that must compare.
pub(super) fn exact(text: &str, at: &Pointer<'_>) -> Result<Number, PatternError> {
    Number::of_text(text).ok_or_else(|| {
        at.error(format!(
            "{text} cannot be compared: a 64-bit floating point number does not hold it; use at most 15 digits, or a string"
        ))
    })
}
