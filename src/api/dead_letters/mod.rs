//! Dead letters of one target or of a whole bus: list, show, group, export, delete, redrive, purge.

mod asked;
mod choose;
mod export;
mod jobs;
mod show;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::choose::Chosen;
use super::extract::{self, Filter, Place, Sent};
use super::page::Cursor;
use super::{Api, Problem, events};
use crate::delivery::dead_letter::{self, Walk, Which, Work};
use crate::limits;
use crate::log::{DeadLetter, LogError, Sequence, TargetId};

pub(super) use self::asked::asked;
pub(super) use self::choose::{Conditions, Request};
pub(super) use self::export::export;
pub(super) use self::jobs::{JobList, ShownJob, cancel, job, jobs};
pub(super) use self::show::{LetterList, ShownGroups, ShownLetter};

type Key = (TargetId, Sequence);

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Redriven {
    redriven: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Purged {
    purged: usize,
}

/// `GET …/dead-letters`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(query): Filter<Conditions>,
) -> Result<Json<LetterList>, Problem> {
    let page = query.page();
    let (limit, after) = (page.limit()?, page.after()?);
    let choice = query.of_query(&place)?;
    check_place(&api, &place)?;
    let mut walk = Walk::new(api.log.clone(), choice, after);
    let (mut letters, mut looked_at) = (Vec::new(), 0);
    let mut next = None;
    while let Some(page) = walk.next().await? {
        looked_at += limits::BULK_RECORDS;
        letters.extend(page);
        if letters.len() > limit {
            letters.truncate(limit);
            next = letters.last().map(key);
            break;
        }
        if looked_at >= limits::DEAD_LETTERS_PER_PAGE {
            next = walk.position();
            break;
        }
    }
    let next = next.as_ref().map(Cursor::write);
    let dead_letters = letters.into_iter().map(ShownLetter::from).collect();
    Ok(Json(LetterList { dead_letters, next }))
}

/// `GET …/dead-letters/groups`
pub(super) async fn groups(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(query): Filter<Conditions>,
) -> Result<Json<ShownGroups>, Problem> {
    query.refuse_paging("groups are told all at once")?;
    let choice = query.of_query(&place)?;
    check_place(&api, &place)?;
    let counted = dead_letter::groups(Walk::new(api.log.clone(), choice, None)).await?;
    Ok(Json(ShownGroups::of(&api, counted, None)))
}

/// `GET …/dead-letters/{id}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    place: Place,
) -> Result<Json<ShownLetter>, Problem> {
    let letter = letter(&api, &place)?;
    let event = api.log.event(letter.sequence).await?;
    let event = event.map(|event| events::raw(&event.event)).transpose()?;
    Ok(Json(ShownLetter::from(letter).with_event(event)))
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

/// `POST …/dead-letters/redrive`. Of many, those whose target is gone stay.
pub(super) async fn redrive(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Sent,
) -> Result<Response, Problem> {
    let request: Request = extract::json(&api, body, limits::DEAD_LETTER_REQUEST_BYTES).await?;
    check_place(&api, &place)?;
    let chosen = request.chosen(&api, &place)?;
    let to = request.to(&api, &place)?;
    let rate = request.rate()?;
    if request.is_dry_run() {
        let counted = chosen.groups(&api).await?;
        let shown = ShownGroups::of(&api, counted, to.as_deref());
        return Ok(Json(shown.dry_run()).into_response());
    }
    if let Some(rate) = rate {
        let count = chosen.groups(&api).await?.count;
        let work = match chosen {
            Chosen::Ids(keys) => Work::Ids(keys),
            Chosen::Choice(choice) => Work::Chosen(*choice),
        };
        let job = api
            .delivery
            .redrive_at_rate(&place.bus, work, count, rate, to.as_ref())?;
        return Ok(jobs::accepted(&job));
    }
    let redriven = match &to {
        Some(to) => dead_letter::redrive_to(&api.delivery, chosen.which(), to).await?,
        None => dead_letter::redrive(&api.delivery, chosen.which()).await?,
    };
    Ok(Json(Redriven { redriven }).into_response())
}

/// `POST …/dead-letters/purge`
pub(super) async fn purge(
    State(api): State<Arc<Api>>,
    place: Place,
    body: Sent,
) -> Result<Response, Problem> {
    let request: Request = extract::json(&api, body, limits::DEAD_LETTER_REQUEST_BYTES).await?;
    request.refuse_for_purge()?;
    check_place(&api, &place)?;
    let chosen = request.chosen(&api, &place)?;
    if request.is_dry_run() {
        let counted = chosen.groups(&api).await?;
        let shown = ShownGroups::of(&api, counted, None);
        return Ok(Json(shown.dry_run()).into_response());
    }
    let purged = dead_letter::purge(&api.delivery, chosen.which()).await?;
    Ok(Json(Purged { purged }).into_response())
}

impl Chosen {
    fn which(&self) -> Which<'_> {
        match self {
            Chosen::Ids(keys) => Which::Ids(keys),
            Chosen::Choice(choice) => Which::Chosen(choice),
        }
    }

    async fn groups(&self, api: &Api) -> Result<dead_letter::Groups, LogError> {
        match self {
            Chosen::Ids(keys) => {
                let mut letters = Vec::with_capacity(keys.len());
                for (target, sequence) in keys {
                    letters.extend(api.log.dead_letter(*target, *sequence)?);
                }
                Ok(dead_letter::groups_of(letters))
            }
            Chosen::Choice(choice) => {
                let choice = dead_letter::Choice::clone(choice);
                dead_letter::groups(Walk::new(api.log.clone(), choice, None)).await
            }
        }
    }
}

/// The one dead letter that the path names.
fn letter(api: &Api, place: &Place) -> Result<DeadLetter, Problem> {
    let found = match show::parse_id(place.id()) {
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

fn belongs(letter: &DeadLetter, place: &Place) -> bool {
    letter.bus == place.bus
        && place.rule.as_ref().is_none_or(|rule| letter.rule == *rule)
        && place
            .target
            .as_ref()
            .is_none_or(|target| letter.target_name == *target)
}

/// Whether the place has dead letters: deleted targets are known by their letters alone.
fn has_letters(api: &Api, place: &Place) -> Result<bool, LogError> {
    for target in api.log.targets_with_state()? {
        let first = api.log.dead_letters(Some(target), None, 1)?;
        if first.iter().any(|letter| belongs(letter, place)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A bus that exists; a target that exists or has left dead letters.
fn check_place(api: &Api, place: &Place) -> Result<(), Problem> {
    let bus = &place.bus;
    let (Some(rule), Some(target)) = (&place.rule, &place.target) else {
        let known = api.rules.bus(bus).is_some() || has_letters(api, place)?;
        return known.then_some(()).ok_or_else(|| Problem::no_bus(bus));
    };
    let live = api
        .rules
        .rule(bus, rule)
        .is_some_and(|rule| rule.target(target).is_some());
    if live || has_letters(api, place)? {
        return Ok(());
    }
    Err(Problem::no_target(bus, rule, target))
}

/// As the API names a dead letter.
pub(super) fn id_of(letter: &DeadLetter) -> String {
    show::id(key(letter))
}

fn key(letter: &DeadLetter) -> Key {
    (letter.target, letter.sequence)
}

/// A status as a filter writes it: a number in JSON, a text in a query.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
enum StatusText {
    Number(u16),
    Text(String),
}
