//! Reads JSON bodies that are documents of ours; what does not fit is told with its place, and how to
//! mend it.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::Segment;

use super::Problem;
use crate::rule::{join, nearest};

/// Why JSON is not the document that is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// RFC 6901 pointer of the value at fault; where something is missing, of what lacks it.
    pub(super) pointer: String,
    /// What is wrong and what would be right. It repeats no value that is a string.
    pub(super) detail: String,
}

/// Reads a document of ours, a JSON object.
pub(super) fn document<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    fitting(text)?.map_err(|misfit| {
        Problem::invalid(
            "Not what is wanted here",
            "Nothing was done; mend what `errors` lists and send it again.",
            [(misfit.pointer, misfit.detail)],
        )
    })
}

/// The same, for who says better what is wanted; what is no JSON is a problem already.
pub(super) fn fitting<T: DeserializeOwned>(text: &str) -> Result<Result<T, Misfit>, Problem> {
    // A derived reader takes a list of values for an object too.
    if !text.trim_start().starts_with('{') {
        json(text)?;
        let detail = "must be an object".to_owned();
        let pointer = String::new();
        return Ok(Err(Misfit { pointer, detail }));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize(&mut reader) {
        Ok(document) => match reader.end() {
            Ok(()) => Ok(Ok(document)),
            Err(error) => Err(not_json(&error)),
        },
        Err(error) => {
            let pointer = pointer(error.path());
            let error = error.into_inner();
            // Where a name is wanted and no string stands, serde_json speaks of syntax too.
            if error.classify() != Category::Data {
                json(text)?;
            }
            Ok(Err(misfit(pointer, &error.to_string())))
        }
    }
}

/// Checks that a text is JSON, whatever it says.
pub(super) fn json(text: &str) -> Result<(), Problem> {
    let checked = serde_json::from_str::<IgnoredAny>(text);
    checked.map(drop).map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::malformed(format!("The body is not JSON: {error}."))
}

/// As far as it is known.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.clone(),
            Segment::Enum { .. } => continue,
            Segment::Unknown => break,
        };
        pointer = join(&pointer, &name);
    }
    pointer
}

/// serde's message in our words, without the line and column, since the pointer tells the place.
fn misfit(pointer: String, message: &str) -> Misfit {
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(text, _)| text);
    if let Some(field) = message.strip_prefix("duplicate field ") {
        return Misfit {
            pointer: join(&pointer, field.trim_matches('`')),
            detail: format!("{field} is given twice; keep one of the two"),
        };
    }
    let detail = detail(message);
    Misfit { pointer, detail }
}

fn detail(message: &str) -> String {
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("needs {field}; add it");
    }
    for (opening, what) in [
        ("unknown field `", "no such field"),
        ("unknown variant `", "no such value"),
    ] {
        let unknown = message.strip_prefix(opening);
        if let Some((name, known)) = unknown.and_then(|rest| rest.rsplit_once("`, expected ")) {
            return format!("{what}; {}", of_these(name, known));
        }
    }
    if message == "expected value" {
        return "must be a string".to_owned();
    }
    let wrong = ["invalid type: ", "invalid value: ", "invalid length "];
    let wrong = wrong
        .iter()
        .find_map(|opening| message.strip_prefix(opening));
    match wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((_, wanted)) => format!("must be {}", kind(wanted)),
        None => message.to_owned(),
    }
}

/// `known` is serde's list of names, each in backticks.
fn of_these(name: &str, known: &str) -> String {
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is {known}"),
    }
}

/// What Rust's types are called in JSON.
fn kind(wanted: &str) -> &str {
    match wanted {
        "a sequence" => "an array",
        "a map" => "an object",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        _ if wanted.starts_with("struct ") => "an object",
        _ if wanted.contains("enum ") || wanted == "string or map" => "a string",
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is read, that is all")]
    struct Part {
        colour: Colour,
        #[serde(default)]
        size: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is read, that is all")]
    struct Whole {
        name: String,
        #[serde(default)]
        parts: Vec<Part>,
        #[serde(default)]
        by_name: BTreeMap<String, Part>,
        #[serde(default)]
        is_old: bool,
        raw: Option<Box<RawValue>>,
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place_and_how_to_mend_it() {
        let check = |text: &str, pointer: &str, detail: &str| {
            let misfit = fitting::<Whole>(text).unwrap().unwrap_err();
            assert_eq!(
                (&*misfit.pointer, &*misfit.detail),
                (pointer, detail),
                "{text}"
            );
        };
        check("{}", "", "needs `name`; add it");
        check("[]", "", "must be an object");
        check(r#""hunter2""#, "", "must be an object");
        check(r#"{"name": 5}"#, "/name", "must be a string");
        check(r#"{"name": null}"#, "/name", "must be a string");
        check(
            r#"{"nmae": "x"}"#,
            "/nmae",
            "no such field; did you mean `name`?",
        );
        check(
            r#"{"a/b": 1}"#,
            "/a~1b",
            "no such field; it is one of `name`, `parts`, `by_name`, `is_old`, `raw`",
        );
        check(
            r#"{"name": "a", "name": "b"}"#,
            "/name",
            "`name` is given twice; keep one of the two",
        );
        let parts = |parts: &str| format!(r#"{{"name": "a", "parts": {parts}}}"#);
        check(&parts("{}"), "/parts", "must be an array");
        check(&parts("[7]"), "/parts/0", "must be an object");
        check(&parts("[{}]"), "/parts/0", "needs `colour`; add it");
        check(
            &parts(r#"[{"colour": "red"}, {"colour": "gren"}]"#),
            "/parts/1/colour",
            "no such value; did you mean `green`?",
        );
        check(
            &parts(r#"[{"colour": "hunter2"}]"#),
            "/parts/0/colour",
            "no such value; it is `red` or `green`",
        );
        check(
            &parts(r#"[{"colour": 1}]"#),
            "/parts/0/colour",
            "must be a string",
        );
        for size in ["-1", "1.5", "\"hunter2\"", "99999999999"] {
            check(
                &parts(&format!(r#"[{{"colour": "red", "size": {size}}}]"#)),
                "/parts/0/size",
                "must be a whole number, 0 or more",
            );
        }
        check(
            r#"{"name": "a", "by_name": {"x~": 1}}"#,
            "/by_name/x~0",
            "must be an object",
        );
        check(
            r#"{"name": "a", "is_old": "hunter2"}"#,
            "/is_old",
            "must be true or false",
        );
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for text in [
            "",
            "{",
            "hunter2",
            r#"{"name": "a"} {}"#,
            "[",
            r#"{"name": "a",}"#,
        ] {
            let problem = document::<Whole>(text).unwrap_err();
            assert_eq!(problem.status(), 400, "{text}");
        }
        let whole: Whole = document(r#" {"name": "a", "raw": {"b": [1.0]}} "#).unwrap();
        assert_eq!(whole.raw.unwrap().get(), r#"{"b": [1.0]}"#);
    }
}
