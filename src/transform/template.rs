//! Templates: text with holes, `<name>` or `${name}`, that values of the event fill.
//!
//! A **JSON template** is one JSON value once its holes are filled. Its result is always valid JSON:
//! outside of strings a hole takes the value as JSON, inside a string its characters, escaped; an
//! object or array has no place inside a string and is refused there. A **text template** is any
//! other text; values go in bare. EventBridge draws the same line but escapes nothing, so that a
//! quote in a value breaks the JSON or adds members to it.
//!
//! A template that is one JSON string is EventBridge's way to send text: there an object or array is
//! written without its quotes, as EventBridge does.

use serde_json::Value as Json;

use super::variables::{RESERVED, Reserved, Variables};
use super::{TransformError, Work};
use crate::json;
use crate::limits;
use crate::query::{Query, Subject};

/// How holes are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// `<name>`, EventBridge's.
    Angles,
    /// `${name}`, that of RocketMQ EventBridge.
    Dollar,
}

/// What a name of a template stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Variable {
    Path(Query),
    /// JSON text.
    Constant(String),
}

/// A compiled template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    kind: Kind,
    parts: Vec<Part>,
    /// The distinct values that holes name, each looked up once an event.
    values: Vec<(String, Source)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An object, array or other JSON value.
    Json,
    /// One JSON string.
    JsonString,
    Text,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(String),
    Hole { value: usize, in_string: bool },
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Variable(Variable),
    Reserved(Reserved),
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a template has at most {max} bytes, this one has {0}", max = limits::TRANSFORM_TEMPLATE_BYTES)]
    TooLong(usize),
    #[error("the template names `{name}`, which is no variable; {remedy}")]
    Unknown { name: String, remedy: String },
    #[error(
        "a template that begins with `{{` or `[` must be JSON once its placeholders are filled: {reason} (at its byte {at}); text goes into quotes"
    )]
    NotJson { at: usize, reason: &'static str },
}

impl Template {
    /// Compiles a template that is a text.
    pub fn parse(
        text: &str,
        marks: Marks,
        variables: &[(String, Variable)],
    ) -> Result<Template, TemplateError> {
        compile(text, marks, false, variables)
    }

    /// Compiles a template that is written as JSON itself. A string that is one placeholder and
    /// nothing else stands for the value, whatever its type.
    pub fn from_json(
        json: &str,
        marks: Marks,
        variables: &[(String, Variable)],
    ) -> Result<Template, TemplateError> {
        compile(json, marks, true, variables)
    }

    /// Whether the result is one JSON value, always.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.kind != Kind::Text
    }

    pub(super) fn fill(
        &self,
        subject: &Subject<'_>,
        variables: &Variables<'_>,
        work: &mut Work,
    ) -> Result<String, TransformError> {
        let mut values = Vec::with_capacity(self.values.len());
        for (_, source) in &self.values {
            values.push(match source {
                Source::Variable(Variable::Path(query)) => {
                    work.value(query, subject)?.map(|json| json.into_owned())
                }
                Source::Variable(Variable::Constant(json)) => Some(json.clone()),
                Source::Reserved(reserved) => reserved.json(subject, variables),
            });
        }
        let mut result = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => result.push_str(text),
                Part::Hole { value, in_string } => {
                    let name = &self.values[*value].0;
                    self.put(name, values[*value].as_deref(), *in_string, &mut result)?;
                }
            }
            if result.len() > limits::TRANSFORM_RESULT_BYTES {
                return Err(TransformError::TooLarge);
            }
        }
        Ok(result)
    }

    /// Puts one value; a missing one is empty in text and `""` in the place of a JSON value.
    fn put(
        &self,
        name: &str,
        json: Option<&str>,
        in_string: bool,
        result: &mut String,
    ) -> Result<(), TransformError> {
        match (self.kind, in_string, json) {
            (Kind::Json | Kind::JsonString, false, None) => result.push_str("\"\""),
            (Kind::Json | Kind::JsonString, false, Some(json)) => result.push_str(json),
            (_, _, None) => {}
            (Kind::Json, true, Some(json)) if json.starts_with(['{', '[']) => {
                return Err(TransformError::ContainerInString(name.to_owned()));
            }
            (Kind::Json | Kind::JsonString, true, Some(json)) => {
                let quoted = Json::from(bare(json)).to_string();
                result.push_str(&quoted[1..quoted.len() - 1]);
            }
            (Kind::Text, _, Some(json)) => result.push_str(&bare(json)),
        }
        Ok(())
    }
}

