//! The JSON Schema of `eventyard.toml`, made from the table of fields; `schemas/` keeps a copy.

use serde_json::{Map, Value, json};

use super::field::{FIELDS, Kind};

/// The schema that `schemas/config.schema.json` must equal.
#[must_use]
pub fn schema() -> Value {
    let properties: Map<String, Value> = FIELDS
        .iter()
        .map(|field| {
            let mut property = kind(field.kind);
            property["description"] = field.help.into();
            property["default"] = field.default.into();
            (field.key.to_owned(), property)
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "eventyard.toml",
        "description": "Settings of an Eventyard bus; flags and EVENTYARD_ variables override them.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false
    })
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Address | Kind::LogFilter | Kind::OptionalPath | Kind::OptionalUrl | Kind::Text => {
            json!({ "type": "string" })
        }
        Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Size { .. } => {
            json!({ "type": ["string", "integer"], "pattern": "^[0-9]+([KMGT]?i?B)?$" })
        }
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }),
        Kind::Count { .. } => json!({ "type": ["string", "integer"], "pattern": "^[0-9]+$" }),
        Kind::Share => json!({ "type": ["string", "number"] }),
        Kind::Networks => {
            json!({ "type": ["string", "array"], "items": { "type": "string" } })
        }
        Kind::Choice(choices) => json!({ "enum": choices }),
    }
}
