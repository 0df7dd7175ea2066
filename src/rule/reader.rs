//! Reads a JSON document field by field and collects every problem on the way, each with its place.
//!
//! serde's derived readers stop at the first error and know no offsets; this one goes on. Values are
//! slices of the text, so numbers keep their digits and a place is a difference of two addresses.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{Problems, join};

/// The fields an object may have.
#[derive(Debug)]
pub(super) struct Shape {
    /// What the object is, such as `a rule`.
    pub(super) what: &'static str,
    pub(super) fields: &'static [&'static str],
    /// Fields that a later version brings: refused by name, never accepted and ignored.
    pub(super) later: &'static [&'static str],
    /// Fields that stand elsewhere, with where.
    pub(super) elsewhere: &'static [(&'static str, &'static str)],
}

/// One value of a document.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    text: &'a str,
    raw: &'a str,
    pub(super) pointer: String,
}

/// One object of a document, its fields known to fit its shape.
#[derive(Debug)]
pub(super) struct Object<'a> {
    node: Node<'a>,
    what: &'static str,
    members: Vec<(Cow<'a, str>, Node<'a>)>,
}

impl<'a> Node<'a> {
    /// The whole document; a syntax error is the one problem then.
    pub(super) fn document(text: &'a str, problems: &mut Problems) -> Option<Node<'a>> {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Some(Node {
                text,
                raw: raw.get(),
                pointer: String::new(),
            }),
            Err(error) => {
                let offset = offset_of(text, error.line(), error.column());
                problems.add("", offset, not_json(text, offset, &error));
                None
            }
        }
    }

    /// The value as it is written.
    pub(super) fn raw(&self) -> &'a str {
        self.raw
    }

    /// Where the value starts in the document's text.
    pub(super) fn offset(&self) -> usize {
        // `raw` is a slice of `text`: serde_json hands out borrowed raw values only.
        (self.raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    pub(super) fn problem(&self, problems: &mut Problems, detail: impl Into<String>) {
        problems.add(&self.pointer, self.offset(), detail);
    }

    /// Says that the value has the wrong type; `wanted` reads like `a string such as "10s"`.
    fn wrong(&self, problems: &mut Problems, wanted: &str) {
        let found = match self.raw.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        self.problem(problems, format!("must be {wanted}, not {found}"));
    }

    pub(super) fn string(&self, wanted: &str, problems: &mut Problems) -> Option<String> {
        if !self.raw.starts_with('"') {
            self.wrong(problems, wanted);
            return None;
        }
        match serde_json::from_str(self.raw) {
            Ok(string) => Some(string),
            Err(error) => {
                self.problem(problems, format!("is not a readable string: {error}"));
                None
            }
        }
    }

    pub(super) fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        match self.raw {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.wrong(problems, "true or false");
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer(&self, least: u64, most: u64, problems: &mut Problems) -> Option<u64> {
        let wanted = format!("a whole number from {least} to {most}");
        if !self
            .raw
            .starts_with(|c: char| c.is_ascii_digit() || c == '-')
        {
            self.wrong(problems, &wanted);
            return None;
        }
        match self.raw.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.problem(
                    problems,
                    format!("must be {wanted}, not {}", short(self.raw)),
                );
                None
            }
        }
    }

    pub(super) fn array(&self, wanted: &str, problems: &mut Problems) -> Option<Vec<Node<'a>>> {
        if !self.raw.starts_with('[') {
            self.wrong(problems, wanted);
            return None;
        }
        Some(self.elements())
    }

    /// The members of an object that has no fixed fields; None, and a problem, when it is no object.
    pub(super) fn members(
        &self,
        wanted: &str,
        problems: &mut Problems,
    ) -> Option<Vec<(Cow<'a, str>, Node<'a>)>> {
        if !self.raw.starts_with('{') {
            self.wrong(problems, wanted);
            return None;
        }
        let members = self.entries();
        if members.is_none() {
            self.problem(problems, "has a name that is no text: mend its escapes");
        }
        members
    }

    /// Opens an object: unknown, doubled and reserved fields are problems here.
    pub(super) fn object(&self, shape: &Shape, problems: &mut Problems) -> Option<Object<'a>> {
        let wanted = format!("an object with {}", list(shape.fields));
        let mut members: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
        for (name, value) in self.members(&wanted, problems)? {
            let offset = value.key_offset(&name);
            if members.iter().any(|(seen, _)| *seen == name) {
                let detail = format!("`{}` is given twice; keep one of the two", short(&name));
                problems.add(&value.pointer, offset, detail);
            } else if shape.fields.contains(&name.as_ref()) {
                members.push((name, value));
            } else {
                problems.add(&value.pointer, offset, shape.refusal(&name));
            }
        }
        Some(Object {
            node: self.clone(),
            what: shape.what,
            members,
        })
    }

    /// Where the member's name starts; of a name with escapes, which is a copy, where its value does.
    pub(super) fn key_offset(&self, name: &str) -> usize {
        let within = (name.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        match within {
            Some(offset) if (1..self.text.len()).contains(&offset) => offset - 1,
            _ => self.offset(),
        }
    }

    /// The members of an object as they stand, doubled ones included; None for other values, and
    /// when a name holds half a surrogate pair, which raw JSON lets pass.
    pub(super) fn entries(&self) -> Option<Vec<(Cow<'a, str>, Node<'a>)>> {
        let Entries(entries) = serde_json::from_str(self.raw).ok()?;
        let members = entries.into_iter().map(|(name, raw)| {
            let value = self.child(raw, join(&self.pointer, &name));
            (name, value)
        });
        Some(members.collect())
    }

    /// The elements of an array; empty for other values.
    pub(super) fn elements(&self) -> Vec<Node<'a>> {
        let elements: Elements<'a> = serde_json::from_str(self.raw).unwrap_or_default();
        elements
            .0
            .into_iter()
            .enumerate()
            .map(|(index, raw)| self.child(raw, format!("{}/{index}", self.pointer)))
            .collect()
    }

    fn child(&self, raw: &'a RawValue, pointer: String) -> Node<'a> {
        Node {
            text: self.text,
            raw: raw.get(),
            pointer,
        }
    }
}

