//! A request as its target wants it, but for what is each attempt's own: its id, its time, its
//! signature.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

use super::consent::REQUEST_ORIGIN;
use crate::event::Event;
use crate::query::Subject;
use crate::rule::Target;

#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) method: Method,
    pub(crate) url: reqwest::Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Draft {
    /// The URL of every request to a target whose URL does not depend on the event.
    pub(crate) fn url_of_all(target: &Target) -> Result<reqwest::Url, String> {
        let nothing = Subject::json(b"{}").ok_or("an empty object is no JSON")?;
        target.request.fill_url(&target.url, &nothing)
    }

    /// The request that carries `encoded` and `body`; its other values come from `event`, which is
    /// as it was published. `Err` says what cannot be made, now or later.
    pub(crate) fn new(
        target: &Target,
        event: &Event,
        encoded: HeaderMap,
        body: Bytes,
    ) -> Result<Draft, String> {
        let shape = &target.request;
        let filled = shape.fill(&target.url, &Subject::event(event))?;
        let mut headers = encoded;
        if !target.headers.is_empty() || !filled.headers.is_empty() {
            let ours = std::mem::replace(&mut headers, target.headers.clone());
            headers.extend(filled.headers);
            // Ours win over the target's: they say what the body is.
            headers.extend(ours);
        }
        if let (Some(content_type), true) = (&shape.content_type, target.transform.is_some()) {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        if let Some(validation) = &target.validation {
            headers.insert(REQUEST_ORIGIN, validation.origin.clone());
        }
        Ok(Draft {
            method: shape.method.clone(),
            url: filled.url,
            headers,
            body,
        })
    }
}
