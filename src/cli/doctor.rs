//! `eventyard doctor`: looks for what would keep a bus from starting or from keeping its promises.

mod checks;

use std::path::Path;

use super::exit::{Exit, Failure};
use super::output::{self, DIM, Format, GREEN, OutputArgs, RED, YELLOW, line, paint};
use crate::config::{self, Flags};

const EXAMPLES: &str = "\
Examples:
  eventyard doctor
  eventyard doctor --data-dir /var/lib/eventyard
  eventyard doctor --output json
  eventyard doctor --cut --yes           end a damaged journal before its damage

Stop the bus for the whole check: while it runs, its data is locked and not read.
Exits with 1 when something is wrong. Nothing is changed without --cut.";

/// Check configuration, rules and data for trouble, and say what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// End a damaged journal before its first damage. What stands behind is set aside, not
    /// delivered.
    #[arg(long, requires = "yes")]
    cut: bool,
    /// Confirm --cut; make a copy of the data folder first.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, serde::Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn good(name: &'static str, finding: impl Into<String>) -> Check {
        Check {
            name,
            verdict: Verdict::Good,
            finding: finding.into(),
            remedy: None,
        }
    }

    fn bad(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check {
            name,
            verdict: Verdict::Bad,
            finding: finding.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn warning(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check {
            verdict: Verdict::Warning,
            ..Check::bad(name, finding, remedy)
        }
    }
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let checks = match config::load(&args.flags) {
        Err(error) => vec![Check::bad(
            "configuration",
            error.to_string(),
            "Mend the setting that is named; `eventyard config show` lists them all.",
        )],
        Ok(loaded) => {
            let data_dir = &loaded.config.log.dir;
            let mut checks = vec![
                checks::configuration(&loaded),
                checks::rules(&loaded.config),
                checks::guard(&loaded.config),
                checks::access(&loaded.config),
                checks::sealed(&loaded.config),
                checks::address(loaded.config.api.listen),
                checks::open_files(),
            ];
            if let Some(tokens) = &loaded.config.access.tokens {
                checks.push(checks::tokens(loaded.config.access.mode, tokens).await);
            }
            checks.extend(loaded.config.tls.as_ref().map(checks::tls));
            checks.extend(data(data_dir, args.cut));
            checks
        }
    };
    match args.output.output {
        Format::Json => {
            let text = serde_json::to_string(&checks)
                .map_err(|error| Failure::failed(format!("the findings: {error}")))?;
            output::json(&text);
        }
        Format::Table => print(&checks),
    }
    let bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if bad { Exit::Failed } else { Exit::Ok })
}

/// The checks of the data folder.
fn data(dir: &Path, cut: bool) -> Vec<Check> {
    if !dir.exists() {
        // The first start makes it, where it may.
        let place = dir.ancestors().find(|place| place.is_dir());
        let place = place.unwrap_or(Path::new("."));
        return vec![checks::makeable(dir, place), checks::space(place)];
    }
    vec![
        checks::writable(dir),
        checks::space(dir),
        checks::journal(dir, cut),
    ]
}

fn print(checks: &[Check]) {
    for check in checks {
        let mark = match check.verdict {
            Verdict::Good => paint(GREEN, "ok     "),
            Verdict::Warning => paint(YELLOW, "warning"),
            Verdict::Bad => paint(RED, "bad    "),
        };
        let finding = check.finding.replace('\n', "\n          ");
        line(format_args!("{mark}  {}: {finding}", check.name));
        if let Some(remedy) = &check.remedy {
            line(format_args!("         {} {remedy}", paint(DIM, "→")));
        }
    }
}
