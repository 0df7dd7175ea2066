//! The audit.

use serde_json::{Value, json};

use super::operation::Operation;
use crate::api::audit::{Browse, List};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/audit", "listAudit", "Lists what was changed, and by whom")
            .says("The newest first: every call that needs `manage` and is no GET, changes that came from the rules folder, and calls that were refused for want of a right, up to a rate. Where `next` is given there may be more, also behind a page with few entries or none: a search looks at some files at a time.")
            .query::<Browse>()
            .answers::<List>(200, "A page of entries.", json!({"entries": [entry()], "next": "4711"}))
            .refuses(&[503]),
    ]
}

fn entry() -> Value {
    json!({
        "entry": 4712,
        "time": "2026-11-22T19:30:00.120Z",
        "actor": {"kind": "key", "prefix": "eyk_0a1b2c3d4e5f", "name": "deploy"},
        "peer": "10.0.0.7",
        "request_id": null,
        "method": "POST",
        "route": "/v1/buses/{bus}/rules/{rule}/targets/{target}/pause",
        "path": "/v1/buses/default/rules/large-orders/targets/billing/pause",
        "status": 200,
        "before": {"state": "active"},
        "after": {"state": "paused"},
    })
}
