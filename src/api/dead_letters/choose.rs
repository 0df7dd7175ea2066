//! Reads which dead letters a request means, and what is to be done with them.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::show::parse_id;
use super::{Key, StatusText, belongs};
use crate::api::extract::Place;
use crate::api::openapi::{DeadLetterId, Name, Reason};
use crate::api::page::Page;
use crate::api::{Api, Problem, events};
use crate::delivery::dead_letter::{Choice, StatusWanted};
use crate::limits;
use crate::log::{DeadLetterReason, RuleName, TargetName};
use crate::rule::{RateLimit, RateLimitError, Target};

/// Which dead letters are meant: in a query, and as a body's `filter`, which has no pages.
#[derive(Debug, Clone, Default, Deserialize, IntoParams, ToSchema)]
#[schema(as = DeadLetterFilter)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Conditions {
    /// How many are wanted; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000, example = 10)]
    #[schema(ignore)]
    limit: Option<usize>,
    /// The `next` of the page before.
    #[param(example = "17-120044")]
    #[schema(ignore)]
    after: Option<String>,
    /// Only of this rule.
    #[param(value_type = Option<Name>, example = "large-orders")]
    #[schema(value_type = Option<Name>)]
    rule: Option<String>,
    /// Only of this target.
    #[param(value_type = Option<Name>, example = "billing")]
    #[schema(value_type = Option<Name>)]
    target: Option<String>,
    /// Only those given up for this reason.
    #[param(value_type = Option<Reason>, example = "attempts_exhausted")]
    #[schema(value_type = Option<Reason>)]
    reason: Option<String>,
    /// Only with this last status: `503`, a class such as `5xx`, or `none`.
    #[param(value_type = Option<String>, pattern = "^([1-9][0-9]{2}|[1-9]xx|none)$", example = "5xx")]
    status: Option<StatusText>,
    /// Only of events of this type.
    #[serde(rename = "type")]
    #[param(example = "com.example.order.placed")]
    kind: Option<String>,
    /// Only those given up at this moment or later.
    #[param(format = DateTime, example = "2026-11-22T19:30:00Z")]
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Only those given up before this moment.
    #[param(format = DateTime, example = "2026-11-22T19:30:00Z")]
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// `{"ids":[…]}`, `{"filter":{…}}` or `{"all":true}`, and what is to be done.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeadLetterRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Request {
    /// Just these.
    #[schema(value_type = Option<Vec<DeadLetterId>>, max_items = 10000)]
    ids: Option<Vec<String>>,
    /// `true`: all at this place.
    all: Option<bool>,
    /// All that fit.
    filter: Option<Conditions>,
    /// Only count them.
    #[serde(default)]
    dry_run: bool,
    /// How fast, such as `50/s`: in the background.
    #[schema(pattern = "^[0-9]+/(s|m|h)$")]
    rate: Option<String>,
    /// Another target than each one's own.
    to: Option<Destination>,
}

/// Another target, of a rule of the same bus.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeadLetterDestination)]
#[serde(deny_unknown_fields)]
struct Destination {
    #[schema(value_type = Name)]
    rule: String,
    #[schema(value_type = Name)]
    target: String,
}

/// The chosen dead letters.
pub(super) enum Chosen {
    Ids(Vec<Key>),
    Choice(Box<Choice>),
}

impl Conditions {
    pub(super) fn page(&self) -> Page {
        Page {
            limit: self.limit,
            after: self.after.clone(),
        }
    }

    pub(super) fn refuse_paging(&self, why: &str) -> Result<(), Problem> {
        match self.paging() {
            None => Ok(()),
            Some(_) => Err(Problem::malformed(format!(
                "`limit` and `after` are not taken here: {why}."
            ))),
        }
    }

