//! Reads Prometheus' text format strictly, and checks what `promtool check metrics` checks.

use std::collections::{BTreeMap, BTreeSet};

/// One metric with all its samples.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) kind: String,
    help: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// What was scraped.
#[derive(Debug)]
pub(crate) struct Scrape(pub(crate) Vec<Metric>);

impl Scrape {
    /// Reads it; every line must be in its place: help, type, then samples of that metric.
    pub(crate) fn read(text: &str) -> Result<Scrape, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut metrics: Vec<Metric> = Vec::new();
        for line in text.lines() {
            let read = match line.strip_prefix("# ") {
                Some(comment) => read_comment(comment, &mut metrics),
                None => read_sample(line).and_then(|sample| {
                    let metric = metrics.last_mut().ok_or("no metric before it")?;
                    if !metric.owns(&sample.name) {
                        return Err(format!("not of the metric {}", metric.name));
                    }
                    metric.samples.push(sample);
                    Ok(())
                }),
            };
            read.map_err(|problem| format!("{problem}: {line}"))?;
        }
        Ok(Scrape(metrics))
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter().flat_map(|metric| &metric.samples)
    }

    /// The sample with just these labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: BTreeMap<String, String> = labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect();
        let mut samples = self.samples();
        let found = samples.find(|sample| sample.name == name && sample.labels == labels);
        found
            .unwrap_or_else(|| panic!("{name} {labels:?} is not shown"))
            .value
    }

    /// What is wrong with it beyond its syntax.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut names = BTreeSet::new();
        for metric in &self.0 {
            let name = &metric.name;
            if !names.insert(name) {
                faults.push(format!("{name}: stands there twice"));
            }
            faults.extend(
                metric
                    .faults()
                    .into_iter()
                    .map(|fault| format!("{name}: {fault}")),
            );
        }
        faults
    }
}

impl Metric {
    fn owns(&self, sample: &str) -> bool {
        match sample.strip_prefix(self.name.as_str()) {
            // Of one whose type was not told, nothing is.
            Some("") => ["counter", "gauge"].contains(&self.kind.as_str()),
            Some("_bucket" | "_sum" | "_count") => self.kind == "histogram",
            _ => false,
        }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, text: &str| {
            if wrong {
                faults.push(text.to_owned());
            }
        };
        let name = self.name.as_str();
        let words: Vec<&str> = name.split('_').collect();
        fault(self.help.is_empty(), "no help");
        fault(
            (self.kind == "counter") != name.ends_with("_total"),
            "counters, and only they, end in `_total`",
        );
        fault(
            !name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "a name is in snake case",
        );
        for ending in ["_bucket", "_sum", "_count"] {
            fault(name.ends_with(ending), "the ending is a histogram's");
        }
        for kind in ["counter", "gauge", "histogram", "summary", "untyped"] {
            fault(words.contains(&kind), "the name holds its type");
        }
        const UNITS: [&str; 30] = [
            "milliseconds",
            "microseconds",
            "nanoseconds",
            "minutes",
            "hours",
            "days",
            "weeks",
            "kilobytes",
            "megabytes",
            "gigabytes",
            "bits",
            "percent",
            "s",
            "ms",
            "us",
            "ns",
            "sec",
            "b",
            "kb",
            "mb",
            "gb",
            "tb",
            "pb",
            "m",
            "h",
            "d",
            "second",
            "byte",
            "millis",
            "nanos",
        ];
        for unit in UNITS {
            fault(words.contains(&unit), "not a base unit, or cut short");
        }
        let unit = words.iter().rposition(|w| ["seconds", "bytes"].contains(w));
        let last = words
            .len()
            .saturating_sub(1 + usize::from(self.kind == "counter"));
        fault(unit.is_some_and(|at| at != last), "the unit stands last");
        fault(
            self.kind == "histogram" && unit.is_none(),
            "a histogram has a unit",
        );
        let mut seen = BTreeSet::new();
        for sample in &self.samples {
            fault(
                !seen.insert((&sample.name, &sample.labels)),
                "a series stands there twice",
            );
            let is_bucket = sample.name.ends_with("_bucket");
            fault(
                is_bucket != sample.labels.contains_key("le"),
                "buckets, and only they, have `le`",
            );
            fault(
                self.kind != "gauge" && sample.value < 0.0,
                "it counts below zero",
            );
        }
        if self.kind == "histogram" {
            faults.extend(self.histogram_fault());
        }
        faults
    }

    /// Buckets ascend, and the last one holds all. (Our histograms have no labels of their own.)
    fn histogram_fault(&self) -> Option<String> {
        let bound = |sample: &Sample| match sample.labels["le"].as_str() {
            "+Inf" => Some(f64::INFINITY),
            bound => bound.parse().ok(),
        };
        let buckets = self.samples.iter().filter(|s| s.name.ends_with("_bucket"));
        let buckets: Vec<(Option<f64>, f64)> = buckets.map(|s| (bound(s), s.value)).collect();
        let ascend = buckets
            .windows(2)
            .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let count = self.samples.iter().find(|s| s.name.ends_with("_count"));
        let sum = self.samples.iter().find(|s| s.name.ends_with("_sum"));
        let whole = buckets.last() == Some(&(Some(f64::INFINITY), count?.value));
        (!ascend || !whole || sum.is_none()).then(|| "its buckets are not in order".to_owned())
    }
}

