//! Finds rules and the tests beside them, and runs them: by the code that matches, filters,
//! transforms and sends, without a bus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::preview::decode_event;
use crate::cli::diff;
use crate::cli::exit::Failure;
use crate::cli::input;
use crate::cli::output::one_line;
use crate::cli::rule_file::{self, RuleFile};
use crate::clock::{Clock, Timestamp};
use crate::delivery::{self, Preview};
use crate::event::Event;
use crate::log::{BusName, LoggedEvent, RuleName};
use crate::rule::{
    At, CaseEvent, Place, Problem, Rule, RuleCase, RuleExplanation, RuleSet, WantedRequest,
    difference, is_rule_file, normalised, place,
};

const TESTS: &str = ".tests.json";

/// A rule and its tests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Suite {
    pub(super) rule: PathBuf,
    pub(super) tests: PathBuf,
}

/// What paths lead to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) suites: BTreeSet<Suite>,
    /// Rules of the folders without tests.
    pub(super) untested: BTreeSet<PathBuf>,
}

/// What became of one case.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) tests: PathBuf,
    pub(super) place: Place,
    pub(super) name: String,
    /// Empty when all is as the case says.
    pub(super) misses: Vec<Miss>,
}

/// One thing that is not as a case says.
#[derive(Debug)]
pub(super) struct Miss {
    /// Of what is wanted.
    pub(super) place: Place,
    pub(super) reason: String,
    /// Lines that tell more, for people.
    pub(super) more: Vec<String>,
}

/// The suites that the paths name: rule files and tests files by themselves, folders of them, and
/// folders of such folders.
pub(super) fn find(paths: &[PathBuf]) -> Result<Found, Failure> {
    let mut found = Found::default();
    for path in paths {
        if path.is_dir() {
            find_in(path, true, &mut found)?;
        } else if let Some(rule) = rule_of(path) {
            let tests = path.clone();
            found.suites.insert(Suite { rule, tests });
        } else if is_bus(path) || (path.is_file() && !is_rule_file(path)) {
            // A shell's `*.json` brings these too.
            continue;
        } else {
            let tests = tests_of(path);
            if !path.exists() && !tests.is_file() {
                return Err(Failure::not_found(format!(
                    "there is no file or folder {}",
                    input::name(path)
                )));
            }
            if path.is_file() && !tests.is_file() {
                if paths.len() > 1 {
                    found.untested.insert(path.clone());
                    continue;
                }
                RuleFile::read(path)?;
                let tests = input::name(&tests);
                return Err(Failure::not_found(format!(
                    "{} has no tests: there is no file {tests}",
                    input::name(path)
                ))
                .hint("Write it, or try the rule on one event with --event FILE."));
            }
            let rule = path.clone();
            found.suites.insert(Suite { rule, tests });
        }
    }
    // An event that a case takes from a file is no rule, whatever the file is called.
    for suite in &found.suites {
        for event in suite.event_files() {
            found.untested.remove(&event);
        }
    }
    Ok(found)
}

