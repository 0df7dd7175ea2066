//! `{"anything-but": …}`: a value that is present and is none of those named.

use super::super::PatternError;
use super::super::error::Pointer;
use super::super::kinds::Kind;
use super::super::marks::Named as NamedMarks;
use super::super::number::Number;
use super::super::value::Datum;
use super::affix::{Prefix, Suffix};
use super::ignore_case::IgnoreCase;
use super::numeric::exact;
use super::wildcard::Wildcard;
use super::{Words, quoted};
use crate::json::{Node, Tree};

/// Values of another type than those named are something else and so accepted: `anything-but "x"`
/// accepts 5 and null.
#[derive(Debug, Clone)]
pub(crate) struct AnythingBut {
    said: String,
    named: Named,
}

#[derive(Debug, Clone)]
enum Named {
    /// Sorted.
    Strings(Box<[Box<str>]>),
    /// Sorted bits.
    Numbers(Box<[u64]>),
    Prefixes(Box<[Prefix]>),
    Suffixes(Box<[Suffix]>),
    IgnoreCases(Box<[IgnoreCase]>),
    Wildcards(Box<[Wildcard]>),
}

impl AnythingBut {
    pub(super) fn parse(operand: &Node<'_>, at: &Pointer<'_>) -> Result<AnythingBut, PatternError> {
        let (named, said) = match &operand.tree {
            Tree::Object(entries) => match entries.as_slice() {
                [(name, inner)] => parts(name, inner, &at.key(name))?,
                [] => {
                    return Err(at.error(format!("\"anything-but\" has an empty object; {INNER}")));
                }
                _ => {
                    return Err(
                        at.error(format!("\"anything-but\" holds one operator only; {INNER}"))
                    );
                }
            },
            _ => values(operand, at)?,
        };
        Ok(AnythingBut { said, named })
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        let named = match (&self.named, datum) {
            (Named::Strings(strings), Datum::String(text)) if strings.len() == 1 => {
                strings[0].len() == text.len() && *strings[0].as_bytes() == **text
            }
            (Named::Strings(strings), Datum::String(text)) => strings
                .binary_search_by(|named| named.as_bytes().cmp(text))
                .is_ok(),
            (Named::Numbers(numbers), Datum::Number(text)) => text
                .number()
                .is_some_and(|number| numbers.binary_search(&number.bits()).is_ok()),
            (Named::Prefixes(prefixes), _) => prefixes.iter().any(|prefix| prefix.accepts(datum)),
            (Named::Suffixes(suffixes), _) => suffixes.iter().any(|suffix| suffix.accepts(datum)),
            (Named::IgnoreCases(texts), _) => texts.iter().any(|text| text.accepts(datum)),
            (Named::Wildcards(wildcards), _) => {
                wildcards.iter().any(|wildcard| wildcard.accepts(datum))
            }
            _ => false,
        };
        !named
    }

    /// What shows of the values named.
    pub(crate) fn marks(&self) -> NamedMarks {
        match &self.named {
            Named::Strings(strings) => {
                NamedMarks::by(Kind::String, strings.iter().map(|text| text.as_bytes()))
            }
            Named::Prefixes(prefixes) => {
                let texts = prefixes.iter().map(|prefix| prefix.text().as_bytes());
                NamedMarks::by(Kind::Prefix, texts)
            }
            Named::Suffixes(suffixes) => {
                let texts = suffixes.iter().map(|suffix| suffix.text().as_bytes());
                NamedMarks::by(Kind::Suffix, texts)
            }
            Named::IgnoreCases(texts) => {
                let folded: Option<Vec<_>> = texts.iter().map(IgnoreCase::folded).collect();
                folded.map_or(NamedMarks::UNKNOWN, |folded| {
                    NamedMarks::by(Kind::Folded, folded.iter().map(Vec::as_slice))
                })
            }
            Named::Wildcards(wildcards) => {
                let starts = || wildcards.iter().map(Wildcard::start);
                if starts().all(|start| start.len() > 1) {
                    return NamedMarks::by(Kind::Prefix, starts());
                }
                NamedMarks::by(Kind::Suffix, wildcards.iter().map(Wildcard::end))
            }
            Named::Numbers(_) => NamedMarks::UNKNOWN,
        }
    }

    pub(crate) fn wildcards(&self) -> &[Wildcard] {
        match &self.named {
            Named::Wildcards(wildcards) => wildcards,
            _ => &[],
        }
    }

