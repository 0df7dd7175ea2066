//! Patterns and transforms, tried without a rule.

use std::collections::BTreeMap;

use serde_json::json;

use super::operation::Operation;
use super::{events, named, rules};
use crate::api::backtest;
use crate::api::patterns::{Question, Verdict};
use crate::api::transforms::{self, NotSent};

/// What a preview answers.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it stands for the two answers in the document")]
enum Previewed {
    Request(Request),
    NotSent(NotSent),
}

/// A request as it would be sent, but for what each attempt adds.
#[derive(utoipa::ToSchema)]
#[schema(as = PreviewedRequest)]
#[expect(
    dead_code,
    reason = "it stands for what `delivery::Preview` is written as"
)]
struct Request {
    sent: bool,
    method: String,
    url: String,
    content_type: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    /// In the place of `body`, of one that is no text.
    body_base64: Option<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    let event = events::event();
    let pattern = rules::rule()["pattern"].clone();
    let transform = json!({"input_paths": {"id": "$.id"}, "template": "{\"order\": <id>}"});
    let verdict = json!({
        "matches": true,
        "explanation": [{
            "pointer": "/data/total",
            "matches": true,
            "wanted": "[{\"numeric\":[\">=\",100]}]",
            "seen": ["120"],
            "reason": "120 is >= 100",
        }],
    });
    let previewed = json!({
        "sent": true,
        "method": "POST",
        "url": "http://target.invalid/",
        "content_type": "application/json",
        "headers": {"content-type": "application/json"},
        "body": "{\"order\": \"order-1\"}",
    });
    vec![
        Operation::post(
            "/v1/patterns/test",
            "testPattern",
            "Tries a pattern on an event",
        )
        .says("The event may be any JSON object. Each field of the pattern is explained.")
        .takes::<Question>(&[("", json!({"pattern": pattern, "event": event}))])
        .answers::<Verdict>(200, "Whether it matches, and why.", verdict),
        Operation::post(
            "/v1/transforms/preview",
            "previewTransform",
            "Shows what a target would be sent",
        )
        .says("With a transform, or with a whole target. Nothing is sent.")
        .takes::<transforms::Question>(&[
            ("transform", json!({"transform": transform, "event": event})),
            (
                "target",
                json!({"target": rules::rule()["targets"][0], "event": event}),
            ),
        ])
        .answers::<Previewed>(
            200,
            "The request; or, with `sent` false, why there is none.",
            previewed.clone(),
        ),
        Operation::post(
            "/v1/buses/{bus}/backtest",
            "backtestRule",
            "Asks a rule that is not live about what the bus still holds",
        )
        .says("As if the rule were enabled; nothing is put and nothing sent. The answer is a stream of server-sent events: `progress` now and then (`events`, `matched`, `bytes`, `share` from 0 to 1), and at the end `result`, a `BacktestResult`, or `failed`, a problem document. It ends with the connection. Few may run at once.")
        .query::<backtest::Wanted>()
        .takes_as("application/json", named("Rule"), &[("", rules::rule())])
        .knows::<backtest::ShownResult>()
        .answers_as(
            200,
            "What it finds.",
            "text/event-stream",
            json!({"type": "string", "x-messages": {"result": named("BacktestResult")}}),
            format!("event: result\ndata: {}\n\n", backtested(&previewed)).into(),
        )
        .refuses(&[422]),
    ]
}

fn backtested(preview: &serde_json::Value) -> serde_json::Value {
    let sample = json!({
        "sequence": 17,
        "time": "2026-11-22T19:30:00.120Z",
        "id": "order-1",
        "source": "/example/shop",
        "type": "com.example.order.placed",
    });
    json!({
        "events": 1_000_000,
        "matched": 1,
        "bytes": 1_300_000_000,
        "took_ms": 2_100,
        "limited": false,
        "from": "2026-11-21T00:00:00.004Z",
        "through": "2026-11-23T08:00:00.017Z",
        "matched_per_hour": 0.02,
        "busiest_minute": {"at": "2026-11-22T19:30:00.000Z", "matched": 1},
        "first": [sample],
        "last": [],
        "targets": [{"target": "billing", "preview": preview}],
    })
}