    /// The name of what asks for a page, if anything does.
    fn paging(&self) -> Option<&'static str> {
        match (self.limit, &self.after) {
            (Some(_), _) => Some("limit"),
            (None, Some(_)) => Some("after"),
            (None, None) => None,
        }
    }

    /// The choice that a query makes.
    pub(super) fn of_query(self, place: &Place) -> Result<Choice, Problem> {
        self.choice(place)
            .map_err(|(name, detail)| Problem::malformed(format!("`{name}` {detail}.")))
    }

    /// The choice at a place; else the name of the condition at fault and what is wrong.
    fn choice(self, place: &Place) -> Result<Choice, (&'static str, String)> {
        let mut choice = Choice::all(place.bus.clone());
        if let Some(text) = self.rule {
            let name =
                RuleName::new(&text).map_err(|error| ("rule", format!("is {text:?}: {error}")))?;
            choice.rule = Some(name);
        }
        if let Some(text) = self.target {
            let name = TargetName::new(&text)
                .map_err(|error| ("target", format!("is {text:?}: {error}")))?;
            choice.target = Some(name);
        }
        for (name, differs) in [
            (
                "rule",
                place.rule.is_some() && choice.rule.is_some() && choice.rule != place.rule,
            ),
            (
                "target",
                place.target.is_some() && choice.target.is_some() && choice.target != place.target,
            ),
        ] {
            if differs {
                return Err((name, "is another than the path's; leave it out".to_owned()));
            }
        }
        choice.rule = choice.rule.or_else(|| place.rule.clone());
        choice.target = choice.target.or_else(|| place.target.clone());
        if let Some(text) = self.reason {
            choice.reason = Some(DeadLetterReason::parse(&text).ok_or_else(|| {
                let known: Vec<&str> = DeadLetterReason::ALL
                    .iter()
                    .map(|reason| reason.as_str())
                    .collect();
                (
                    "reason",
                    format!("is {text:?}; it is one of {}", known.join(", ")),
                )
            })?);
        }
        let status = self.status.map(|status| match status {
            StatusText::Number(number) => number.to_string(),
            StatusText::Text(text) => text,
        });
        if let Some(text) = status {
            choice.status = Some(StatusWanted::parse(&text).ok_or_else(|| {
                (
                    "status",
                    format!(
                        "is {text:?}; it is a status such as 503, a class such as 5xx, or none"
                    ),
                )
            })?);
        }
        choice.kind = self.kind;
        let moment = |name: &'static str, text: Option<String>| {
            let Some(text) = text else { return Ok(None) };
            events::parse_moment(&text).map(Some).ok_or_else(|| {
                (name, format!("is {text:?}; a moment such as 2026-11-22T19:30:00Z is wanted (a `+` in a URL is written %2B)"))
            })
        };
        choice.since = moment("since", self.since)?;
        choice.until = moment("until", self.until)?;
        Ok(choice)
    }
}

impl Request {
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    pub(super) fn chosen(&self, api: &Api, place: &Place) -> Result<Chosen, Problem> {
        match (&self.ids, &self.filter, self.all) {
            (Some(ids), None, None) if ids.len() <= limits::DEAD_LETTER_IDS => {
                Ok(Chosen::Ids(keys(api, place, ids)?))
            }
            (Some(ids), None, None) => Err(refuse(
                "/ids",
                format!(
                    "{} ids are named, {} are taken at once",
                    ids.len(),
                    limits::DEAD_LETTER_IDS
                ),
            )),
            (None, Some(conditions), None) => {
                if let Some(name) = conditions.paging() {
                    let detail = format!("`{name}` is for lists; a filter means all that fit");
                    return Err(refuse(&format!("/filter/{name}"), detail));
                }
                let choice = conditions.clone().choice(place).map_err(|(name, detail)| {
                    refuse(&format!("/filter/{name}"), format!("`{name}` {detail}"))
                })?;
                Ok(Chosen::Choice(Box::new(choice)))
            }
            (None, None, Some(true)) => {
                let everything = Conditions::default().choice(place);
                let choice = everything.map_err(|(_, detail)| Problem::malformed(detail))?;
                Ok(Chosen::Choice(Box::new(choice)))
            }
            _ => Err(refuse(
                "",
                "say which, in one way: {\"ids\": [\"17-120044\"]}, {\"filter\": {\"reason\": \"refused\"}} or {\"all\": true}".to_owned(),
            )),
        }
    }

    /// The target that they are to go to, when it is another one than each letter's own.
    pub(super) fn to(&self, api: &Api, place: &Place) -> Result<Option<Arc<Target>>, Problem> {
        let Some(Destination { rule, target }) = &self.to else {
            return Ok(None);
        };
        let names = RuleName::new(rule).ok().zip(TargetName::new(target).ok());
        let found = names.and_then(|(rule, target)| {
            let rule = api.rules.rule(&place.bus, &rule)?;
            rule.target(&target).cloned()
        });
        found.map(Some).ok_or_else(|| {
            let detail = format!(
                "the bus `{}` has no rule {rule:?} with a target {target:?}",
                place.bus
            );
            refuse("/to", detail)
        })
    }

    pub(super) fn rate(&self) -> Result<Option<RateLimit>, Problem> {
        let rate = self.rate.as_deref().map(str::parse).transpose();
        rate.map_err(|error: RateLimitError| refuse("/rate", error.to_string()))
    }

    /// What only a redrive takes.
    pub(super) fn refuse_for_purge(&self) -> Result<(), Problem> {
        let detail = |name: &str| format!("`{name}` is for a redrive; a purge is done at once");
        match (&self.rate, &self.to) {
            (Some(_), _) => Err(refuse("/rate", detail("rate"))),
            (_, Some(_)) => Err(refuse("/to", detail("to"))),
            (None, None) => Ok(()),
        }
    }
}

/// The keys of ids that stand at this place; the others are passed over and not counted.
fn keys(api: &Api, place: &Place, ids: &[String]) -> Result<Vec<Key>, Problem> {
    let mut keys = std::collections::BTreeSet::new();
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
                .map(super::key),
        );
    }
    Ok(keys.into_iter().collect())
}

fn refuse(pointer: &str, detail: String) -> Problem {
    Problem::invalid(
        "Not a choice of dead letters",
        "Nothing was done; mend what `errors` lists.",
        [(pointer.to_owned(), detail)],
    )
}
