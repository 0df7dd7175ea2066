//! Reads a rule's tests, `rules/<bus>/<rule>.tests.json`: events that it must match or must not, and
//! what its targets must be sent for them.

use super::locate;
use super::problem::{Problem, Problems};
use super::reader::{Node, Shape};
use crate::limits;
use crate::log::TargetName;

pub(super) const TESTS: Shape = Shape {
    what: "a tests file",
    fields: &["$schema", "cases"],
    later: &[],
    elsewhere: &[
        ("name", "into an element of `cases`"),
        ("event", "into an element of `cases`"),
        ("matches", "into an element of `cases`"),
        ("sends", "into an element of `cases`"),
    ],
};

pub(super) const CASE: Shape = Shape {
    what: "a case",
    fields: &["name", "event", "matches", "sends"],
    later: &[],
    elsewhere: &[
        ("method", "into `sends`, below the target's id"),
        ("url", "into `sends`, below the target's id"),
        ("headers", "into `sends`, below the target's id"),
        ("body", "into `sends`, below the target's id"),
    ],
};

pub(super) const SENDS: Shape = Shape {
    what: "what a target is sent",
    fields: &["method", "url", "headers", "body", "error"],
    later: &[],
    elsewhere: &[],
};

/// A value with its byte offset in the tests file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub offset: usize,
    pub value: T,
}

/// One event and what the rule must do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCase {
    pub name: At<String>,
    pub event: CaseEvent,
    pub matches: At<bool>,
    /// By target; what a case does not name may be anything.
    pub sends: Vec<(At<TargetName>, WantedRequest)>,
}

/// A case's event, not yet looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseEvent {
    /// A CloudEvent's JSON text, its pointer within the tests file.
    Inline(At<String>, String),
    /// A file's path, from the tests file's folder.
    File(At<String>),
}

/// What one target must be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedRequest {
    pub method: Option<At<String>>,
    pub url: Option<At<String>>,
    /// Names in lower case; None: the header must be absent.
    pub headers: Vec<(String, At<Option<String>>)>,
    /// JSON text; a string stands for a body of that text too.
    pub body: Option<At<String>>,
    /// Nothing can be sent, and this is a part of the reason.
    pub error: Option<At<String>>,
}

impl RuleCase {
    /// Reads a tests file; all problems at once.
    pub fn parse_all(text: &str) -> Result<Vec<RuleCase>, Vec<Problem>> {
        let mut problems = Problems::default();
        let cases = read(text, &mut problems);
        problems.settle(cases)
    }
}

fn read(text: &str, problems: &mut Problems) -> Option<Vec<RuleCase>> {
    let object = Node::document(text, problems)?.object(&TESTS, problems)?;
    if let Some(schema) = object.field("$schema") {
        schema.string("the schema's path or URL", problems);
    }
    let example = r#""cases": [{"name": "a placed order", "event": {…}, "matches": true}]"#;
    let cases = object.required("cases", example, problems)?;
    let elements = cases.array("an array of cases", problems)?;
    if elements.is_empty() {
        cases.problem(problems, "must hold at least one case");
        return None;
    }
    if elements.len() > limits::RULE_CASES {
        let detail = format!(
            "a tests file has at most {} cases, this one has {}",
            limits::RULE_CASES,
            elements.len()
        );
        cases.problem(problems, detail);
        return None;
    }
    let mut read: Vec<RuleCase> = Vec::with_capacity(elements.len());
    let mut complete = true;
    for element in &elements {
        let Some(case) = read_case(element, problems) else {
            complete = false;
            continue;
        };
        if read.iter().any(|other| other.name.value == case.name.value) {
            let pointer = format!("{}/name", element.pointer);
            let detail = "another case has this name already; names are unique within a file";
            problems.add(&pointer, case.name.offset, detail);
        }
        read.push(case);
    }
    complete.then_some(read)
}

