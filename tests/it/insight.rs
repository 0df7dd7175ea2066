//! Whether the dashboard, the alerts and the manual name what `/metrics` shows.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::delivery::{event, rule_to};
use crate::exposition::Scrape;
use crate::harness::{TestBus, TestTarget, eventually};
use crate::listener_tls;
use crate::metrics::scrape;

/// A bus of which every metric shows something, for comparing names and labels with.
async fn everything() -> Scrape {
    let (bus, target) = (TestBus::start().await, TestTarget::accepting());
    bus.put_rule("orders", &rule_to(&target, &json!({}))).await;
    bus.publish(&event("1")).await;
    target.receives(1).await;
    let place = "/v1/buses/default/rules/orders/targets/billing";
    bus.post(&format!("{place}/pause"), &json!({})).await;
    let mut shown = eventually("the target is shown as paused", async || {
        let shown = scrape(&bus).await;
        let paused = shown
            .samples()
            .any(|s| s.name == "eventyard_target_paused" && s.value == 1.0);
        paused.then_some(shown)
    })
    .await;
    // What only a bus with TLS shows.
    for metric in listener_tls::scraped().await.0 {
        let same = shown.0.iter_mut().find(|shown| shown.name == metric.name);
        if let Some(empty) = same.filter(|shown| shown.samples.is_empty()) {
            *empty = metric;
        }
    }
    shown
}

/// A name in a query and what it asks of labels: `name{label="value",…}`.
#[derive(Debug)]
struct Selector {
    name: String,
    /// Label, operator, value.
    matchers: Vec<(String, String, String)>,
}

fn selectors(text: &str) -> Vec<Selector> {
    let text = text.replace("\\\"", "\"");
    let mut found = Vec::new();
    for prefix in ["eventyard_", "process_"] {
        for (at, _) in text.match_indices(prefix) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let name: String = text[at..].chars().take_while(|c| is_part(*c)).collect();
            let behind = &text[at + name.len()..];
            let inner = behind.strip_prefix('{').and_then(|b| b.split_once('}'));
            let matchers = inner.map_or("", |(inner, _)| inner).split(',');
            let matchers = matchers.filter_map(|matcher| {
                let (label, rest) = matcher.split_at(matcher.find(['=', '!'])?);
                let (operator, value) = rest.split_at(rest.find('"')?);
                let value = value.trim_matches('"');
                Some((label.to_owned(), operator.to_owned(), value.to_owned()))
            });
            found.push(Selector {
                name,
                matchers: matchers.collect(),
            });
        }
    }
    found
}

fn of_repository(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_is_shown() {
    let shown = everything().await;
    let alerts = of_repository("docker/prometheus/alerts.yaml");
    let dashboard = of_repository("docker/grafana/dashboards/eventyard.json");
    serde_json::from_str::<Value>(&dashboard).unwrap();
    let mut wrong = Vec::new();
    let mut asked = BTreeSet::new();
    for (file, text) in [("alerts", &alerts), ("dashboard", &dashboard)] {
        let selectors = selectors(text);
        assert!(selectors.len() > 15, "{file}: {selectors:?}");
        for selector in selectors {
            let samples: Vec<_> = shown
                .samples()
                .filter(|sample| sample.name == selector.name)
                .collect();
            if samples.is_empty() {
                wrong.push(format!("{file}: no metric {}", selector.name));
            }
            for (label, operator, value) in &selector.matchers {
                // Prometheus adds it.
                if label == "instance" {
                    continue;
                }
                let fits = |value: &str| {
                    samples
                        .iter()
                        .any(|sample| sample.labels.get(label).is_some_and(|had| had == value))
                };
                let known = match operator.as_str() {
                    _ if value.starts_with('$') => {
                        samples.iter().any(|s| s.labels.contains_key(label))
                    }
                    "=" => fits(value),
                    _ => value.split('|').all(fits),
                };
                if !known {
                    wrong.push(format!(
                        "{file}: {}{{{label}{operator}{value:?}}}",
                        selector.name
                    ));
                }
            }
            asked.insert(selector.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(asked.contains("eventyard_journal_flush_seconds_bucket"));
}

#[tokio::test]
async fn the_manual_tells_of_every_metric_and_alert() {
    let shown = everything().await;
    let manual = of_repository("docs/operate.md");
    let mut wrong = shown.faults();
    for metric in &shown.0 {
        if !manual.contains(&format!("`{}`", metric.name)) {
            wrong.push(format!("the manual does not tell of {}", metric.name));
        }
    }
    for selector in selectors(&manual) {
        let name = &selector.name;
        let is_shown = shown.samples().any(|sample| sample.name == *name)
            || shown.0.iter().any(|metric| metric.name == *name);
        if !is_shown {
            wrong.push(format!("the manual names {name}, which is not shown"));
        }
    }
    let alerts = of_repository("docker/prometheus/alerts.yaml");
    let alerts: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let sections: Vec<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("#### "))
        .filter(|title| title.starts_with("Eventyard"))
        .collect();
    assert_eq!(sections, alerts, "a section for each alert, in order");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