    pub(super) fn words(&self) -> Words {
        let said = &self.said;
        Words::new(
            format!("is not {said}"),
            format!("is {said}, which is excluded"),
        )
    }
}

const INNER: &str = "it takes a string, a number, a list of either, or one of \"prefix\", \"suffix\", \"equals-ignore-case\" and \"wildcard\"";

fn values(operand: &Node<'_>, at: &Pointer<'_>) -> Result<(Named, String), PatternError> {
    let listed = elements(operand, at)?;
    if listed
        .iter()
        .all(|(node, _)| matches!(node.tree, Tree::Number(_)))
    {
        let mut numbers = Vec::new();
        let mut said = Vec::new();
        for (node, index) in &listed {
            if let Tree::Number(text) = node.tree {
                let number: Number = match index {
                    Some(index) => exact(text, &at.index(*index))?,
                    None => exact(text, at)?,
                };
                numbers.push(number.bits());
                said.push(text.to_owned());
            }
        }
        numbers.sort_unstable();
        return Ok((Named::Numbers(numbers.into()), alternatives(&said)));
    }
    let mut strings: Vec<Box<str>> = Vec::new();
    let first_is_number = matches!(listed[0].0.tree, Tree::Number(_));
    for (node, index) in &listed {
        let wrong = |reason: &str| match index {
            Some(index) => at.index(*index).error(reason),
            None => at.error(reason),
        };
        match &node.tree {
            Tree::String(text) if !first_is_number => strings.push(text.as_str().into()),
            Tree::String(_) | Tree::Number(_) => {
                return Err(wrong(
                    "a list under \"anything-but\" holds either strings or numbers, not both",
                ));
            }
            _ => {
                return Err(wrong(&format!(
                    "\"anything-but\" cannot name this; {INNER}"
                )));
            }
        }
    }
    let said: Vec<String> = strings.iter().map(|text| quoted(text)).collect();
    strings.sort_unstable();
    Ok((Named::Strings(strings.into()), alternatives(&said)))
}

fn parts(name: &str, inner: &Node<'_>, at: &Pointer<'_>) -> Result<(Named, String), PatternError> {
    if !["prefix", "suffix", "equals-ignore-case", "wildcard"].contains(&name) {
        return Err(at.error(format!(
            "\"anything-but\" cannot be combined with {}; {INNER}",
            quoted(name)
        )));
    }
    let mut texts: Vec<&str> = Vec::new();
    let mut wildcards = Vec::new();
    for (node, index) in elements(inner, at)? {
        let inside;
        let at = match index {
            Some(index) => {
                inside = at.index(index);
                &inside
            }
            None => at,
        };
        let Tree::String(text) = &node.tree else {
            return Err(at.error(format!(
                "\"{name}\" under \"anything-but\" takes a string or a list of strings"
            )));
        };
        match name {
            "prefix" | "suffix" if text.is_empty() => {
                return Err(at.error(format!(
                    "every string has the empty {name}, so nothing would be left; name at least one character"
                )));
            }
            "wildcard" => wildcards.push(Wildcard::parse(text, at)?),
            _ => {}
        }
        texts.push(text);
    }
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    let said = alternatives(&quoted);
    let texts = texts.into_iter();
    Ok(match name {
        "prefix" => (
            Named::Prefixes(texts.map(Prefix::new).collect()),
            format!("a string that starts with {said}"),
        ),
        "suffix" => (
            Named::Suffixes(texts.map(Suffix::new).collect()),
            format!("a string that ends with {said}"),
        ),
        "wildcard" => (
            Named::Wildcards(wildcards.into()),
            format!("a string like {said}"),
        ),
        _ => (
            Named::IgnoreCases(texts.map(IgnoreCase::whole).collect()),
            format!("{said} in some case"),
        ),
    })
}

/// The elements with their indexes, or the one value alone.
fn elements<'n, 'a>(
    operand: &'n Node<'a>,
    at: &Pointer<'_>,
) -> Result<Vec<(&'n Node<'a>, Option<usize>)>, PatternError> {
    match &operand.tree {
        Tree::Array(elements) if elements.is_empty() => Err(at.error(
            "an empty list excludes nothing; name a string or number, or write {\"exists\": true}",
        )),
        Tree::Array(elements) => Ok(elements
            .iter()
            .enumerate()
            .map(|(index, node)| (node, Some(index)))
            .collect()),
        _ => Ok(vec![(operand, None)]),
    }
}

fn alternatives(said: &[String]) -> String {
    said.join(" or ")
}
