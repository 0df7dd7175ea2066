//! What a JSONPath query may cost at most on a document: counted before it is run, since the
//! library's evaluation cannot be stopped.
//!
//! Counter-examples that a length limit alone lets through: `$..*..*..*` over nested objects,
//! `$.items[?$..x]` (the whole event for each item), `$[*,*][*,*]…` (doubles at every step), and one
//! long key above many nodes, whose path each selected node carries as a string.

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector,
    SingularQuery, Test, TestFunction,
};
use serde_json::Value;

use super::QueryError;
use crate::limits;

/// Work of one node besides its path: about what an allocation and a look-up take.
const NODE: u64 = 16;

/// Longest regular expression of `match` and `search`, in bytes, and most work that building it once
/// may take. The library builds it anew for every string it is asked about.
const REGEX_BYTES: usize = 256;
const REGEX_WORK: u64 = 1_000_000;

/// The sizes of a document that bound a query's work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measures {
    /// Values in the document.
    nodes: u64,
    /// Strings among them.
    texts: u64,
    /// Bytes of all values' paths and scalars, plus [`NODE`] each.
    weight: u64,
    /// Deepest nesting.
    depth: u64,
}

impl Measures {
    /// Measures a document; None when it is deeper than `max_depth`.
    pub(super) fn of(document: &Value, max_depth: usize) -> Option<Measures> {
        let mut measures = Measures {
            nodes: 0,
            texts: 0,
            weight: 0,
            depth: 0,
        };
        measures.add(document, 1, 1, max_depth).then_some(measures)
    }

    fn add(&mut self, value: &Value, path: u64, depth: usize, max_depth: usize) -> bool {
        if depth > max_depth {
            return false;
        }
        self.nodes += 1;
        self.weight = self.weight.saturating_add(path + NODE);
        self.depth = self.depth.max(depth as u64);
        match value {
            Value::Array(items) => items
                .iter()
                .all(|item| self.add(item, path + 4, depth + 1, max_depth)),
            Value::Object(members) => members.iter().all(|(name, member)| {
                self.add(member, path + name.len() as u64 + 4, depth + 1, max_depth)
            }),
            Value::String(text) => {
                self.texts += 1;
                self.weight = self.weight.saturating_add(text.len() as u64);
                true
            }
            _ => true,
        }
    }
}

/// Upper bound of the work of `query` on a document of these measures.
pub(super) fn work(query: &JpQuery, measures: &Measures) -> u64 {
    // Measuring the document is work too.
    let run = segments_work(&query.segments, measures, Start::Root);
    run.saturating_add(measures.weight)
}

/// What a query starts from, once for each.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// The document.
    Root,
    /// Each child of one node: their subtrees do not overlap.
    Children,
    /// Each node of the document: a node lies in as many subtrees as it is deep.
    Nodes,
}

fn segments_work(segments: &[Segment], measures: &Measures, start: Start) -> u64 {
    let &Measures {
        nodes,
        weight,
        depth,
        ..
    } = measures;
    // All subtrees together, and the cost of a step of at most one node from each start.
    let (subtrees, step) = match start {
        Start::Root => (weight, NODE),
        Start::Children => (weight, nodes.saturating_mul(NODE)),
        Start::Nodes => (weight.saturating_mul(depth), nodes.saturating_mul(NODE)),
    };
    let mut work = step;
    // Whether one start leads to at most one node so far, and how often a node may be in the list.
    let mut single = true;
    let mut times = 1_u64;
    for segment in segments {
        let (descends, selectors) = match segment {
            Segment::Descendant(inner) => (true, selectors(inner)),
            Segment::Selector(selector) => (false, std::slice::from_ref(selector)),
            Segment::Selectors(selectors) => (false, selectors.as_slice()),
        };
        if descends {
            if !single {
                times = times.saturating_mul(depth);
            }
            single = false;
            work = work.saturating_add(subtrees.saturating_mul(times));
        }
        let parents_single = single && start == Start::Root;
        for selector in selectors {
            let one = matches!(selector, Selector::Name(_) | Selector::Index(_));
            let reached = if single && one { step } else { subtrees };
            work = work.saturating_add(reached.saturating_mul(times));
            if let Selector::Filter(filter) = selector {
                let each = if parents_single {
                    Start::Children
                } else {
                    Start::Nodes
                };
                let asked = filter_work(filter, measures, each).saturating_mul(times);
                work = work.saturating_add(asked);
            }
            single &= one;
        }
        if selectors.len() > 1 {
            single = false;
            // `['a','a']` selects one node twice.
            times = times.saturating_mul(selectors.len() as u64);
        }
    }
    work
}