fn find_in(folder: &Path, deeper: bool, found: &mut Found) -> Result<(), Failure> {
    let listed = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let listed: Vec<PathBuf> = listed.map_err(|error| {
        Failure::failed(format!("{} cannot be read: {error}", input::name(folder)))
    })?;
    for path in listed.into_iter().filter(|path| !is_hidden(path)) {
        if path.is_dir() {
            if deeper {
                find_in(&path, false, found)?;
            }
        } else if let Some(rule) = rule_of(&path) {
            found.suites.insert(Suite { rule, tests: path });
        } else if is_rule_file(&path) && !is_bus(&path) && !tests_of(&path).is_file() {
            found.untested.insert(path);
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('.')
}

fn is_bus(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "bus.json")
}

/// The rule's file beside a tests file; None of other files.
fn rule_of(tests: &Path) -> Option<PathBuf> {
    let name = tests.file_name()?.to_str()?.strip_suffix(TESTS)?;
    Some(tests.with_file_name(format!("{name}.json")))
}

fn tests_of(rule: &Path) -> PathBuf {
    let name = rule.file_stem().unwrap_or_default().to_string_lossy();
    rule.with_file_name(format!("{name}{TESTS}"))
}

impl Suite {
    /// The files beside it with events of its cases, if the tests file reads.
    fn event_files(&self) -> Vec<PathBuf> {
        let text = input::read_text(&self.tests).unwrap_or_default();
        let cases = RuleCase::parse_all(&text).unwrap_or_default();
        let files = cases.iter().filter_map(|case| match &case.event {
            CaseEvent::File(path) => Some(self.tests.with_file_name(&path.value)),
            CaseEvent::Inline(..) => None,
        });
        files.collect()
    }

    /// Runs every case; what is wrong with the files is a failure, shown with its places.
    pub(super) fn run(&self) -> Result<Vec<Outcome>, Failure> {
        let text = input::read_text(&self.tests)?;
        let refused = |problems: &[Problem]| {
            let file = input::name(&self.tests);
            Failure::invalid(rule_file::render(&file, &text, problems))
        };
        if !self.rule.is_file() {
            return Err(Failure::invalid(format!(
                "{} tests no rule: there is no file {}",
                input::name(&self.tests),
                input::name(&self.rule)
            )));
        }
        let cases = RuleCase::parse_all(&text).map_err(|problems| refused(&problems))?;
        let rule = self.read_rule()?;
        let mut problems = targets_that_are_not_there(&cases, &rule.0);
        let mut events = Vec::with_capacity(cases.len());
        for case in &cases {
            match self.event(case) {
                Ok(event) => events.push(event),
                Err(Unread::Here(problem)) => problems.push(problem),
                Err(Unread::Beside(failure)) => return Err(failure),
            }
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.offset);
            return Err(refused(&problems));
        }
        let now = Clock::system().now();
        let outcomes = cases.iter().zip(events).map(|(case, event)| Outcome {
            tests: self.tests.clone(),
            place: place(&text, case.name.offset),
            name: case.name.value.clone(),
            misses: run_case(case, event, &rule, now)
                .into_iter()
                .map(|(offset, reason, more)| Miss {
                    place: place(&text, offset),
                    reason,
                    more,
                })
                .collect(),
        });
        Ok(outcomes.collect())
    }

    /// The rule, and a set of it alone.
    fn read_rule(&self) -> Result<(Arc<Rule>, RuleSet), Failure> {
        let file = RuleFile::read(&self.rule)?;
        let name = file.name().unwrap_or_default();
        let name = RuleName::new(name)
            .map_err(|error| Failure::invalid(format!("{}: {error}", input::name(&self.rule))))?;
        let folder = std::path::absolute(&self.rule).ok();
        let folder = folder
            .as_deref()
            .and_then(|path| path.parent()?.file_name());
        // A file that lies in no bus's folder is tried on `default`.
        let bus = folder.and_then(|folder| BusName::new(folder.to_str()?).ok());
        let bus = bus.unwrap_or_else(BusName::default_bus);
        let set = RuleSet::trial(&bus, &name, file.document);
        let rule = set.rule(&bus, &name).expect("the set is of this rule");
        Ok((rule, set))
    }

    fn event(&self, case: &RuleCase) -> Result<Event, Unread> {
        match &case.event {
            CaseEvent::Inline(event, at) => {
                decode_event(&event.value).map_err(|(pointer, detail)| {
                    Unread::Here(event.problem_within(at, &pointer, detail))
                })
            }
            CaseEvent::File(path) => {
                let file = self.tests.with_file_name(&path.value);
                if !file.is_file() {
                    let detail = format!("there is no file {}", input::name(&file));
                    return Err(Unread::Here(path.problem(detail)));
                }
                super::preview::read_event(&file).map_err(Unread::Beside)
            }
        }
    }
}

/// Why an event could not be read.
enum Unread {
    /// A problem of the tests file.
    Here(Problem),
    /// A failure of the event's own file.
    Beside(Failure),
}

fn targets_that_are_not_there(cases: &[RuleCase], rule: &Rule) -> Vec<Problem> {
    let targets = cases.iter().flat_map(|case| &case.sends);
    let unknown = targets.filter(|(target, _)| rule.target(&target.value).is_none());
    let ids: Vec<&str> = rule
        .targets
        .iter()
        .map(|target| target.id.as_str())
        .collect();
    unknown
        .map(|(target, _)| {
            let ids = ids.join(", ");
            target.problem(format!(
                "the rule has no target `{}`; it has: {ids}",
                target.value
            ))
        })
        .collect()
}

type Missed = (usize, String, Vec<String>);

fn run_case(
    case: &RuleCase,
    event: Event,
    (rule, set): &(Arc<Rule>, RuleSet),
    now: Timestamp,
) -> Vec<Missed> {
    let logged = LoggedEvent {
        sequence: 1,
        time: now,
        bus: rule.bus.clone(),
        event,
    };
    let matches = !set.matching_rules(&logged).is_empty();
    if matches != case.matches.value {
        let missed = match matches {
            true => ("matches, and must not".to_owned(), Vec::new()),
            false => why_not(&rule.explain(&logged.event)),
        };
        return vec![(case.matches.offset, missed.0, missed.1)];
    }
    let mut missed = Vec::new();
    for (id, wanted) in &case.sends {
        let target = rule.target(&id.value).expect("looked for before");
        let preview = delivery::preview(target, logged.event.clone(), now);
        compare(id.value.as_str(), id.offset, wanted, &preview, &mut missed);
    }
    missed
}

