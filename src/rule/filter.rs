//! The JSONPath filter of a rule: compiled once, bounded in what it may cost, asked after the pattern.
//!
//! `{"jsonpath": "$.data.items[?@.price > 10]"}` holds when the query (RFC 9535) selects anything of
//! the event's JSON: its attributes at the top, its data below `data`. Numbers are compared as
//! 64-bit floats where they fit no 64-bit integer.

use std::sync::Arc;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::filter_cost::{self, Measures};
use crate::event::{Data, Event, Value};
use crate::limits;

/// A valid filter. Clones share the compiled query.
#[derive(Debug, Clone)]
pub struct Filter(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: String,
    query: JpQuery,
}

/// Why a filter was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("a JSONPath filter has at most {max} bytes, this one has {0}", max = limits::FILTER_BYTES)]
    TooLong(usize),
    #[error("a JSONPath filter nests at most {max} brackets and parentheses", max = MAX_NESTING)]
    TooDeep,
    #[error(
        "a JSONPath filter has at most {max} descendant segments (`..`), this one has {0}: each searches the whole event again",
        max = limits::FILTER_DESCENTS
    )]
    TooManyDescents(usize),
    #[error("is no JSONPath query (RFC 9535): {0}")]
    Syntax(String),
    #[error(
        "there is no function `{0}`; JSONPath has `length`, `count`, `match`, `search` and `value`"
    )]
    Function(String),
    #[error(
        "the second argument of `match` and `search` must be a pattern in quotes, not a query: it would let a publisher choose it"
    )]
    PatternFromEvent,
    #[error(
        "the pattern {0:?} is too costly: take at most 256 bytes, small counts in {{…}}, and [a-z] instead of \\w"
    )]
    CostlyPattern(String),
}

/// Whether a filter holds for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Matches,
    Differs,
    /// The event is too large, too deep or too bushy for this query; it counts as no match.
    TooCostly,
}

/// Deepest nesting of a query: pest's reader tries each open parenthesis in several ways, so that
/// its time doubles and more with every level (`$[?((((…@.a))))]`).
const MAX_NESTING: usize = 8;

impl Filter {
    /// Compiles a JSONPath query.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        if text.len() > limits::FILTER_BYTES {
            return Err(FilterError::TooLong(text.len()));
        }
        if nesting(text) > MAX_NESTING {
            return Err(FilterError::TooDeep);
        }
        let query = parse_json_path(text).map_err(|error| {
            // pest's message is a drawing of several lines; its last says what was expected.
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default();
            FilterError::Syntax(last.trim().trim_start_matches("= ").to_owned())
        })?;
        filter_cost::check(&query)?;
        let text = text.to_owned();
        Ok(Filter(Arc::new(Compiled { text, query })))
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Asks an event; see [`Subject`].
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> Verdict {
        let Some(Readable { json, measures }) = &subject.0 else {
            return Verdict::TooCostly;
        };
        if filter_cost::work(&self.0.query, measures) > limits::FILTER_WORK {
            return Verdict::TooCostly;
        }
        // A query whose result is no node (never so for a whole query) selects nothing.
        match js_path_process(&self.0.query, json) {
            Ok(nodes) if !nodes.is_empty() => Verdict::Matches,
            _ => Verdict::Differs,
        }
    }

    /// Asks any JSON document in an event's place.
    #[must_use]
    pub fn matches_json(&self, json: &Json) -> Verdict {
        self.matches(&Subject::from_json(json.clone()))
    }
}

/// An event as filters see it, read once for all of them.
#[derive(Debug)]
pub struct Subject(Option<Readable>);

#[derive(Debug)]
struct Readable {
    json: Json,
    measures: Measures,
}

impl Subject {
    /// The event's attributes at the top, its data below `data` if it is JSON. An event that is too
    /// large or deep fits no filter.
    #[must_use]
    pub fn of(event: &Event) -> Subject {
        if event.stored().len() > limits::EVENT_BYTES {
            return Subject(None);
        }
        event_json(event).map_or(Subject(None), Subject::from_json)
    }

