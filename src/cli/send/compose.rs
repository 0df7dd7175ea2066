//! Puts a CloudEvent together from flags, in the JSON event format. The bus checks it.

use std::path::Path;

use base64::Engine;
use serde_json::Value;

use crate::cli::exit::Failure;
use crate::cli::input;
use crate::clock::Clock;

/// An event's attributes and data as flags.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Parts {
    /// What happened, such as `order.created`.
    #[arg(
        long = "type",
        short = 't',
        id = "kind",
        required_unless_present = "file"
    )]
    kind: Option<String>,
    /// Where it happened: a URI reference.
    #[arg(long, short, default_value = "/eventyard/cli")]
    source: String,
    /// The event's id; unique for its source.
    #[arg(long)]
    id: Option<String>,
    /// What it is about.
    #[arg(long)]
    subject: Option<String>,
    /// When it happened (RFC 3339); now, unless it is given; `none` leaves it out.
    #[arg(long)]
    time: Option<String>,
    /// Media type of the data; JSON, text or bytes are told apart without it.
    #[arg(long, value_name = "TYPE")]
    datacontenttype: Option<String>,
    /// Schema of the data: a URI.
    #[arg(long, value_name = "URI")]
    dataschema: Option<String>,
    /// An extension attribute; may be given often.
    #[arg(long = "attribute", short, value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// The data: text, `@FILE`, or `@-` for standard input.
    #[arg(long, short)]
    data: Option<String>,
}

/// An event that lacks only its id.
#[derive(Debug, Clone)]
pub(super) struct Composed {
    id: String,
    /// The members behind `id`, starting with a comma.
    rest: String,
}

impl Composed {
    /// The event as JSON; of several, number `number` has an id of its own.
    pub(super) fn json(&self, number: Option<u64>) -> String {
        let id = match number {
            None => self.id.clone(),
            Some(number) => format!("{}-{number}", self.id),
        };
        format!(
            "{{\"specversion\":\"1.0\",\"id\":{}{}}}",
            Value::from(id),
            self.rest
        )
    }
}

impl Parts {
    pub(super) fn compose(&self) -> Result<Composed, Failure> {
        let data = match &self.data {
            None => None,
            Some(text) => Some(match text.strip_prefix('@') {
                Some(path) => input::read(Path::new(path))?,
                None => text.clone().into_bytes(),
            }),
        };
        let time = match self.time.as_deref() {
            Some("none") => None,
            Some(time) => Some(time.to_owned()),
            None => Some(Clock::system().now().to_string()),
        };
        let id = self
            .id
            .clone()
            .unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
        self.compose_with(data.as_deref(), time, id)
    }

    fn compose_with(
        &self,
        data: Option<&[u8]>,
        time: Option<String>,
        id: String,
    ) -> Result<Composed, Failure> {
        let mut rest = String::new();
        let mut put = |name: &str, json: &str| {
            rest.push_str(&format!(",{}:{json}", Value::from(name)));
        };
        let text = |value: &str| Value::from(value).to_string();
        put("source", &text(&self.source));
        put("type", &text(self.kind.as_deref().unwrap_or_default()));
        let optional = [
            ("subject", &self.subject),
            ("time", &time),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                put(name, &text(value));
            }
        }
        for (name, value) in &self.attributes {
            put(name, &text(value));
        }
        if let Some(data) = data {
            let (media_type, name, json) = represent(data, self.datacontenttype.as_deref())?;
            put("datacontenttype", &text(media_type));
            put(name, &json);
        } else if let Some(media_type) = &self.datacontenttype {
            put("datacontenttype", &text(media_type));
        }
        Ok(Composed { id, rest })
    }
}

/// Media type, member and JSON of data: JSON as it is, text as a string, other bytes in base64.
fn represent<'a>(
    data: &[u8],
    media_type: Option<&'a str>,
) -> Result<(&'a str, &'static str, String), Failure> {
    let text = std::str::from_utf8(data).ok();
    let json =
        text.filter(|text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok());
    match (media_type, json, text) {
        (Some(media_type), None, _) if is_json(media_type) => Err(Failure::invalid(format!(
            "the data is not JSON, but --datacontenttype says {media_type}"
        ))
        .hint("Quote the JSON for the shell, as in --data '{\"total\": 120}'.")),
        (Some(media_type), Some(json), _) if is_json(media_type) => {
            Ok((media_type, "data", json.to_owned()))
        }
        (None, Some(json), _) => Ok(("application/json", "data", json.to_owned())),
        (media_type, _, Some(text)) => Ok((
            media_type.unwrap_or("text/plain"),
            "data",
            Value::from(text).to_string(),
        )),
        (media_type, _, None) => {
            let base64 = base64::engine::general_purpose::STANDARD.encode(data);
            Ok((
                media_type.unwrap_or("application/octet-stream"),
                "data_base64",
                Value::from(base64).to_string(),
            ))
        }
    }
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("an attribute is written NAME=VALUE, such as partitionkey=42".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts {
            kind: Some("order.created".into()),
            source: "/shop".into(),
            id: None,
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            attributes: Vec::new(),
            data: None,
        }
    }

    #[track_caller]
    fn check(parts: &Parts, data: Option<&[u8]>, expected: &str) {
        let composed = parts.compose_with(data, None, "1".into()).unwrap();
        assert_eq!(
            composed.json(None),
            format!(
                r#"{{"specversion":"1.0","id":"1","source":"/shop","type":"order.created"{expected}}}"#
            )
        );
    }

    #[test]
    fn data_is_told_apart() {
        let check = |data: &[u8], expected: &str| check(&parts(), Some(data), expected);
        check(
            b"{\"total\": 1.50}",
            r#","datacontenttype":"application/json","data":{"total": 1.50}"#,
        );
        check(
            b"hi \"you\"",
            r#","datacontenttype":"text/plain","data":"hi \"you\"""#,
        );
        check(
            &[0xff, 0xfe],
            r#","datacontenttype":"application/octet-stream","data_base64":"//4=""#,
        );
    }

    #[test]
    fn a_named_media_type_decides() {
        let mut parts = parts();
        parts.datacontenttype = Some("text/plain".into());
        check(
            &parts,
            Some(b"{}"),
            r#","datacontenttype":"text/plain","data":"{}""#,
        );
        parts.datacontenttype = Some("application/JSON; charset=utf-8".into());
        let error = parts
            .compose_with(Some(b"{"), None, "1".into())
            .unwrap_err();
        assert!(error.message.contains("not JSON"), "{}", error.message);
    }

    #[test]
    fn extensions_and_optional_attributes_are_written() {
        let mut parts = parts();
        parts.subject = Some("order/7".into());
        parts.attributes = vec![attribute("partitionkey=a=b").unwrap()];
        check(&parts, None, r#","subject":"order/7","partitionkey":"a=b""#);
        assert!(attribute("novalue").is_err());
    }

    #[test]
    fn events_of_a_series_have_ids_of_their_own() {
        let composed = parts().compose_with(None, None, "x".into()).unwrap();
        assert!(composed.json(Some(7)).contains(r#""id":"x-7""#));
    }
}
