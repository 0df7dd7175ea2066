//! Reads a folder of rule files and ensures what it describes: whole or not at all.
//!
//! `rules/<bus>/bus.json` describes a bus, `rules/<bus>/<rule>.json` a rule of it. One bad file
//! refuses the whole folder. A rule whose file went stays: it may have come over the API.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::bus::BusDocument;
use super::change::{Change, Outcome, PutOutcome};
use super::document::RuleDocument;
use super::locate::{Place, excerpt, place};
use super::problem::Problem;
use super::set::RuleSet;
use crate::guard::Guard;
use crate::limits;
use crate::log::{BusName, RuleName};

/// What a folder describes; every document in it is valid.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// Every bus that has a folder, with its `bus.json` if there is one.
    pub buses: Vec<(BusName, Option<BusDocument>)>,
    pub rules: Vec<(BusName, RuleName, RuleDocument)>,
}

/// One thing to mend in a file of the folder. Displays as a compiler would show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    pub file: PathBuf,
    /// Where in the file; None when it is about the file itself.
    pub place: Option<Place>,
    /// RFC 6901 pointer within the file.
    pub pointer: String,
    pub detail: String,
    /// The source line with a caret below it; empty without a place.
    pub excerpt: String,
}

/// Everything that keeps a folder from being applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderError {
    pub folder: PathBuf,
    pub problems: Vec<FileProblem>,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.detail)?;
        write!(f, "  --> {}", self.file.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.pointer.is_empty() {
            write!(f, " at {}", self.pointer)?;
        }
        writeln!(f)?;
        f.write_str(&self.excerpt)
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let files: BTreeSet<&Path> = self.problems.iter().map(|p| p.file.as_path()).collect();
        let (problems, files) = (self.problems.len(), files.len());
        write!(
            f,
            "{problems} problem{} in {files} file{}; nothing of `{}` was applied",
            if problems == 1 { "" } else { "s" },
            if files == 1 { "" } else { "s" },
            self.folder.display()
        )
    }
}

impl std::error::Error for FolderError {}

/// What [`Rules::ensure`](super::Rules::ensure) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub created: usize,
    pub replaced: usize,
    pub unchanged: usize,
    /// Rules that no file describes: left as they are.
    pub extra: Vec<(BusName, RuleName)>,
}

impl Report {
    /// Whether anything was written.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.created + self.replaced > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            created,
            replaced,
            unchanged,
            extra,
        } = self;
        write!(
            f,
            "{created} created, {replaced} replaced, {unchanged} unchanged"
        )?;
        match extra.len() {
            0 => Ok(()),
            extra => write!(f, ", {extra} without a file"),
        }
    }
}

/// Reads a folder. A folder that does not exist is empty.
pub fn read_folder(folder: &Path) -> Result<Folder, FolderError> {
    let mut reading = Reading::default();
    for entry in reading.entries(folder, true) {
        if !entry.is_dir() {
            if is_rule_file(&entry) {
                let to = folder
                    .join("default")
                    .join(entry.file_name().unwrap_or_default());
                let detail = format!(
                    "a rule file stands in its bus's folder; move it to `{}`",
                    to.display()
                );
                reading.about_file(&entry, detail);
            }
            continue;
        }
        match BusName::new(&file_name(&entry)) {
            Ok(bus) => reading.bus(&entry, &bus),
            Err(error) => reading.about_file(&entry, format!("is no bus's folder: {error}")),
        }
    }
    if reading.problems.is_empty() {
        Ok(reading.folder)
    } else {
        Err(FolderError {
            folder: folder.to_owned(),
            problems: reading.problems,
        })
    }
}

impl Folder {
    /// The folder, when the guard admits every target that is described in it; `path` is where it
    /// was read from.
    pub fn admitted(self, path: &Path, guard: &Guard) -> Result<Folder, FolderError> {
        let mut reading = Reading::default();
        for (bus, rule, document) in &self.rules {
            let file = path.join(bus.as_str()).join(format!("{rule}.json"));
            for problem in document.refused(guard) {
                reading.within(&file, document.text(), problem);
            }
        }
        if reading.problems.is_empty() {
            Ok(self)
        } else {
            Err(FolderError {
                folder: path.to_owned(),
                problems: reading.problems,
            })
        }
    }
}

/// A folder while it is read.
#[derive(Default)]
struct Reading {
    folder: Folder,
    problems: Vec<FileProblem>,
}

impl Reading {
    fn bus(&mut self, dir: &Path, bus: &BusName) {
        let mut document = None;
        for entry in self.entries(dir, false) {
            if entry.is_dir() {
                self.about_file(
                    &entry,
                    "a bus's folder holds files only; move them up".to_owned(),
                );
            } else if !is_rule_file(&entry) {
                if is_rule_file(&entry.with_extension("json")) && has_extension(&entry, "json") {
                    let detail =
                        "is read only when its name ends with `.json`, in lower case; rename it";
                    self.about_file(&entry, detail.to_owned());
                }
            } else if self.folder.rules.len() >= limits::RULE_FILES {
                let detail = format!("a folder holds at most {} rule files", limits::RULE_FILES);
                return self.about_file(dir, detail);
            } else if name_of(&entry) == "bus" {
                document = self.parse(&entry, BusDocument::parse);
            } else {
                self.rule(&entry, bus);
            }
        }
        self.folder.buses.push((bus.clone(), document));
    }