fn read_comment(comment: &str, metrics: &mut Vec<Metric>) -> Result<(), String> {
    let (word, rest) = comment.split_once(' ').ok_or("a comment of no kind")?;
    let (name, rest) = rest.split_once(' ').ok_or("nothing behind the name")?;
    match word {
        "HELP" => {
            if metrics.last().is_some_and(|last| last.kind.is_empty()) {
                return Err("the one before has no type".to_owned());
            }
            metrics.push(Metric {
                name: name.to_owned(),
                kind: String::new(),
                help: rest.to_owned(),
                samples: Vec::new(),
            });
            Ok(())
        }
        "TYPE" if !["counter", "gauge", "histogram"].contains(&rest) => {
            Err("an unknown type".to_owned())
        }
        "TYPE" => match metrics.last_mut() {
            Some(last) if last.name == name && last.kind.is_empty() => {
                last.kind = rest.to_owned();
                Ok(())
            }
            _ => Err("no help before the type".to_owned()),
        },
        _ => Err("a comment of no kind".to_owned()),
    }
}

fn read_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, behind) = rest.split_once("=\"").ok_or("a label without value")?;
            let is_name =
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if !is_name {
                return Err(format!("the label name {label:?}"));
            }
            let (value, behind) = unescape(behind)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err("a label twice".to_owned());
            }
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = behind.strip_prefix('}').ok_or("the labels do not end")?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value: f64 = value.parse().map_err(|_| "the value is no number")?;
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A label's value up to its closing quote, and what comes behind that.
fn unescape(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                _ => return Err("an unknown escape".to_owned()),
            }),
            c => value.push(c),
        }
    }
    Err("a value does not end".to_owned())
}

#[test]
fn what_breaks_the_rules_is_found() {
    let check = |text: &str, expected: &str| {
        let found = match Scrape::read(text) {
            Ok(scrape) => scrape.faults().join("; "),
            Err(problem) => problem,
        };
        assert!(found.contains(expected), "{found:?} for {text}");
        assert_eq!(
            expected.is_empty(),
            found.is_empty(),
            "{found:?} for {text}"
        );
    };
    let metric = |name: &str, kind: &str, samples: &str| {
        format!("# HELP {name} Help\n# TYPE {name} {kind}\n{samples}")
    };
    check(&metric("a", "gauge", "a{x=\"1\",y=\"\\\"}\"} 2\n"), "");
    check(&metric("a_total", "counter", "a_total 0\n"), "");
    check("a 1\n", "no metric before it");
    check("# TYPE a gauge\na 1\n", "no help before");
    check("# HELP a Help\na 1\n", "not of the metric");
    check(&metric("a", "gauge", "b 1\n"), "not of the metric a");
    check(&metric("a", "gauge", "a 1"), "does not end");
    check(&metric("a", "gauge", "a x\n"), "no number");
    check(&metric("a", "gauge", "a{x=\"1\",x=\"2\"} 1\n"), "twice");
    check(&metric("a", "gauge", "a{X=\"1\"} 1\n"), "label name");
    check(
        &metric("a", "gauge", "a{x=\"1\"} 1\na{x=\"1\"} 2\n"),
        "series",
    );
    check(&metric("a", "counter", "a 1\n"), "`_total`");
    check(&metric("a_total", "gauge", "a_total 1\n"), "`_total`");
    check(&metric("a_total", "counter", "a_total -1\n"), "below zero");
    check(&metric("a_ms", "gauge", "a_ms 1\n"), "base unit");
    check(&metric("a_bytes_held", "gauge", "a_bytes_held 1\n"), "last");
    check(&metric("a_gauge", "gauge", "a_gauge 1\n"), "its type");
    check(&metric("a_count", "gauge", "a_count 1\n"), "histogram's");
    check(&metric("aB", "gauge", "aB 1\n"), "snake case");
    check("# HELP a \n# TYPE a gauge\na 1\n", "no help");
    let twice = metric("a", "gauge", "a 1\n").repeat(2);
    check(&twice, "stands there twice");
    let histogram = |one: u64, all: u64| {
        let samples = format!(
            "a_seconds_bucket{{le=\"1\"}} {one}\na_seconds_bucket{{le=\"+Inf\"}} 2\na_seconds_sum 3\na_seconds_count {all}\n"
        );
        metric("a_seconds", "histogram", &samples)
    };
    check(&histogram(1, 2), "");
    check(&histogram(3, 2), "in order");
    check(&histogram(1, 3), "in order");
}
