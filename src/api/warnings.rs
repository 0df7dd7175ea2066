//! What is worth a word of a rule that is taken as it is: secrets that it names and that are not there.
//! Rules and secrets come in no order, so that this is no reason to refuse one.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::Api;
use crate::log::{BusName, RuleName};
use crate::rule::RuleDocument;

/// Of an answer whose body is a document: one for each warning.
pub(super) const WARNING: HeaderName = HeaderName::from_static("eventyard-warning");

/// What to say of a rule; an invalid one is refused elsewhere.
pub(super) fn of_rule(api: &Api, bus: &BusName, rule: &RuleName, text: &str) -> Vec<String> {
    let Ok(document) = RuleDocument::parse(text) else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    for target in document.targets {
        let target = target.for_preview(bus, rule);
        for name in target.secrets() {
            if api.secrets.get(name).is_none() {
                warnings.push(format!(
                    "{bus}/{rule}/{}: there is no secret `{name}`; deliveries wait until it is set, with `eventyard secret set {name}`",
                    target.id
                ));
            }
        }
    }
    warnings.dedup();
    warnings
}

/// The answer with its warnings, in headers.
pub(super) fn with(mut answer: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        // Names are visible ASCII.
        if let Ok(value) = HeaderValue::from_str(warning) {
            answer.headers_mut().append(WARNING, value);
        }
    }
    answer
}
