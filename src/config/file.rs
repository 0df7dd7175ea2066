//! Reads `eventyard.toml` into texts with their places; what is unknown there is an error.

use std::collections::HashMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::field::{FIELDS, Kind, nearest};
use super::{ConfigError, DEFAULT_FILE};

/// Values by key, each with its `file:line:column`.
pub(super) type Values = HashMap<String, (String, String)>;

/// The named file, which must exist, or the default one, which need not.
pub(super) fn read(named: Option<&str>) -> Result<Values, ConfigError> {
    let path = named.unwrap_or(DEFAULT_FILE);
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Values::new())
        }
        Err(error) => Err(ConfigError::Unreadable {
            path: path.to_owned(),
            cause: error.to_string(),
        }),
    }
}

/// Reads the text of a file called `path`.
pub(super) fn parse(path: &str, text: &str) -> Result<Values, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: place(path, text, error.span().unwrap_or(0..0)),
        cause: error.message().to_owned(),
    })?;
    let mut values = Values::new();
    for (key, value) in table.get_ref() {
        let Some(field) = FIELDS.iter().find(|field| field.key == key.get_ref()) else {
            return Err(ConfigError::UnknownKey {
                place: place(path, text, key.span()),
                key: key.get_ref().to_string(),
                suggestion: suggestion(key.get_ref()),
            });
        };
        let value_place = place(path, text, value.span());
        let value_text = match value.get_ref() {
            DeValue::String(value) => value.to_string(),
            DeValue::Integer(value) => value.as_str().to_owned(),
            DeValue::Float(value) if field.kind == Kind::Share => value.as_str().to_owned(),
            DeValue::Array(items) if field.kind == Kind::Networks => {
                let items = items.iter().map(|item| match item.get_ref() {
                    DeValue::String(text) => text.to_string(),
                    _ => text[item.span()].to_owned(),
                });
                items.collect::<Vec<_>>().join(",")
            }
            other => {
                return Err(ConfigError::Invalid {
                    place: value_place,
                    key: field.key,
                    value: text[value.span()].to_owned(),
                    cause: format!("a string or integer is wanted, not a {}", other.type_str()),
                });
            }
        };
        values.insert(field.key.to_owned(), (value_text, value_place));
    }
    Ok(values)
}

fn suggestion(key: &str) -> String {
    match nearest(key, FIELDS.iter().map(|field| field.key)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => {
            let known: Vec<_> = FIELDS.iter().map(|field| field.key).collect();
            format!("; known are {}", known.join(", "))
        }
    }
}

/// `file:line:column`, counted from 1, columns in characters.
fn place(path: &str, text: &str, span: Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[line_start..].chars().count() + 1;
    format!("{path}:{line}:{column}")
}
