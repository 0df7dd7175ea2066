//! How an event lies in memory and on disk: one run of bytes that reads without copying.
//!
//! All integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of this layout, 1 |
//! | 1 | data kind: 0 none, 1 JSON, 2 text, 3 binary, 4 JSON that is plain |
//! | 2 | zero |
//! | 4 × 5 | lengths of id, source, type, optional attributes, data |
//! | … | id, source, type, optional attributes, data, in that order and nothing after |
//!
//! An optional attribute is: name length (1 byte), value kind (1 byte: 0 string, 1 integer,
//! 2 boolean), name, value. A string is its length (4 bytes) and UTF-8, an integer 4 bytes, a
//! boolean one byte. JSON is plain when no object in it repeats a key and no key holds a dot or an
//! escape: found out once, here, so that whoever reads it for a pattern may stop early. `specversion` is not written: the layout's version stands for it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::{Data, Value, attribute};
use crate::json::is_plain;

const VERSION: u8 = 1;
const HEAD: usize = 24;

const NO_DATA: u8 = 0;
const JSON: u8 = 1;
const TEXT: u8 = 2;
const BINARY: u8 = 3;
const PLAIN_JSON: u8 = 4;

const STRING: u8 = 0;
const INTEGER: u8 = 1;
const BOOLEAN: u8 = 2;

const CHECKED: &str = "an event's stored form was checked when the event was made";

/// Why bytes are no stored event: they were damaged, or written by a newer version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored event does not read back: {0}")]
pub struct StoredEventError(pub &'static str);

/// An attribute's value on its way into an event: borrowed where the request holds it as it is.
#[derive(Debug, Clone)]
pub(super) enum Given<'a> {
    String(Cow<'a, str>),
    Integer(i32),
    Boolean(bool),
}

impl Given<'_> {
    /// The bytes that the value counts against `limits::ATTRIBUTES_BYTES`.
    pub(super) fn len(&self) -> usize {
        match self {
            Given::String(text) => text.len(),
            Given::Integer(_) => 4,
            Given::Boolean(_) => 1,
        }
    }
}

/// The parts of an event, all rules checked, in the order they are written.
pub(super) struct Parts<'a> {
    pub(super) id: &'a str,
    pub(super) source: &'a str,
    pub(super) kind: &'a str,
    pub(super) optional: &'a [(Cow<'a, str>, Given<'a>)],
    pub(super) data: Option<Data<'a>>,
}

impl Parts<'_> {
    fn optional_len(&self) -> usize {
        self.optional
            .iter()
            .map(|(name, value)| {
                let prefix = match value {
                    Given::String(_) => 6,
                    Given::Integer(_) | Given::Boolean(_) => 2,
                };
                prefix + name.len() + value.len()
            })
            .sum()
    }

    /// The bytes that `write` makes; the caller holds them against `limits::EVENT_BYTES`, so that
    /// no length overflows its field.
    pub(super) fn len(&self) -> usize {
        let data = self.data.map_or(0, |data| data.as_bytes().len());
        HEAD + self.id.len() + self.source.len() + self.kind.len() + self.optional_len() + data
    }

    /// Writes the stored form: the one copy that making an event costs.
    pub(super) fn write(&self) -> Bytes {
        let (data_kind, data) = data_of(self.data);
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(&[VERSION, data_kind, 0, 0]);
        for len in [
            self.id.len(),
            self.source.len(),
            self.kind.len(),
            self.optional_len(),
            data.len(),
        ] {
            out.extend_from_slice(&length(len));
        }
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.source.as_bytes());
        out.extend_from_slice(self.kind.as_bytes());
        for (name, value) in self.optional {
            let name_len = u8::try_from(name.len()).expect("names are bounded by the limits");
            let value_kind = match value {
                Given::String(_) => STRING,
                Given::Integer(_) => INTEGER,
                Given::Boolean(_) => BOOLEAN,
            };
            out.extend_from_slice(&[name_len, value_kind]);
            out.extend_from_slice(name.as_bytes());
            match value {
                Given::String(text) => {
                    out.extend_from_slice(&length(text.len()));
                    out.extend_from_slice(text.as_bytes());
                }
                Given::Integer(number) => out.extend_from_slice(&number.to_le_bytes()),
                Given::Boolean(truth) => out.push(u8::from(*truth)),
            }
        }
        out.extend_from_slice(data);
        Bytes::from(out)
    }
}

fn data_of(data: Option<Data<'_>>) -> (u8, &[u8]) {
    match data {
        None => (NO_DATA, &[]),
        Some(Data::Json(json)) if is_plain(json) => (PLAIN_JSON, json),
        Some(Data::Json(json)) => (JSON, json),
        Some(Data::Text(text)) => (TEXT, text.as_bytes()),
        Some(Data::Binary(bytes)) => (BINARY, bytes),
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("events are bounded by the limits")
        .to_le_bytes()
}

/// Where the parts of a stored event end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    id_end: usize,
    source_end: usize,
    kind_end: usize,
    optional_end: usize,
    data_end: usize,
}

