//! Dead letters, of a whole bus and of one target.

use serde_json::{Value, json};

use super::operation::Operation;
use super::{events, named};
use crate::api::dead_letters::{
    Conditions, JobList, LetterList, Purged, Redriven, Request, ShownGroups, ShownJob, ShownLetter,
};
use crate::api::page::Page;

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = of("/v1/buses/{bus}", &BUS);
    operations.extend(of("/v1/buses/{bus}/rules/{rule}/targets/{target}", &TARGET));
    operations
}

/// The names of the operations at one place, in the order in which they are described.
type Ids = [&'static str; 10];

const BUS: Ids = [
    "listDeadLetters",
    "groupDeadLetters",
    "exportDeadLetters",
    "getDeadLetter",
    "deleteDeadLetter",
    "redriveDeadLetters",
    "purgeDeadLetters",
    "listRedrives",
    "getRedrive",
    "cancelRedrive",
];

const TARGET: Ids = [
    "listDeadLettersOfTarget",
    "groupDeadLettersOfTarget",
    "exportDeadLettersOfTarget",
    "getDeadLetterOfTarget",
    "deleteDeadLetterOfTarget",
    "redriveDeadLettersOfTarget",
    "purgeDeadLettersOfTarget",
    "listRedrivesOfTarget",
    "getRedriveOfTarget",
    "cancelRedriveOfTarget",
];

const PAGING: &[&str] = &["limit", "after"];

fn of(place: &str, ids: &Ids) -> Vec<Operation> {
    let at = |path: &str| format!("{place}/dead-letters{path}");
    let [
        list,
        group,
        export,
        one,
        delete,
        redrive,
        purge,
        jobs,
        job,
        cancel,
    ] = *ids;
    let batch = json!({"type": "array", "items": named("CloudEvent")});
    vec![
        Operation::get(&at(""), list, "Lists dead letters")
            .query::<Conditions>()
            .answers::<LetterList>(
                200,
                "A page of dead letters; it may be empty and still have a `next`.",
                json!({"dead_letters": [letter()], "next": "17-120044"}),
            )
            .refuses(&[503]),
        Operation::get(&at("/groups"), group, "Counts dead letters by target, reason and status")
            .query::<Conditions>()
            .without(PAGING)
            .answers::<ShownGroups>(200, "The groups, all at once.", groups())
            .refuses(&[503]),
        Operation::get(&at("/export"), export, "Exports dead letters as events")
            .says("Each event with its dead letter's facts as extensions. An answer that does not end with `]` broke off.")
            .query::<Conditions>()
            .without(PAGING)
            .answers_as(
                200,
                "A batch of CloudEvents.",
                "application/cloudevents-batch+json",
                batch,
                json!([events::event()]),
            )
            .refuses(&[503]),
        Operation::get(&at("/{id}"), one, "Shows a dead letter with its event")
            .answers::<ShownLetter>(200, "The dead letter.", letter_with_event())
            .refuses(&[503]),
        Operation::delete(&at("/{id}"), delete, "Deletes a dead letter")
            .answers_nothing(204, "It is gone.")
            .refuses(&[503]),
        Operation::post(&at("/redrive"), redrive, "Delivers dead letters again")
            .says("At once; with `rate` in the background, as a redrive that shows its progress. With `dry_run` they are only counted.")
            .takes::<Request>(&[
                ("some", json!({"ids": ["17-120044"]})),
                ("filtered", json!({"filter": {"reason": "attempts_exhausted", "status": "5xx"}, "rate": "50/s"})),
                ("elsewhere", json!({"all": true, "to": {"rule": "large-orders", "target": "billing"}})),
                ("counted", json!({"all": true, "dry_run": true})),
            ])
            .answers::<RedriveAnswer>(200, "How many were; or would be, by group.", json!({"redriven": 1}))
            .answers::<ShownJob>(202, "A redrive runs.", running())
            .with_header(202, "Location", "Where the redrive shows.")
            .once("ten minutes, unless the bus is restarted")
            .refuses(&[409]),
        Operation::post(&at("/purge"), purge, "Deletes dead letters")
            .says("With `dry_run` they are only counted. `rate` and `to` are refused.")
            .takes::<Request>(&[
                ("some", json!({"ids": ["17-120044"]})),
                ("counted", json!({"filter": {"until": "2026-11-22T19:30:00Z"}, "dry_run": true})),
            ])
            .answers::<PurgeAnswer>(200, "How many were; or would be, by group.", json!({"purged": 1})),
        Operation::get(&at("/redrives"), jobs, "Lists redrives of the bus")
            .says("Those that run, and the last that ended.")
            .query::<Page>()
            .answers::<JobList>(200, "A page of redrives, the oldest first.", json!({"redrives": [running()]}))
            .refuses(&[503]),
        Operation::get(&at("/redrives/{id}"), job, "Shows a redrive")
            .answers::<ShownJob>(200, "The redrive.", running())
            .refuses(&[503]),
        Operation::delete(&at("/redrives/{id}"), cancel, "Ends a redrive")
            .says("After the step in hand. What it has not reached stays a dead letter; the redrive still shows, as `cancelled`, or `done` if it was.")
            .answers_nothing(204, "It ends.")
            .refuses(&[503]),
    ]
}

/// What a redrive answers with 200.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it stands for the two answers in the document")]
enum RedriveAnswer {
    Done(Redriven),
    Counted(ShownGroups),
}

/// What a purge answers.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it stands for the two answers in the document")]
enum PurgeAnswer {
    Done(Purged),
    Counted(ShownGroups),
}

fn letter() -> Value {
    json!({
        "id": "17-120044",
        "bus": "default",
        "rule": "large-orders",
        "target": "billing",
        "sequence": 120_044,
        "reason": "attempts_exhausted",
        "attempts": 8,
        "since": "2026-11-22T19:30:00.120Z",
        "dead_at": "2026-11-22T20:30:00.120Z",
        "last_status": 503,
        "last_error": "the target answered 503",
    })
}

fn letter_with_event() -> Value {
    let mut letter = letter();
    letter["event"] = events::event();
    letter
}

fn groups() -> Value {
    json!({
        "count": 1,
        "redrivable": 1,
        "groups": [{
            "rule": "large-orders",
            "target": "billing",
            "reason": "attempts_exhausted",
            "status": "5xx",
            "count": 1,
            "oldest": "2026-11-22T20:30:00.120Z",
            "newest": "2026-11-22T20:30:00.120Z",
            "example": {"id": "17-120044", "sequence": 120_044, "error": "the target answered 503"},
        }],
    })
}

fn running() -> Value {
    json!({
        "id": "1795375800120",
        "state": "running",
        "rate": "50/s",
        "chosen": 1200,
        "redriven": 250,
        "left": 0,
        "started": "2026-11-22T19:30:00.120Z",
    })
}
