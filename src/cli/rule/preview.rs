//! `eventyard rule preview`: what a rule's targets would be sent for an event; without a bus.

use std::path::PathBuf;

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::output::{self, BOLD, DIM, Format, OutputArgs, RED, line, note, paint};
use crate::cli::rule_file::{self, RuleFile};
use crate::clock::Clock;
use crate::delivery::{self, Preview};
use crate::event::{self, Event};
use crate::log::{BusName, DeadLetterReason, RuleName};
use crate::pattern::Document;
use crate::rule::{Problem, RuleDocument};

const EXAMPLES: &str = "\
Examples:
  eventyard rule preview rules/default/large-orders.json --event event.json
  eventyard rule preview rule.json --event event.json --target billing --output json
  eventyard event get 42 --plain | eventyard rule preview rule.json --event -

Shows the request to each target: method, URL, headers, body, as the rule's transform makes it.
Nothing is sent, and no bus is needed. Of credentials it shows where they stand, not their values;
what each attempt adds (webhook- headers, signature, user-agent) is not shown.

Exits with 0 when all could be sent, and with 3 when one of them would be a dead letter.";

/// Show what a rule's targets would be sent for an event (offline).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The rule's file; `-` is standard input.
    #[arg(value_name = "RULE_FILE")]
    rule: PathBuf,
    /// The event's file, a CloudEvent in JSON; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    event: PathBuf,
    /// Only this target.
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// The bus, for templates that name it.
    #[arg(long, default_value = "default")]
    bus: BusName,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    if args.rule == args.event {
        return Err(Failure::usage(
            "the rule and the event cannot both come from standard input",
        ));
    }
    let file = RuleFile::read(&args.rule)?;
    let event = read_event(&args.event)?;
    note_if_unmatched(&file.document, &event);
    let rule = file.name().and_then(|name| RuleName::new(name).ok());
    let rule = rule.unwrap_or_else(|| RuleName::new("preview").expect("a valid name"));
    let ids: Vec<String> = file
        .document
        .targets
        .iter()
        .map(|t| t.id.to_string())
        .collect();
    let now = Clock::system().now();
    let mut shown = Vec::new();
    for document in file.document.targets {
        let id = document.id.to_string();
        if args.target.as_ref().is_none_or(|wanted| *wanted == id) {
            let target = document.for_preview(&args.bus, &rule);
            shown.push((id, delivery::preview(&target, event.clone(), now)));
        }
    }
    if shown.is_empty() {
        let wanted = args.target.unwrap_or_default();
        let failure = Failure::not_found(format!("the rule has no target {wanted:?}"));
        return Err(failure.hint(format!("It has: {}.", ids.join(", "))));
    }
    match args.output.output {
        Format::Json => output::json(&as_json(&shown).to_string()),
        Format::Table => {
            for (at, (id, preview)) in shown.iter().enumerate() {
                let gap = if at == 0 { "" } else { "\n" };
                line(format_args!("{gap}{}", as_text(id, preview)));
            }
        }
    }
    match shown.iter().all(|(_, preview)| preview.is_ok()) {
        true => Ok(Exit::Ok),
        false => Ok(Exit::NotFound),
    }
}

/// A CloudEvent; a fault in it shows its line with a caret.
pub(super) fn read_event(path: &std::path::Path) -> Result<Event, Failure> {
    let text = input::read_json_object(path)?;
    decode_event(&text).map_err(|(pointer, detail)| {
        // A missing attribute has no place of its own.
        let present = crate::rule::find(&text, &pointer).is_some();
        let problem = Problem {
            pointer: if present { pointer } else { String::new() },
            detail,
            offset: None,
        };
        Failure::invalid(rule_file::render(&input::name(path), &text, &[problem]))
    })
}

/// The CloudEvent that a JSON text is; else the pointer and the reason.
pub(super) fn decode_event(text: &str) -> Result<Event, (String, String)> {
    let structured = HeaderValue::from_static("application/cloudevents+json");
    let headers = [(CONTENT_TYPE, structured)].into_iter().collect();
    let received = event::decode(&headers, text.to_owned().into()).map_err(|error| {
        let pointer = error.pointer().unwrap_or_default().to_owned();
        (pointer, error.reason)
    })?;
    let event = received.events.into_iter().next();
    event.ok_or_else(|| (String::new(), "there is no event here".to_owned()))
}

fn note_if_unmatched(document: &RuleDocument, event: &Event) {
    let json = event.to_json();
    let filtered = document
        .filter
        .as_ref()
        .is_some_and(|filter| filter.matches_json(&json) != crate::rule::Verdict::Matches);
    let pattern = document.pattern.compiled().explain(&Document::json(&json));
    if filtered || !pattern.matches {
        note("the rule does not match this event; `eventyard rule explain` tells why");
    }
}

fn as_json(shown: &[(String, Result<Preview, String>)]) -> serde_json::Value {
    let previews = shown.iter().map(|(id, preview)| {
        let mut shown = match preview {
            Ok(preview) => serde_json::to_value(preview).unwrap_or_default(),
            Err(error) => {
                let reason = DeadLetterReason::NotTransformed.as_str();
                json!({"sent": false, "reason": reason, "error": error})
            }
        };
        shown["target"] = json!(id);
        shown
    });
    json!({ "previews": previews.collect::<Vec<_>>() })
}

fn as_text(id: &str, preview: &Result<Preview, String>) -> String {
    let preview = match preview {
        Ok(preview) => preview,
        Err(error) => {
            let verdict = paint(RED, "a dead letter (not_transformed)");
            return format!(
                "{}: {verdict}\n  {}",
                paint(BOLD, id),
                output::one_line(error)
            );
        }
    };
    let mut text = format!(
        "{}: {} {}",
        paint(BOLD, id),
        preview.method,
        output::one_line(&preview.url)
    );
    for (name, value) in &preview.headers {
        let name = paint(DIM, format!("{name}:"));
        text.push_str(&format!("\n  {name} {}", output::one_line(value)));
    }
    match preview.text() {
        Some("") => {}
        Some(body) => {
            text.push('\n');
            for body_line in body.lines() {
                // A terminal must not obey what an event holds.
                text.push_str(&format!("\n  {}", output::one_line(body_line)));
            }
        }
        None => {
            let bytes = preview.body.len();
            text.push_str(&format!("\n\n  {}", paint(DIM, format!("{bytes} bytes"))));
        }
    }
    text
}
