//! `eventyard event trace`: what became of an event, attempt by attempt, for people.

use serde::Deserialize;

use crate::cli::connect::BusArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{
    self, BOLD, CYAN, DIM, Format, GREEN, OutputArgs, RED, YELLOW, line, one_line, paint,
};
use crate::cli::rule::explain;
use crate::pattern::FieldExplanation;
use crate::rule::FilterExplanation;

const EXAMPLES: &str = "\
Examples:
  eventyard event trace 4711
  eventyard event trace 4711 --explain large-orders
  eventyard event trace 4711 --output json

Shows which rules matched the event, and each delivery with its attempts. The bus remembers attempts
in memory, as its settings `traces`, `traces_bytes` and `traces_age` say, and not over a restart; of
what failed its log knows the last error.";

/// Show what became of an event: rules, deliveries, attempts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The sequence that publishing answered with.
    sequence: u64,
    /// Also show why this rule matches the event, or does not.
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Deserialize)]
struct Trace {
    bus: String,
    sequence: u64,
    time: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    routed: String,
    due: Option<String>,
    remembered: Remembered,
    rules: Vec<Rule>,
    #[serde(default)]
    cut_short: bool,
    explain: Option<Explanation>,
}

#[derive(Debug, Deserialize)]
struct Remembered {
    traces: String,
    since: String,
}

#[derive(Debug, Deserialize)]
struct Rule {
    rule: String,
    basis: String,
    deliveries: Vec<Delivery>,
}

#[derive(Debug, Deserialize)]
struct Delivery {
    target: String,
    state: String,
    held_by: Option<String>,
    attempts_made: u32,
    next_attempt: Option<String>,
    last_status: Option<u16>,
    last_error: Option<String>,
    dead_letter: Option<DeadLetter>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Deserialize)]
struct DeadLetter {
    id: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Attempt {
    number: u32,
    #[serde(default)]
    uncounted: bool,
    started: String,
    queued_ms: Option<f64>,
    prepared_ms: Option<f64>,
    dns_ms: Option<f64>,
    connect_ms: Option<f64>,
    tls_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    took_ms: Option<f64>,
    batch: Option<u32>,
    status: Option<u16>,
    result: String,
    response: Option<String>,
    error: Option<String>,
    then: String,
    retry_at: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Explanation {
    rule: String,
    put_since: bool,
    matches: bool,
    enabled: bool,
    pattern: Pattern,
    filter: Option<FilterExplanation>,
}

#[derive(Debug, Deserialize)]
struct Pattern {
    fields: Vec<FieldExplanation>,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    let answer = client
        .trace(&args.bus.bus, args.sequence, args.explain.as_deref())
        .await?;
    if args.output.output == Format::Json {
        output::json(answer.get());
        return Ok(Exit::Ok);
    }
    let trace: Trace = serde_json::from_str(answer.get())
        .map_err(|error| Failure::failed(format!("the answer: {error}")))?;
    for text in trace.lines() {
        line(text);
    }
    Ok(Exit::Ok)
}

impl Trace {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{} {}  {}",
                paint(BOLD, format_args!("event {}", self.sequence)),
                paint(CYAN, one_line(&self.kind)),
                paint(
                    DIM,
                    format_args!("from {} id {}", one_line(&self.source), one_line(&self.id))
                ),
            ),
            format!("taken {} on the bus {}", self.time, self.bus),
        ];
        match (self.routed.as_str(), &self.due) {
            ("scheduled", Some(due)) => lines.push(format!("waits until {due} to be routed")),
            ("not_yet", _) => lines.push("is not routed yet".to_owned()),
            _ => {}
        }
        lines.push(String::new());
        if self.rules.is_empty() {
            lines.push(paint(DIM, "no rule matches"));
        }
        for rule in &self.rules {
            rule.add_to(&mut lines);
        }
        if self.cut_short {
            let text = "deliveries of rules that were changed or deleted since may be missing";
            lines.push(paint(DIM, text));
        }
        lines.push(paint(DIM, self.remembered.words()));
        if let Some(explanation) = &self.explain {
            lines.push(String::new());
            explanation.add_to(&mut lines);
        }
        lines
    }
}

impl Remembered {
    fn words(&self) -> String {
        match self.traces.as_str() {
            "off" => "attempts are not remembered (traces = \"off\")".to_owned(),
            "failures" => format!(
                "remembered since {}: attempts that failed (traces = \"failures\")",
                self.since
            ),
            _ => format!("attempts are remembered since {}", self.since),
        }
    }
}

