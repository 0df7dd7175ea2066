//! Prints results: tables for people, JSON for programs; plain when nobody looks at a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

use super::exit::Failure;

/// `--output`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For reading.
    #[default]
    Table,
    /// For programs: the documents as the bus sends them.
    Json,
}

/// The option every command with a result takes.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct OutputArgs {
    /// How results are printed.
    #[arg(long, short, value_enum, default_value_t, env = "EVENTYARD_OUTPUT")]
    pub(crate) output: Format,
}

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const RED: Style = AnsiColor::Red.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const CYAN: Style = AnsiColor::Cyan.on_default();

/// `text` in `style`; the stream takes the style out again where it does not belong.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// One line on standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn line(text: impl Display) {
    let mut out = anstream::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// One line on standard error.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// A failure and its remedy on standard error.
pub(crate) fn error(failure: &Failure) {
    note(format_args!("{} {}", paint(RED, "error:"), failure.message));
    if let Some(hint) = &failure.hint {
        note(format_args!("{} {hint}", paint(CYAN, " help:")));
    }
}

/// Whether a person watches standard error, for progress bars.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Rows under a header, without lines, so that `awk` and eyes both read them.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    let mut empty = true;
    for row in rows {
        table.add_row(row.map(|cell| one_line(&cell)));
        empty = false;
    }
    if empty {
        note(paint(DIM, "nothing there"));
    } else {
        for row in table.lines() {
            // Cells are padded on both sides; the outer sides are for nobody.
            line(row.trim());
        }
    }
}

/// Control characters of a stranger's text must not reach the terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A whole number with its thousands set apart.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// JSON text on standard output, indented when it is for a person.
pub(crate) fn json(text: &str) {
    let value: Result<serde_json::Value, _> = serde_json::from_str(text);
    // Numbers beyond f64 would change their digits in a `Value`: such a document goes out as it is.
    match value {
        Ok(value) if std::io::stdout().is_terminal() && keeps_digits(&value, text) => {
            line(format_args!("{value:#}"));
        }
        _ => line(text),
    }
}

fn keeps_digits(value: &serde_json::Value, text: &str) -> bool {
    let squeeze = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
    let mut there = squeeze(&value.to_string()).into_bytes();
    let mut here = squeeze(text).into_bytes();
    there.sort_unstable();
    here.sort_unstable();
    there == here
}

/// `items` as one JSON array, with `next` beside it as the bus sends a page.
pub(crate) fn json_page(name: &str, page: &crate::client::Page) {
    let items: Vec<&str> = page.items.iter().map(|item| item.get()).collect();
    let next = match &page.next {
        Some(next) => serde_json::Value::from(next.as_str()).to_string(),
        None => "null".to_owned(),
    };
    json(&format!(
        "{{\"{name}\":[{}],\"next\":{next}}}",
        items.join(",")
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_strangers_do_not_reach_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31mb\nc"), "a [31mb c");
    }

    #[test]
    fn a_number_that_would_change_is_noticed() {
        let check = |text: &str| keeps_digits(&serde_json::from_str(text).unwrap(), text);
        assert!(check(r#"{"b": 1, "a": [2.5]}"#));
        assert!(!check(r#"{"a": 12345678901234567890123}"#));
    }
}
