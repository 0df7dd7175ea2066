//! Reads from a document the values that patterns ask for, each with its place among the arrays.

use std::borrow::Cow;

use super::json::{Broken, Kind, Scanner};
use super::number::Number;
use super::paths::{Field, Paths, ROOT};
use super::{Document, Scalar};

/// One scalar of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum<'a> {
    String(Cow<'a, str>),
    /// The text as it was written, and the number if it compares.
    Number(Cow<'a, str>, Option<Number>),
    /// `true`, `false` or `null`.
    Literal(&'static str),
}

impl Datum<'_> {
    /// The value as JSON text.
    pub(crate) fn to_json(&self) -> String {
        match self {
            Datum::String(text) => quoted(text),
            Datum::Number(text, _) => text.to_string(),
            Datum::Literal(text) => (*text).to_owned(),
        }
    }
}

/// Text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value that stands at a field.
#[derive(Debug, Clone)]
pub(crate) struct Value<'a> {
    pub(crate) field: Field,
    /// The innermost array element that holds it; `OUTSIDE` when no array does. A scalar element
    /// belongs to what holds its array: `{"a": [1, 2]}` has two values of `a`, both outside.
    pub(crate) place: Place,
    pub(crate) datum: Datum<'a>,
}

/// A number for an array, or for an element that is itself an object or array.
pub(crate) type Place = u32;

/// The document outside of all arrays.
pub(crate) const OUTSIDE: Place = 0;

/// Places are numbered in the order they begin, so that all places inside one are the numbers from
/// its own up to its `end`. An array's parent is the element it stands in; an element's is its
/// array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceNode {
    pub(crate) parent: Place,
    pub(crate) end: Place,
}

/// The values of one document at the fields of a `Paths`, by field.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    values: Vec<Value<'a>>,
    groups: Vec<Group>,
    places: Vec<PlaceNode>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    field: Field,
    start: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// Reads the document along the paths. Data that is not JSON, or nested deeper than
    /// `limits::JSON_DEPTH`, counts as absent as a whole.
    pub(crate) fn read(document: &Document<'a>, paths: &Paths) -> Fields<'a> {
        let mut reader = Reader {
            paths,
            values: Vec::new(),
            places: Vec::new(),
        };
        reader.clear();
        match *document {
            Document::Json(bytes) => reader.json(bytes, ROOT),
            Document::Event { attributes, data } => {
                for (name, scalar) in attributes {
                    reader.attribute(name, scalar);
                }
                if let (Some(field), Some(bytes)) = (paths.child(ROOT, "data"), data) {
                    reader.json(bytes, field);
                }
            }
        }
        Fields::grouped(reader.values, reader.places)
    }

    fn grouped(mut values: Vec<Value<'a>>, places: Vec<PlaceNode>) -> Fields<'a> {
        values.sort_by_key(|value| value.field);
        let mut groups: Vec<Group> = Vec::new();
        for (at, value) in values.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if group.field == value.field => group.end = at + 1,
                _ => groups.push(Group {
                    field: value.field,
                    start: at,
                    end: at + 1,
                }),
            }
        }
        Fields {
            values,
            groups,
            places,
        }
    }

    /// The values at one field, in document order.
    pub(crate) fn values(&self, field: Field) -> &[Value<'a>] {
        match self
            .groups
            .binary_search_by_key(&field, |group| group.field)
        {
            Ok(at) => &self.values[self.groups[at].start..self.groups[at].end],
            Err(_) => &[],
        }
    }

    /// Every field that has values.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Field, &[Value<'a>])> {
        self.groups
            .iter()
            .map(|group| (group.field, &self.values[group.start..group.end]))
    }

    /// Whether some value may stand in an array's element.
    pub(crate) fn has_elements(&self) -> bool {
        self.places.len() > 1
    }

    pub(crate) fn place(&self, place: Place) -> PlaceNode {
        self.places[place as usize]
    }
}

struct Reader<'a, 'p> {
    paths: &'p Paths,
    values: Vec<Value<'a>>,
    places: Vec<PlaceNode>,
}

