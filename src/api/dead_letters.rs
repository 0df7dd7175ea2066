//! Dead letters of one target or of a whole bus: list, show, delete, redrive, purge.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::extract::{self, Filter, Page, Place};
use super::{Api, Problem, events};
use crate::delivery::dead_letter::{self, DeadLetterError, Which};
use crate::limits;
use crate::log::{BusName, DeadLetter, LogError, RuleName, Sequence, TargetId, TargetName};

type Key = (TargetId, Sequence);

/// A dead letter; with its event when one is asked for.
#[derive(Debug, Serialize)]
pub(super) struct ShownLetter {
    id: String,
    bus: BusName,
    rule: RuleName,
    target: TargetName,
    sequence: Sequence,
    reason: &'static str,
    attempts: u32,
    since: String,
    dead_at: String,
    last_status: Option<u16>,
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
pub(super) struct LetterList {
    dead_letters: Vec<ShownLetter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `{"ids":[…]}` or `{"all":true}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    ids: Option<Vec<String>>,
    all: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct Redriven {
    redriven: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Purged {
    purged: usize,
}

/// `GET …/dead-letters`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(page): Filter<Page>,
) -> Result<Json<LetterList>, Problem> {
    let limit = page.limit()?;
    let after = match &page.after {
        Some(text) => Some(extract::cursor(text, parse_id(text))?),
        None => None,
    };
    check_place(&api, &place)?;
    let mut letters = find(&api, &place, after, limit + 1)?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let next = letters.last().filter(|_| more).map(|last| id(key(last)));
    let dead_letters = letters.into_iter().map(ShownLetter::from).collect();
    Ok(Json(LetterList { dead_letters, next }))
}

/// `GET …/dead-letters/{id}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<ShownLetter>, Problem> {
    let letter = letter(&api, &place)?;
    let event = api.log.event(letter.sequence).await?;
    let event = event.map(|event| events::raw(&event.event)).transpose()?;
    let shown = ShownLetter::from(letter);
    Ok(Json(ShownLetter { event, ..shown }))
}

/// `DELETE …/dead-letters/{id}`
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<StatusCode, Problem> {
    let (target, sequence) = key(&letter(&api, &place)?);
    dead_letter::delete(&api.delivery, target, sequence).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/dead-letters/redrive`. Of all of a place, those whose target is gone stay.
pub(super) async fn redrive(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Body,
) -> Result<Json<Redriven>, Problem> {
    let redriven = match choose(&api, &place, body).await? {
        Chosen::Ids(keys) => dead_letter::redrive(&api.delivery, Which::Ids(&keys)).await?,
        Chosen::All(letters) => {
            let targets = live_targets(&api, &letters)?;
            dead_letter::redrive(&api.delivery, Which::Targets(&targets)).await?
        }
    };
    Ok(Json(Redriven { redriven }))
}

/// `POST …/dead-letters/purge`
pub(super) async fn purge(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Body,
) -> Result<Json<Purged>, Problem> {
    let purged = match choose(&api, &place, body).await? {
        Chosen::Ids(keys) => dead_letter::purge(&api.delivery, Which::Ids(&keys)).await?,
        Chosen::All(letters) => {
            let targets: Vec<TargetId> = letters.into_iter().map(|(target, _)| target).collect();
            dead_letter::purge(&api.delivery, Which::Targets(&targets)).await?
        }
    };
    Ok(Json(Purged { purged }))
}

/// The chosen dead letters.
enum Chosen {
    Ids(Vec<Key>),
    /// The first of each target of the place, standing for all of that target.
    All(Vec<Key>),
}

async fn choose(api: &Api, place: &Place, body: Body) -> Result<Chosen, Problem> {
    let selection: Selection = extract::json(api, body, limits::RULE_BYTES).await?;
    check_place(api, place)?;
    match (selection.ids, selection.all) {
        (Some(ids), None) if ids.len() <= limits::DEAD_LETTER_IDS => {
            Ok(Chosen::Ids(chosen_keys(api, place, &ids)?))
        }
        (Some(ids), None) => Err(refuse(
            "/ids",
            format!(
                "{} ids are named, {} are taken at once",
                ids.len(),
                limits::DEAD_LETTER_IDS
            ),
        )),
        (None, Some(true)) => Ok(Chosen::All(first_of_targets(api, place)?)),
        _ => Err(refuse(
            "",
            "say which: {\"ids\": [\"17-120044\"]} or {\"all\": true}".to_owned(),
        )),
    }
}

/// The targets that still exist; an error when there are letters and none has a target any more.
fn live_targets(api: &Api, letters: &[Key]) -> Result<Vec<TargetId>, DeadLetterError> {
    let rules = api.rules.current();
    let targets = letters.iter().map(|(target, _)| *target);
    let live: Vec<TargetId> = targets.filter(|key| rules.target(*key).is_some()).collect();
    match letters.first() {
        Some((target, sequence)) if live.is_empty() => {
            Err(DeadLetterError::TargetGone(*target, *sequence))
        }
        _ => Ok(live),
    }
}

/// The keys of ids that stand at this place; the others are passed over and not counted.
fn chosen_keys(api: &Api, place: &Place, ids: &[String]) -> Result<Vec<Key>, Problem> {
    let mut keys = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let Some((target, sequence)) = parse_id(id) else {
            let detail = format!("{id:?} is no dead letter's id; one looks like 17-120044");
            return Err(refuse(&format!("/ids/{index}"), detail));
        };
        let letter = api.log.dead_letter(target, sequence)?;
        keys.extend(
            letter
                .filter(|letter| belongs(letter, place))
                .as_ref()
                .map(key),
        );
    }
    Ok(keys)
}

fn refuse(pointer: &str, detail: String) -> Problem {
    Problem::invalid(
        "Not a choice of dead letters",
        "Nothing was done; mend what `errors` lists.",
        [(pointer.to_owned(), detail)],
    )
}

/// The one dead letter that the path names.
fn letter(api: &Api, place: &Place) -> Result<DeadLetter, Problem> {
    let found = match parse_id(place.id()) {
        Some((target, sequence)) => api.log.dead_letter(target, sequence)?,
        None => None,
    };
    found.filter(|letter| belongs(letter, place)).ok_or_else(|| {
        Problem::not_found(format!(
            "There is no dead letter `{}` here: it was deleted, purged or redriven, or never was.",
            place.id()
        ))
    })
}

/// The first dead letter of each target of the place, which tells its bus, rule and name: deleted
/// targets are known by their letters alone.
fn first_of_targets(api: &Api, place: &Place) -> Result<Vec<Key>, LogError> {
    let mut targets = api.log.targets_with_state()?;
    targets.sort_unstable();
    let mut firsts = Vec::new();
    for target in targets {
        let first = api.log.dead_letters(Some(target), None, 1)?;
        firsts.extend(
            first
                .iter()
                .filter(|letter| belongs(letter, place))
                .map(key),
        );
    }
    Ok(firsts)
}

/// Dead letters of the place behind `after`, in (target, sequence) order.
fn find(
    api: &Api,
    place: &Place,
    after: Option<Key>,
    limit: usize,
) -> Result<Vec<DeadLetter>, LogError> {
    let mut found = Vec::new();
    for (target, _) in first_of_targets(api, place)? {
        if found.len() >= limit || after.is_some_and(|(passed, _)| target < passed) {
            continue;
        }
        let after = after.filter(|(passed, _)| *passed == target);
        found.extend(
            api.log
                .dead_letters(Some(target), after, limit - found.len())?,
        );
    }
    Ok(found)
}

fn belongs(letter: &DeadLetter, place: &Place) -> bool {
    letter.bus == place.bus
        && place.rule.as_ref().is_none_or(|rule| letter.rule == *rule)
        && place
            .target
            .as_ref()
            .is_none_or(|target| letter.target_name == *target)
}

/// A bus that exists; a target that exists or has left dead letters.
fn check_place(api: &Api, place: &Place) -> Result<(), Problem> {
    let bus = &place.bus;
    let (Some(rule), Some(target)) = (&place.rule, &place.target) else {
        let known = api.rules.bus(bus).is_some() || !first_of_targets(api, place)?.is_empty();
        return known.then_some(()).ok_or_else(|| Problem::no_bus(bus));
    };
    let live = api
        .rules
        .rule(bus, rule)
        .is_some_and(|rule| rule.target(target).is_some());
    if live || !first_of_targets(api, place)?.is_empty() {
        return Ok(());
    }
    Err(Problem::no_target(bus, rule, target))
}

fn key(letter: &DeadLetter) -> Key {
    (letter.target, letter.sequence)
}

/// `<target key>-<sequence>`
fn id((target, sequence): Key) -> String {
    format!("{}-{sequence}", target.0)
}

fn parse_id(text: &str) -> Option<Key> {
    let (target, sequence) = text.split_once('-')?;
    Some((TargetId(target.parse().ok()?), sequence.parse().ok()?))
}

impl From<DeadLetter> for ShownLetter {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: id(key(&letter)),
            bus: letter.bus,
            rule: letter.rule,
            target: letter.target_name,
            sequence: letter.sequence,
            reason: letter.reason.as_str(),
            attempts: letter.attempts,
            since: letter.since.to_string(),
            dead_at: letter.dead_at.to_string(),
            last_status: letter.last_status,
            last_error: letter.last_error,
            event: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let key = (TargetId(17), 120_044);
        assert_eq!(id(key), "17-120044");
        assert_eq!(parse_id("17-120044"), Some(key));
        for bad in ["", "17", "17-", "-3", "x-3", "17-120044-1", "99999999999-1"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