fn selectors(segment: &Segment) -> &[Selector] {
    match segment {
        Segment::Descendant(inner) => selectors(inner),
        Segment::Selector(selector) => std::slice::from_ref(selector),
        Segment::Selectors(selectors) => selectors,
    }
}

/// Work of asking a filter once for each start.
fn filter_work(filter: &Filter, measures: &Measures, start: Start) -> u64 {
    match filter {
        Filter::Or(parts) | Filter::And(parts) => {
            sum(parts.iter().map(|part| filter_work(part, measures, start)))
        }
        Filter::Atom(FilterAtom::Filter { expr, .. }) => filter_work(expr, measures, start),
        Filter::Atom(FilterAtom::Test { expr, .. }) => test_work(expr, measures, start),
        Filter::Atom(FilterAtom::Comparison(comparison)) => {
            let (left, right) = comparison.vals();
            let sides = sum([left, right].map(|side| comparable_work(side, measures, start)));
            sides.saturating_add(equality_work(comparison, measures, start))
        }
    }
}

/// Comparing two values of the event walks both; a literal ends the walk at once.
fn equality_work(comparison: &Comparison, measures: &Measures, start: Start) -> u64 {
    let (left, right) = comparison.vals();
    let rooted =
        |side: &Comparable| matches!(side, Comparable::SingularQuery(SingularQuery::Root(_)));
    let literal = |side: &Comparable| matches!(side, Comparable::Literal(_));
    if literal(left) || literal(right) {
        return measures.weight;
    }
    match start {
        _ if rooted(left) && rooted(right) => measures.weight.saturating_mul(measures.nodes),
        Start::Nodes => measures.weight.saturating_mul(measures.depth),
        Start::Root | Start::Children => measures.weight,
    }
}

fn test_work(test: &Test, measures: &Measures, start: Start) -> u64 {
    match test {
        Test::RelQuery(segments) => segments_work(segments, measures, start),
        Test::AbsQuery(query) => {
            segments_work(&query.segments, measures, Start::Root).saturating_mul(measures.nodes)
        }
        Test::Function(function) => function_work(function, measures, start),
    }
}

fn function_work(function: &TestFunction, measures: &Measures, start: Start) -> u64 {
    match function {
        TestFunction::Length(argument) => argument_work(argument, measures, start),
        TestFunction::Value(argument) | TestFunction::Count(argument) => {
            argument_work(argument, measures, start)
        }
        TestFunction::Search(subject, pattern) | TestFunction::Match(subject, pattern) => {
            let arguments = sum([subject, pattern].map(|a| argument_work(a, measures, start)));
            // A relative subject is another string for each start; a rooted one may be the same.
            let asked = match subject {
                FnArg::Test(test) if matches!(**test, Test::RelQuery(_)) => measures.texts,
                _ => measures.nodes,
            };
            let built = match pattern {
                FnArg::Literal(Literal::String(pattern)) => {
                    asked.saturating_mul(regex_work(pattern))
                }
                _ => u64::MAX,
            };
            arguments
                .saturating_add(built)
                .saturating_add(measures.weight)
        }
        TestFunction::Custom(_, arguments) => {
            sum(arguments.iter().map(|a| argument_work(a, measures, start)))
        }
    }
}

fn argument_work(argument: &FnArg, measures: &Measures, start: Start) -> u64 {
    match argument {
        FnArg::Literal(_) => measures.nodes,
        FnArg::Test(test) => test_work(test, measures, start),
        FnArg::Filter(filter) => filter_work(filter, measures, start),
    }
}

fn comparable_work(side: &Comparable, measures: &Measures, start: Start) -> u64 {
    match side {
        Comparable::Literal(_) => measures.nodes,
        Comparable::Function(function) => function_work(function, measures, start),
        Comparable::SingularQuery(SingularQuery::Current(steps) | SingularQuery::Root(steps)) => {
            let steps = 1 + steps.len() as u64;
            measures.nodes.saturating_mul(steps).saturating_mul(NODE)
        }
    }
}

fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

/// Refuses what no document could bound, and functions that RFC 9535 does not have: the library
/// takes any name and finds nothing.
pub(super) fn check(query: &JpQuery) -> Result<(), QueryError> {
    let mut descents = 0;
    check_segments(&query.segments, &mut descents)?;
    if descents > limits::QUERY_DESCENTS {
        return Err(QueryError::TooManyDescents(descents));
    }
    Ok(())
}

