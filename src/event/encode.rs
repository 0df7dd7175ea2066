//! Writes events as HTTP messages: what a delivery sends.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::{ContentMode, Data, Event, Value, header_value};

// Without parameters: some receivers know no other spelling.
const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
const BATCH: HeaderValue = HeaderValue::from_static("application/cloudevents-batch+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The headers and body that carry one event; in batch mode a batch of one.
#[must_use]
pub fn encode(event: &Event, mode: ContentMode) -> (HeaderMap, Bytes) {
    match mode {
        ContentMode::Binary => (binary_headers(event), event.data_bytes()),
        ContentMode::Structured => {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, STRUCTURED)]);
            (headers, Bytes::from(event.to_json()))
        }
        ContentMode::Batch => encode_batch(&[event]),
    }
}

/// The headers and body that carry all events as one batch.
#[must_use]
pub fn encode_batch(events: &[&Event]) -> (HeaderMap, Bytes) {
    let room = events.iter().map(|event| event.stored().len() + 256).sum();
    let mut json = Vec::with_capacity(room);
    json.push(b'[');
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        write_json(event, &mut json);
    }
    json.push(b']');
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, BATCH)]);
    (headers, Bytes::from(json))
}

fn binary_headers(event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in event.attributes() {
        let value = match value {
            Value::String(text) => header_value::encode(text),
            Value::Integer(number) => HeaderValue::from(number),
            Value::Boolean(truth) => HeaderValue::from_static(if truth { "true" } else { "false" }),
        };
        let _ = headers.insert(header_name(name), value);
    }
    if let Some(media_type) = event.data_content_type() {
        // A media type goes as it is, blanks and quotes included.
        let value =
            HeaderValue::from_str(media_type).unwrap_or_else(|_| header_value::encode(media_type));
        headers.insert(CONTENT_TYPE, value);
    } else if let Some(Data::Json(_)) = event.data() {
        // The JSON format implies it, binary mode does not (JSON format, section 3.1.2).
        headers.insert(CONTENT_TYPE, JSON);
    }
    headers
}

fn header_name(attribute: &str) -> HeaderName {
    match attribute {
        "specversion" => HeaderName::from_static("ce-specversion"),
        "id" => HeaderName::from_static("ce-id"),
        "source" => HeaderName::from_static("ce-source"),
        "type" => HeaderName::from_static("ce-type"),
        "subject" => HeaderName::from_static("ce-subject"),
        "time" => HeaderName::from_static("ce-time"),
        "dataschema" => HeaderName::from_static("ce-dataschema"),
        "datacontenttype" => CONTENT_TYPE,
        extension => HeaderName::from_bytes(format!("ce-{extension}").as_bytes())
            .expect("an attribute's name is lower-case letters and digits"),
    }
}

/// Writes the event in the JSON event format. JSON data goes in byte for byte.
pub(super) fn write_json(event: &Event, json: &mut Vec<u8>) {
    json.push(b'{');
    for (n, (name, value)) in event.attributes().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        json.push(b'"');
        json.extend_from_slice(name.as_bytes());
        json.extend_from_slice(b"\":");
        match value {
            Value::String(text) => write_string(text, json),
            Value::Integer(number) => json.extend_from_slice(number.to_string().as_bytes()),
            Value::Boolean(true) => json.extend_from_slice(b"true"),
            Value::Boolean(false) => json.extend_from_slice(b"false"),
        }
    }
    match event.data() {
        None => {}
        Some(Data::Json(data)) => {
            json.extend_from_slice(b",\"data\":");
            json.extend_from_slice(data);
        }
        Some(Data::Text(text)) => {
            json.extend_from_slice(b",\"data\":");
            write_string(text, json);
        }
        Some(Data::Binary(bytes)) => {
            json.extend_from_slice(b",\"data_base64\":\"");
            json.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            json.push(b'"');
        }
    }
    json.push(b'}');
}

fn write_string(text: &str, json: &mut Vec<u8>) {
    serde_json::to_writer(json, text).expect("a string is written to memory");
}
