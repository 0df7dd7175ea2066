//! Reads the files that are to be applied: rules and buses, by name, all of them valid.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::exit::Failure;
use crate::cli::input;
use crate::cli::rule_file::{self, RuleFile};
use crate::client::{BusConfiguration, Configuration, Json};
use crate::rule::{self, BusDocument, is_rule_file};

/// A document and where it goes.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) path: PathBuf,
    pub(super) bus: String,
    /// None when it is the bus's own.
    pub(super) rule: Option<String>,
    pub(super) text: String,
}

/// What the paths hold, by bus and rule.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) documents: BTreeMap<(String, Option<String>), Document>,
    /// Buses that have a folder, be it without documents.
    buses: Vec<String>,
    /// All of it stood in folders, which say what there is not, too.
    pub(super) whole: bool,
}

/// `bus default` or `default/large-orders`.
pub(super) fn what(bus: &str, rule: Option<&str>) -> String {
    match rule {
        Some(rule) => format!("{bus}/{rule}"),
        None => format!("bus {bus}"),
    }
}

impl Document {
    pub(super) fn what(&self) -> String {
        what(&self.bus, self.rule.as_deref())
    }
}

impl Gathered {
    /// A document's text, by name.
    pub(super) fn text(&self, bus: &str, rule: Option<&str>) -> Option<&str> {
        let key = (bus.to_owned(), rule.map(str::to_owned));
        self.documents
            .get(&key)
            .map(|document| document.text.as_str())
    }

    /// The same, as it is sent.
    pub(super) fn configuration(&self) -> Result<Configuration, Failure> {
        let mut buses: BTreeMap<String, BusConfiguration> = BTreeMap::new();
        for bus in &self.buses {
            buses.entry(bus.clone()).or_default();
        }
        for document in self.documents.values() {
            let json: Json = serde_json::from_str(&document.text)
                .map_err(|error| Failure::invalid(format!("{}: {error}", document.what())))?;
            let bus = buses.entry(document.bus.clone()).or_default();
            match &document.rule {
                Some(rule) => drop(bus.rules.insert(rule.clone(), json)),
                None => bus.document = Some(json),
            }
        }
        Ok(Configuration { buses })
    }

    fn add(&mut self, document: Document) -> Result<(), Failure> {
        let key = (document.bus.clone(), document.rule.clone());
        if let Some(other) = self.documents.get(&key) {
            return Err(Failure::usage(format!(
                "{} is given twice: by {} and by {}",
                document.what(),
                input::name(&other.path),
                input::name(&document.path)
            )));
        }
        self.documents.insert(key, document);
        Ok(())
    }
}

/// Reads files and folders; single ones, and folders without folders in them, are of `bus`.
pub(super) fn gather(
    paths: &[PathBuf],
    bus: &str,
    name: Option<&str>,
) -> Result<Gathered, Failure> {
    let mut gathered = Gathered {
        whole: true,
        ..Gathered::default()
    };
    for path in paths {
        if !path.is_dir() {
            gathered.whole = false;
            read_file(path, bus, name, &mut gathered)?;
            continue;
        }
        let inside = entries(path)?;
        if inside.iter().any(|entry| entry.is_dir()) {
            read_rules_folder(path, &mut gathered)?;
            continue;
        }
        let files: Vec<&PathBuf> = inside.iter().filter(|file| is_rule_file(file)).collect();
        if files.is_empty() {
            return Err(Failure::not_found(format!(
                "there is no rule file (*.json) in {}",
                input::name(path)
            )));
        }
        gathered.buses.push(bus.to_owned());
        for file in files {
            read_file(file, bus, None, &mut gathered)?;
        }
    }
    if gathered.documents.is_empty() && gathered.buses.is_empty() {
        return Err(Failure::not_found("there is no rule file among these"));
    }
    Ok(gathered)
}

