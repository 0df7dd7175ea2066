//! API keys.

use serde_json::{Value, json};

use super::operation::Operation;
use crate::api::keys::{Create, List, Shown};
use crate::api::page::Page;

const KEY: &str = "/v1/keys/{key}";

pub(super) fn operations() -> Vec<Operation> {
    let mut made = shown();
    made["last_used"] = Value::Null;
    made["key"] = format!("eyk_0a1b2c3d4e5f_{}", "0123456789abcdef".repeat(4)).into();
    vec![
        Operation::get("/v1/keys", "listKeys", "Lists API keys")
            .says("Ended ones show for 30 days.")
            .query::<Page>()
            .answers::<List>(200, "A page of keys, by prefix.", json!({"keys": [shown()]})),
        Operation::post("/v1/keys", "createKey", "Makes an API key")
            .says("Its text is in this answer and never shown again.")
            .takes::<Create>(&[("", json!({
                "name": "shop",
                "grants": [{"scope": "publish", "buses": ["default"], "pattern": {"type": [{"prefix": "com.example.order."}]}}],
                "expires_in": "90d",
                "rate_limit": "200/s",
            }))])
            .answers::<Shown>(201, "The key.", made)
            .with_header(201, "Location", "Where it shows.")
            .with_header(201, "Cache-Control", "`no-store`.")
            .once("ten minutes, unless the bus is restarted")
            .refuses(&[409]),
        Operation::get(KEY, "getKey", "Shows an API key")
            .answers::<Shown>(200, "What may be known of it.", shown()),
        Operation::delete(KEY, "revokeKey", "Revokes an API key")
            .says("It is let in no more.")
            .answers_nothing(204, "It is revoked."),
    ]
}

fn shown() -> Value {
    json!({
        "prefix": "eyk_0a1b2c3d4e5f",
        "name": "shop",
        "state": "active",
        "grants": [{"scope": "publish", "buses": ["default"], "pattern": {"type": [{"prefix": "com.example.order."}]}}],
        "created": "2026-11-22T19:30:00.120Z",
        "expires": "2027-02-20T19:30:00.120Z",
        "revoked": null,
        "last_used": "2026-11-22T19:31:00.120Z",
    })
}
