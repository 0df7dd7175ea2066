//! What a target would be sent for an event, made by the code that sends it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::draft::Draft;
use super::encode;
use super::transformed::transformed;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::log::LoggedEvent;
use crate::rule::{Auth, Target};

/// In the place of a method: the event is not sent, but pulled.
const PULL: &str = "PULL";

/// In the place of what stands in a secret, or comes from a token server.
const MASKED: &str = "<secret>";

/// A request as it would be sent, but for what each attempt adds: `user-agent`, `webhook-id`,
/// `webhook-timestamp` and the signature. Credentials are shown without their values.
#[derive(Debug, Clone)]
pub struct Preview {
    pub method: String,
    pub url: String,
    /// In alphabetical order; values of the rule in full.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// What `target` would be sent for an event that the bus took `now` as its first; in mode batch, alone
/// in its batch. `Err` is the `last_error` of the dead letter that it would become.
pub fn preview(target: &Target, event: Event, now: Timestamp) -> Result<Preview, String> {
    let logged = Arc::new(LoggedEvent {
        sequence: 1,
        time: now,
        bus: target.bus.clone(),
        event,
    });
    let made = transformed(target, Arc::clone(&logged))?;
    let (headers, body, _) = encode::encode(target, &[made]);
    let draft = Draft::new(target, &logged.event, headers, body)?;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let mut headers: Vec<(String, String)> = draft
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
        .collect();
    let mut url = draft.url.to_string();
    if let Some(auth) = &target.auth {
        if let Some(name) = auth.header() {
            headers.push((name.as_str().to_owned(), masked(auth)));
        }
        if let Some(name) = auth.parameter() {
            let mut with_name = draft.url.clone();
            with_name.query_pairs_mut().append_pair(name, "");
            url = format!("{with_name}{MASKED}");
        }
    }
    headers.sort();
    Ok(Preview {
        method: match target.pull {
            Some(_) => PULL.to_owned(),
            None => draft.method.to_string(),
        },
        url,
        headers,
        body: draft.body,
    })
}

/// The header that shows who sends, without its value.
fn masked(auth: &Auth) -> String {
    match auth {
        Auth::Basic { .. } => format!("Basic {MASKED}"),
        Auth::Bearer(_) | Auth::OAuth2(_) => format!("Bearer {MASKED}"),
        Auth::ApiKey { .. } => MASKED.to_owned(),
    }
}

impl Preview {
    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let header = self.headers.iter().find(|(name, _)| name == "content-type");
        header.map(|(_, value)| value.as_str())
    }

    /// The body, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }
}

/// An object; a body that is no text stands in `body_base64`.
impl Serialize for Preview {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Headers<'a>(&'a [(String, String)]);
        impl Serialize for Headers<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sent", &true)?;
        map.serialize_entry("method", &self.method)?;
        map.serialize_entry("url", &self.url)?;
        map.serialize_entry("content_type", &self.content_type())?;
        map.serialize_entry("headers", &Headers(&self.headers))?;
        match self.text() {
            Some(text) => map.serialize_entry("body", text)?,
            None => map.serialize_entry("body_base64", &STANDARD.encode(&self.body))?,
        }
        map.end()
    }
}