/// The first field that fails, and the others below it.
fn why_not(explanation: &RuleExplanation) -> (String, Vec<String>) {
    if !explanation.enabled {
        return (
            "does not match: the rule is disabled".to_owned(),
            Vec::new(),
        );
    }
    let apart = |reason: &str| reason.contains("no one array element");
    let failed = explanation.pattern.fields.iter();
    let failed = failed.filter(|field| !field.matches || apart(&field.reason));
    let mut reasons: Vec<String> = match explanation.pattern.matches {
        true => Vec::new(),
        false => failed
            .map(|field| {
                let seen = match field.seen.is_empty() {
                    true => "nothing".to_owned(),
                    false => field.seen.join(", "),
                };
                format!(
                    "{}: {} (seen {}, wanted {})",
                    field.pointer,
                    one_line(&field.reason),
                    one_line(&seen),
                    one_line(&field.wanted)
                )
            })
            .collect(),
    };
    if let Some(filter) = explanation.filter.as_ref().filter(|filter| !filter.matches) {
        reasons.push(format!("filter {} {}", filter.wanted, filter.reason));
    }
    if reasons.is_empty() {
        return ("does not match".to_owned(), Vec::new());
    }
    let first = reasons.remove(0);
    (format!("does not match: {first}"), reasons)
}

fn compare(
    target: &str,
    offset: usize,
    wanted: &WantedRequest,
    preview: &Result<Preview, String>,
    missed: &mut Vec<Missed>,
) {
    let mut miss = |offset: usize, reason: String| {
        missed.push((
            offset,
            format!("{target}: {}", one_line(&reason)),
            Vec::new(),
        ));
    };
    let preview = match (preview, &wanted.error) {
        (Err(error), Some(part)) if error.contains(&part.value) => return,
        (Err(error), Some(part)) => {
            let reason = format!("the reason is {error:?}, wanted {:?}", part.value);
            return miss(part.offset, reason);
        }
        (Err(error), None) => return miss(offset, format!("a dead letter: {error}")),
        (Ok(_), Some(part)) => return miss(part.offset, "is sent, and must not be".to_owned()),
        (Ok(preview), None) => preview,
    };
    let texts = [
        ("method", &wanted.method, &preview.method),
        ("url", &wanted.url, &preview.url),
    ];
    for (what, wanted, seen) in texts {
        if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.value != *seen) {
            let reason = format!("{what} is {seen}, wanted {}", wanted.value);
            miss(wanted.offset, reason);
        }
    }
    for (name, At { offset, value }) in &wanted.headers {
        let mut headers = preview.headers.iter();
        let seen = headers.find_map(|(other, value)| (other == name).then_some(value));
        if seen != value.as_ref() {
            let text = |value: Option<&String>| match value {
                Some(value) => format!("{value:?}"),
                None => "absent".to_owned(),
            };
            let (seen, wanted) = (text(seen), text(value.as_ref()));
            miss(*offset, format!("header {name} is {seen}, wanted {wanted}"));
        }
    }
    if let Some(wanted) = &wanted.body
        && let Some((reason, more)) = compare_body(&wanted.value, preview)
    {
        missed.push((
            wanted.offset,
            format!("{target}: {}", one_line(&reason)),
            more,
        ));
    }
}

/// As JSON where it is JSON, else as text.
fn compare_body(wanted: &str, preview: &Preview) -> Option<(String, Vec<String>)> {
    let Some(seen) = preview.text() else {
        let bytes = preview.body.len();
        return Some((
            format!("the body is {bytes} bytes that are no text"),
            Vec::new(),
        ));
    };
    let text: Option<String> = serde_json::from_str(wanted).ok();
    if text.as_deref() == Some(seen) {
        return None;
    }
    let Some(normal) = normalised(seen) else {
        let wanted = match text {
            Some(text) => text,
            None => normalised(wanted).unwrap_or_default(),
        };
        return Some(("the body differs".to_owned(), diff::lines(&wanted, seen)));
    };
    let difference = difference(wanted, seen)?;
    let side = |text: Option<String>| match text {
        Some(text) => normalised(&text).map_or(text, |text| short(&text)),
        None => "absent".to_owned(),
    };
    let reason = format!(
        "the body differs at {:?}: is {}, wanted {}",
        difference.pointer,
        side(difference.seen),
        side(difference.wanted)
    );
    let wanted = normalised(wanted).unwrap_or_default();
    Some((reason, diff::lines(&wanted, &normal)))
}

/// One line of at most 80 characters; the diff shows the rest.
fn short(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