impl<'a> Reader<'a, '_> {
    fn clear(&mut self) {
        self.places.clear();
        self.places.push(PlaceNode {
            parent: OUTSIDE,
            end: Place::MAX,
        });
    }

    fn attribute(&mut self, name: &'a str, scalar: &Scalar<'a>) {
        let Some(field) = self.paths.child(ROOT, name) else {
            return;
        };
        let datum = match *scalar {
            Scalar::String(text) => Datum::String(Cow::Borrowed(text)),
            Scalar::Integer(value) => {
                Datum::Number(Cow::Owned(value.to_string()), Number::of_integer(value))
            }
            Scalar::Boolean(true) => Datum::Literal("true"),
            Scalar::Boolean(false) => Datum::Literal("false"),
        };
        self.record(field, OUTSIDE, datum);
    }

    /// All of it or nothing: half a document would match patterns that the whole one does not.
    fn json(&mut self, bytes: &'a [u8], field: Field) {
        let before = self.values.len();
        let read = std::str::from_utf8(bytes).is_ok_and(|text| {
            let mut scanner = Scanner::new(text);
            let value = self.root(&mut scanner, field);
            value.and_then(|()| scanner.end()).is_ok()
        });
        if !read {
            self.values.truncate(before);
            self.clear();
        }
    }

    fn root(&mut self, scanner: &mut Scanner<'a>, field: Field) -> Result<(), Broken> {
        if field == ROOT && scanner.kind()? != Kind::Object {
            return scanner.skip();
        }
        self.value(scanner, field, OUTSIDE)
    }

    fn value(
        &mut self,
        scanner: &mut Scanner<'a>,
        field: Field,
        place: Place,
    ) -> Result<(), Broken> {
        match scanner.kind()? {
            Kind::Object if self.paths.is_leaf(field) => scanner.skip(),
            Kind::Object => self.object(scanner, field, place),
            Kind::Array => self.array(scanner, field, place),
            _ if !self.paths.is_field(field) => scanner.skip(),
            kind => {
                let datum = datum(scanner, kind)?;
                self.record(field, place, datum);
                Ok(())
            }
        }
    }

    fn object(
        &mut self,
        scanner: &mut Scanner<'a>,
        field: Field,
        place: Place,
    ) -> Result<(), Broken> {
        scanner.enter()?;
        let mut first = true;
        while let Some(key) = scanner.key(first)? {
            first = false;
            match self.paths.child(field, &key.decode()) {
                Some(child) => self.value(scanner, child, place)?,
                None => scanner.skip()?,
            }
        }
        Ok(())
    }

    fn array(
        &mut self,
        scanner: &mut Scanner<'a>,
        field: Field,
        place: Place,
    ) -> Result<(), Broken> {
        scanner.enter()?;
        let array = self.begin(place);
        let mut first = true;
        while scanner.element(first)? {
            first = false;
            match scanner.kind()? {
                Kind::Object | Kind::Array => {
                    let element = self.begin(array);
                    self.value(scanner, field, element)?;
                    self.finish(element);
                }
                _ => self.value(scanner, field, place)?,
            }
        }
        self.finish(array);
        Ok(())
    }

    fn begin(&mut self, parent: Place) -> Place {
        let place = Place::try_from(self.places.len()).unwrap_or(Place::MAX);
        self.places.push(PlaceNode {
            parent,
            end: Place::MAX,
        });
        place
    }

    fn finish(&mut self, place: Place) {
        let end = Place::try_from(self.places.len()).unwrap_or(Place::MAX);
        self.places[place as usize].end = end;
    }

    fn record(&mut self, field: Field, place: Place, datum: Datum<'a>) {
        if self.paths.is_field(field) {
            self.values.push(Value {
                field,
                place,
                datum,
            });
        }
    }
}

fn datum<'a>(scanner: &mut Scanner<'a>, kind: Kind) -> Result<Datum<'a>, Broken> {
    Ok(match kind {
        Kind::Number => {
            let text = scanner.number()?;
            Datum::Number(Cow::Borrowed(text), Number::of_text(text))
        }
        Kind::True => Datum::Literal(scanner.literal("true")?),
        Kind::False => Datum::Literal(scanner.literal("false")?),
        Kind::Null => Datum::Literal(scanner.literal("null")?),
        _ => Datum::String(scanner.string()?.decode()),
    })
}
