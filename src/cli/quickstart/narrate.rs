//! What quickstart says, a line for each thing that happens.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::receiver::Received;
use super::rules::Rules;
use crate::cli::output::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, line, one_line, paint};

/// Longest body that is shown whole, in characters.
const BODY_SHOWN: usize = 160;

pub(super) fn started(bus: SocketAddr, receiver: SocketAddr, rules: &Rules) {
    line(paint(BOLD, "Eventyard quickstart"));
    line(format_args!("  bus       http://{bus}"));
    line(format_args!(
        "  receiver  http://{receiver}, built in: it plays the targets"
    ));
    line(format_args!(
        "  rules     {}, {}",
        rules.all().len(),
        rules.origin
    ));
    for (name, rule) in rules.all() {
        let description = rule.description.as_deref().unwrap_or_default();
        let description = description.split(" (").next().unwrap_or_default();
        line(format_args!(
            "            {}  {}",
            paint(CYAN, format_args!("{name:<14}")),
            one_line(description)
        ));
    }
}

/// Shows an event and the rules it meets; returns how many deliveries the receiver is to get.
pub(super) fn event(event: &str, sequence: u64, rules: &Rules, receiver: SocketAddr) -> usize {
    let json: Value = serde_json::from_str(event).unwrap_or_default();
    let text = |name: &str| one_line(json[name].as_str().unwrap_or_default());
    line(format_args!(
        "  {}  {} from {}: on disk as number {sequence}",
        paint(DIM, "event in "),
        paint(BOLD, text("type")),
        text("source"),
    ));
    if let Some(data) = json.get("data") {
        line(format_args!(
            "             {}",
            paint(DIM, shown(&data.to_string()))
        ));
    }
    let matching = rules.matching(event);
    if matching.is_empty() {
        line(format_args!(
            "  {}  none matches: it is kept, and delivered to nobody",
            paint(DIM, "rule     ")
        ));
    }
    let base = format!("http://{receiver}/");
    let mut expected = 0;
    for (name, rule) in matching {
        let targets: Vec<String> = rule
            .targets
            .iter()
            .map(|target| target.id.to_string())
            .collect();
        line(format_args!(
            "  {}  {} matches → {}",
            paint(DIM, "rule     "),
            paint(CYAN, name),
            targets.join(", ")
        ));
        let ours = rule.targets.iter();
        expected += ours
            .filter(|target| target.url.as_str().starts_with(&base))
            .count();
    }
    expected
}

pub(super) fn delivery(received: &Received, after: Option<Duration>) {
    let (verb, style) = if received.status.is_success() {
        ("delivered", GREEN)
    } else {
        ("refused  ", RED)
    };
    let after = after.map_or(String::new(), |after| {
        format!(" after {} ms", after.as_millis())
    });
    line(format_args!(
        "  {}  POST {}{after}: {}, {} mode, delivery {}, answered {}",
        paint(style, verb),
        one_line(&received.path),
        one_line(&received.kind),
        received.mode,
        one_line(&received.delivery_id),
        received.status.as_u16(),
    ));
    line(format_args!(
        "             {}",
        paint(DIM, shown(&received.body))
    ));
}

/// Of `came`, those beyond the `shown`.
pub(super) fn left_out(came: usize, shown: usize, what: &str) {
    let more = came.saturating_sub(shown);
    if more > 0 {
        line(format_args!(
            "\n  … and {more} more {what}, which are not shown"
        ));
    }
}

/// What to try next.
pub(super) fn invite(base: &str, receiver: SocketAddr) {
    line("");
    line(paint(BOLD, "The bus stays up. In another terminal, try:"));
    line("");
    let step = |what: &str, commands: &[String]| {
        line(format_args!(
            "  {}",
            paint(YELLOW, format_args!("# {what}"))
        ));
        for command in commands {
            line(format_args!("  {command}"));
        }
        line("");
    };
    step(
        "an order of your own, which goes to billing too",
        &[publish(
            base,
            "com.example.order.placed",
            r#"{"total":120}"#,
        )],
    );
    step(
        "a rule of your own, whose target refuses everything: see the dead letter",
        &[
            format!(
                "curl -s -X PUT {base}/v1/buses/default/rules/mine -d '{{\"pattern\":{{\"type\":[\"hello\"]}},\n    \"targets\":[{{\"id\":\"grumpy\",\"url\":\"http://{receiver}/refuse\"}}]}}'"
            ),
            publish(base, "hello", r#"{"from":"me"}"#),
            format!("curl -s {base}/v1/buses/default/dead-letters"),
        ],
    );
    step(
        "everything the bus has kept",
        &[format!("curl -s {base}/v1/buses/default/events")],
    );
    line(paint(DIM, "Ctrl-C stops it."));
}

fn publish(base: &str, kind: &str, data: &str) -> String {
    format!(
        "curl -s {base}/v1/buses/default/events \\\n    -H 'ce-specversion: 1.0' -H 'ce-type: {kind}' -H 'ce-source: /me' -H \"ce-id: $RANDOM\" \\\n    -H 'content-type: application/json' -d '{data}'"
    )
}

/// The start of a body, on one line.
fn shown(body: &str) -> String {
    let body = one_line(body);
    match body.char_indices().nth(BODY_SHOWN) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bodies_are_cut_and_control_characters_taken_out() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"ä".repeat(500)).chars().count(), BODY_SHOWN + 1);
    }
}
