//! Turns a pattern's JSON into sub-rules: the `$or`s multiplied out, every field a clause.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PatternError;
use super::complexity;
use super::error::Pointer;
use super::operator::{self, Alternative, Condition};
use super::value::quoted;
use crate::json::{self, Node, Tree};
use crate::limits;

/// One field's condition: some value fulfils one of the conditions, or there is no value and
/// absence is among the alternatives.
#[derive(Debug)]
pub(crate) struct Clause {
    /// RFC 6901 pointer of the field inside the pattern.
    pub(crate) pointer: String,
    /// Where the field stands in the pattern's text.
    pub(crate) start: usize,
    /// The field's array as JSON text.
    pub(crate) wanted: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) absent: bool,
}

/// One way to match: all its clauses must hold, together.
#[derive(Debug, Clone)]
pub(crate) struct SubRule {
    /// Path and clause, in the order of paths: by UTF-16 unit, as Java compares strings. The order
    /// matters to absence beside values in arrays.
    pub(crate) clauses: Vec<(Arc<str>, Arc<Clause>)>,
}

/// Names that event-ruler keeps for operators, present and future, inside `$or`.
const RESERVED_IN_OR: [&str; 15] = [
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// Parses a pattern into its sub-rules, at least one; else what is wrong, at least one fault.
pub(crate) fn parse(text: &str) -> Result<Vec<SubRule>, Vec<PatternError>> {
    if text.len() > limits::PATTERN_BYTES {
        return Err(vec![Pointer::ROOT.error(format!(
            "the pattern has {} bytes; at most {} are allowed",
            text.len(),
            limits::PATTERN_BYTES
        ))]);
    }
    let node = json::read(text).map_err(|broken| vec![broken.into()])?;
    let Tree::Object(entries) = &node.tree else {
        return Err(vec![Pointer::ROOT.error(
            "a pattern is a JSON object of fields, such as {\"type\": [\"com.example.order.created\"]}",
        )]);
    };
    let mut parser = Parser {
        text,
        rules: Vec::new(),
        faults: Faults::default(),
    };
    if let Err(last) = parser.object(entries, "", &Pointer::ROOT, false) {
        parser.faults.add(last);
    }
    parser.faults.settle()?;
    Ok(parser.rules.iter().map(sub_rule).collect())
}

/// Clauses by path while a sub-rule is put together.
type Draft = BTreeMap<Arc<str>, Arc<Clause>>;

fn sub_rule(draft: &Draft) -> SubRule {
    let mut clauses: Vec<_> = draft
        .iter()
        .map(|(path, clause)| (Arc::clone(path), Arc::clone(clause)))
        .collect();
    clauses.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    SubRule { clauses }
}

/// Reads fields in the order they stand: a field that comes again, plainly or through a `$or`,
/// replaces the earlier one, as in event-ruler.
///
/// What is wrong with one field is noted, and reading goes on behind it. An error ends it: what is too
/// large would only be found too large again.
struct Parser<'t> {
    text: &'t str,
    rules: Vec<Draft>,
    faults: Faults,
}

