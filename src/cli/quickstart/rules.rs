//! The rules that quickstart runs with: the reader's folder, or built-in copies of the samples.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::receiver;
use crate::cli::exit::Failure;
use crate::client::Client;
use crate::pattern::Document;
use crate::rule::{self, RuleDocument, Verdict};

/// The samples of `rules/default`, for who has only the binary.
const BUILT_IN: [(&str, &str); 3] = [
    (
        "all-orders.json",
        include_str!("../../../rules/default/all-orders.json"),
    ),
    (
        "eu-customers.json",
        include_str!("../../../rules/default/eu-customers.json"),
    ),
    (
        "large-orders.json",
        include_str!("../../../rules/default/large-orders.json"),
    ),
];

/// Rules that are ready to run.
#[derive(Debug)]
pub(super) struct Rules {
    /// What the bus ensures.
    pub(super) folder: PathBuf,
    /// Where they came from, for the reader.
    pub(super) origin: String,
    /// The default bus's rules by name.
    live: Vec<(String, RuleDocument)>,
}

impl Rules {
    /// Checks the folder, or writes the built-in samples into `scratch`. Where the receiver has
    /// another port than the sample rules name, copies that name it are made there too.
    pub(super) fn prepare(
        wanted: &Path,
        receiver: SocketAddr,
        scratch: &Path,
    ) -> Result<Rules, Failure> {
        let copies = scratch.join("rules");
        let (folder, origin) = if !wanted.is_dir() {
            for (name, text) in BUILT_IN {
                write(&copies.join("default").join(name), &at_port(text, receiver))?;
            }
            (copies, "built in".to_owned())
        } else if receiver.port() != receiver::PORT {
            copy(wanted, &copies, receiver)?;
            (copies, format!("a copy of {}", wanted.display()))
        } else {
            (wanted.to_owned(), wanted.display().to_string())
        };
        let read = rule::read_folder(&folder).map_err(|error| {
            let message = error.to_string();
            let message = message.trim_end();
            // The first one's `error:` comes with every failure.
            Failure::invalid(message.strip_prefix("error: ").unwrap_or(message))
        })?;
        let live = read.rules.into_iter();
        let live = live
            .filter(|(bus, _, _)| bus.as_str() == "default")
            .map(|(_, name, rule)| (name.as_str().to_owned(), rule))
            .collect();
        Ok(Rules {
            folder,
            origin,
            live,
        })
    }

    /// Takes the rules that the bus has now: the reader may have put some over the API.
    pub(super) async fn refresh(&mut self, client: &Client) -> Result<(), Failure> {
        #[derive(serde::Deserialize)]
        struct Listed {
            name: String,
            document: crate::client::Json,
        }
        let page = client.rules("default", None).await?;
        let listed = page.items.iter();
        self.live = listed
            .filter_map(|item| {
                let listed: Listed = serde_json::from_str(item.get()).ok()?;
                let document = RuleDocument::parse(listed.document.get()).ok()?;
                Some((listed.name, document))
            })
            .collect();
        Ok(())
    }

    /// Every rule of the default bus.
    pub(super) fn all(&self) -> &[(String, RuleDocument)] {
        &self.live
    }

    /// The enabled rules that match an event in JSON.
    pub(super) fn matching(&self, event: &str) -> Vec<&(String, RuleDocument)> {
        let document = Document::json(event.as_bytes());
        let holds = |rule: &RuleDocument| {
            let filter = rule.filter.as_ref();
            rule.enabled
                && rule.pattern.compiled().matches(&document)
                && filter
                    .is_none_or(|filter| filter.matches_json(event.as_bytes()) == Verdict::Matches)
        };
        self.live.iter().filter(|(_, rule)| holds(rule)).collect()
    }
}

/// The rule's text with the receiver's real port.
fn at_port(text: &str, receiver: SocketAddr) -> String {
    let named = format!("http://127.0.0.1:{}/", receiver::PORT);
    text.replace(&named, &format!("http://{receiver}/"))
}

/// Copies `<bus>/<document>.json`, the receiver's port put right.
fn copy(from: &Path, to: &Path, receiver: SocketAddr) -> Result<(), Failure> {
    for bus in entries(from)?.iter().filter(|path| path.is_dir()) {
        for file in entries(bus)?.iter().filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            let place = file.strip_prefix(from).unwrap_or(file);
            write(&to.join(place), &at_port(&text, receiver))?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = std::fs::read_dir(folder)
        .map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    Ok(read.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn prepared(port: u16) -> (tempfile::TempDir, Rules) {
        let dir = tempfile::tempdir().unwrap();
        let receiver = SocketAddr::from(([127, 0, 0, 1], port));
        let rules = Rules::prepare(Path::new("/no/such/folder"), receiver, dir.path()).unwrap();
        (dir, rules)
    }

    #[test]
    fn the_samples_meet_the_rules_they_are_told_with() {
        let (_dir, rules) = prepared(8081);
        let matched: Vec<Vec<&str>> = samples::all()
            .iter()
            .map(|sample| {
                let event = sample.event();
                let matching = rules.matching(&event).into_iter();
                matching.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
            })
            .map(|names| {
                // The names live in `rules`, not in the sample.
                let all = rules.all().iter().map(|(name, _)| name.as_str());
                all.filter(|name| names.contains(name)).collect()
            })
            .collect();
        assert_eq!(
            matched,
            [
                vec!["all-orders"],
                vec!["all-orders", "large-orders"],
                vec!["all-orders", "eu-customers"],
                vec![],
            ]
        );
    }

    #[test]
    fn rules_name_the_port_that_the_receiver_has() {
        let (_dir, rules) = prepared(9_999);
        for (name, rule) in rules.all() {
            let url = rule.targets[0].url.as_str();
            assert!(url.starts_with("http://127.0.0.1:9999/"), "{name}: {url}");
        }
    }
}