impl Rule {
    fn add_to(&self, lines: &mut Vec<String>) {
        let basis = match self.basis.as_str() {
            "put_since" => "  put after the event came; it would match as it is now",
            "earlier" => "  gone or changed since; it does not match any more",
            _ => "",
        };
        let name = paint(BOLD, &self.rule);
        lines.push(format!("rule {name}{}", paint(YELLOW, basis)));
        for delivery in &self.deliveries {
            delivery.add_to(lines);
        }
        lines.push(String::new());
    }
}

impl Delivery {
    fn add_to(&self, lines: &mut Vec<String>) {
        lines.push(format!(
            "  → {}  {}",
            paint(BOLD, &self.target),
            self.words()
        ));
        for attempt in &self.attempts {
            attempt.add_to(lines);
        }
        let remembered = self.attempts.iter().filter(|attempt| !attempt.uncounted);
        let forgotten = u64::from(self.attempts_made).saturating_sub(remembered.count() as u64);
        if forgotten > 0 && self.state != "sending" {
            let attempts = if forgotten == 1 {
                "attempt"
            } else {
                "attempts"
            };
            let mut text = format!("    {forgotten} {attempts} not remembered");
            if self.attempts.is_empty() {
                if let Some(status) = self.last_status {
                    text.push_str(&format!("; the last was answered {status}"));
                }
                if let Some(error) = &self.last_error {
                    text.push_str(&format!(": {}", one_line(error)));
                }
            }
            lines.push(paint(DIM, text));
        }
    }

    fn words(&self) -> String {
        let after = match self.attempts_made {
            0 => String::new(),
            1 => " at the first attempt".to_owned(),
            attempts => format!(" after {attempts} attempts"),
        };
        let held = self.held_by.as_deref().map(|why| match why {
            "breaker" => ", held by its open breaker".to_owned(),
            why => format!(", held: {}", why.replace('_', " ")),
        });
        let held = held.unwrap_or_default();
        match self.state.as_str() {
            "delivered" => paint(GREEN, format_args!("delivered{after}")),
            "dead_lettered" => {
                let (id, reason) = match &self.dead_letter {
                    Some(letter) => (letter.id.as_str(), letter.reason.replace('_', " ")),
                    None => ("", String::new()),
                };
                paint(RED, format_args!("dead letter {id}: {reason}{after}"))
            }
            "retrying" => {
                let next = self.next_attempt.as_deref();
                let next = next.map_or_else(String::new, |next| format!(" at {next}"));
                paint(
                    YELLOW,
                    format_args!("failed{after}; tried again{next}{held}"),
                )
            }
            "waiting" => paint(YELLOW, format_args!("waits for its first attempt{held}")),
            "sending" => paint(YELLOW, format_args!("is being sent{held}")),
            "dead_letter_removed" => {
                paint(DIM, "was given up; its dead letter has been removed since")
            }
            "settled" => paint(
                DIM,
                "delivered, or its dead letter was removed; more is not known any more",
            ),
            _ => paint(DIM, "whether there was a delivery is not known"),
        }
    }
}

impl Attempt {
    fn add_to(&self, lines: &mut Vec<String>) {
        let style = match self.then.as_str() {
            "delivered" => GREEN,
            "retry" => YELLOW,
            _ => RED,
        };
        let number = if self.uncounted {
            "–".to_owned()
        } else {
            format!("#{}", self.number)
        };
        let result = match self.status {
            Some(status) => status.to_string(),
            None => self.result.replace('_', " "),
        };
        let took = self.took_ms.map(|took| format!(" in {}", millis(took)));
        let then = match (self.then.as_str(), &self.retry_at, &self.reason) {
            ("retry", Some(at), _) => format!(", again at {}", time_of_day(at)),
            ("dead_letter", _, Some(reason)) => {
                format!(", given up: {}", reason.replace('_', " "))
            }
            _ => String::new(),
        };
        let batch = self
            .batch
            .map(|batch| format!(", with {} others", batch - 1));
        lines.push(format!(
            "    {number} {}  {}{}{then}{}",
            time_of_day(&self.started),
            paint(style, result),
            took.unwrap_or_default(),
            batch.unwrap_or_default(),
        ));
        let phases = [
            ("queued", self.queued_ms),
            ("prepared", self.prepared_ms),
            ("DNS", self.dns_ms),
            ("connect", self.connect_ms),
            ("TLS", self.tls_ms),
            ("first byte", self.first_byte_ms),
        ];
        let phases: Vec<String> = phases
            .iter()
            .filter_map(|(name, took)| Some(format!("{name} {}", millis((*took)?))))
            .collect();
        if !phases.is_empty() {
            lines.push(paint(DIM, format_args!("       {}", phases.join(" · "))));
        }
        for text in [&self.error, &self.response].into_iter().flatten() {
            lines.push(format!("       {}", one_line(text)));
        }
    }
}

