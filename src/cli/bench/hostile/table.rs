//! A healthy target beside a hostile one, in numbers and as a line of a table.

use serde::Serialize;

use super::super::report::{Side, round, thousands};
use super::Cost;
use crate::cli::output::{BOLD, DIM, GREEN, YELLOW, line, paint};

/// How much longer the healthy target's deliveries may take.
const AIM: f64 = 1.5;

/// What the whole run found.
#[derive(Debug, Serialize)]
pub(in super::super) struct Findings {
    pub(super) manners: Vec<Beside>,
    /// Why slow names were not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left_out: Option<String>,
}

/// One manner's rounds, and what they say.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    manner: String,
    undisturbed: Side,
    beside: Side,
    /// Of the medians of the rounds.
    p50_ratio: f64,
    p99_ratio: f64,
    /// The most memory that the bus held beside it.
    peak_bytes: Option<u64>,
    /// Requests that reached the hostile target.
    requests: u64,
    /// Bytes of endless answers that it got rid of.
    written_bytes: u64,
    /// Processors that the bus, and the hostile target, kept busy.
    bus_processors: f64,
    its_processors: f64,
}

impl Findings {
    pub(in super::super) fn print(&self) {
        line("");
        line(paint(
            BOLD,
            format_args!(
                "a healthy target beside a hostile one, publish to received (aim: p99 at most {AIM} times the undisturbed one)"
            ),
        ));
        line(paint(
            DIM,
            format_args!(
                "  {:<22}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
                "",
                "p50 ms",
                "p99 ms",
                "beside:",
                "p99 ms",
                "p99 ratio",
                "peak MiB",
                "requests",
                "MB sent",
                "CPU bus",
                "CPU its"
            ),
        ));
        line(paint(
            DIM,
            "  The hostile target is a process that gives way to all others (nice 19): in life it \
             stands on another machine.",
        ));
        for beside in &self.manners {
            beside.print_line();
        }
        if let Some(reason) = &self.left_out {
            line(paint(
                YELLOW,
                format_args!("  slow names were not measured: {reason}"),
            ));
        }
    }
}

impl Beside {
    pub(super) fn new(
        manner: String,
        undisturbed: Side,
        beside: Side,
        peak_bytes: Option<u64>,
        requests: u64,
        written_bytes: u64,
        cost: &Cost,
    ) -> Beside {
        let ratio = |of: fn(&Side) -> f64| of(&beside) / of(&undisturbed).max(f64::MIN_POSITIVE);
        Beside {
            manner,
            p50_ratio: ratio(|side| side.latency.p50_ms),
            p99_ratio: ratio(|side| side.latency.p99_ms),
            undisturbed,
            beside,
            peak_bytes,
            requests,
            written_bytes,
            bus_processors: cost.of(cost.of_bus),
            its_processors: cost.of(cost.of_target),
        }
    }

    fn print_line(&self) {
        let (undisturbed, beside) = (self.undisturbed.latency, self.beside.latency);
        let peak = self.peak_bytes.map_or_else(
            || "?".to_owned(),
            |bytes| round(bytes as f64 / 1024.0 / 1024.0),
        );
        let style = if self.p99_ratio <= AIM { GREEN } else { YELLOW };
        line(format_args!(
            "  {:<22}{:>10}{:>10}{:>10}{:>10}{}{:>10}{:>10}{:>10}{:>10}{:>10}",
            self.manner,
            round(undisturbed.p50_ms),
            round(undisturbed.p99_ms),
            round(beside.p50_ms),
            round(beside.p99_ms),
            paint(style, format_args!("{:>10}", round(self.p99_ratio))),
            peak,
            thousands(self.requests as f64),
            round(self.written_bytes as f64 / 1e6),
            round(self.bus_processors),
            round(self.its_processors),
        ));
    }
}
