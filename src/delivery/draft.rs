//! A request as its target wants it, but for what is each attempt's own: its id, its time, its
//! signature.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

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
        let mut headers = target.headers.clone();
        headers.extend(filled.headers);
        // Ours win over the target's: they say what the body is.
        for (name, value) in encoded {
            if let Some(name) = name {
                headers.insert(name, value);
            }
        }
        if let (Some(content_type), true) = (&shape.content_type, target.transform.is_some()) {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        Ok(Draft {
            method: shape.method.clone(),
            url: filled.url,
            headers,
            body,
        })
    }
}
