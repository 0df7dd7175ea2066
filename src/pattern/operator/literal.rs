//! A value itself: `"x"`, `5`, `true`, `null`, and `{"exactly": "x"}`.

use std::net::IpAddr;

use super::super::PatternError;
use super::super::error::Pointer;
use super::super::number::Number;
use super::super::value::Datum;
use super::{Words, address, address_of, quoted, string};
use crate::json::{Node, Tree};

/// Equal in type and value: `"5"` is not `5`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    String(Box<str>),
    /// A string that is an IP address equals every spelling of that address.
    Address(Box<str>, IpAddr),
    /// Numbers that compare are equal however they are written.
    Number(Box<str>, Number),
    /// Other numbers equal their own text only; `true`, `false` and `null` stand here too.
    Text(Box<str>),
}

impl Literal {
    /// The literal that a scalar of the pattern is.
    pub(super) fn of(tree: &Tree<'_>) -> Literal {
        match tree {
            Tree::String(text) => match address(text) {
                Some(address) => Literal::Address(text.as_str().into(), address),
                None => Literal::String(text.as_str().into()),
            },
            Tree::Number(text) => match Number::of_text(text) {
                Some(number) => Literal::Number((*text).into(), number),
                None => Literal::Text((*text).into()),
            },
            Tree::Literal(text) => Literal::Text((*text).into()),
            Tree::Object(_) | Tree::Array(_) => unreachable!("only scalars are literals"),
        }
    }

    /// `exactly` compares characters, addresses too.
    pub(super) fn parse_exactly(
        operand: &Node<'_>,
        at: &Pointer<'_>,
    ) -> Result<Literal, PatternError> {
        Ok(Literal::String(string("exactly", operand, at)?.into()))
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        match (self, datum) {
            (Literal::String(wanted), Datum::String(text)) => *wanted.as_bytes() == **text,
            (Literal::Address(_, wanted), Datum::String(text)) => address_of(text) == Some(*wanted),
            (Literal::Number(_, wanted), Datum::Number(text)) => text.number() == Some(*wanted),
            (Literal::Text(wanted), Datum::Number(text)) => wanted.as_bytes() == text.text(),
            (Literal::Text(wanted), Datum::Literal(text)) => **wanted == **text,
            _ => false,
        }
    }

    pub(super) fn words(&self) -> Words {
        let json = match self {
            Literal::String(text) | Literal::Address(text, _) => quoted(text),
            Literal::Number(text, _) | Literal::Text(text) => text.to_string(),
        };
        Words::new(format!("is {json}"), format!("is not {json}"))
    }
}
