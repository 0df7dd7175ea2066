//! The webhook validation handshake: the bus takes events from whoever asks
//! (CloudEvents "HTTP 1.1 Web Hooks", section 4).

use http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue};

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// The headers that answer an `OPTIONS` request. Consent is given only to a sender that says who it
/// is: to any origin and at any rate, since a publisher that is too fast is told so by `429` and
/// `503` when it is. A callback is not needed, as the answer is given at once.
#[must_use]
pub fn consent(request: &HeaderMap) -> HeaderMap {
    let any = HeaderValue::from_static("*");
    let mut response = HeaderMap::new();
    response.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    let origin = request.get(REQUEST_ORIGIN);
    if origin.is_some_and(|origin| !origin.as_bytes().trim_ascii().is_empty()) {
        response.insert(ALLOWED_ORIGIN, any.clone());
        response.insert(ALLOWED_RATE, any);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_needs_an_origin() {
        let mut request = HeaderMap::new();
        assert_eq!(consent(&request).len(), 1);
        request.insert(REQUEST_ORIGIN, HeaderValue::from_static(" "));
        assert_eq!(consent(&request).len(), 1);
        request.insert(REQUEST_ORIGIN, HeaderValue::from_static("shop.example"));
        let response = consent(&request);
        assert_eq!(response[ALLOW], "POST, OPTIONS");
        assert_eq!(response[ALLOWED_ORIGIN], "*");
        assert_eq!(response[ALLOWED_RATE], "*");
    }
}
