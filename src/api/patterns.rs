//! Tries an event pattern on an event, without a rule and without publishing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::extract::Sent;
use super::{Api, Problem, extract};
use crate::json::too_deep;
use crate::limits;
use crate::pattern::{Document, EventPattern, FieldExplanation};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PatternTest)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    #[schema(value_type = super::openapi::Pattern)]
    pattern: Box<RawValue>,
    /// Any JSON object.
    #[schema(value_type = Object)]
    event: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PatternVerdict)]
pub(super) struct Verdict {
    matches: bool,
    explanation: Vec<FieldExplanation>,
}

/// `POST /v1/patterns/test`
pub(super) async fn test(
    State(api): State<Arc<Api>>,
    body: Sent,
) -> Result<Json<Verdict>, Problem> {
    let question: Question = extract::json(&api, body, limits::BODY_BYTES).await?;
    let pattern = EventPattern::parse_whole(question.pattern.get())?;
    let event = object(&question.event)?;
    let explanation = pattern.explain(&Document::json(event));
    Ok(Json(Verdict {
        matches: explanation.matches,
        explanation: explanation.fields,
    }))
}

fn object(event: &RawValue) -> Result<&[u8], Problem> {
    let refuse = |detail: &str| {
        let place = ("/event".to_owned(), detail.to_owned());
        Problem::invalid("Not an event", detail, [place])
    };
    let text = event.get();
    if !text.starts_with('{') {
        return Err(refuse("An event is a JSON object."));
    }
    if too_deep(text, limits::JSON_DEPTH).is_some() {
        let detail = format!("The event nests deeper than {}.", limits::JSON_DEPTH);
        return Err(refuse(&detail));
    }
    Ok(text.as_bytes())
}
