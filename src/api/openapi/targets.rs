//! Targets.

use serde_json::{Value, json};

use super::operation::Operation;
use crate::api::page::Page;
use crate::api::targets::{Health, TargetList, Tested};

const TARGET: &str = "/v1/buses/{bus}/rules/{rule}/targets/{target}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/v1/buses/{bus}/rules/{rule}/targets",
            "listTargets",
            "Lists the targets of a rule, and how they are doing",
        )
        .query::<Page>()
        .answers::<TargetList>(
            200,
            "A page of targets, by name.",
            json!({"targets": [health()]}),
        ),
        Operation::get(TARGET, "getTarget", "Shows how a target is doing").answers::<Health>(
            200,
            "How it stands.",
            health(),
        ),
        Operation::post(&format!("{TARGET}/pause"), "pauseTarget", "Pauses a target")
            .says("Nothing is sent until it is resumed; what comes for it waits on disk.")
            .answers::<Health>(200, "How it stands now.", paused())
            .refuses(&[503]),
        Operation::post(
            &format!("{TARGET}/resume"),
            "resumeTarget",
            "Resumes a target",
        )
        .says("It is sent to again, whoever stopped that.")
        .answers::<Health>(200, "How it stands now.", health())
        .refuses(&[503]),
        Operation::post(
            &format!("{TARGET}/test"),
            "testTarget",
            "Sends a target an event at once",
        )
        .says("One event of the bus's own, past the queue; nothing is retried.")
        .answers::<Tested>(200, "What came of it.", tested())
        .refuses(&[409, 503]),
    ]
}

fn health() -> Value {
    json!({
        "bus": "default",
        "rule": "large-orders",
        "target": "billing",
        "state": "active",
        "state_since": null,
        "disabled_for": null,
        "failing_since": null,
        "breaker": "closed",
        "throttled_by": null,
        "validation": null,
        "validation_error": null,
        "allowed_rate": null,
        "concurrency": 32,
        "pending": 0,
        "in_flight": 0,
        "pulling": null,
        "ready": 0,
        "parked": 0,
        "backlogged": 0,
        "oldest_pending": null,
        "delivered": 41,
        "dead_lettered": 1,
        "last_status": 503,
        "last_error": "the target answered 503",
    })
}

fn paused() -> Value {
    let mut health = health();
    health["state"] = "paused".into();
    health["state_since"] = "2026-11-22T19:30:00.120Z".into();
    health
}

fn tested() -> Value {
    json!({
        "delivered": true,
        "status": 200,
        "response": "taken",
        "error": null,
        "took_ms": 12,
        "event": "0a1b2c3d4e5f",
    })
}