fn check_segments(segments: &[Segment], descents: &mut usize) -> Result<(), QueryError> {
    for segment in segments {
        if let Segment::Descendant(_) = segment {
            *descents += 1;
        }
        for selector in selectors(segment) {
            if let Selector::Filter(filter) = selector {
                check_filter(filter, descents)?;
            }
        }
    }
    Ok(())
}

fn check_filter(filter: &Filter, descents: &mut usize) -> Result<(), QueryError> {
    match filter {
        Filter::Or(parts) | Filter::And(parts) => parts
            .iter()
            .try_for_each(|part| check_filter(part, descents)),
        Filter::Atom(FilterAtom::Filter { expr, .. }) => check_filter(expr, descents),
        Filter::Atom(FilterAtom::Test { expr, .. }) => check_test(expr, descents),
        Filter::Atom(FilterAtom::Comparison(comparison)) => {
            let (left, right) = comparison.vals();
            for side in [left, right] {
                if let Comparable::Function(function) = side {
                    check_function(function, descents)?;
                }
            }
            Ok(())
        }
    }
}

fn check_test(test: &Test, descents: &mut usize) -> Result<(), QueryError> {
    match test {
        Test::RelQuery(segments) => check_segments(segments, descents),
        Test::AbsQuery(query) => check_segments(&query.segments, descents),
        Test::Function(function) => check_function(function, descents),
    }
}

fn check_function(function: &TestFunction, descents: &mut usize) -> Result<(), QueryError> {
    match function {
        TestFunction::Custom(name, _) => Err(QueryError::Function(name.clone())),
        TestFunction::Length(argument) => check_argument(argument, descents),
        TestFunction::Value(argument) | TestFunction::Count(argument) => {
            check_argument(argument, descents)
        }
        TestFunction::Search(subject, pattern) | TestFunction::Match(subject, pattern) => {
            check_argument(subject, descents)?;
            let FnArg::Literal(Literal::String(pattern)) = pattern else {
                return Err(QueryError::PatternFromEvent);
            };
            if pattern.len() > REGEX_BYTES || regex_work(pattern) > REGEX_WORK {
                return Err(QueryError::CostlyPattern(pattern.clone()));
            }
            Ok(())
        }
    }
}

fn check_argument(argument: &FnArg, descents: &mut usize) -> Result<(), QueryError> {
    match argument {
        FnArg::Literal(_) => Ok(()),
        FnArg::Test(test) => check_test(test, descents),
        FnArg::Filter(filter) => check_filter(filter, descents),
    }
}

/// What building a regular expression takes, from measurements: Unicode's classes are large tables
/// (`\w` takes 25 times as long as `[a-z]`), and a counted part is written out so many times.
fn regex_work(pattern: &str) -> u64 {
    let mut work = 4_000 + 40 * pattern.len() as u64;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        work += match (c, chars.peek()) {
            ('\\', Some(class)) => {
                let work = match class {
                    'w' | 'W' | 'p' | 'P' => 100_000,
                    'd' | 'D' | 's' | 'S' => 10_000,
                    _ => 0,
                };
                chars.next();
                work
            }
            ('.', _) | ('[', Some('^')) => 10_000,
            ('(', Some('?')) => 20_000,
            _ => 0,
        };
    }
    work.saturating_mul(counts(pattern))
}

/// The product of the largest numbers of a regular expression's `{…}`: how much longer it grows
/// when it is written out.
fn counts(pattern: &str) -> u64 {
    pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .filter_map(|inside| {
            let numbers = inside.split(',');
            numbers
                .filter_map(|number| number.trim().parse::<u64>().ok())
                .max()
        })
        .fold(1, |product, count| product.saturating_mul(count.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_counts_make_a_regular_expression_costly() {
        for cheap in [
            "[a-z]+",
            "^v[0-9]{1,3}$",
            r"\w+",
            r"\d{4}-\d{2}",
            r"foo.*bar",
            r"\p{Lu}.{2}",
        ] {
            assert!(
                regex_work(cheap) <= REGEX_WORK,
                "{cheap}: {}",
                regex_work(cheap)
            );
        }
        for costly in [r"\w{100}", r"(\w{9}){9}", r"\d{200}", "([a-z]{90}){90}"] {
            assert!(
                regex_work(costly) > REGEX_WORK,
                "{costly}: {}",
                regex_work(costly)
            );
        }
    }

    #[test]
    fn counts_multiply() {
        for (pattern, expected) in [
            ("abc", 1),
            ("a{3}", 3),
            ("(a{2,5}b{4}){10}", 200),
            ("a{,}", 1),
            ("{", 1),
            (r"\p{L}{7}", 7),
        ] {
            assert_eq!(counts(pattern), expected, "{pattern}");
        }
    }
}