/// A value as text: a string's characters, an object or array on one line and without quotes.
fn bare(value: &str) -> String {
    let Ok(node) = json::read(value) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(value.len());
    write_bare(&node, &mut text);
    text
}

fn write_bare(node: &json::Node<'_>, text: &mut String) {
    match &node.tree {
        json::Tree::String(string) => text.push_str(string),
        json::Tree::Number(number) => text.push_str(number),
        json::Tree::Literal(literal) => text.push_str(literal),
        json::Tree::Array(elements) => {
            text.push('[');
            for (n, element) in elements.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                write_bare(element, text);
            }
            text.push(']');
        }
        json::Tree::Object(members) => {
            text.push('{');
            for (n, (name, value)) in members.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                text.push_str(name);
                text.push(':');
                write_bare(value, text);
            }
            text.push('}');
        }
    }
}

/// A piece of a template before it is known what the template is.
enum Piece<'t> {
    Literal(&'t str),
    Hole(&'t str),
}

fn compile(
    text: &str,
    marks: Marks,
    whole_strings: bool,
    variables: &[(String, Variable)],
) -> Result<Template, TemplateError> {
    if text.len() > limits::TRANSFORM_TEMPLATE_BYTES {
        return Err(TemplateError::TooLong(text.len()));
    }
    let pieces = split(text, marks);
    let mut template = Template {
        kind: Kind::Text,
        parts: Vec::new(),
        values: Vec::new(),
    };
    // Strings are found as if the template were JSON; in a text template it does not matter.
    let mut in_string = false;
    for (n, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(literal) => {
                in_string = quotes(literal, in_string);
                template.parts.push(Part::Literal((*literal).to_owned()));
            }
            Piece::Hole(name) => {
                let value = template.value(name, marks, variables)?;
                let before = n.checked_sub(1).and_then(|before| pieces.get(before));
                let alone = whole_strings
                    && in_string
                    && matches!(before, Some(Piece::Literal(text)) if text.ends_with('"') && !text.ends_with("\\\""))
                    && matches!(pieces.get(n + 1), Some(Piece::Literal(text)) if text.starts_with('"') && !is_key(&text[1..]));
                template.parts.push(Part::Hole {
                    value,
                    in_string: in_string && !alone,
                });
                if alone {
                    template.unquote();
                }
            }
        }
    }
    template.finish_unquoting();
    template.kind = kind(&template.parts, text)?;
    Ok(template)
}

/// Whether what follows a string's closing quote makes the string a member's name.
fn is_key(after: &str) -> bool {
    after.trim_start().starts_with(':')
}

/// Marks the end of a literal whose next character, a quote, is dropped.
const DROP_QUOTE: &str = "\u{0}";

impl Template {
    /// Takes the opening quote before the last hole away and remembers the closing one.
    fn unquote(&mut self) {
        let count = self.parts.len();
        if let Some(Part::Literal(before)) =
            count.checked_sub(2).and_then(|n| self.parts.get_mut(n))
        {
            before.pop();
        }
        self.parts.push(Part::Literal(DROP_QUOTE.to_owned()));
    }

