//! Buses, and whole configurations of them.

use serde_json::{Value, json};

use super::operation::Operation;
use super::{Bus, rules};
use crate::api::apply::{Report, Wanted};
use crate::api::buses::BusList;
use crate::api::page::Page;

const BUS: &str = "/v1/buses/{bus}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/buses", "listBuses", "Lists buses")
            .says("Those that the caller may read, by name.")
            .query::<Page>()
            .answers::<BusList>(
                200,
                "A page of buses.",
                json!({"buses": [{"name": "default", "revision": 3, "document": bus()}]}),
            ),
        Operation::get(BUS, "getBus", "Shows a bus")
            .revised()
            .answers::<Bus>(200, "Its document, as it was put.", bus())
            .with_etag(200),
        Operation::put(BUS, "putBus", "Creates or replaces a bus")
            .conditional()
            .creating()
            .takes::<Bus>(&[("", bus())])
            .answers::<Bus>(200, "It was replaced, or was so already.", bus())
            .with_etag(200)
            .answers::<Bus>(201, "It was created.", bus())
            .with_etag(201)
            .never(404),
        Operation::delete(BUS, "deleteBus", "Deletes a bus")
            .says("One without rules; `default` stays.")
            .conditional()
            .answers_nothing(204, "It is deleted.")
            .refuses(&[409, 503]),
        Operation::post("/v1/apply", "apply", "Applies a configuration of buses and rules")
            .says("All of it or nothing. With `dry_run` it only tells what would be done; with `prune` it deletes the rules of these buses that it does not name.")
            .takes::<Wanted>(&[("", wanted())])
            .answers::<Report>(200, "What was done, a document each.", report())
            .refuses(&[409]),
    ]
}

fn bus() -> Value {
    json!({
        "description": "Orders of the shop",
        "retention": {"max_age": "7d", "max_bytes": "8GiB"},
        "dedup_window": "10m",
    })
}

fn wanted() -> Value {
    json!({
        "buses": {"default": {"document": bus(), "rules": {"large-orders": rules::rule()}}},
        "prune": false,
        "dry_run": true,
    })
}

fn report() -> Value {
    json!({
        "dry_run": true,
        "changed": true,
        "changes": [
            {"bus": "default", "change": "unchanged", "revision": 3},
            {"bus": "default", "rule": "large-orders", "change": "created"},
        ],
        "warnings": ["default/large-orders/billing: there is no secret `billing-token`; deliveries wait until it is set, with `eventyard secret set billing-token`"],
    })
}
