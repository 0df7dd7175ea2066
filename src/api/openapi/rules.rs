//! Rules.

use serde_json::{Value, json};

use super::Rule;
use super::operation::Operation;
use crate::api::page::Page;
use crate::api::rules::RuleList;

const WARNING: &str = "Eventyard-Warning";
const ABOUT_WARNING: &str =
    "What is worth a word of it, such as a secret that is not there; one for each.";

const RULE: &str = "/v1/buses/{bus}/rules/{rule}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/buses/{bus}/rules", "listRules", "Lists the rules of a bus")
            .query::<Page>()
            .answers::<RuleList>(
                200,
                "A page of rules, by name.",
                json!({"rules": [{"name": "large-orders", "bus": "default", "revision": 9, "document": rule()}]}),
            ),
        Operation::get(RULE, "getRule", "Shows a rule")
            .revised()
            .answers::<Rule>(200, "Its document, as it was put.", rule())
            .with_etag(200),
        Operation::put(RULE, "putRule", "Creates or replaces a rule")
            .says("Whole: what the document leaves out has its default again. It holds for events that are published after the answer. A target that keeps its `id` keeps its backlog and dead letters.")
            .conditional()
            .creating()
            .takes::<Rule>(&[("", rule())])
            .answers::<Rule>(200, "It was replaced, or was so already.", rule())
            .with_etag(200)
            .with_header(200, WARNING, ABOUT_WARNING)
            .answers::<Rule>(201, "It was created.", rule())
            .with_etag(201)
            .with_header(201, WARNING, ABOUT_WARNING)
            .refuses(&[409]),
        Operation::delete(RULE, "deleteRule", "Deletes a rule")
            .says("What its targets had not been sent becomes dead letters.")
            .conditional()
            .answers_nothing(204, "It is deleted.")
            .refuses(&[503]),
        switch("enable", "enableRule", "Switches a rule on"),
        switch("disable", "disableRule", "Switches a rule off"),
    ]
}

fn switch(verb: &str, id: &'static str, summary: &'static str) -> Operation {
    Operation::post(&format!("{RULE}/{verb}"), id, summary)
        .conditional()
        .answers::<Rule>(200, "The rule, as it is now.", rule())
        .with_etag(200)
        .refuses(&[503])
}

pub(super) fn rule() -> Value {
    json!({
        "description": "Large orders go to billing",
        "pattern": {
            "type": [{"prefix": "com.example.order."}],
            "data": {"total": [{"numeric": [">=", 100]}]},
        },
        "targets": [{"id": "billing", "url": "http://127.0.0.1:8081/billing"}],
    })
}