fn read_case(node: &Node<'_>, problems: &mut Problems) -> Option<RuleCase> {
    let object = node.object(&CASE, problems)?;
    let name = object
        .required("name", r#"such as "name": "a placed order""#, problems)
        .and_then(|node| text(node, r#"a string such as "a placed order""#, problems));
    let event = object
        .required(
            "event",
            r#"a CloudEvent, or the path of a file that holds one"#,
            problems,
        )
        .and_then(|node| read_event(node, problems));
    let matches = object
        .required(
            "matches",
            r#""matches": true, or false for an event that the rule must not match"#,
            problems,
        )
        .and_then(|node| Some(at(node, node.boolean(problems)?)));
    let sends = match object.field("sends") {
        None => Some(Vec::new()),
        Some(node) => {
            let sends = read_sends(node, problems);
            if matches.as_ref().is_some_and(|matches| !matches.value) {
                let detail = "a rule that must not match sends nothing; leave `sends` out";
                node.problem(problems, detail);
            }
            sends
        }
    };
    Some(RuleCase {
        name: name?,
        event: event?,
        matches: matches?,
        sends: sends?,
    })
}

fn read_event(node: &Node<'_>, problems: &mut Problems) -> Option<CaseEvent> {
    if node.raw().starts_with('{') {
        let event = at(node, node.raw().to_owned());
        return Some(CaseEvent::Inline(event, node.pointer.clone()));
    }
    let wanted = r#"a CloudEvent, or a file's path such as "placed.event.json""#;
    let path = text(node, wanted, problems)?;
    Some(CaseEvent::File(path))
}

fn read_sends(
    node: &Node<'_>,
    problems: &mut Problems,
) -> Option<Vec<(At<TargetName>, WantedRequest)>> {
    let wanted = r#"an object such as {"billing": {"body": {"total": 120}}}"#;
    let mut sends = Vec::new();
    let mut complete = true;
    for (name, value) in node.members(wanted, problems)? {
        let offset = value.key_offset(&name);
        let target = match TargetName::new(&name) {
            Ok(target) => Some(target),
            Err(error) => {
                problems.add(
                    &value.pointer,
                    offset,
                    format!("is no target's id: {error}"),
                );
                None
            }
        };
        match (target, read_wanted(&value, problems)) {
            (Some(value), Some(wanted)) => sends.push((At { offset, value }, wanted)),
            _ => complete = false,
        }
    }
    complete.then_some(sends)
}

fn read_wanted(node: &Node<'_>, problems: &mut Problems) -> Option<WantedRequest> {
    let object = node.object(&SENDS, problems)?;
    let mut field = |name: &str, wanted: &str| match object.field(name) {
        None => Some(None),
        Some(node) => text(node, wanted, problems).map(Some),
    };
    let method = field("method", r#"a method such as "POST""#);
    let url = field("url", "the whole URL, as a string");
    let error = field("error", "a part of the reason, as a string");
    let headers = match object.field("headers") {
        None => Some(Vec::new()),
        Some(node) => read_headers(node, problems),
    };
    let body = object
        .field("body")
        .map(|node| at(node, node.raw().to_owned()));
    let wanted = WantedRequest {
        method: method?,
        url: url?,
        headers: headers?,
        body,
        error: error?,
    };
    let request = wanted.method.is_some()
        || wanted.url.is_some()
        || wanted.body.is_some()
        || !wanted.headers.is_empty();
    if wanted.error.is_some() && request {
        let detail = "`error` says that nothing is sent; keep it or the rest, not both";
        node.problem(problems, detail);
    } else if wanted.error.is_none() && !request {
        let detail = "says nothing; give `body`, `headers`, `method`, `url`, or `error`";
        node.problem(problems, detail);
    }
    Some(wanted)
}

fn read_headers(
    node: &Node<'_>,
    problems: &mut Problems,
) -> Option<Vec<(String, At<Option<String>>)>> {
    let wanted = r#"an object such as {"x-tenant": "acme", "x-debug": null}"#;
    let members = node.members(wanted, problems)?;
    let headers = members.iter().map(|(name, value)| {
        let wanted = match value.raw() {
            "null" => at(value, None),
            _ => at(
                value,
                Some(value.string("a string, or null for no such header", problems)?),
            ),
        };
        Some((name.to_ascii_lowercase(), wanted))
    });
    // Each is looked at before a bad one ends the reading.
    let headers: Vec<_> = headers.collect();
    headers.into_iter().collect()
}

fn text(node: &Node<'_>, wanted: &str, problems: &mut Problems) -> Option<At<String>> {
    Some(at(node, node.string(wanted, problems)?))
}

fn at<T>(node: &Node<'_>, value: T) -> At<T> {
    At {
        offset: node.offset(),
        value,
    }
}

/// The problem of a value of a tests file that shows only when the case is run.
impl<T> At<T> {
    #[must_use]
    pub fn problem(&self, detail: impl Into<String>) -> Problem {
        Problem {
            pointer: String::new(),
            detail: detail.into(),
            offset: Some(self.offset),
        }
    }
}

impl At<String> {
    /// A problem at a pointer within this JSON text, which stands at `prefix` of the file; where
    /// there is no such place, at its start.
    #[must_use]
    pub fn problem_within(
        &self,
        prefix: &str,
        pointer: &str,
        detail: impl Into<String>,
    ) -> Problem {
        let within = locate::find(&self.value, pointer);
        Problem {
            pointer: match within {
                Some(_) => format!("{prefix}{pointer}"),
                None => prefix.to_owned(),
            },
            detail: detail.into(),
            offset: Some(self.offset + within.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"cases": [
  {"name": "one", "event": {"id": "1"}, "matches": true,
   "sends": {"billing": {"method": "PUT", "url": "http://h/", "headers": {"X-A": "1", "x-b": null}, "body": [1.50]},
             "audit": {"error": "x-who"}}},
  {"name": "two", "event": "two.event.json", "matches": false}
]}"#;

    #[test]
    fn a_tests_file_is_read_whole() {
        let cases = RuleCase::parse_all(GOOD).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].name.value, "one");
        assert!(matches!(&cases[0].event, CaseEvent::Inline(event, at)
            if event.value == r#"{"id": "1"}"# && at == "/cases/0/event"));
        let (target, wanted) = &cases[0].sends[0];
        assert_eq!(target.value.as_str(), "billing");
        assert!(GOOD[target.offset..].starts_with("\"billing\""));
        assert_eq!(wanted.body.as_ref().unwrap().value, "[1.50]");
        assert_eq!(wanted.headers[0].0, "x-a");
        assert_eq!(wanted.headers[1].1.value, None);
        let offset = cases[1].matches.offset;
        assert!(GOOD[offset..].starts_with("false"));
        assert!(matches!(&cases[1].event, CaseEvent::File(path) if path.value == "two.event.json"));
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let problems = RuleCase::parse_all(text).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, (pointer, detail)) in problems.iter().zip(expected) {
            assert_eq!(problem.pointer, *pointer, "{problem:?}");
            assert!(problem.detail.contains(detail), "{problem:?}");
        }
    }

    #[test]
    fn bad_tests_files_are_refused_with_every_place() {
        check("{", &[("", "this is not JSON")]);
        check("[]", &[("", "must be an object")]);
        check("{}", &[("", "needs `cases`")]);
        check(r#"{"cases": []}"#, &[("/cases", "at least one")]);
        check(
            r#"{"case": []}"#,
            &[("", "needs `cases`"), ("/case", "did you mean `cases`?")],
        );
        check(
            r#"{"cases": [{"nam": "a"}]}"#,
            &[
                ("/cases/0", "needs `name`"),
                ("/cases/0", "needs `event`"),
                ("/cases/0", "needs `matches`"),
                ("/cases/0/nam", "did you mean `name`?"),
            ],
        );
        let case = |fields: &str| {
            format!(r#"{{"cases": [{{"name": "a", "event": {{}}, "matches": true, {fields}}}]}}"#)
        };
        check(&case(r#""body": 1"#), &[("/cases/0/body", "into `sends`")]);
        check(
            &case(r#""sends": {"t": {}, "b d": {"body": 1}}"#),
            &[
                ("/cases/0/sends/t", "says nothing"),
                ("/cases/0/sends/b d", "is no target's id"),
            ],
        );
        check(
            &case(r#""sends": {"t": {"error": "x", "body": 1}}"#),
            &[("/cases/0/sends/t", "not both")],
        );
        check(
            &case(r#""sends": {"t": {"headers": {"a": 1, "b": true}, "method": 1}}"#),
            &[
                ("/cases/0/sends/t/headers/a", "must be a string"),
                ("/cases/0/sends/t/headers/b", "must be a string"),
                ("/cases/0/sends/t/method", "must be a method"),
            ],
        );
        check(
            r#"{"cases": [{"name": "a", "event": 1, "matches": 0}]}"#,
            &[
                ("/cases/0/event", "must be a CloudEvent"),
                ("/cases/0/matches", "true or false"),
            ],
        );
        check(
            r#"{"cases": [{"name": "a", "event": {}, "matches": false, "sends": {"t": {"body": 1}}},
                {"name": "a", "event": {}, "matches": true}]}"#,
            &[
                ("/cases/0/sends", "must not match"),
                ("/cases/1/name", "another case"),
            ],
        );
    }

    #[test]
    fn problems_stand_in_the_texts_order() {
        let text = r#"{"x": 1}"#;
        let problems = RuleCase::parse_all(text).unwrap_err();
        assert!(problems.is_sorted_by_key(|problem| problem.offset));
    }
}
