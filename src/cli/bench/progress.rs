//! A bar while the bench runs, where somebody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output;

/// What is going on now; silent where nobody watches.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let bar = if output::is_watched() {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        } else {
            ProgressBar::hidden()
        };
        Progress { bar }
    }

    /// A step without a known end.
    pub(super) fn step(&self, what: &str) {
        self.bar
            .set_style(style("{spinner} {msg}  {human_pos} events  {elapsed}"));
        self.bar.unset_length();
        self.bar.set_position(0);
        self.bar.set_message(what.to_owned());
    }

    /// A step of so many events.
    pub(super) fn step_of(&self, what: &str, events: u64) {
        self.bar.set_style(style(
            "{spinner} {msg}  [{bar:30}] {human_pos}/{human_len} events  {per_sec}  eta {eta}",
        ));
        self.bar.set_length(events);
        self.bar.set_position(0);
        self.bar.reset_eta();
        self.bar.set_message(what.to_owned());
    }

    pub(super) fn at(&self, events: u64) {
        self.bar.set_position(events);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