    fn rule(&mut self, file: &Path, bus: &BusName) {
        let name = match RuleName::new(&name_of(file)) {
            Ok(name) => name,
            Err(error) => return self.about_file(file, format!("is no rule's file: {error}")),
        };
        if let Some(document) = self.parse(file, RuleDocument::parse) {
            self.folder.rules.push((bus.clone(), name, document));
        }
    }

    fn parse<T>(&mut self, file: &Path, parse: fn(&str) -> Result<T, Vec<Problem>>) -> Option<T> {
        let bytes = match read_bounded(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.about_file(file, format!("cannot be read: {error}"));
                return None;
            }
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let problem = Problem {
                    pointer: String::new(),
                    detail: "is not UTF-8 here; save it as UTF-8".to_owned(),
                    offset: Some(offset),
                };
                self.within(file, &text, problem);
                return None;
            }
        };
        match parse(&text) {
            Ok(document) => Some(document),
            Err(problems) => {
                for problem in problems {
                    self.within(file, &text, problem);
                }
                None
            }
        }
    }

    fn within(&mut self, file: &Path, text: &str, problem: Problem) {
        let place = place(text, problem.offset.unwrap_or(0));
        self.problems.push(FileProblem {
            file: file.to_owned(),
            place: Some(place),
            pointer: problem.pointer,
            detail: problem.detail,
            excerpt: excerpt(text, place),
        });
    }

    fn about_file(&mut self, file: &Path, detail: String) {
        self.problems.push(FileProblem {
            file: file.to_owned(),
            place: None,
            pointer: String::new(),
            detail,
            excerpt: String::new(),
        });
    }

    /// What a folder holds, by name, hidden things left out.
    fn entries(&mut self, folder: &Path, may_be_absent: bool) -> Vec<PathBuf> {
        let listed: io::Result<Vec<PathBuf>> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        match listed {
            Ok(mut paths) => {
                paths.retain(|path| !file_name(path).starts_with('.'));
                paths.sort();
                paths
            }
            Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.about_file(folder, format!("cannot be read: {error}"));
                Vec::new()
            }
        }
    }
}

/// `*.json`, but not `*.tests.json` and `*.event.json`: those are what `rule test` reads. Editors'
/// backups end otherwise (`.json~`, `.json.swp`).
#[must_use]
pub fn is_rule_file(path: &Path) -> bool {
    let name = file_name(path);
    let beside = [".tests.json", ".event.json"];
    name.ends_with(".json") && !beside.iter().any(|end| name.ends_with(end))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The file's name without `.json`.
fn name_of(path: &Path) -> String {
    let name = file_name(path);
    name.strip_suffix(".json")
        .map(str::to_owned)
        .unwrap_or(name)
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    let extension = path.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case(wanted)
}

/// At most one byte more than a document may have: enough to refuse it.
fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for, for ever.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    let most = limits::RULE_BYTES as u64 + 1;
    fs::File::open(file)?.take(most).read_to_end(&mut bytes)?;
    if let Err(error) = std::str::from_utf8(&bytes)
        && bytes.len() as u64 == most
        && error.error_len().is_none()
    {
        // Cut within a character: the file is too long, not badly encoded.
        bytes.truncate(error.valid_up_to());
        bytes.resize(limits::RULE_BYTES + 1, b' ');
    }
    Ok(bytes)
}

/// The changes that make `set` hold what the folder describes.
pub(super) fn wanted(folder: Folder, set: &RuleSet) -> Vec<Change> {
    let buses = folder.buses.into_iter().filter_map(|(bus, document)| {
        // A folder alone makes its bus, but does not reset one that is there.
        let document = match document {
            Some(document) => document,
            None if set.bus(&bus).is_none() => BusDocument::default(),
            None => return None,
        };
        Some(Change::PutBus { bus, document })
    });
    let rules = folder.rules.into_iter();
    let rules = rules.map(|(bus, rule, document)| Change::PutRule {
        bus,
        rule,
        document,
    });
    buses.chain(rules).collect()
}

/// The rules of `set` that the folder does not describe.
pub(super) fn extra(folder: &Folder, set: &RuleSet) -> Vec<(BusName, RuleName)> {
    let described: BTreeSet<(&BusName, &RuleName)> = folder
        .rules
        .iter()
        .map(|(bus, rule, _)| (bus, rule))
        .collect();
    let rules = set
        .buses()
        .into_iter()
        .flat_map(|bus| set.rules(&bus.name).unwrap_or_default());
    rules
        .filter(|rule| !described.contains(&(&rule.bus, &rule.name)))
        .map(|rule| (rule.bus.clone(), rule.name.clone()))
        .collect()
}

/// Counts what became of each document.
pub(super) fn report(outcomes: &[Outcome], extra: Vec<(BusName, RuleName)>) -> Report {
    let mut report = Report {
        extra,
        ..Report::default()
    };
    for outcome in outcomes {
        match outcome {
            Outcome::Put {
                outcome: PutOutcome::Created,
                ..
            } => report.created += 1,
            Outcome::Put {
                outcome: PutOutcome::Replaced,
                ..
            } => report.replaced += 1,
            Outcome::Put {
                outcome: PutOutcome::Unchanged,
                ..
            } => report.unchanged += 1,
            Outcome::Deleted { .. } => {}
        }
    }
    report
}
