//! Secrets.

use serde_json::{Value, json};

use super::operation::Operation;
use crate::api::page::Page;
use crate::api::secrets::{Deletion, List, Put, Shown};

const SECRET: &str = "/v1/secrets/{secret}";

pub(super) fn operations() -> Vec<Operation> {
    let mut used = shown();
    used["used_by"] = json!(["default/large-orders/billing"]);
    let mut generated = shown();
    generated["value"] = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into();
    vec![
        Operation::get("/v1/secrets", "listSecrets", "Lists secrets")
            .says("Without their values, which no answer holds but the one that generated it.")
            .query::<Page>()
            .answers::<List>(200, "A page of secrets, by name.", json!({"secrets": [shown()]})),
        Operation::get(SECRET, "getSecret", "Shows a secret and who uses it")
            .revised()
            .answers::<Shown>(200, "What may be known of it.", used)
            .with_etag(200),
        Operation::put(SECRET, "putSecret", "Gives a secret a new value")
            .says("Given, or generated as a signing key and shown this once. Earlier values hold on for `keep_old`, a day unless it is said.")
            .conditional()
            .creating()
            .takes::<Put>(&[
                ("generated", json!({"generate": "hmac", "keep_old": "24h"})),
                ("given", json!({"value": "a bearer token"})),
            ])
            .answers::<Shown>(200, "It has the new value.", shown())
            .answers::<Shown>(201, "It is new.", generated)
            .refuses(&[409])
            .never(404),
        Operation::delete(SECRET, "deleteSecret", "Deletes a secret")
            .says("Refused while a rule names it, unless forced.")
            .conditional()
            .query::<Deletion>()
            .answers_nothing(204, "It is gone.")
            .refuses(&[409]),
        Operation::delete(
            "/v1/secrets/{secret}/versions/{version}",
            "deleteSecretVersion",
            "Deletes one value of a secret",
        )
        .answers_nothing(204, "It holds no more.")
        .refuses(&[409]),
    ]
}

fn shown() -> Value {
    json!({
        "name": "billing-key",
        "kind": "hmac",
        "versions": [{"version": 1, "created": "2026-11-22T19:30:00.120Z", "expires": null}],
    })
}
