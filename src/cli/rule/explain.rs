//! `eventyard rule explain`: whether a rule matches an event, and why; without a bus.

use std::path::PathBuf;

use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::output::{self, BOLD, DIM, Format, GREEN, OutputArgs, RED, line, paint};
use crate::cli::rule_file::{self, RuleFile};
use crate::pattern::{Document, EventPattern, FieldExplanation};
use crate::rule::{Filter, FilterExplanation, Problem, RuleExplanation, Verdict};

const EXAMPLES: &str = "\
Examples:
  eventyard rule explain rules/default/large-orders.json --event event.json
  eventyard rule explain --pattern '{\"type\":[\"order.created\"]}' --event -

Shows each field of the pattern: what it wants, what the event has, and why that is not enough.
Exits with 0 when the rule matches and with 3 when it does not. Needs no bus.";

/// A rule and the event that it is asked about.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// The rule's file; `-` is standard input.
    #[arg(required_unless_present = "pattern", value_name = "RULE_FILE")]
    pub(super) rule: Option<PathBuf>,
    /// An event pattern as JSON, in place of a rule.
    #[arg(long, conflicts_with = "rule", value_name = "JSON")]
    pub(super) pattern: Option<String>,
    /// The event's file, a JSON object; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    pub(super) event: PathBuf,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Show field by field why a rule matches an event or does not (offline).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    question: Question,
}

/// The answer without the reasons, for `rule test --event`.
pub(super) fn verdict_alone(question: &Question) -> Result<Exit, Failure> {
    let explanation = question.explanation()?;
    match question.output.output {
        Format::Json => output::json(&format!("{{\"matches\":{}}}", explanation.matches)),
        Format::Table => line(verdict(&explanation)),
    }
    Ok(exit(&explanation))
}

pub(super) fn run(Args { question }: Args) -> Result<Exit, Failure> {
    let explanation = question.explanation()?;
    match question.output.output {
        Format::Json => {
            let text = serde_json::to_string(&explanation)
                .map_err(|error| Failure::failed(format!("the explanation: {error}")))?;
            output::json(&text);
        }
        Format::Table => {
            line(verdict(&explanation));
            for field in &explanation.pattern.fields {
                line(field_lines(field));
            }
            if let Some(filter) = &explanation.filter {
                line(filter_lines(filter));
            }
        }
    }
    Ok(exit(&explanation))
}

impl Question {
    fn explanation(&self) -> Result<RuleExplanation, Failure> {
        let (enabled, pattern, filter) = match (&self.pattern, &self.rule) {
            (Some(text), _) => (true, parse_pattern(text)?, None),
            (None, Some(path)) => {
                if path == &self.event {
                    return Err(Failure::usage(
                        "the rule and the event cannot both come from standard input",
                    ));
                }
                let document = RuleFile::read(path)?.document;
                let pattern = document.pattern.compiled().clone();
                (document.enabled, pattern, document.filter)
            }
            (None, None) => return Err(Failure::usage("name a rule's file, or give --pattern")),
        };
        let event = input::read_json_object(&self.event)?;
        let pattern = pattern.explain(&Document::json(event.as_bytes()));
        let filter = filter.map(|filter| ask(&filter, &event));
        Ok(RuleExplanation {
            matches: enabled
                && pattern.matches
                && filter.as_ref().is_none_or(|filter| filter.matches),
            enabled,
            pattern,
            filter,
        })
    }
}

fn parse_pattern(text: &str) -> Result<EventPattern, Failure> {
    EventPattern::parse_whole(text).map_err(|faults| {
        let problems = faults.into_iter().map(|fault| Problem {
            pointer: fault.pointer,
            detail: fault.reason,
            offset: fault.offset,
        });
        let problems: Vec<Problem> = problems.collect();
        Failure::invalid(rule_file::render("--pattern", text, &problems))
    })
}

fn ask(filter: &Filter, event: &str) -> FilterExplanation {
    let verdict = filter.matches_json(event.as_bytes());
    FilterExplanation {
        matches: verdict == Verdict::Matches,
        wanted: filter.text().to_owned(),
        reason: match verdict {
            Verdict::Matches => "selects something",
            Verdict::Differs => "selects nothing",
            Verdict::TooCostly => "was not run: the event is too large or deep for this query",
        }
        .to_owned(),
    }
}

fn exit(explanation: &RuleExplanation) -> Exit {
    if explanation.matches {
        Exit::Ok
    } else {
        Exit::NotFound
    }
}

fn verdict(explanation: &RuleExplanation) -> String {
    match (explanation.matches, explanation.enabled) {
        (true, _) => paint(GREEN, "matches"),
        (false, true) => paint(RED, "does not match"),
        (false, false) => paint(RED, "does not match: the rule is disabled"),
    }
}

pub(crate) fn field_lines(field: &FieldExplanation) -> String {
    let seen = if field.seen.is_empty() {
        "nothing".to_owned()
    } else {
        output::one_line(&field.seen.join(", "))
    };
    let (mark, reason) = if field.matches {
        (paint(GREEN, "✓"), String::new())
    } else {
        let reason = output::one_line(&field.reason);
        (paint(RED, "✗"), format!("\n      {reason}"))
    };
    format!(
        "  {mark} {}\n      {} {}\n      {} {seen}{reason}",
        paint(BOLD, &field.pointer),
        paint(DIM, "wanted"),
        output::one_line(&field.wanted),
        paint(DIM, "  seen"),
    )
}

pub(crate) fn filter_lines(filter: &FilterExplanation) -> String {
    let mark = if filter.matches {
        paint(GREEN, "✓")
    } else {
        paint(RED, "✗")
    };
    format!(
        "  {mark} {}\n      {} {}\n      {}",
        paint(BOLD, "filter"),
        paint(DIM, "wanted"),
        filter.wanted,
        filter.reason
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_failed_shows_what_was_wanted_and_seen() {
        let field = FieldExplanation {
            pointer: "/data/total".into(),
            matches: false,
            wanted: r#"[{"numeric":[">=",100]}]"#.into(),
            seen: vec!["20".into()],
            reason: "20 is not >= 100".into(),
        };
        let text = anstream::adapter::strip_str(&field_lines(&field)).to_string();
        assert_eq!(
            text,
            "  ✗ /data/total\n      wanted [{\"numeric\":[\">=\",100]}]\n        seen 20\n      20 is not >= 100"
        );
    }
}