impl Layout {
    /// Reads the head, saying nothing about whether the parts are all there.
    fn read(stored: &[u8]) -> Option<Layout> {
        let mut lengths = stored
            .get(4..HEAD)?
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap_or_default()) as usize);
        let mut end = HEAD;
        let mut next = || -> Option<usize> {
            end = end.checked_add(lengths.next()?)?;
            Some(end)
        };
        Some(Layout {
            id_end: next()?,
            source_end: next()?,
            kind_end: next()?,
            optional_end: next()?,
            data_end: next()?,
        })
    }

    /// The layout of a checked event.
    pub(super) fn of(stored: &[u8]) -> Layout {
        Layout::read(stored).expect(CHECKED)
    }

    pub(super) fn id(self, stored: &[u8]) -> &str {
        text(stored, HEAD..self.id_end).expect(CHECKED)
    }

    pub(super) fn source(self, stored: &[u8]) -> &str {
        text(stored, self.id_end..self.source_end).expect(CHECKED)
    }

    pub(super) fn kind(self, stored: &[u8]) -> &str {
        text(stored, self.source_end..self.kind_end).expect(CHECKED)
    }

    pub(super) fn optional(self, stored: &[u8]) -> Optional<'_> {
        Optional {
            rest: stored.get(self.kind_end..self.optional_end).expect(CHECKED),
        }
    }

    pub(super) fn data(self, stored: &[u8]) -> Option<Data<'_>> {
        let bytes = stored.get(self.optional_end..self.data_end)?;
        match stored.get(1) {
            Some(&(JSON | PLAIN_JSON)) => Some(Data::Json(bytes)),
            Some(&TEXT) => Some(Data::Text(str::from_utf8(bytes).expect(CHECKED))),
            Some(&BINARY) => Some(Data::Binary(bytes)),
            _ => None,
        }
    }

    pub(super) fn data_is_plain(stored: &[u8]) -> bool {
        stored.get(1) == Some(&PLAIN_JSON)
    }

    pub(super) fn data_bytes(self, stored: &Bytes) -> Bytes {
        stored.slice(self.optional_end..self.data_end)
    }
}

fn text(stored: &[u8], range: Range<usize>) -> Option<&str> {
    str::from_utf8(stored.get(range)?).ok()
}

/// Walks the optional attributes; ends early where the bytes do not read, which `check` rules out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Optional<'a> {
    rest: &'a [u8],
}

impl<'a> Optional<'a> {
    /// The next one's name, value kind and value, as they lie there.
    fn step(&mut self) -> Option<(&'a [u8], u8, &'a [u8])> {
        let (&[name_len, value_kind], rest) = self.rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
        let (len, rest) = match value_kind {
            STRING => {
                let (len, rest) = rest.split_first_chunk()?;
                (u32::from_le_bytes(*len) as usize, rest)
            }
            INTEGER => (4, rest),
            BOOLEAN => (1, rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some((name, value_kind, value))
    }

    fn value(value_kind: u8, value: &'a [u8]) -> Option<Value<'a>> {
        match (value_kind, value) {
            (STRING, text) => Some(Value::String(str::from_utf8(text).ok()?)),
            (INTEGER, number) => Some(Value::Integer(i32::from_le_bytes(number.try_into().ok()?))),
            (BOOLEAN, [0]) => Some(Value::Boolean(false)),
            (BOOLEAN, [1]) => Some(Value::Boolean(true)),
            _ => None,
        }
    }

    /// The value of one of them. The others are passed over, not read: most events are asked for
    /// attributes that they do not have.
    pub(super) fn named(mut self, name: &str) -> Option<Value<'a>> {
        loop {
            let (given, value_kind, value) = self.step()?;
            if given == name.as_bytes() {
                return Optional::value(value_kind, value);
            }
        }
    }

    fn read(&mut self) -> Option<(&'a str, Value<'a>)> {
        let mut next = *self;
        let (name, value_kind, value) = next.step()?;
        let read = (
            str::from_utf8(name).ok()?,
            Optional::value(value_kind, value)?,
        );
        *self = next;
        Some(read)
    }
}

impl<'a> Iterator for Optional<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.read()
    }
}

/// Checks all that reading relies on, so that no accessor of an event can fail.
pub(super) fn check(stored: &[u8]) -> Result<(), StoredEventError> {
    let fail = |what| Err(StoredEventError(what));
    let Some(layout) = Layout::read(stored) else {
        return fail("it is shorter than its head");
    };
    if stored.first() != Some(&VERSION) {
        return fail("its version is not 1; was it written by a newer Eventyard?");
    }
    if stored.get(2..4) != Some(&[0, 0]) {
        return fail("its head is damaged");
    }
    if layout.data_end != stored.len() {
        return fail("its lengths do not add up");
    }
    for range in [
        HEAD..layout.id_end,
        layout.id_end..layout.source_end,
        layout.source_end..layout.kind_end,
    ] {
        match text(stored, range) {
            None => return fail("id, source or type is not UTF-8"),
            Some("") => return fail("id, source or type is empty"),
            Some(_) => {}
        }
    }
    let mut optional = layout.optional(stored);
    for (name, _) in optional.by_ref() {
        // Names become header names and JSON keys without another look.
        if !attribute::is_optional_name(name) {
            return fail("an attribute's name breaks the rules");
        }
    }
    if !optional.rest.is_empty() {
        return fail("its attributes do not read");
    }
    let data = &stored[layout.optional_end..];
    match stored[1] {
        NO_DATA if !data.is_empty() => fail("it has data of no kind"),
        TEXT if str::from_utf8(data).is_err() => fail("its text is not UTF-8"),
        NO_DATA | JSON | PLAIN_JSON | TEXT | BINARY => Ok(()),
        _ => fail("its data kind is unknown"),
    }
}
