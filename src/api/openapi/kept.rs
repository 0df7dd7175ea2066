//! Schemas that are written by hand: documents that users write, and texts with a form of their own.
//! The ones in `schemas/` are taken from there, so that each stands in one place.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::named;
use crate::limits;
use crate::log::DeadLetterReason;

/// Stands in a derived schema for the schema of its name.
macro_rules! kept {
    ($($name:ident),*) => {$(
        #[derive(Debug)]
        pub(in crate::api) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::Ref(Ref::from_schema_name(stringify!($name)))
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

kept!(
    Bus,
    Rule,
    Target,
    Transform,
    Pattern,
    CloudEvent,
    Name,
    KeyPrefix,
    DeadLetterId
);
kept!(Reason, Duration, Moment);

/// Every schema that is kept, by its name in the document.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    let files = [
        ("Bus", include_str!("../../../schemas/bus.schema.json")),
        ("Rule", include_str!("../../../schemas/rule.schema.json")),
        (
            "Problem",
            include_str!("../../../schemas/problem.schema.json"),
        ),
    ];
    for (name, text) in files {
        let schema = serde_json::from_str(text).expect("a schema of ours is JSON");
        take(&mut schemas, name, schema);
    }
    let name = format!(
        "^[A-Za-z0-9][A-Za-z0-9._-]{{0,{}}}$",
        limits::NAME_BYTES - 1
    );
    let reasons = DeadLetterReason::ALL.map(DeadLetterReason::as_str);
    let texts = json!({
        "Target": named("Rule.target"),
        "Transform": {"$ref": "#/components/schemas/Rule.target/properties/transform"},
        "Pattern": named("Rule.pattern"),
        "Name": {
            "type": "string",
            "pattern": name,
            "description": "Letters, digits, `.`, `-` and `_`; the first is a letter or digit.",
        },
        "KeyPrefix": {
            "type": "string",
            "pattern": "^eyk_[0-9a-f]{12}$",
            "description": "The start of an API key, by which it is named.",
        },
        "DeadLetterId": {
            "type": "string",
            "pattern": "^[0-9]+-[0-9]+$",
            "description": "Names a dead letter of a bus; as a list shows it.",
        },
        "Reason": {
            "type": "string",
            "enum": reasons,
            "description": "Why a delivery was given up.",
        },
        "Duration": named("Rule.duration"),
        "Moment": {
            "type": "string",
            "format": "date-time",
            "description": "A moment in UTC (RFC 3339).",
            "examples": ["2026-11-22T19:30:00.120Z"],
        },
        "CloudEvent": cloud_event(),
    });
    let Value::Object(texts) = texts else {
        unreachable!("an object was written")
    };
    schemas.extend(texts);
    schemas
}

/// An event in the JSON event format.
fn cloud_event() -> Value {
    json!({
        "type": "object",
        "description": "A CloudEvent 1.0 in the JSON event format. Extensions stand beside the attributes.",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1, "description": "With `source`, names the event."},
            "source": {"type": "string", "minLength": 1, "format": "uri-reference", "description": "Where it happened."},
            "type": {"type": "string", "minLength": 1, "description": "What happened, such as `com.example.order.placed`."},
            "subject": {"type": ["string", "null"], "description": "What it happened to."},
            "time": {"type": ["string", "null"], "format": "date-time", "description": "When it happened."},
            "datacontenttype": {"type": ["string", "null"], "description": "The media type of `data`; JSON when it is left out."},
            "dataschema": {"type": ["string", "null"], "format": "uri"},
            "data": {"description": "Any JSON; its bytes are kept as they were sent."},
            "data_base64": {"type": ["string", "null"], "contentEncoding": "base64", "description": "Data that is no JSON and no text."},
            "deliverat": {"type": ["string", "null"], "format": "date-time", "description": "An extension: not to be routed before this moment."},
        },
        "additionalProperties": {"type": ["string", "boolean", "integer", "null"]},
    })
}

/// Takes a file's schema in: its `$defs` become schemas of their own, `Rule.target` and the like.
fn take(schemas: &mut Map<String, Value>, name: &str, mut schema: Value) {
    let fields = schema
        .as_object_mut()
        .expect("a schema of ours is an object");
    fields.remove("$schema");
    fields.remove("$id");
    let definitions = fields.remove("$defs");
    refer(&mut schema, name);
    schemas.insert(name.to_owned(), schema);
    let Some(Value::Object(definitions)) = definitions else {
        return;
    };
    for (definition, mut schema) in definitions {
        refer(&mut schema, name);
        schemas.insert(format!("{name}.{definition}"), schema);
    }
}

/// Makes references within a file ones within the document.
fn refer(at: &mut Value, name: &str) {
    match at {
        Value::Object(fields) => {
            for (field, below) in fields {
                match (field.as_str(), below.as_str()) {
                    ("$ref", Some(text)) => {
                        let definition = text.strip_prefix("#/$defs/");
                        let definition = definition.expect("a file refers to its own `$defs`");
                        *below = format!("#/components/schemas/{name}.{definition}").into();
                    }
                    _ => refer(below, name),
                }
            }
        }
        Value::Array(parts) => {
            for part in parts {
                refer(part, name);
            }
        }
        _ => {}
    }
}
