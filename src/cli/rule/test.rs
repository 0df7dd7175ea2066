//! `eventyard rule test`: runs the tests beside rules, or tries a rule on one event; without a bus.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::explain::{self, Question};
use super::suite::{self, Found, Outcome, Suite};
use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::output::{self, BOLD, Format, GREEN, OutputArgs, RED, line, paint};
use crate::cli::rule_file::RuleFile;

const EXAMPLES: &str = "\
Examples:
  eventyard rule test                                  every rule below rules/ that has tests
  eventyard rule test rules/default/large-orders.json
  eventyard rule test rules/default/large-orders.json --event event.json
  eventyard rule test --pattern '{\"type\":[{\"prefix\":\"order.\"}]}' --event event.json
  eventyard event get 42 --plain | eventyard rule test rule.json --event -

The tests of rules/<bus>/<rule>.json stand in rules/<bus>/<rule>.tests.json:
  {\"cases\": [{\"name\": \"a large order\", \"event\": {…}, \"matches\": true,
              \"sends\": {\"billing\": {\"body\": {…}}}}]}
An event may be a file beside them, which is best called *.event.json. `sends` may hold `method`,
`url`, `headers` and `body` of what a target is sent, or `error`, a part of why nothing can be.

Exits with 0 when all cases pass, with 1 when one fails, with 3 when there are no tests, and with 5
when a file is invalid, be it a rule without tests. With --event, with 0 when the rule matches and
with 3 when it does not. Needs no bus.";

/// Run the tests beside rules, or tell whether a rule matches an event (offline).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Rule files, tests files, or folders of them; `rules` when nothing is given. With --event, one
    /// rule file; `-` is standard input.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// An event pattern as JSON, in place of a rule.
    #[arg(
        long,
        conflicts_with = "paths",
        requires = "event",
        value_name = "JSON"
    )]
    pattern: Option<String>,
    /// Try the rule on this event, a file with a JSON object; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    event: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    if let Some(event) = args.event {
        if args.paths.len() > 1 {
            return Err(Failure::usage("--event is for one rule"));
        }
        let question = Question {
            rule: args.paths.into_iter().next(),
            pattern: args.pattern,
            event,
            output: args.output,
        };
        return explain::verdict_alone(&question);
    }
    let paths = match args.paths.is_empty() {
        true => vec![PathBuf::from("rules")],
        false => args.paths,
    };
    let found = suite::find(&paths)?;
    let outcomes = run_all(&found)?;
    if found.suites.is_empty() {
        return Err(untested(&paths, found.untested.len()));
    }
    match args.output.output {
        Format::Json => output::json(&as_json(&found, &outcomes).to_string()),
        Format::Table => show(&found, &outcomes),
    }
    match outcomes.iter().all(|outcome| outcome.misses.is_empty()) {
        true => Ok(Exit::Ok),
        false => Ok(Exit::Failed),
    }
}

/// Nothing was tested, which must not look as if all were well.
fn untested(paths: &[PathBuf], rules: usize) -> Failure {
    let names: Vec<String> = paths.iter().map(|path| input::name(path)).collect();
    let names = names.join(", ");
    let message = match rules {
        0 => format!("there are no rules and no tests (*.tests.json) in {names}"),
        1 => format!("there are no tests (*.tests.json) in {names}; its one rule is valid"),
        rules => {
            format!("there are no tests (*.tests.json) in {names}; its {rules} rules are valid")
        }
    };
    Failure::not_found(message).hint("Write some, or try a rule on one event with --event FILE.")
}

/// What is wrong with any file, rules without tests included, is told of all files, before any verdict.
fn run_all(found: &Found) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    let mut refused: Option<Failure> = None;
    let tested = found.suites.iter().map(Suite::run);
    let untested = found.untested.iter().map(|rule| {
        RuleFile::read(rule)?;
        Ok(Vec::new())
    });
    for run in tested.chain(untested) {
        match (run, &mut refused) {
            (Ok(more), _) => outcomes.extend(more),
            (Err(failure), None) => refused = Some(failure),
            (Err(failure), Some(first)) => {
                first.message.push_str("\nerror: ");
                first.message.push_str(&failure.message);
            }
        }
    }
    match refused {
        Some(failure) => Err(failure),
        None => Ok(outcomes),
    }
}

fn show(found: &Found, outcomes: &[Outcome]) {
    let failed: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| !outcome.misses.is_empty())
        .collect();
    for outcome in &failed {
        for miss in &outcome.misses {
            let (file, name) = (input::name(&outcome.tests), output::one_line(&outcome.name));
            let (at, name) = (miss.place.line, paint(BOLD, name));
            line(format_args!(
                "{} {file}:{at}: {name}: {}",
                paint(RED, "✗"),
                miss.reason
            ));
            for more in &miss.more {
                line(format_args!("    {more}"));
            }
        }
    }
    let (cases, rules) = (outcomes.len(), found.suites.len());
    let passed = cases - failed.len();
    let verdict = match failed.len() {
        0 => paint(GREEN, format_args!("{passed} passed")),
        failed => format!(
            "{passed} passed, {}",
            paint(RED, format_args!("{failed} failed"))
        ),
    };
    let untested = match found.untested.len() {
        0 => String::new(),
        1 => "; 1 rule has no tests".to_owned(),
        untested => format!("; {untested} rules have no tests"),
    };
    let plural = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let (cases, rules) = (plural(cases, "case"), plural(rules, "rule"));
    line(format_args!("{cases} of {rules}: {verdict}{untested}"));
}

fn as_json(found: &Found, outcomes: &[Outcome]) -> Value {
    let failed = outcomes.iter().filter(|outcome| !outcome.misses.is_empty());
    let failed = failed.count();
    let cases = outcomes.iter().map(|outcome| {
        let misses = outcome.misses.iter().map(|miss| {
            let more: Vec<String> = miss
                .more
                .iter()
                .map(|line| anstream::adapter::strip_str(line).to_string())
                .collect();
            json!({"line": miss.place.line, "column": miss.place.column, "reason": miss.reason, "more": more})
        });
        json!({
            "file": input::name(&outcome.tests),
            "line": outcome.place.line,
            "name": outcome.name,
            "passed": outcome.misses.is_empty(),
            "misses": misses.collect::<Vec<_>>(),
        })
    });
    let untested: Vec<String> = found
        .untested
        .iter()
        .map(|path| input::name(path))
        .collect();
    json!({
        "passed": outcomes.len() - failed,
        "failed": failed,
        "cases": cases.collect::<Vec<_>>(),
        "untested": untested,
    })
}
