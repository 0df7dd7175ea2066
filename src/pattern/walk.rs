//! Walks a document along a tree of paths, skipping the rest, and stops when nothing can come.

use std::borrow::Cow;

use super::ahead::ask_for;
use super::number::NumberText;
use super::tree::Branch;
use super::value::{Datum, Fields, OUTSIDE, Place};
use super::{Document, Scalar};
use crate::json::{JsonText, Member, Strings, skip, unescaped};
use crate::limits;

/// Told of each value at a field. It may keep it or not.
pub(crate) trait Visit<'b, 'a> {
    fn fields(&mut self) -> &mut Fields<'a>;
    fn visit(&mut self, branch: &'b Branch, place: Place, datum: Datum<'a>);
}

/// Keeps all.
impl<'a> Visit<'_, 'a> for Fields<'a> {
    fn fields(&mut self) -> &mut Fields<'a> {
        self
    }
    fn visit(&mut self, branch: &Branch, place: Place, datum: Datum<'a>) {
        self.push(branch.field, place, datum);
    }
}

/// Reads a document along the paths of `root`.
pub(crate) fn walk<'b, 'a>(
    document: &Document<'a>,
    root: &'b Branch,
    visitor: &mut impl Visit<'b, 'a>,
) {
    match *document {
        Document::Json(text) => {
            ask_for_start(text.bytes());
            let start = skip::space(text.bytes(), 0);
            if text.bytes().get(start) == Some(&b'{') {
                follow(text, start, root, visitor);
            }
        }
        Document::Event { attributes, data } => {
            for (name, scalar) in attributes {
                if let Some(branch) = root.child(name.as_bytes())
                    && branch.field != 0
                {
                    visitor.visit(branch, OUTSIDE, datum_of(scalar));
                }
            }
            if let (Some(branch), Some(text)) = (root.child(b"data"), data) {
                ask_for_start(text.bytes());
                let start = skip::space(text.bytes(), 0);
                follow(text, start, branch, visitor);
            }
        }
    }
}

fn follow<'b, 'a>(
    text: JsonText<'a>,
    start: usize,
    root: &'b Branch,
    visitor: &mut impl Visit<'b, 'a>,
) {
    if text.is_plain() {
        Walk::<_, true>::new(text, visitor).value(start, root, OUTSIDE, true);
    } else {
        Walk::<_, false>::new(text, visitor).value(start, root, OUTSIDE, true);
    }
}

/// Asks for the first one and a half kilobytes. Where they are not in the cache, their lines come
/// together instead of each when the walk gets there. Eight lines gained half of what these do.
#[inline]
fn ask_for_start(bytes: &[u8]) {
    const LINE: usize = 64;
    const LINES: usize = 24;
    let (lines, _) = bytes.as_chunks::<LINE>();
    lines.iter().take(LINES).for_each(ask_for);
}

fn datum_of<'a>(scalar: &Scalar<'a>) -> Datum<'a> {
    match *scalar {
        Scalar::String(text) => Datum::String(Cow::Borrowed(text.as_bytes())),
        Scalar::Integer(value) => {
            Datum::Number(NumberText::new(Cow::Owned(value.to_string().into_bytes())))
        }
        Scalar::Boolean(true) => Datum::Literal("true"),
        Scalar::Boolean(false) => Datum::Literal("false"),
    }
}

/// Where to go on; nothing when the walk is over.
type Next = Option<usize>;

/// Of a `PLAIN` text each key leads to one place, and is there once.
struct Walk<'a, 'v, V, const PLAIN: bool> {
    bytes: &'a [u8],
    strings: Strings<'a>,
    /// Arrays that are open. Objects are followed no deeper than the paths; arrays have no names.
    arrays: usize,
    visitor: &'v mut V,
}

