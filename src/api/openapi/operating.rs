//! Health, metrics, and this description.

use serde_json::json;

use super::operation::Operation;
use crate::api::health::{Alive, Ready};
use crate::api::log_level::{Shown, Wanted};
use crate::api::{backup, exposition};

pub(super) fn operations() -> Vec<Operation> {
    let text = json!({"type": "string"});
    let level = |level: &str| json!({"level": level, "configured": "info"});
    let detailed = "info,eventyard::delivery=debug";
    let ready = json!({"ready": true, "parts": {"journal": "writable", "view": "current", "draining": false}});
    vec![
        Operation::get("/healthz", "alive", "Tells that the bus is alive").answers::<Alive>(
            200,
            "The process answers.",
            json!({"status": "alive", "version": env!("CARGO_PKG_VERSION")}),
        ),
        Operation::get("/readyz", "ready", "Tells whether the bus can accept events")
            .answers::<Ready>(200, "It can.", ready)
            .refuses(&[503]),
        Operation::get("/metrics", "metrics", "Shows metrics")
            .says("In Prometheus' text format.")
            .answers_as(
                200,
                "The metrics.",
                exposition::MEDIA_TYPE,
                text.clone(),
                "# TYPE eventyard_ready gauge\neventyard_ready 1\n".into(),
            ),
        Operation::get("/v1/log-level", "getLogLevel", "Shows what the bus logs")
            .answers::<Shown>(200, "What is logged.", level("info")),
        Operation::put("/v1/log-level", "setLogLevel", "Changes what the bus logs")
            .says("At once, and until the bus stops.")
            .takes::<Wanted>(&[("", json!({"level": detailed}))])
            .answers::<Shown>(200, "What is logged now.", level(detailed)),
        Operation::delete("/v1/log-level", "resetLogLevel", "Logs by the configuration again")
            .answers::<Shown>(200, "What is logged now.", level("info")),
        Operation::post("/v1/backup", "backup", "Copies all data")
            .says("With all that was acknowledged before, made while it is fetched: a tar archive of the journal, the sealed secrets, the hashes of API keys and the audit, and last a manifest with sizes and SHA-256. One without a manifest is none. The key that seals secrets is not in it. One at a time.")
            .answers_as(
                200,
                "The archive.",
                backup::MEDIA_TYPE,
                json!({"type": "string", "format": "binary"}),
                "".into(),
            )
            .refuses(&[503]),
        Operation::get("/openapi.json", "openapi", "Shows this description").answers_as(
            200,
            "An OpenAPI 3.1 document.",
            "application/json",
            json!({"type": "object", "required": ["openapi", "info", "paths"]}),
            json!({"openapi": "3.1.0", "info": {"title": "Eventyard", "version": "0.1.0"}, "paths": {}}),
        ),
        Operation::get("/docs", "docs", "Shows this description as a page").answers_as(
            200,
            "A page that needs nothing from elsewhere.",
            "text/html; charset=utf-8",
            text,
            "<!doctype html>".into(),
        ),
    ]
}
