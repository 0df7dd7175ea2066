//! The operators of the language, one file each: how it is written, what it accepts, how it is said.

mod affix;
mod anything_but;
mod cidr;
mod ignore_case;
mod literal;
mod numeric;
mod wildcard;

pub(crate) use ignore_case::{IgnoreCase, Part, fold};
pub(crate) use literal::Literal;
pub(crate) use wildcard::Wildcard;

use affix::{Prefix, Suffix};
use anything_but::AnythingBut;
use cidr::Cidr;
use numeric::Numeric;

use super::PatternError;
use super::error::Pointer;
use super::value::Datum;
use crate::json::{Node, Tree};

pub(crate) use cidr::{address, address_of, block};

/// The operators that stand in a pattern as `{"operator": …}`.
pub(crate) const NAMES: [&str; 9] = [
    "exactly",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "cidr",
    "exists",
];

/// What one value of a field must be. `exists: false` is no condition on a value and is kept by
/// the clause instead.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Literal(Literal),
    Prefix(Prefix),
    Suffix(Suffix),
    IgnoreCase(IgnoreCase),
    Wildcard(Wildcard),
    AnythingBut(AnythingBut),
    Numeric(Numeric),
    Cidr(Cidr),
    Exists,
}

impl Condition {
    pub(crate) fn accepts(&self, datum: &Datum<'_>) -> bool {
        match self {
            Condition::Literal(literal) => literal.accepts(datum),
            Condition::Prefix(prefix) => prefix.accepts(datum),
            Condition::Suffix(suffix) => suffix.accepts(datum),
            Condition::IgnoreCase(ignore_case) => ignore_case.accepts(datum),
            Condition::Wildcard(wildcard) => wildcard.accepts(datum),
            Condition::AnythingBut(anything_but) => anything_but.accepts(datum),
            Condition::Numeric(numeric) => numeric.accepts(datum),
            Condition::Cidr(cidr) => cidr.accepts(datum),
            Condition::Exists => true,
        }
    }

    /// What an accepted value does, such as `starts with "a"`, and what another does not, such as
    /// `does not start with "a"`.
    pub(crate) fn words(&self) -> Words {
        match self {
            Condition::Literal(literal) => literal.words(),
            Condition::Prefix(prefix) => prefix.words(),
            Condition::Suffix(suffix) => suffix.words(),
            Condition::IgnoreCase(ignore_case) => ignore_case.words(),
            Condition::Wildcard(wildcard) => wildcard.words(),
            Condition::AnythingBut(anything_but) => anything_but.words(),
            Condition::Numeric(numeric) => numeric.words(),
            Condition::Cidr(cidr) => cidr.words(),
            Condition::Exists => Words::new("is present", "is absent"),
        }
    }
}

/// A condition said of a value, when it holds and when it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) holds: String,
    pub(crate) fails: String,
}

impl Words {
    fn new(holds: impl Into<String>, fails: impl Into<String>) -> Self {
        Self {
            holds: holds.into(),
            fails: fails.into(),
        }
    }
}

/// What one element of a field's array means.
pub(crate) enum Alternative {
    /// Some value fulfils the condition.
    Value(Condition),
    /// There is no value: `exists: false`.
    Absent,
}

/// Reads one element of a field's array.
pub(crate) fn parse(node: &Node<'_>, at: &Pointer<'_>) -> Result<Alternative, PatternError> {
    let entries = match &node.tree {
        Tree::Object(entries) => entries,
        Tree::Array(_) => {
            return Err(at.error(
                "a value to match is a string, number, true, false, null or an operator object; an array cannot stand inside the array",
            ));
        }
        scalar => return Ok(Alternative::Value(Condition::Literal(Literal::of(scalar)))),
    };
    let (name, operand) = only_entry(entries, at)?;
    let inside = at.key(name);
    let condition = match name {
        "exactly" => Condition::Literal(Literal::parse_exactly(operand, &inside)?),
        "prefix" => match nested_ignore_case(name, operand, &inside)? {
            Some(text) => Condition::IgnoreCase(IgnoreCase::prefix(&text)),
            None => Condition::Prefix(Prefix::new(string(name, operand, &inside)?)),
        },
        "suffix" => match nested_ignore_case(name, operand, &inside)? {
            Some(text) => Condition::IgnoreCase(IgnoreCase::suffix(&text)),
            None => Condition::Suffix(Suffix::new(string(name, operand, &inside)?)),
        },
        "equals-ignore-case" => {
            Condition::IgnoreCase(IgnoreCase::whole(string(name, operand, &inside)?))
        }
        "wildcard" => {
            Condition::Wildcard(Wildcard::parse(string(name, operand, &inside)?, &inside)?)
        }
        "anything-but" => Condition::AnythingBut(AnythingBut::parse(operand, &inside)?),
        "numeric" => Condition::Numeric(Numeric::parse(operand, &inside)?),
        "cidr" => Condition::Cidr(Cidr::parse(string(name, operand, &inside)?, &inside)?),
        "exists" => match operand.tree {
            Tree::Literal("true") => Condition::Exists,
            Tree::Literal("false") => return Ok(Alternative::Absent),
            _ => return Err(inside.error("\"exists\" takes true or false")),
        },
        unknown => return Err(unknown_operator(unknown, &inside)),
    };
    Ok(Alternative::Value(condition))
}

fn only_entry<'n, 'a>(
    entries: &'n [(String, Node<'a>)],
    at: &Pointer<'_>,
) -> Result<(&'n str, &'n Node<'a>), PatternError> {
    match entries {
        [(name, operand)] => Ok((name, operand)),
        [] => Err(at.error(format!(
            "an operator object is empty; it holds one operator of {}",
            listed(&NAMES)
        ))),
        [_, (second, _), ..] => Err(at.error(format!(
            "an operator object holds one operator only; write {} as an object of its own beside this one",
            quoted(second)
        ))),
    }
}

fn unknown_operator(name: &str, at: &Pointer<'_>) -> PatternError {
    let near = NAMES
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, _)| distance * 3 <= name.len());
    let remedy = match near {
        Some((_, known)) => format!("did you mean \"{known}\"?"),
        None => format!("the operators are {}", listed(&NAMES)),
    };
    at.error(format!("{} is no operator; {remedy}", quoted(name)))
}

/// The text of `{"equals-ignore-case": "…"}` under `prefix` or `suffix`.
fn nested_ignore_case(
    name: &str,
    operand: &Node<'_>,
    at: &Pointer<'_>,
) -> Result<Option<String>, PatternError> {
    let Tree::Object(entries) = &operand.tree else {
        return Ok(None);
    };
    match entries.as_slice() {
        [(inner, text)] if inner == "equals-ignore-case" => {
            let inside = at.key(inner);
            Ok(Some(string(inner, text, &inside)?.to_owned()))
        }
        _ => Err(at.error(format!(
            "\"{name}\" takes a string, or an object with \"equals-ignore-case\" alone"
        ))),
    }
}

fn string<'n>(
    name: &str,
    operand: &'n Node<'_>,
    at: &Pointer<'_>,
) -> Result<&'n str, PatternError> {
    match &operand.tree {
        Tree::String(text) => Ok(text),
        Tree::Array(_) => Err(at.error(format!(
            "\"{name}\" takes one string, not a list; write one operator object for each string"
        ))),
        _ => Err(at.error(format!("\"{name}\" takes a string"))),
    }
}

fn listed(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

fn quoted(text: &str) -> String {
    super::value::quoted(text)
}
