//! Shows what a target would be sent for an event, without a rule and without sending.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::extract::Sent;
use super::openapi::{CloudEvent, Name, Target, Transform};
use super::{Api, Problem, extract};
use crate::clock::Timestamp;
use crate::delivery;
use crate::event::{self, Event};
use crate::limits;
use crate::log::{BusName, DeadLetterReason, RuleName};
use crate::rule::{self, TargetDocument};

/// `{"transform": …, "event": …}`, or a whole target in the place of the transform.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PreviewRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    #[schema(value_type = Option<Transform>)]
    transform: Option<Box<RawValue>>,
    #[schema(value_type = Option<Target>)]
    target: Option<Box<RawValue>>,
    #[schema(value_type = CloudEvent)]
    event: Box<RawValue>,
    /// The names that a template may show.
    #[schema(value_type = Option<Name>)]
    bus: Option<BusName>,
    #[schema(value_type = Option<Name>)]
    rule: Option<RuleName>,
}

/// An event that cannot be sent so.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotSent {
    sent: bool,
    reason: &'static str,
    error: String,
}

/// `POST /v1/transforms/preview`
pub(super) async fn preview(
    State(api): State<Arc<Api>>,
    body: Sent,
) -> Result<Json<Previewed>, Problem> {
    let question: Question = extract::json(&api, body, limits::BODY_BYTES).await?;
    let document = question.target()?;
    let event = read_event(&question.event)?;
    let bus = question.bus.unwrap_or_else(BusName::default_bus);
    let rule = question
        .rule
        .unwrap_or_else(|| RuleName::new("preview").expect("a valid name"));
    let target = document.for_preview(&bus, &rule);
    Ok(Json(Previewed::of(&target, event, api.delivery.now())))
}

/// What a preview answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Previewed {
    Request(delivery::Preview),
    NotSent(NotSent),
}

impl Previewed {
    /// What the target would be sent for an event.
    pub(super) fn of(target: &rule::Target, event: Event, now: Timestamp) -> Self {
        match delivery::preview(target, event, now) {
            Ok(preview) => Self::Request(preview),
            Err(error) => Self::NotSent(NotSent {
                sent: false,
                reason: DeadLetterReason::NotTransformed.as_str(),
                error,
            }),
        }
    }
}

impl Question {
    /// The target that is meant; of a transform alone, one that has nothing else.
    fn target(&self) -> Result<TargetDocument, Problem> {
        let (text, prefix) = match (&self.transform, &self.target) {
            (Some(transform), None) => {
                let text = format!(
                    r#"{{"id":"preview","url":"http://target.invalid/","transform":{transform}}}"#
                );
                (text, "")
            }
            (None, Some(target)) => (target.get().to_owned(), "/target"),
            _ => {
                return Err(Problem::invalid(
                    "Nothing to preview",
                    "Give `transform`, or `target` with all its settings, and `event`.",
                    [(
                        String::new(),
                        "needs `transform` or `target`, one of the two".to_owned(),
                    )],
                ));
            }
        };
        TargetDocument::parse(&text).map_err(|problems| {
            let places = problems
                .into_iter()
                .map(|problem| (format!("{prefix}{}", problem.pointer), problem.detail));
            Problem::invalid(
                "Not a valid target",
                "It was not tried; mend what `errors` lists.",
                places,
            )
        })
    }
}

fn read_event(text: &RawValue) -> Result<Event, Problem> {
    let structured = HeaderValue::from_static("application/cloudevents+json");
    let headers = [(CONTENT_TYPE, structured)].into_iter().collect();
    let received = event::decode(&headers, text.get().to_owned().into());
    received
        .map_err(|error| (error.pointer().unwrap_or_default().to_owned(), error.reason))
        .and_then(|received| {
            let event = received.events.into_iter().next();
            event.ok_or_else(|| (String::new(), "there is no event".to_owned()))
        })
        .map_err(|(pointer, reason)| {
            Problem::invalid(
                "Not an event",
                "The event must be a CloudEvent in the JSON event format.",
                [(format!("/event{pointer}"), reason)],
            )
        })
}