/// Why a text is no JSON, with a remedy for what people write most often.
fn not_json(text: &str, offset: usize, error: &serde_json::Error) -> String {
    if text.starts_with('\u{feff}') {
        return "this is not JSON: it begins with a byte order mark; save it as UTF-8 without one"
            .to_owned();
    }
    if text.trim().is_empty() {
        return "this is not JSON: it is empty, and an object is wanted".to_owned();
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    // serde_json stands on the last byte that it took, or on the first that it did not.
    let here = &text[offset..];
    let remedy = if here.starts_with("//") || here.starts_with("/*") || here.starts_with('#') {
        "; JSON has no comments: a rule has `description`"
    } else if here.starts_with('\'') {
        "; strings stand in double quotes"
    } else if here.starts_with([']', '}']) && text[..offset].trim_end().ends_with(',') {
        "; remove the comma before it"
    } else {
        ""
    };
    format!("this is not JSON: {message}{remedy}")
}

impl<'a> Object<'a> {
    pub(super) fn field(&self, name: &str) -> Option<&Node<'a>> {
        self.members
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, value)| value)
    }

    /// A field that must be there; `example` shows how it is written.
    pub(super) fn required(
        &self,
        name: &str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<&Node<'a>> {
        let field = self.field(name);
        if field.is_none() {
            let detail = format!("{} needs `{name}`; add {example}", self.what);
            self.node.problem(problems, detail);
        }
        field
    }
}

impl Shape {
    /// Why a field that is not in the shape is refused.
    fn refusal(&self, name: &str) -> String {
        let name = &short(name);
        if self.later.contains(&name.as_str()) {
            return format!(
                "this version has no `{name}` yet: a later one brings it; remove the field"
            );
        }
        if let Some((_, place)) = self.elsewhere.iter().find(|(field, _)| field == name) {
            return format!("`{name}` does not stand here; move it {place}");
        }
        match nearest(name, self.fields) {
            Some(near) => format!("{} has no `{name}`; did you mean `{near}`?", self.what),
            None => format!(
                "{} has no `{name}`; it has {}",
                self.what,
                list(self.fields)
            ),
        }
    }
}

/// The known name that the author most likely meant.
pub(crate) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let plain = |name: &str| -> String {
        name.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let wanted = plain(name);
    known
        .iter()
        .map(|&known| (strsim::damerau_levenshtein(&wanted, &plain(known)), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known)
}

/// `a`, `b` and `c`, each in backticks.
pub(super) fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names
        .iter()
        .filter(|name| !name.starts_with('$'))
        .map(|name| format!("`{name}`"))
        .collect();
    match shown.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "no fields".to_owned(),
    }
}

/// At most 60 characters of what an author wrote, for a message.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Byte offset of serde_json's line and column (both from 1, columns in bytes; column 0 is the line
/// break before).
pub(super) fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let mut offset = (start + column).saturating_sub(1).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// The members of an object, in order, doubled ones included.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(EntriesVisitor).map(Entries)
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }
        deserializer.deserialize_str(NameVisitor).map(Name)
    }
}

/// The elements of an array, in order.
#[derive(Default)]
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;
        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Vec<&'de RawValue>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(ElementsVisitor).map(Elements)
    }
}
