//! Pulling.

use serde_json::{Value, json};

use super::operation::Operation;
use crate::api::pulls::{Acknowledge, Deliveries, Extend, Nack, PullRequest, Results};

const TARGET: &str = "/v1/buses/{bus}/rules/{rule}/targets/{target}";
const TOKEN: &str = "9f86d081884c7d659a2feaa0c55ad015";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::post(&format!("{TARGET}/pull"), "pull", "Pulls deliveries")
            .says("Leases what is there, or waits for it: each delivery is this caller's alone until its lease ends. Without a body it takes up to 10 at once and does not wait.")
            .takes::<PullRequest>(&[("", json!({"max": 10, "wait": "20s", "lease": "1m"}))])
            .body_is_optional()
            .answers::<Deliveries<'_>>(200, "What was leased; nothing when nothing came.", pulled())
            .refuses(&[409]),
        Operation::post(&format!("{TARGET}/ack"), "acknowledge", "Says that deliveries are done")
            .says("Answered once that is on disk: what was acknowledged does not come again, not after a crash either. Each token is answered by itself.")
            .takes::<Acknowledge>(&[("", json!({"tokens": [TOKEN]}))])
            .answers::<Results>(200, "What became of each token.", results())
            .refuses(&[409]),
        Operation::post(&format!("{TARGET}/nack"), "giveBack", "Gives deliveries back")
            .says("A failed attempt: it is tried again after `delay` or as the target's `retry` says, until that gives it up.")
            .takes::<Nack>(&[("", json!({"tokens": [TOKEN], "delay": "10s", "error": "the database is locked"}))])
            .answers::<Results>(200, "What became of each token.", results())
            .refuses(&[409]),
        Operation::post(&format!("{TARGET}/extend"), "extendLease", "Asks for more time")
            .says("The leases last so long from now on.")
            .takes::<Extend>(&[("", json!({"tokens": [TOKEN], "lease": "1m"}))])
            .answers::<Results>(200, "What became of each token.", results())
            .refuses(&[409]),
    ]
}

fn pulled() -> Value {
    json!({"deliveries": [{
        "id": "7-17-00c5f2a1b3d4e5f6",
        "token": TOKEN,
        "attempt": 1,
        "leased_until": "2026-11-22T19:30:30.120Z",
        "event": {
            "specversion": "1.0",
            "id": "order-17",
            "source": "/shop",
            "type": "order.placed",
            "datacontenttype": "application/json",
            "data": {"total": 120},
        },
    }]})
}

fn results() -> Value {
    json!({"results": [
        {"token": TOKEN, "done": true},
        {"token": "2c26b46b68ffc68ff99b453c1d304134", "done": false, "detail": "The token names no lease, or one that has ended: the delivery is done already, or it comes again."},
    ]})
}
