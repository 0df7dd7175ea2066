//! The module at its boundary: requests in, requests out, as tables of cases and as properties.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::*;

mod decoding;
mod encoding;
mod properties;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// A binary-mode request: the required attributes unless `headers` name them, a `-` takes one away.
fn post(headers: &[(&str, &str)], body: &[u8]) -> Result<Event, DecodeError> {
    let required = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/shop"),
        ("ce-type", "order.placed"),
    ];
    let mut all: Vec<(&str, &str)> = required
        .into_iter()
        .filter(|(name, _)| !headers.iter().any(|(given, _)| given == name))
        .collect();
    all.extend(headers.iter().filter(|(_, value)| *value != "-"));
    let mut received = decode(&header_map(&all), Bytes::copy_from_slice(body))?;
    assert_eq!(received.mode, ContentMode::Binary);
    Ok(received.events.remove(0))
}

fn post_json(content_type: &str, body: &str) -> Result<Received, DecodeError> {
    let headers = header_map(&[("content-type", content_type)]);
    decode(&headers, Bytes::copy_from_slice(body.as_bytes()))
}

/// A structured request of the required attributes and the members given, as JSON text.
fn post_members(members: &str) -> Result<Event, DecodeError> {
    let body = format!(
        r#"{{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed"{members}}}"#
    );
    let mut received = post_json(STRUCTURED, &body)?;
    assert_eq!(received.mode, ContentMode::Structured);
    Ok(received.events.remove(0))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, DecodeError>, class: ErrorClass, sentence: &str) {
    let error = result.unwrap_err();
    assert!(
        error.class == class && error.to_string().contains(sentence),
        "{error} ({:?}), wanted {sentence}",
        error.class
    );
}

#[track_caller]
fn malformed<T: std::fmt::Debug>(result: Result<T, DecodeError>, sentence: &str) {
    refused(result, ErrorClass::Malformed, sentence);
}