impl Parser<'_> {
    fn object(
        &mut self,
        entries: &[(String, Node<'_>)],
        path: &str,
        at: &Pointer<'_>,
        in_or: bool,
    ) -> Result<(), PatternError> {
        if entries.is_empty() {
            self.faults.add(at.error(
                "an empty object matches nothing in particular; name at least one field in it",
            ));
        }
        for (name, node) in entries {
            let inside = at.key(name);
            if name == "$or" {
                self.or(node, path, &inside)?;
                continue;
            }
            if in_or && is_reserved_in_or(name) {
                self.faults.add(inside.error(format!(
                    "{} is an operator's name and cannot be a field inside \"$or\"; an operator stands in a field's array, as in {{\"field\": [{{{}: …}}]}}",
                    quoted(name),
                    quoted(name)
                )));
                continue;
            }
            let path = joined(path, name);
            match &node.tree {
                Tree::Object(entries) => self.object(entries, &path, &inside, in_or)?,
                Tree::Array(elements) => self.field(elements, node, &path, &inside)?,
                _ => self.faults.add(inside.error(format!(
                    "{} must be an array of what is wanted, such as [{}], or an object of fields",
                    quoted(name),
                    &self.text[node.span.clone()]
                ))),
            }
        }
        Ok(())
    }

    fn or(&mut self, node: &Node<'_>, path: &str, at: &Pointer<'_>) -> Result<(), PatternError> {
        const SHAPE: &str =
            "\"$or\" takes an array of at least two objects, such as [{\"a\": [1]}, {\"b\": [2]}]";
        let Tree::Array(branches) = &node.tree else {
            self.faults.add(at.error(SHAPE));
            return Ok(());
        };
        let mut before = std::mem::take(&mut self.rules);
        if before.is_empty() {
            before.push(Draft::new());
        }
        let mut all = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            let inside = at.index(index);
            let Tree::Object(entries) = &branch.tree else {
                let fault = inside.error(format!("this is no object; {SHAPE}"));
                self.faults.add(fault);
                continue;
            };
            self.rules = before.clone();
            self.object(entries, path, &inside, true)?;
            all.append(&mut self.rules);
            if all.len() > limits::PATTERN_SUB_RULES {
                return Err(at.error(format!(
                    "the \"$or\"s multiply to more than {} combinations; use fewer or smaller ones",
                    limits::PATTERN_SUB_RULES
                )));
            }
        }
        if branches.len() < 2 {
            self.faults.add(at.error(SHAPE));
        }
        self.rules = all;
        Ok(())
    }

    fn field(
        &mut self,
        elements: &[Node<'_>],
        node: &Node<'_>,
        path: &str,
        at: &Pointer<'_>,
    ) -> Result<(), PatternError> {
        if elements.is_empty() {
            self.faults.add(at.error(
                "an empty array matches nothing; list the wanted values, or write [{\"exists\": true}]",
            ));
        }
        let mut conditions = Vec::new();
        let mut absent = false;
        for (index, element) in elements.iter().enumerate() {
            match operator::parse(element, &at.index(index)) {
                Ok(Alternative::Value(condition)) => conditions.push(condition),
                Ok(Alternative::Absent) => absent = true,
                Err(fault) => self.faults.add(fault),
            }
        }
        if complexity::too_complex(&conditions) {
            self.faults.add(at.error(
                "the wildcards of this field are too complex together; use fewer stars, fewer wildcards, or fewer repeated characters after a star",
            ));
        }
        let clause = Arc::new(Clause {
            pointer: at.to_string(),
            start: node.span.start,
            wanted: compact(&self.text[node.span.clone()]),
            conditions,
            absent,
        });
        let path: Arc<str> = path.into();
        if self.rules.is_empty() {
            self.rules.push(Draft::new());
        }
        for draft in &mut self.rules {
            draft.insert(Arc::clone(&path), Arc::clone(&clause));
            if draft.len() > limits::PATTERN_FIELDS {
                return Err(at.error(format!(
                    "the pattern has more than {} fields",
                    limits::PATTERN_FIELDS
                )));
            }
        }
        Ok(())
    }
}

/// What is wrong, in the order in which it stands; the first ones of very many.
#[derive(Debug, Default)]
struct Faults {
    first: Vec<PatternError>,
    more: usize,
}

impl Faults {
    fn add(&mut self, fault: PatternError) {
        match self.first.len() < limits::PATTERN_FAULTS {
            true => self.first.push(fault),
            false => self.more += 1,
        }
    }

    fn settle(&mut self) -> Result<(), Vec<PatternError>> {
        let mut faults = std::mem::take(&mut self.first);
        if self.more > 0 {
            let more = format!("and {} more; mend the others first", self.more);
            faults.push(Pointer::ROOT.error(more));
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults),
        }
    }
}

fn is_reserved_in_or(name: &str) -> bool {
    operator::NAMES.contains(&name) || RESERVED_IN_OR.contains(&name)
}

/// A path and the next name. An empty path adds no dot, so that a pattern's field under an empty
/// name is the name alone: what event-ruler does.
fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// JSON text without the white space between its tokens.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for character in json.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_string = character == '"';
        }
        text.push(character);
    }
    text
}
