//! The values that a document holds at the fields that patterns ask for, and where each stands.

use std::borrow::Cow;

use super::number::NumberText;

/// One scalar of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum<'a> {
    /// UTF-8.
    String(Cow<'a, [u8]>),
    Number(NumberText<'a>),
    /// `true`, `false` or `null`.
    Literal(&'static str),
}

impl Datum<'_> {
    /// The value as JSON text.
    pub(crate) fn to_json(&self) -> String {
        match self {
            Datum::String(text) => quoted(&String::from_utf8_lossy(text)),
            Datum::Number(number) => String::from_utf8_lossy(number.text()).into_owned(),
            Datum::Literal(text) => (*text).to_owned(),
        }
    }
}

/// Text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A number for a path that some pattern asks for. Numbers are dense and are given again once a
/// path is released; 0 stands for none.
pub(crate) type Field = u32;

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

/// A value that stands at a field.
#[derive(Debug, Clone)]
pub(crate) struct Value<'a> {
    /// The innermost array element that holds it; `OUTSIDE` when no array does. A scalar element
    /// belongs to what holds its array: `{"a": [1, 2]}` has two values of `a`, both outside.
    pub(crate) place: Place,
    /// The next value of the same field.
    next: u32,
    /// What the engine knows this very value by; 0 if no rule names it.
    pub(crate) atom: u32,
    pub(crate) datum: Datum<'a>,
}

const END: u32 = u32::MAX;

/// The values of one document by field, in document order, and the places they stand in.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    values: Vec<Value<'a>>,
    heads: Vec<Head>,
    places: Vec<PlaceNode>,
    /// Which document this is: a head of another one is no head.
    document: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Head {
    document: u32,
    first: u32,
    last: u32,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        let nothing = Fields {
            values: Vec::new(),
            heads: Vec::new(),
            places: Vec::new(),
            document: 0,
        };
        nothing.recycled()
    }
}

impl<'a> Fields<'a> {
    /// Empty, for the next document, which may live elsewhere: the memory is kept.
    #[inline]
    pub(crate) fn recycled<'b>(mut self) -> Fields<'b> {
        self.values.clear();
        self.places.clear();
        self.places.push(PlaceNode {
            parent: OUTSIDE,
            end: Place::MAX,
        });
        self.document = self.document.wrapping_add(1);
        if self.document == 0 {
            self.heads.fill(Head::default());
            self.document = 1;
        }
        // One huge document must not hold its memory for good.
        if self.values.capacity().max(self.places.capacity()) > KEPT {
            self.values.shrink_to(KEPT);
            self.places.shrink_to(KEPT);
        }
        Fields {
            // Collects in place: an empty vector of the same layout.
            values: self.values.into_iter().map(|_| unreachable!()).collect(),
            heads: self.heads,
            places: self.places,
            document: self.document,
        }
    }

    /// Adds a value and gives its number.
    #[inline]
    pub(crate) fn push(&mut self, field: Field, place: Place, datum: Datum<'a>) -> u32 {
        let number = u32::try_from(self.values.len()).expect("documents are bounded by the limits");
        if self.heads.len() <= field as usize {
            self.heads.resize(field as usize + 1, Head::default());
        }
        let head = &mut self.heads[field as usize];
        if head.document == self.document {
            self.values[head.last as usize].next = number;
            head.last = number;
        } else {
            *head = Head {
                document: self.document,
                first: number,
                last: number,
            };
        }
        self.values.push(Value {
            place,
            next: END,
            atom: 0,
            datum,
        });
        number
    }

    /// A value by its number.
    #[inline]
    pub(crate) fn value(&self, number: u32) -> &Value<'a> {
        &self.values[number as usize]
    }

    #[inline]
    pub(crate) fn value_mut(&mut self, number: u32) -> &mut Value<'a> {
        &mut self.values[number as usize]
    }

    /// The values at one field, in document order.
    #[inline]
    pub(crate) fn values(&self, field: Field) -> Values<'_, 'a> {
        let next = match self.heads.get(field as usize) {
            Some(head) if head.document == self.document => head.first,
            _ => END,
        };
        Values { fields: self, next }
    }

    /// The value of a field that has one, outside of all arrays.
    #[inline]
    pub(crate) fn only(&self, field: Field) -> Option<&Value<'a>> {
        let head = self.heads.get(field as usize)?;
        if head.document != self.document || head.first != head.last {
            return None;
        }
        let value = self.values.get(head.first as usize)?;
        (value.place == OUTSIDE).then_some(value)
    }

    /// Whether the value is the first of its field.
    #[inline]
    pub(crate) fn is_first(&self, field: Field, number: u32) -> bool {
        self.heads[field as usize].first == number
    }

    /// Whether the field has no value.
    #[inline]
    pub(crate) fn is_absent(&self, field: Field) -> bool {
        self.heads
            .get(field as usize)
            .is_none_or(|head| head.document != self.document)
    }

    /// Whether some value may stand in an array's element.
    #[inline]
    pub(crate) fn has_elements(&self) -> bool {
        self.places.len() > 1
    }

    pub(crate) fn place(&self, place: Place) -> PlaceNode {
        self.places[place as usize]
    }

    pub(crate) fn begin(&mut self, parent: Place) -> Place {
        let place = Place::try_from(self.places.len()).expect("documents are bounded");
        self.places.push(PlaceNode {
            parent,
            end: Place::MAX,
        });
        place
    }

    pub(crate) fn finish(&mut self, place: Place) {
        let end = Place::try_from(self.places.len()).expect("documents are bounded");
        self.places[place as usize].end = end;
    }
}

/// How many values and places a recycled `Fields` keeps room for.
const KEPT: usize = 4_096;

/// The values of one field.
#[derive(Debug, Clone)]
pub(crate) struct Values<'f, 'a> {
    fields: &'f Fields<'a>,
    next: u32,
}

impl<'f, 'a> Iterator for Values<'f, 'a> {
    type Item = &'f Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<&'f Value<'a>> {
        if self.next == END {
            return None;
        }
        let value = &self.fields.values[self.next as usize];
        self.next = value.next;
        Some(value)
    }
}