impl<'b, 'a, 'v, V: Visit<'b, 'a>, const PLAIN: bool> Walk<'a, 'v, V, PLAIN> {
    fn new(text: JsonText<'a>, visitor: &'v mut V) -> Self {
        Self {
            bytes: text.bytes(),
            strings: Strings::new(text.bytes()),
            arrays: 0,
            visitor,
        }
    }

    /// Reads the value whose first byte stands at `at`. `last` says that nothing outside of it is
    /// wanted any more, so that the walk may end inside.
    #[inline(always)]
    fn value(&mut self, at: usize, branch: &'b Branch, place: Place, last: bool) -> Next {
        match self.bytes.get(at) {
            Some(b'"') => {
                let end = self.strings.end(at + 1);
                if branch.field != 0 {
                    let raw = &self.bytes[at + 1..end];
                    let text = if self.strings.is_escaped() {
                        Cow::Owned(unescaped(raw).into_bytes())
                    } else {
                        Cow::Borrowed(raw)
                    };
                    self.visitor.visit(branch, place, Datum::String(text));
                }
                Some(end + 1)
            }
            Some(b'{') if branch.children() == 0 => Some(skip::container(self.bytes, at + 1)),
            Some(b'{') => self.object(at + 1, branch, place, last),
            Some(b'[') => self.array(at + 1, branch, place),
            Some(first) => {
                let end = skip::scalar(self.bytes, at);
                if branch.field != 0 {
                    let datum = match first {
                        b't' => Datum::Literal("true"),
                        b'f' => Datum::Literal("false"),
                        b'n' => Datum::Literal("null"),
                        _ => {
                            let text = &self.bytes[at..end];
                            Datum::Number(NumberText::new(Cow::Borrowed(text)))
                        }
                    };
                    self.visitor.visit(branch, place, datum);
                }
                // Bytes that are no JSON must not hold the walk up.
                Some(end.max(at + 1))
            }
            None => None,
        }
    }

    /// The byte at an offset; zero, which stands nowhere in JSON, behind the end.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn object(&mut self, start: usize, branch: &'b Branch, place: Place, last: bool) -> Next {
        let mut left = branch.children();
        let mut at = start;
        'members: loop {
            if self.byte(at) == b',' {
                at += 1;
            }
            match self.byte(at) {
                b'"' => {}
                b',' | b' ' | b'\n' | b'\r' | b'\t' => {
                    at = skip::space(self.bytes, at + 1);
                    continue;
                }
                _ if at < self.bytes.len() => return Some(at + 1),
                _ => return None,
            }
            let mut from = at + 1;
            let to = loop {
                let (key_end, value_start, value_end, is_followed) = match self.strings.member(from)
                {
                    Member::Text {
                        key_end,
                        value_start,
                        value_end,
                        is_followed,
                    } if PLAIN => (key_end, value_start, value_end, is_followed),
                    Member::Text { key_end, .. } | Member::Key { key_end } => break key_end,
                };
                if let Some(child) = branch.child_within(self.bytes, from, key_end) {
                    left -= 1;
                    if child.field != 0 {
                        let text = &self.bytes[value_start..value_end];
                        let datum = Datum::String(Cow::Borrowed(text));
                        self.visitor.visit(child, place, datum);
                    }
                    if left == 0 {
                        if last {
                            return None;
                        }
                        return Some(skip::container(self.bytes, value_end + 1));
                    }
                }
                if !is_followed {
                    at = value_end + 1;
                    continue 'members;
                }
                from = value_end + 3;
            };
            at = to + 2;
            if self.byte(to + 1) != b':' || self.byte(at) <= b' ' {
                at = skip::space(self.bytes, to + 1);
                at = skip::space(self.bytes, at + 1);
            }
            let child = if PLAIN {
                branch.child_within(self.bytes, from, to)
            } else if self.strings.is_escaped() {
                branch.descend(unescaped(&self.bytes[from..to]).as_bytes())
            } else {
                branch.descend(&self.bytes[from..to])
            };
            match child {
                Some(child) => {
                    // Of a plain document each child comes once.
                    left -= usize::from(PLAIN);
                    at = self.value(at, child, place, last && left == 0)?;
                    if left == 0 {
                        if last {
                            return None;
                        }
                        return Some(skip::container(self.bytes, at));
                    }
                }
                None => at = self.pass(at),
            }
        }
    }

    /// Passes over a value that nobody asks for.
    #[inline(always)]
    fn pass(&mut self, at: usize) -> usize {
        match self.bytes.get(at) {
            Some(b'"') => self.strings.end(at + 1) + 1,
            Some(b'{' | b'[') => skip::container(self.bytes, at + 1),
            // Bytes that are no JSON must not hold the walk up.
            _ => skip::scalar(self.bytes, at).max(at + 1),
        }
    }

    fn array(&mut self, start: usize, branch: &'b Branch, place: Place) -> Next {
        // Nobody checked such bytes.
        if self.arrays == limits::JSON_DEPTH {
            return None;
        }
        self.arrays += 1;
        let array = self.visitor.fields().begin(place);
        let mut at = start;
        loop {
            at = skip::space(self.bytes, at);
            match self.bytes.get(at) {
                Some(b',') => at += 1,
                Some(b'{' | b'[') => {
                    let element = self.visitor.fields().begin(array);
                    at = self.value(at, branch, element, false)?;
                    self.visitor.fields().finish(element);
                }
                Some(b']') => break,
                Some(_) => at = self.value(at, branch, place, false)?,
                None => return None,
            }
        }
        self.visitor.fields().finish(array);
        self.arrays -= 1;
        Some(at + 1)
    }
}
