//! Rules: get, put, delete, list, switch on and off.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::extract::{self, Filter, Place, Sent};
use super::openapi::{Name, Rule as ShownRule};
use super::page::Page;
use super::{Api, Problem, buses, revision, warnings};
use crate::access::{Caller, Scope};
use crate::limits;
use crate::log::{BusName, RuleName, Sequence};
use crate::rule::{ReplyTo, Rule, RuleDocument};

/// A rule in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedRule {
    #[schema(value_type = Name)]
    name: RuleName,
    #[schema(value_type = Name)]
    bus: BusName,
    revision: Sequence,
    #[schema(value_type = ShownRule)]
    document: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuleList {
    rules: Vec<ListedRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /v1/buses/{bus}/rules`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(page): Filter<Page>,
) -> Result<Json<RuleList>, Problem> {
    let rules = api.rules.rules(&place.bus);
    let rules = rules.ok_or_else(|| Problem::no_bus(&place.bus))?;
    let (page, next) = page.cut(rules.iter(), |rule| rule.name.clone())?;
    let listed = page.into_iter().map(|rule| {
        Ok(ListedRule {
            name: rule.name.clone(),
            bus: rule.bus.clone(),
            revision: rule.revision,
            document: buses::document(rule.document.text())?,
        })
    });
    let rules = listed.collect::<Result<_, Problem>>()?;
    Ok(Json(RuleList { rules, next }))
}

/// `GET /v1/buses/{bus}/rules/{rule}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let rule = find(&api, &place)?;
    revision::shown(&headers, rule.revision, rule.document.text())
}

/// `PUT /v1/buses/{bus}/rules/{rule}`
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    place: Place,
    headers: HeaderMap,
    body: Sent,
) -> Result<Response, Problem> {
    let (bus, rule) = place.rule();
    api.rules.bus(bus).ok_or_else(|| Problem::no_bus(bus))?;
    let expected = revision::expected_before_body(&headers, current(&api, &place))?;
    let text = extract::json_text(&api, body, limits::RULE_BYTES).await?;
    check_replies(&caller, &text)?;
    let (outcome, revision) = api.rules.put_rule(bus, rule, &text, expected).await?;
    let status = revision::put_status(outcome);
    let answer = revision::document(status, revision, &text);
    let warnings = warnings::of_rule(&api, bus, rule, &text);
    Ok(warnings::with(answer, &warnings))
}

/// Replies may be published to another bus: who puts such a rule must be allowed to publish there,
/// and any event, since a target answers with what it likes.
pub(super) fn check_replies(caller: &Caller, text: &str) -> Result<(), Problem> {
    if !caller.is_bounded() {
        return Ok(());
    }
    // An invalid rule is refused for that.
    let Ok(document) = RuleDocument::parse(text) else {
        return Ok(());
    };
    let buses = document
        .targets
        .iter()
        .filter_map(|target| match &target.reply {
            Some(ReplyTo::Bus(bus)) => Some(bus),
            _ => None,
        });
    for bus in buses {
        if !caller.may(Scope::Manage, bus) && !caller.may_publish_anything(bus) {
            let place = format!("without a pattern on the bus `{bus}`, where its replies go");
            return Err(Problem::forbidden(Scope::Publish, &place));
        }
    }
    Ok(())
}

/// `DELETE /v1/buses/{bus}/rules/{rule}`
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (bus, rule) = place.rule();
    let expected = revision::expected(&headers, current(&api, &place))?;
    api.rules.delete_rule(bus, rule, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/buses/{bus}/rules/{rule}/enable`
pub(super) async fn enable(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch(&api, &place, &headers, true).await
}

/// `POST /v1/buses/{bus}/rules/{rule}/disable`
pub(super) async fn disable(
    State(api): State<Arc<Api>>,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch(&api, &place, &headers, false).await
}

async fn switch(
    api: &Api,
    place: &Place,
    headers: &HeaderMap,
    enabled: bool,
) -> Result<Response, Problem> {
    let (bus, rule) = place.rule();
    let expected = revision::expected(headers, current(api, place))?;
    let switched = api.rules.set_enabled(bus, rule, enabled, expected);
    switched.await?;
    let rule = find(api, place)?;
    let text = rule.document.text();
    Ok(revision::document(StatusCode::OK, rule.revision, text))
}

/// The rule that the path names.
pub(super) fn find(api: &Api, place: &Place) -> Result<Arc<Rule>, Problem> {
    let (bus, name) = place.rule();
    api.rules.bus(bus).ok_or_else(|| Problem::no_bus(bus))?;
    let rule = api.rules.rule(bus, name);
    rule.ok_or_else(|| Problem::no_rule(bus, name))
}

fn current(api: &Api, place: &Place) -> Option<Sequence> {
    let (bus, rule) = place.rule();
    api.rules.rule(bus, rule).map(|rule| rule.revision)
}