fn read_file(
    path: &Path,
    bus: &str,
    name: Option<&str>,
    gathered: &mut Gathered,
) -> Result<(), Failure> {
    let (path, bus) = (path.to_owned(), bus.to_owned());
    if path.file_name().is_some_and(|name| name == "bus.json") {
        let text = input::read_text(&path)?;
        BusDocument::parse(&text).map_err(|problems| {
            Failure::invalid(rule_file::render(&input::name(&path), &text, &problems))
        })?;
        let rule = None;
        return gathered.add(Document {
            path,
            bus,
            rule,
            text,
        });
    }
    let beside = path.extension().is_some_and(|end| end == "json") && !is_rule_file(&path);
    if beside {
        // A shell's `*.json` brings tests and events too.
        return Ok(());
    }
    let file = RuleFile::read(&path)?;
    let rule = name.or(file.name()).ok_or_else(|| {
        Failure::usage("a rule from standard input needs a name").hint("Add --name NAME.")
    })?;
    let rule = Some(rule.to_owned());
    let text = file.text;
    gathered.add(Document {
        path,
        bus,
        rule,
        text,
    })
}

/// The folder as `serve` reads it.
fn read_rules_folder(path: &Path, gathered: &mut Gathered) -> Result<(), Failure> {
    let folder = rule::read_folder(path).map_err(|error| {
        let message = error.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        Failure::invalid(message.to_owned())
    })?;
    for (bus, document) in folder.buses {
        gathered.buses.push(bus.to_string());
        if let Some(document) = document {
            gathered.add(Document {
                path: path.join(bus.as_str()).join("bus.json"),
                bus: bus.to_string(),
                rule: None,
                text: document.text().to_string(),
            })?;
        }
    }
    for (bus, rule, document) in folder.rules {
        gathered.add(Document {
            path: path.join(bus.as_str()).join(format!("{rule}.json")),
            bus: bus.to_string(),
            rule: Some(rule.to_string()),
            text: document.text().to_string(),
        })?;
    }
    Ok(())
}

/// What a folder holds, by name, hidden things left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listed: std::io::Result<Vec<PathBuf>> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries =
        listed.map_err(|error| Failure::failed(format!("{}: {error}", input::name(folder))))?;
    let hidden = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with('.')
    };
    entries.retain(|path| !hidden(path));
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str =
        r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/"}]}"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn names(gathered: &Gathered) -> Vec<String> {
        gathered.documents.values().map(Document::what).collect()
    }

    #[test]
    fn a_folder_of_files_is_one_bus() {
        let dir = folder(&[
            ("b.json", RULE),
            ("a.json", RULE),
            ("bus.json", "{}"),
            ("a.tests.json", "no rule"),
            ("x.event.json", "no rule"),
            ("notes.txt", ""),
        ]);
        let gathered = gather(&[dir.path().to_owned()], "orders", None).unwrap();
        assert!(gathered.whole);
        assert_eq!(names(&gathered), ["bus orders", "orders/a", "orders/b"]);
    }

    #[test]
    fn a_folder_of_folders_is_all_buses() {
        let dir = folder(&[
            ("default/a.json", RULE),
            ("orders/bus.json", "{}"),
            ("orders/a.json", RULE),
            ("empty/README.md", ""),
        ]);
        let gathered = gather(&[dir.path().to_owned()], "ignored", None).unwrap();
        assert!(gathered.whole);
        assert_eq!(names(&gathered), ["default/a", "bus orders", "orders/a"]);
        let configuration = gathered.configuration().unwrap();
        let buses: Vec<&String> = configuration.buses.keys().collect();
        assert_eq!(buses, ["default", "empty", "orders"]);
    }

    #[test]
    fn a_file_is_one_rule_and_a_rule_is_given_once() {
        let dir = folder(&[("a.json", RULE), ("b/a.json", RULE), ("c.tests.json", "")]);
        let file = |name: &str| dir.path().join(name);
        let one = gather(&[file("a.json")], "default", Some("named")).unwrap();
        assert!(!one.whole);
        assert_eq!(names(&one), ["default/named"]);
        let twice = gather(&[file("a.json"), file("b/a.json")], "default", None);
        assert!(
            twice
                .unwrap_err()
                .message
                .contains("default/a is given twice")
        );
        let nothing = gather(&[file("c.tests.json")], "default", None);
        assert!(nothing.unwrap_err().message.contains("no rule file"));
    }
}
