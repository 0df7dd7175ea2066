//! Binary content mode: attributes in headers, the body is the data.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderMap};

use crate::event::draft::{Draft, check_len};
use crate::event::stored::Given;
use crate::event::{Data, DecodeError, ErrorClass, Event, InvalidEvent, Place, header_value};

const PREFIX: &str = "ce-";

pub(super) fn decode(
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Event, DecodeError> {
    let mut draft = Draft::default();
    let mut any = false;
    for (header, value) in headers {
        // Content-Type takes its place among the attributes, whose order is kept.
        let (name, value) = if *header == CONTENT_TYPE {
            (
                "datacontenttype",
                Ok(Cow::Borrowed(content_type.unwrap_or_default())),
            )
        } else if let Some(name) = header.as_str().strip_prefix(PREFIX) {
            any = true;
            (name, header_value::decode(value.as_bytes()))
        } else {
            continue;
        };
        let value = value.map_err(|reason| {
            DecodeError::new(
                ErrorClass::Malformed,
                Place::Header(header.to_string()),
                format!("its value {reason}"),
            )
        })?;
        if name == "datacontenttype" && *header != CONTENT_TYPE {
            return Err(DecodeError::new(
                ErrorClass::Malformed,
                Place::Header(header.to_string()),
                "in binary mode the Content-Type header is the datacontenttype; send that alone",
            ));
        }
        draft
            .set(Cow::Borrowed(name), Given::String(value))
            .map_err(refused)?;
    }
    if !any {
        return Err(DecodeError::new(
            ErrorClass::Malformed,
            Place::Header("ce-specversion".to_owned()),
            "the request is no CloudEvent; send `ce-specversion`, `ce-id`, `ce-source` and `ce-type` headers, or a JSON event as `application/cloudevents+json`, or an array of them as `application/cloudevents-batch+json`",
        ));
    }
    event(&draft, body).map_err(refused)
}

fn event(draft: &Draft<'_>, body: &[u8]) -> Result<Event, InvalidEvent> {
    check_len(body.len())?;
    if body.is_empty() {
        return draft.finish(None);
    }
    // Required attributes are looked for first, so that a stray JSON document of any kind hears of
    // them and not of its data.
    let data = Data::from_bytes(draft.data_content_type(), body);
    match data {
        Ok(data) => draft.finish(Some(data)),
        Err(error) => draft.finish(None).and(Err(error)),
    }
}

fn refused(error: InvalidEvent) -> DecodeError {
    let place = match error.attribute.as_deref() {
        None => Place::Request,
        // An attribute cannot be named `data`, but a header can try.
        Some("data") if matches!(error.class, ErrorClass::TooLarge { .. }) => Place::Request,
        Some("datacontenttype") => Place::Header(CONTENT_TYPE.to_string()),
        Some(name) => Place::Header(format!("{PREFIX}{name}")),
    };
    DecodeError::new(error.class, place, error.reason)
}