    /// Any JSON document in an event's place.
    #[must_use]
    pub fn from_json(json: Json) -> Subject {
        // The event's own object is one level more than its data's.
        let measures = Measures::of(&json, limits::JSON_DEPTH + 1);
        Subject(measures.map(|measures| Readable { json, measures }))
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("jsonpath", self.text())?;
        map.end()
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// The event as a query sees it; data that is not JSON is absent. None when the data does not parse
/// as a JSON value (deeper than serde_json goes).
fn event_json(event: &Event) -> Option<Json> {
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

/// Deepest nesting of `(` and `[` outside of quotes.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Instant;

    #[track_caller]
    fn check(query: &str, document: &Json, expected: Verdict) {
        assert_eq!(
            Filter::parse(query).unwrap().matches_json(document),
            expected,
            "{query}"
        );
    }

    #[test]
    fn a_filter_holds_when_it_selects_anything() {
        let event = json!({"type": "order", "n": 3, "data": {"items": [{"price": 9, "sku": "a"}, {"price": 11, "sku": "b"}], "none": null}});
        for query in [
            "$.data.items[?@.price > 10]",
            "$.data.none",
            "$.data.items[1]",
            "$.data.items[-1:]",
            "$..sku",
            "$..items..sku",
            "$[?@ == 'order']",
            "$.data.items[?match(@.sku, '[b-z]')]",
            "$.data.items[?search(@.sku, 'a')]",
            "$.data[?length(@) == 2]",
            "$.data[?count(@.*) == 2]",
            "$['data']['items'][?@.price > 10 && @.sku == 'b']",
            "$.data.items[?@.price > $.n]",
        ] {
            check(query, &event, Verdict::Matches);
        }
        for query in [
            "$.data.items[?@.price > 11]",
            "$.missing",
            "$.data.items[2]",
            "$..absent",
            "$.data.items[?@.price > 'a']",
            "$.data.items[?match(@.sku, 'B')]",
        ] {
            check(query, &event, Verdict::Differs);
        }
    }

    #[track_caller]
    fn refused(query: &str, part: &str) {
        let error = Filter::parse(query).unwrap_err().to_string();
        assert!(error.contains(part), "{query}: {error}");
    }

    #[test]
    fn a_bad_filter_is_refused_with_its_reason() {
        refused("", "is no JSONPath query");
        refused("data.items", "is no JSONPath query");
        refused("$.data[?@.a >]", "is no JSONPath query");
        refused("$.data[", "is no JSONPath query");
        refused(&format!("$.{}", "a".repeat(2_000)), "at most 1024 bytes");
        refused("$..a..b..c", "at most 2 descendant");
        refused("$..a[?@..b && $..c]", "at most 2 descendant");
        refused("$[?lenght(@.a) > 2]", "is no JSONPath query");
        refused("$[?in(@.a, $.b)]", "no function `in`");
        refused("$[?match(@.a, @.b)]", "must be a pattern in quotes");
        refused("$[?search(@.a, '(a{90}){90}')]", "too costly");
        refused(
            &format!("$[?{}@.a{}]", "(".repeat(300), ")".repeat(300)),
            "nests at most",
        );
    }

    #[test]
    fn no_query_takes_long_to_compile() {
        let start = Instant::now();
        for filler in ["(", "!(", "@.a&&(", "@[?(", "length(", "@['a',"] {
            for depth in 0..MAX_NESTING {
                let _ = Filter::parse(&format!(
                    "$[?{}@.a{}]",
                    filler.repeat(depth),
                    ")".repeat(depth)
                ));
                let _ = Filter::parse(&format!("$[?{}", filler.repeat(depth)));
            }
        }
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn a_costly_evaluation_is_not_begun() {
        let items: Vec<Json> = (0..20_000).map(|n| json!({"n": n})).collect();
        let wide = json!({"data": items});
        check("$.data[?$..x]", &wide, Verdict::TooCostly);
        check(
            "$[*,*,*,*,*,*,*,*][*,*,*,*,*,*,*,*][*,*,*,*,*,*,*,*]",
            &wide,
            Verdict::TooCostly,
        );
        check("$.data[?@.n == 19999]", &wide, Verdict::Matches);
        check("$..n", &wide, Verdict::Matches);

        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!({"x": deep, "y": [1, 2, 3]});
        }
        check("$..x..y", &deep, Verdict::TooCostly);
        check("$..x", &deep, Verdict::Matches);

        // Every selected node carries its path: a long key above many nodes would cost gigabytes.
        let heavy = json!({"k".repeat(500_000): vec![0; 200_000]});
        check("$..*", &heavy, Verdict::TooCostly);
    }

    /// Queries out of the parts that rules use, over [`document`]s.
    fn query() -> impl Strategy<Value = String> {
        let name = || prop::sample::select(vec!["a", "b", "c"]);
        let test = prop_oneof![
            name().prop_map(|name| format!("@.{name}")),
            name().prop_map(|name| format!("!@.{name}")),
            (name(), 0..3).prop_map(|(name, n)| format!("@.{name} > {n}")),
            (name(), name()).prop_map(|(a, b)| format!("@.{a} == @.{b}")),
            name().prop_map(|name| format!("@..{name}")),
            name().prop_map(|name| format!("$.{name}")),
            Just("@ == 'x'".to_owned()),
            Just("match(@, '[a-x]')".to_owned()),
            Just("length(@) >= 2".to_owned()),
            Just("count(@.*) > 1".to_owned()),
        ];
        let both = (test.clone(), test.clone());
        let test = prop_oneof![test, both.prop_map(|(a, b)| format!("({a} || {b}) && {a}")),];
        let segment = prop_oneof![
            name().prop_map(|name| format!(".{name}")),
            name().prop_map(|name| format!("..{name}")),
            Just(".*".to_owned()),
            Just("..*".to_owned()),
            (-2..3).prop_map(|index| format!("[{index}]")),
            (-2..3).prop_map(|start| format!("[{start}:]")),
            Just("['a','a',1,*]".to_owned()),
            test.prop_map(|test| format!("[?{test}]")),
        ];
        prop::collection::vec(segment, 0..4).prop_map(|parts| format!("${}", parts.concat()))
    }

    fn document() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            (0..4).prop_map(Json::from),
            Just(json!("x")),
            Just(json!("yy")),
            Just(json!(null)),
            Just(json!(true)),
        ];
        leaf.prop_recursive(4, 30, 4, |inner| {
            let name = prop::sample::select(vec!["a", "b", "c"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(name, inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<Json>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn verdicts_agree_with_another_library(query in query(), document in document()) {
            if let Ok(filter) = Filter::parse(&query) {
                let other = serde_json_path::JsonPath::parse(&query).unwrap();
                let expected = if other.query(&document).is_empty() {
                    Verdict::Differs
                } else {
                    Verdict::Matches
                };
                prop_assert_eq!(filter.matches_json(&document), expected);
            }
        }

        #[test]
        fn no_query_selects_more_than_was_counted(query in query(), document in document()) {
            if let Ok(filter) = Filter::parse(&query) {
                let measures = Measures::of(&document, limits::JSON_DEPTH).unwrap();
                let nodes = js_path_process(&filter.0.query, &document).unwrap();
                let bytes: usize = nodes.iter().map(|node| node.path.len() + 16).sum();
                prop_assert!(bytes as u64 <= filter_cost::work(&filter.0.query, &measures));
            }
        }

        #[test]
        fn no_query_makes_the_compiler_panic(query in r"\$([.\[\]?@*'a0:,()!=<> &|-]|\.\.){0,24}") {
            let _ = Filter::parse(&query);
        }
    }
}
