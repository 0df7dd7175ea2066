//! Plain paths, `$.a.b['c'][0]`: read from the document's bytes, without building anything of it.

use std::borrow::Cow;

use crate::json::{skip, unescaped};

/// One step of a plain path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// The steps of a plain path; `None` for every other text.
///
/// A name behind a dot may hold `-`, which RFC 9535 asks to put in brackets: `$.detail-type` is how
/// EventBridge's users write it, and it cannot mean anything else.
pub(super) fn parse(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let step;
        (step, rest) = match rest.strip_prefix('.') {
            Some(name) => shorthand(name)?,
            None => bracketed(rest.strip_prefix('[')?)?,
        };
        steps.push(step);
    }
    Some(steps)
}

fn shorthand(text: &str) -> Option<(Step, &str)> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    if !text.starts_with(first) {
        return None;
    }
    let end = text
        .find(|c: char| !(first(c) || c.is_ascii_digit() || c == '-'))
        .unwrap_or(text.len());
    Some((Step::Name(text[..end].to_owned()), &text[end..]))
}

fn bracketed(text: &str) -> Option<(Step, &str)> {
    let quote = text.chars().next()?;
    if matches!(quote, '\'' | '"') {
        let (name, rest) = text[1..].split_once(quote)?;
        if name.contains(|c: char| c == '\\' || c < ' ') {
            return None;
        }
        return Some((Step::Name(name.to_owned()), rest.strip_prefix(']')?));
    }
    let (digits, rest) = text.split_once(']')?;
    let canonical = digits == "0" || !digits.starts_with('0');
    // Fifteen digits: RFC 9535 stops at 2^53.
    if !canonical || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Step::Index(digits.parse().ok()?), rest))
}

/// The bytes of the value that the steps lead to; of a key that is repeated, the last counts.
///
/// `plain` says that no key is repeated and none holds an escape, so that a search may stop.
pub(super) fn find<'a>(valid: &'a [u8], steps: &[Step], plain: bool) -> Option<&'a [u8]> {
    let mut at = skip::space(valid, 0);
    for step in steps {
        at = match step {
            Step::Name(name) => member(valid, at, name, plain)?,
            Step::Index(index) => element(valid, at, *index)?,
        };
    }
    valid.get(at..skip::value(valid, at))
}

/// Offset of the member's value in the object at `at`.
fn member(valid: &[u8], at: usize, name: &str, plain: bool) -> Option<usize> {
    let mut found = None;
    let mut next = first_member(valid, at);
    while let Some(member) = next {
        if member.name == name.as_bytes() {
            if plain {
                return Some(member.value);
            }
            found = Some(member.value);
        }
        next = member_after(valid, skip::value(valid, member.value));
    }
    found
}

/// Offset of the element in the array at `at`.
fn element(valid: &[u8], at: usize, index: usize) -> Option<usize> {
    let mut next = first_element(valid, at);
    for _ in 0..index {
        next = element_after(valid, skip::value(valid, next?));
    }
    next
}

/// A member of an object.
pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, [u8]>,
    /// Offset of its value.
    pub(super) value: usize,
}

/// The first member of the value at `at`; `None` when it is no object or has none.
pub(super) fn first_member(valid: &[u8], at: usize) -> Option<Member<'_>> {
    if valid.get(at) != Some(&b'{') {
        return None;
    }
    read_member(valid, skip::space(valid, at + 1))
}

/// The member behind a value that ends at `end`.
pub(super) fn member_after(valid: &[u8], end: usize) -> Option<Member<'_>> {
    let at = skip::space(valid, end);
    if valid.get(at) != Some(&b',') {
        return None;
    }
    read_member(valid, skip::space(valid, at + 1))
}

fn read_member(valid: &[u8], at: usize) -> Option<Member<'_>> {
    if valid.get(at) != Some(&b'"') {
        return None;
    }
    let string = skip::string(valid, at + 1);
    let raw = valid.get(at + 1..string.end)?;
    let name = if string.escaped {
        Cow::Owned(unescaped(raw).into_bytes())
    } else {
        Cow::Borrowed(raw)
    };
    let colon = skip::space(valid, string.after);
    let value = skip::space(valid, colon + 1);
    (value < valid.len()).then_some(Member { name, value })
}

/// Offset of the first element of the value at `at`; `None` when it is no array or has none.
pub(super) fn first_element(valid: &[u8], at: usize) -> Option<usize> {
    if valid.get(at) != Some(&b'[') {
        return None;
    }
    let first = skip::space(valid, at + 1);
    valid.get(first).filter(|byte| **byte != b']')?;
    Some(first)
}

/// Offset of the element behind a value that ends at `end`.
pub(super) fn element_after(valid: &[u8], end: usize) -> Option<usize> {
    let at = skip::space(valid, end);
    if valid.get(at) != Some(&b',') {
        return None;
    }
    Some(skip::space(valid, at + 1)).filter(|at| *at < valid.len())
}
