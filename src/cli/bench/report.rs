//! What the bench found out: numbers for programs, a table for people.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::hostile;
use super::machine::Machine;
use crate::cli::output::{BOLD, DIM, GREEN, YELLOW, line, paint};

pub(super) use crate::cli::output::thousands;

/// Everything one run of `eventyard bench` reports.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    /// False in a build without optimisation, whose numbers mean nothing.
    pub(super) optimized: bool,
    pub(super) machine: Machine,
    pub(super) connections: usize,
    pub(super) event_bytes: usize,
    pub(super) results: Vec<Section>,
    /// A healthy target beside each hostile one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostile: Option<hostile::Findings>,
}

/// One comparison or measurement.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) mode: &'static str,
    pub(super) title: String,
    pub(super) sides: Vec<Side>,
    pub(super) findings: Vec<Finding>,
}

/// One of the things measured in a section; every number is the median of the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) name: String,
    pub(super) events_per_second: f64,
    pub(super) latency: Latency,
    /// Every round, in order.
    pub(super) rounds: Vec<Round>,
}

/// One round's numbers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    pub(super) events_per_second: f64,
    pub(super) latency: Latency,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

/// One number that answers a question, with the aim it is held against.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aim: Option<Aim>,
}

/// What the project wants to reach on two cores.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Latency {
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Latency {
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: histogram.max() as f64 / 1e6,
        }
    }
}

impl Side {
    pub(super) fn of(name: &str, rounds: Vec<Round>) -> Side {
        let pick = |of: fn(&Round) -> f64| median(rounds.iter().map(of));
        Side {
            name: name.to_owned(),
            events_per_second: pick(|round| round.events_per_second),
            latency: Latency {
                p50_ms: pick(|round| round.latency.p50_ms),
                p99_ms: pick(|round| round.latency.p99_ms),
                p999_ms: pick(|round| round.latency.p999_ms),
                max_ms: pick(|round| round.latency.max_ms),
            },
            rounds,
        }
    }

    /// The median over the rounds of this side's number over the other's in the same round: noise
    /// that lasts longer than a round touches both.
    pub(super) fn ratio(&self, to: &Side, of: fn(&Round) -> f64) -> f64 {
        let pairs = self.rounds.iter().zip(&to.rounds);
        median(pairs.map(|(mine, other)| of(mine) / of(other).max(f64::MIN_POSITIVE)))
    }
}

impl Finding {
    pub(super) fn is_met(&self) -> Option<bool> {
        Some(match self.aim? {
            Aim::AtLeast(least) => self.value >= least,
            Aim::AtMost(most) => self.value <= most,
        })
    }
}

impl Report {
    pub(super) fn print(&self) {
        let machine = &self.machine;
        line(format_args!(
            "{} {} cores, {}{}; fdatasync p50 {} ms, p99 {} ms",
            paint(BOLD, "machine"),
            machine.cores,
            machine.processor,
            machine
                .memory_gib
                .map(|gib| format!(", {gib} GiB"))
                .unwrap_or_default(),
            round(machine.disk.fdatasync_p50_ms),
            round(machine.disk.fdatasync_p99_ms),
        ));
        if machine.disk.in_memory {
            line(paint(
                YELLOW,
                "the data folder is in memory: durable numbers need a disk (--data-dir)",
            ));
        }
        if !self.optimized {
            line(paint(
                YELLOW,
                "this build is not optimised: run `cargo run --release -- bench`",
            ));
        }
        for section in &self.results {
            section.print();
        }
        if let Some(findings) = &self.hostile {
            findings.print();
        }
    }
}

impl Section {
    fn print(&self) {
        line("");
        line(paint(BOLD, &self.title));
        if !self.sides.is_empty() {
            line(paint(
                DIM,
                format_args!(
                    "  {:<28}{:>12}{:>10}{:>10}{:>10}{:>10}",
                    "", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms"
                ),
            ));
        }
        for side in &self.sides {
            line(format_args!(
                "  {:<28}{:>12}{:>10}{:>10}{:>10}{:>10}",
                side.name,
                thousands(side.events_per_second),
                round(side.latency.p50_ms),
                round(side.latency.p99_ms),
                round(side.latency.p999_ms),
                round(side.latency.max_ms),
            ));
        }
        for finding in &self.findings {
            let value = if finding.value >= 1_000.0 {
                thousands(finding.value)
            } else {
                round(finding.value)
            };
            let aim = match finding.aim {
                None => String::new(),
                Some(Aim::AtLeast(least)) => format!("  (aim: at least {})", number(least)),
                Some(Aim::AtMost(most)) => format!("  (aim: at most {})", number(most)),
            };
            let style = match finding.is_met() {
                Some(true) => GREEN,
                Some(false) => YELLOW,
                None => BOLD,
            };
            line(format_args!(
                "  {}: {} {}{}",
                finding.name,
                paint(style, value),
                finding.unit,
                paint(DIM, aim)
            ));
        }
    }
}

pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Three digits that matter.
pub(super) fn round(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn number(value: f64) -> String {
    if value >= 1_000.0 {
        thousands(value)
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_of(events_per_second: f64) -> Round {
        let latency = Latency {
            p50_ms: 1.0,
            p99_ms: 2.0,
            p999_ms: 3.0,
            max_ms: 4.0,
        };
        Round {
            events_per_second,
            latency,
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(1_234_567.2), "1,234,567");
        assert_eq!(thousands(12.0), "12");
        assert_eq!(round(0.123), "0.12");
        assert_eq!(round(123.4), "123");
    }

    #[test]
    fn the_median_of_an_even_count_is_the_middle() {
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median([5.0, 1.0, 3.0].into_iter()), 3.0);
    }

    #[test]
    fn a_ratio_compares_round_with_round() {
        let slow = Side::of("a", vec![round_of(50.0), round_of(10.0), round_of(30.0)]);
        let fast = Side::of("b", vec![round_of(100.0), round_of(20.0), round_of(60.0)]);
        assert_eq!(slow.ratio(&fast, |round| round.events_per_second), 0.5);
    }

    #[test]
    fn an_aim_is_met_or_not() {
        let finding = |value, aim| Finding {
            name: "x",
            value,
            unit: "",
            aim,
        };
        assert_eq!(finding(0.8, Some(Aim::AtLeast(0.75))).is_met(), Some(true));
        assert_eq!(finding(2.1, Some(Aim::AtMost(2.0))).is_met(), Some(false));
        assert_eq!(finding(2.1, None).is_met(), None);
    }
}
