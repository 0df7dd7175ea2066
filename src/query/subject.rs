//! What queries are asked of: an event, or any JSON document in an event's place.

use std::cell::OnceCell;
use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::cost::Measures;
use super::found::{Found, Place};
use super::plain::{self, Step};
use crate::event::{Data, Event, Value};
use crate::json::{JsonText, skip};
use crate::limits;

/// An event or document as queries see it: an event's context attributes and extensions at the top,
/// its data below `data` if it is JSON, as in patterns. Read at most once for all queries.
#[derive(Debug)]
pub struct Subject<'a> {
    top: Top<'a>,
    tree: OnceCell<Option<Tree>>,
}

#[derive(Debug, Clone, Copy)]
enum Top<'a> {
    Event(&'a Event),
    Json(JsonText<'a>),
}

/// The document as a tree, for queries that are no plain paths.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) json: Json,
    pub(super) measures: Measures,
}

impl<'a> Subject<'a> {
    #[must_use]
    pub fn event(event: &'a Event) -> Subject<'a> {
        Subject::new(Top::Event(event))
    }

    /// Any JSON document in an event's place; `None` when it is no JSON or nests too deeply.
    #[must_use]
    pub fn json(document: &'a [u8]) -> Option<Subject<'a>> {
        JsonText::check(document).map(|text| Subject::new(Top::Json(text)))
    }

    fn new(top: Top<'a>) -> Subject<'a> {
        Subject {
            top,
            tree: OnceCell::new(),
        }
    }

    /// The event, when it is one.
    #[must_use]
    pub fn as_event(&self) -> Option<&'a Event> {
        match self.top {
            Top::Event(event) => Some(event),
            Top::Json(_) => None,
        }
    }

    /// What a plain path leads to.
    pub(super) fn at(&self, steps: &[Step]) -> Option<Found<'a>> {
        match self.top {
            Top::Json(text) => {
                plain::find(text.bytes(), steps, text.is_plain()).map(Found::in_text)
            }
            Top::Event(event) => match steps.split_first() {
                None => Some(Found(Place::Text(whole(event).into()))),
                Some((Step::Index(_), _)) => None,
                Some((Step::Name(name), rest)) => match (event.data(), name.as_str()) {
                    (Some(Data::Json(data)), "data") => {
                        plain::find(data, rest, event.data_is_plain()).map(Found::in_text)
                    }
                    _ if !rest.is_empty() => None,
                    (_, name) => event
                        .attribute(name)
                        .map(|value| Found(Place::Attribute(value))),
                },
            },
        }
    }

    /// The tree; `None` when the event or document is too large or too deep for one.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.tree.get_or_init(|| self.read()).as_ref()
    }

    fn read(&self) -> Option<Tree> {
        let json = match self.top {
            Top::Event(event) if event.stored().len() > limits::EVENT_BYTES => return None,
            Top::Event(event) => event_tree(event)?,
            Top::Json(text) => serde_json::from_slice(text.bytes()).ok()?,
        };
        // The event's own object is one level more than its data's.
        let measures = Measures::of(&json, limits::JSON_DEPTH + 1)?;
        Some(Tree { json, measures })
    }

    /// What the nodes of the tree are in the document's own bytes.
    pub(super) fn places<'s>(&'s self, nodes: &[&'s Json]) -> Vec<Found<'s>> {
        let scalar = |node: &Json| !node.is_number() && !node.is_array() && !node.is_object();
        let mut places: HashMap<usize, &'s [u8]> = HashMap::new();
        let wanted = nodes.iter().filter(|node| !scalar(node));
        places.extend(wanted.map(|node| (address(node), &[][..])));
        if let (false, Some(tree)) = (places.is_empty(), self.tree()) {
            match self.top {
                Top::Json(text) => {
                    let start = skip::space(text.bytes(), 0);
                    locate(text.bytes(), start, &tree.json, &mut places);
                }
                Top::Event(event) => {
                    if let (Some(Data::Json(data)), Some(node)) =
                        (event.data(), tree.json.get("data"))
                    {
                        locate(data, skip::space(data, 0), node, &mut places);
                    }
                }
            }
        }
        let found = |node: &&'s Json| match places.get(&address(node)) {
            Some(text) if !text.is_empty() => Found::in_text(text),
            // An attribute, or the whole event.
            Some(_) => Found(Place::Text(node.to_string().into_bytes().into())),
            None => Found(Place::Scalar(node)),
        };
        nodes.iter().map(found).collect()
    }
}

/// Names a node of a tree for as long as the tree stands.
fn address(node: &Json) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Finds the bytes of the wanted nodes below the value at `at`, which `node` was read from; gives
/// the offset behind the value. Of a repeated key the last counts, as it did for the tree.
fn locate<'t>(
    text: &'t [u8],
    at: usize,
    node: &Json,
    wanted: &mut HashMap<usize, &'t [u8]>,
) -> usize {
    let end = match node {
        Json::Object(members) if text.get(at) == Some(&b'{') => {
            let mut end = at + 1;
            let mut next = plain::first_member(text, at);
            while let Some(member) = next {
                let child = std::str::from_utf8(&member.name)
                    .ok()
                    .and_then(|name| members.get(name));
                end = match child {
                    Some(child) => locate(text, member.value, child, wanted),
                    None => skip::value(text, member.value),
                };
                next = plain::member_after(text, end);
            }
            skip::space(text, end) + 1
        }
        Json::Array(elements) if text.get(at) == Some(&b'[') => {
            let mut end = at + 1;
            let mut next = plain::first_element(text, at);
            let mut elements = elements.iter();
            while let Some(element) = next {
                end = match elements.next() {
                    Some(child) => locate(text, element, child, wanted),
                    None => skip::value(text, element),
                };
                next = plain::element_after(text, end);
            }
            skip::space(text, end) + 1
        }
        _ => skip::value(text, at),
    };
    if let Some(place) = wanted.get_mut(&address(node)) {
        *place = text.get(at..end).unwrap_or_default();
    }
    end
}

/// The event as a tree; `None` when its data does not parse (deeper than serde_json goes).
fn event_tree(event: &Event) -> Option<Json> {
    let mut top = Map::new();
    for (name, value) in event.attributes() {
        let value = match value {
            Value::String(text) => Json::from(text),
            Value::Integer(number) => Json::from(number),
            Value::Boolean(boolean) => Json::from(boolean),
        };
        top.insert(name.to_owned(), value);
    }
    if let Some(Data::Json(data)) = event.data() {
        top.insert("data".to_owned(), serde_json::from_slice(data).ok()?);
    }
    Some(Json::Object(top))
}

/// The event as JSON text; data that is not JSON is absent.
fn whole(event: &Event) -> Vec<u8> {
    let mut json = vec![b'{'];
    for (name, value) in event.attributes() {
        let value = Found(Place::Attribute(value));
        json.extend_from_slice(format!("\"{name}\":{},", value.json()).as_bytes());
    }
    match event.data() {
        Some(Data::Json(data)) => {
            json.extend_from_slice(b"\"data\":");
            json.extend_from_slice(data);
        }
        // Every event has attributes, and the last one's comma goes.
        _ => json.truncate(json.len() - 1),
    }
    json.push(b'}');
    json
}