impl Explanation {
    fn add_to(&self, lines: &mut Vec<String>) {
        let verdict = match (self.matches, self.enabled) {
            (true, _) => paint(GREEN, "matches"),
            (false, true) => paint(RED, "does not match"),
            (false, false) => paint(RED, "does not match: the rule is disabled"),
        };
        let since = if self.put_since {
            paint(YELLOW, ", as it is now; it was put after the event came")
        } else {
            String::new()
        };
        lines.push(format!("rule {} {verdict}{since}", paint(BOLD, &self.rule)));
        lines.extend(self.pattern.fields.iter().map(explain::field_lines));
        lines.extend(self.filter.iter().map(explain::filter_lines));
    }
}

/// The time of a moment, without its date.
fn time_of_day(moment: &str) -> &str {
    let time = moment.split_once('T').map_or(moment, |(_, time)| time);
    time.trim_end_matches('Z')
}

fn millis(millis: f64) -> String {
    match millis {
        _ if millis >= 10_000.0 => format!("{:.1} s", millis / 1_000.0),
        _ if millis >= 100.0 => format!("{millis:.0} ms"),
        _ if millis >= 1.0 => format!("{millis:.1} ms"),
        _ => format!("{millis:.2} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trace: serde_json::Value, expected: &[&str]) {
        let trace: Trace = serde_json::from_value(trace).unwrap();
        let text = trace.lines().join("\n");
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, expected);
    }

    fn trace(rules: serde_json::Value) -> serde_json::Value {
        serde_json::json!({
            "bus": "default", "sequence": 7, "time": "2026-11-22T19:30:00.120Z", "id": "1",
            "source": "/s\u{1b}", "type": "a", "routed": "done",
            "remembered": {"traces": "all", "since": "2026-11-20T08:00:00.000Z"}, "rules": rules,
        })
    }

    #[test]
    fn a_delivery_reads_like_a_story() {
        let attempts = serde_json::json!([
            {"number": 1, "started": "2026-11-22T19:30:00.131Z", "queued_ms": 11, "connect_ms": 0.84,
             "took_ms": 12.32, "status": 503, "result": "5xx", "response": "bu\nsy", "then": "retry",
             "retry_at": "2026-11-22T19:30:01.020Z"},
            {"number": 2, "started": "2026-11-22T19:30:01.021Z", "took_ms": 10_000.0, "status": null,
             "result": "timeout", "error": "no answer within 10s", "then": "dead_letter",
             "reason": "attempts_exhausted", "batch": 3},
        ]);
        let delivery = serde_json::json!({"target": "billing", "state": "dead_lettered",
            "attempts_made": 3, "next_attempt": null,
            "dead_letter": {"id": "1-7", "reason": "attempts_exhausted"}, "attempts": attempts});
        check(
            trace(serde_json::json!([
                {"rule": "large", "basis": "put_since", "deliveries": [delivery]}
            ])),
            &[
                "event 7 a  from /s  id 1",
                "taken 2026-11-22T19:30:00.120Z on the bus default",
                "",
                "rule large  put after the event came; it would match as it is now",
                "  → billing  dead letter 1-7: attempts exhausted after 3 attempts",
                "    #1 19:30:00.131  503 in 12.3 ms, again at 19:30:01.020",
                "       queued 11.0 ms · connect 0.84 ms",
                "       bu sy",
                "    #2 19:30:01.021  timeout in 10.0 s, given up: attempts exhausted, with 2 others",
                "       no answer within 10s",
                "    1 attempt not remembered",
                "",
                "attempts are remembered since 2026-11-20T08:00:00.000Z",
            ],
        );
    }

    #[test]
    fn no_rule_is_said_to_match() {
        let mut nothing = trace(serde_json::json!([]));
        nothing["explain"] = serde_json::json!({"rule": "large", "put_since": true, "matches": false,
            "enabled": true, "pattern": {"fields": [{"pointer": "/type", "matches": false,
            "wanted": r#"["b"]"#, "seen": ["\"a\""], "reason": r#""a" is not "b""#}]}});
        check(
            nothing,
            &[
                "event 7 a  from /s  id 1",
                "taken 2026-11-22T19:30:00.120Z on the bus default",
                "",
                "no rule matches",
                "attempts are remembered since 2026-11-20T08:00:00.000Z",
                "",
                "rule large does not match, as it is now; it was put after the event came",
                "  ✗ /type",
                r#"      wanted ["b"]"#,
                r#"        seen "a""#,
                r#"      "a" is not "b""#,
            ],
        );
    }
}
