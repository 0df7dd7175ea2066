//! Writes metrics in Prometheus' text format, version 0.0.4.

use std::fmt::Write;

use crate::measure::Times;

pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// The metric whose samples come next.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// A value that goes up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// A value that only grows.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, "counter", help)
    }

    /// A histogram without labels of its own.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str, times: &Times) {
        let Family { text, name } = self.family(name, "histogram", help);
        for (bound, count) in &times.buckets {
            line(
                text,
                format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"),
            );
        }
        let Times {
            count, sum_seconds, ..
        } = times;
        line(text, format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        line(text, format_args!("{name}_sum {sum_seconds}"));
        line(text, format_args!("{name}_count {count}"));
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        line(&mut self.text, format_args!("# HELP {name} {help}"));
        line(&mut self.text, format_args!("# TYPE {name} {kind}"));
        Family {
            text: &mut self.text,
            name,
        }
    }
}

impl Family<'_> {
    /// The metric's only sample.
    pub(super) fn is(mut self, value: u64) {
        self.with(&[], value);
    }

    /// One sample.
    pub(super) fn with(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        self.sample(labels, format_args!("{value}"))
    }

    /// One sample that is no whole number.
    pub(super) fn with_fraction(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.sample(labels, format_args!("{value}"))
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: std::fmt::Arguments<'_>) -> &mut Self {
        self.text.push_str(self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        line(self.text, format_args!(" {value}"));
        self
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    text.write_fmt(content)
        .expect("text is written to memory, which takes it");
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.gauge("a_bytes", "What\nis \\ held").is(3);
        out.counter("b_total", "Counted")
            .with(&[("x", "1"), ("y", "a\"b\\c\nd")], 4)
            .with_fraction(&[], 0.5);
        let times = Times {
            buckets: vec![(0.001, 1), (0.002, 2)],
            count: 3,
            sum_seconds: 1.25,
        };
        out.histogram("c_seconds", "Took", &times);
        let expected = r#"# HELP a_bytes What\nis \\ held
# TYPE a_bytes gauge
a_bytes 3
# HELP b_total Counted
# TYPE b_total counter
b_total{x="1",y="a\"b\\c\nd"} 4
b_total 0.5
# HELP c_seconds Took
# TYPE c_seconds histogram
c_seconds_bucket{le="0.001"} 1
c_seconds_bucket{le="0.002"} 2
c_seconds_bucket{le="+Inf"} 3
c_seconds_sum 1.25
c_seconds_count 3
"#;
        assert_eq!(out.text(), expected);
    }
}
