//! Rule files as the command line reads them: errors with file, line, column and a caret.

use std::path::{Path, PathBuf};

use super::exit::Failure;
use super::input;
use crate::guard::Guard;
use crate::rule::{self, FileProblem, Problem, RuleDocument};

/// A rule read from a file.
#[derive(Debug, Clone)]
pub(crate) struct RuleFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) document: RuleDocument,
}

impl RuleFile {
    /// Reads and checks one file, or standard input for `-`; all its problems at once.
    pub(crate) fn read(path: &Path) -> Result<RuleFile, Failure> {
        let text = input::read_text(path)?;
        // Where deliveries may go is the bus's to say.
        let admitted = RuleDocument::parse(&text).and_then(|document| {
            let refused = document.refused(&Guard::off());
            if refused.is_empty() {
                Ok(document)
            } else {
                Err(refused)
            }
        });
        match admitted {
            Ok(document) => Ok(RuleFile {
                path: path.to_owned(),
                text,
                document,
            }),
            Err(problems) => Err(Failure::invalid(render(
                &input::name(path),
                &text,
                &problems,
            ))),
        }
    }

    /// The rule's name: the file's, without `.json`.
    pub(crate) fn name(&self) -> Option<&str> {
        self.path.file_stem()?.to_str().filter(|name| *name != "-")
    }
}

/// Problems as a compiler shows them, in the form that a folder's problems have.
pub(crate) fn render(file: &str, text: &str, problems: &[Problem]) -> String {
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| {
            let offset = problem
                .offset
                .or_else(|| rule::find(text, &problem.pointer))
                .unwrap_or(0);
            let place = rule::place(text, offset);
            let problem = FileProblem {
                file: PathBuf::from(file),
                place: Some(place),
                pointer: problem.pointer.clone(),
                detail: problem.detail.clone(),
                excerpt: rule::excerpt(text, place),
            };
            problem.to_string().trim_end().to_owned()
        })
        .collect();
    let shown = shown.join("\n");
    // The first one's `error:` comes with every failure.
    shown.strip_prefix("error: ").unwrap_or(&shown).to_owned()
}

/// A JSON syntax error in the same form.
pub(crate) fn json_error(file: &str, text: &str, error: &serde_json::Error) -> String {
    let start: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    let problem = Problem {
        pointer: String::new(),
        detail: format!("this is not JSON: {reason}"),
        offset: Some(start + error.column().saturating_sub(1)),
    };
    render(file, text, &[problem])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_place_with_a_caret() {
        let text = "{\n  \"pattern\": {},\n  \"targts\": []\n}";
        let problem = Problem {
            pointer: "/targts".into(),
            detail: "a rule has no `targts`; did you mean `targets`?".into(),
            offset: text.find("\"targts\""),
        };
        assert_eq!(
            render("r.json", text, &[problem]),
            "a rule has no `targts`; did you mean `targets`?\n  --> r.json:3:3 at /targts\n  |\n3 |   \"targts\": []\n  |   ^"
        );
    }

    #[test]
    fn broken_json_shows_where_it_broke() {
        let text = "{\n  \"a\": ]\n}";
        let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
        let message = json_error("e.json", text, &error);
        assert!(message.starts_with("this is not JSON"), "{message}");
        assert!(message.contains("--> e.json:2:8"), "{message}");
        assert!(message.ends_with("       ^"), "{message}");
    }
}
