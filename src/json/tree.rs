//! A small JSON tree for texts that people write, which keeps what serde_json's loses.

use std::ops::Range;

use super::scanner::{Broken, Kind, Scanner};

/// A value: keeps duplicate keys, key order, number texts and places.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) span: Range<usize>,
    pub(crate) tree: Tree<'a>,
}

#[derive(Debug)]
pub(crate) enum Tree<'a> {
    Object(Vec<(String, Node<'a>)>),
    Array(Vec<Node<'a>>),
    String(String),
    Number(&'a str),
    Literal(&'static str),
}

/// Reads a whole text as one value.
pub(crate) fn read(text: &str) -> Result<Node<'_>, Broken> {
    let mut scanner = Scanner::new(text);
    let node = node(&mut scanner)?;
    scanner.end()?;
    Ok(node)
}

fn node<'a>(scanner: &mut Scanner<'a>) -> Result<Node<'a>, Broken> {
    let kind = scanner.kind()?;
    let start = scanner.at();
    let tree = match kind {
        Kind::Object => {
            scanner.enter()?;
            let mut entries = Vec::new();
            while let Some(key) = scanner.key(entries.is_empty())? {
                let key = key.decode().into_owned();
                entries.push((key, node(scanner)?));
            }
            Tree::Object(entries)
        }
        Kind::Array => {
            scanner.enter()?;
            let mut elements = Vec::new();
            while scanner.element(elements.is_empty())? {
                elements.push(node(scanner)?);
            }
            Tree::Array(elements)
        }
        Kind::String => Tree::String(scanner.string()?.decode().into_owned()),
        Kind::Number => Tree::Number(scanner.number()?),
        Kind::True => Tree::Literal(scanner.literal("true")?),
        Kind::False => Tree::Literal(scanner.literal("false")?),
        Kind::Null => Tree::Literal(scanner.literal("null")?),
    };
    let span = start..scanner.at();
    Ok(Node { span, tree })
}
