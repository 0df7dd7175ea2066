//! `eventyard rule apply`: puts rule files on a bus, checked here before anything is sent.

use std::path::{Path, PathBuf};

use crate::cli::connect::BusArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::output::line;
use crate::cli::rule_file::RuleFile;

const EXAMPLES: &str = "\
Examples:
  eventyard rule apply rules/default/large-orders.json
  eventyard rule apply rules/orders --bus orders
  eventyard rule apply --dry-run rules/default/*.json
  jq '.enabled = false' rule.json | eventyard rule apply - --name large-orders

A rule is called as its file is, without `.json`. All files are checked before the first is sent.";

/// Create or replace rules from files.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Rule files, or folders of them; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The rule's name, when it is not the file's.
    #[arg(long)]
    name: Option<String>,
    /// Only replace the revision with this ETag.
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    /// Check the files and send nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    bus: BusArgs,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let mut rules = Vec::new();
    for path in expand(&args.files)? {
        let file = RuleFile::read(&path)?;
        let name = args.name.as_deref().or(file.name()).ok_or_else(|| {
            Failure::usage("a rule from standard input needs a name").hint("Add --name NAME.")
        })?;
        rules.push((name.to_owned(), file));
    }
    if rules.len() > 1 && (args.name.is_some() || args.if_match.is_some()) {
        return Err(Failure::usage(
            "--name and --if-match are for one rule, and there is more than one file",
        ));
    }
    let bus = &args.bus.bus;
    if args.dry_run {
        for (name, file) in &rules {
            line(format_args!(
                "{bus}/{name}: {} is valid",
                file.path.display()
            ));
        }
        return Ok(Exit::Ok);
    }
    let client = args.bus.client()?;
    for (name, file) in &rules {
        let put = client.put_rule(bus, name, &file.text, args.if_match.as_deref());
        let put = put.await?;
        let etag = put.etag.as_deref().unwrap_or("none");
        line(format_args!("applied {bus}/{name} (ETag {etag})"));
    }
    Ok(Exit::Ok)
}

/// Files as they are, folders as the rule files in them; `bus.json` is a bus, not a rule.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(|error| Failure::failed(format!("{}: {error}", input::name(path))))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| is_rule_file(file))
            .collect();
        inside.sort();
        if inside.is_empty() {
            return Err(Failure::not_found(format!(
                "there is no rule file (*.json) in {}",
                input::name(path)
            )));
        }
        files.extend(inside);
    }
    Ok(files)
}

fn is_rule_file(path: &Path) -> bool {
    path.is_file()
        && path
            .extension()
            .is_some_and(|extension| extension == "json")
        && path.file_name().is_some_and(|name| name != "bus.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_rule_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "bus.json", "notes.txt"] {
            std::fs::write(dir.path().join(name), "{}").unwrap();
        }
        let files = expand(&[dir.path().to_owned()]).unwrap();
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
        assert_eq!(names, ["a.json", "b.json"]);
    }
}