    fn finish_unquoting(&mut self) {
        let mut parts: Vec<Part> = Vec::with_capacity(self.parts.len());
        let mut drop_quote = false;
        for part in self.parts.drain(..) {
            match part {
                Part::Literal(text) if text == DROP_QUOTE => drop_quote = true,
                Part::Literal(text) if drop_quote => {
                    drop_quote = false;
                    parts.push(Part::Literal(text[1..].to_owned()));
                }
                part => parts.push(part),
            }
        }
        self.parts = parts;
    }

    fn value(
        &mut self,
        name: &str,
        marks: Marks,
        variables: &[(String, Variable)],
    ) -> Result<usize, TemplateError> {
        if let Some(known) = self.values.iter().position(|(known, _)| known == name) {
            return Ok(known);
        }
        let given = variables.iter().find(|(given, _)| given == name);
        let source = match (given, Reserved::named(name)) {
            (Some((_, variable)), _) => Source::Variable(variable.clone()),
            (None, Some(reserved)) => Source::Reserved(reserved),
            (None, None) => {
                return Err(TemplateError::Unknown {
                    name: name.to_owned(),
                    remedy: remedy(name, marks, variables),
                });
            }
        };
        self.values.push((name.to_owned(), source));
        Ok(self.values.len() - 1)
    }
}

fn remedy(name: &str, marks: Marks, variables: &[(String, Variable)]) -> String {
    let (list, plain) = match marks {
        Marks::Angles => ("input_paths", "\\<"),
        Marks::Dollar => ("value", "\\$"),
    };
    let known = variables.iter().map(|(known, _)| known.as_str());
    let reserved = RESERVED.iter().map(|(known, _)| *known);
    let near = known
        .chain(reserved)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min();
    match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => format!("add it to `{list}`, or write `{plain}` where no placeholder is meant"),
    }
}

/// Whether a string is open behind the literal.
fn quotes(literal: &str, mut in_string: bool) -> bool {
    let mut escaped = false;
    for byte in literal.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    in_string
}

/// Cuts a template at its placeholders; an escaped mark loses its backslash.
fn split(text: &str, marks: Marks) -> Vec<Piece<'_>> {
    let (open, close) = match marks {
        Marks::Angles => ("<", '>'),
        Marks::Dollar => ("${", '}'),
    };
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find(open).map(|found| at + found) {
        at = found + open.len();
        let before = text[start..found].bytes().rev();
        // Two of them are a backslash.
        if before.take_while(|byte| *byte == b'\\').count() % 2 == 1 {
            pieces.push(Piece::Literal(&text[start..found - 1]));
            start = found;
            continue;
        }
        let Some(end) = text[at..].find(close).map(|end| at + end) else {
            break;
        };
        let name = &text[at..end];
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            continue;
        }
        pieces.push(Piece::Literal(&text[start..found]));
        pieces.push(Piece::Hole(name));
        at = end + close.len_utf8();
        start = at;
    }
    pieces.push(Piece::Literal(&text[start..]));
    pieces.retain(|piece| !matches!(piece, Piece::Literal("")));
    pieces
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// What the template is, told with every hole filled: by `0` in the place of a value, by a letter
/// in a string.
fn kind(parts: &[Part], text: &str) -> Result<Kind, TemplateError> {
    let mut probe = String::with_capacity(text.len());
    for part in parts {
        match part {
            Part::Literal(literal) => probe.push_str(literal),
            // Blanks around it: `1<a>` and `<a><b>` are no numbers.
            Part::Hole {
                in_string: false, ..
            } => probe.push_str(" 0 "),
            // Not nothing: a hole within an escape, `\\u00<a>`, must not go unnoticed.
            Part::Hole { .. } => probe.push('x'),
        }
    }
    match json::read(&probe) {
        Ok(node) if matches!(node.tree, json::Tree::String(_)) => Ok(Kind::JsonString),
        Ok(_) => Ok(Kind::Json),
        Err(broken) if text.trim_start().starts_with(['{', '[']) => Err(TemplateError::NotJson {
            at: broken.at,
            reason: broken.reason,
        }),
        Err(_) => Ok(Kind::Text),
    }
}
