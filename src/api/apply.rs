//! Applies a whole configuration of buses and rules: all of it or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::extract::Sent;
use super::openapi::{Bus, Name, Rule};
use super::{Api, Problem, access, audit, buses, extract, rules, warnings};
use crate::access::{Caller, Scope};
use crate::limits;
use crate::log::{BusName, RuleName, Sequence};
use crate::rule::{Applied, AppliedChange, Folder, RuleError};

/// What there is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Configuration)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[schema(value_type = BTreeMap<String, WantedBus>)]
    buses: BTreeMap<BusName, WantedBus>,
    /// Rules of these buses that are not in `rules` are deleted.
    #[serde(default)]
    prune: bool,
    /// Only tell what would be done.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ConfigurationOfBus)]
#[serde(deny_unknown_fields)]
struct WantedBus {
    /// Without it, a bus that is there stays as it is.
    #[schema(value_type = Option<Bus>)]
    document: Option<Box<RawValue>>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Rule>)]
    rules: BTreeMap<RuleName, Box<RawValue>>,
}

/// What became of it: one entry a document, buses first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Applied)]
pub(super) struct Report {
    dry_run: bool,
    /// Whether anything is not as before.
    changed: bool,
    changes: Vec<Entry>,
    /// What is worth a word, and was no reason to refuse it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppliedDocument)]
struct Entry {
    #[schema(value_type = Name)]
    bus: BusName,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Name>)]
    rule: Option<RuleName>,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Sequence>,
    /// What was there, of what is replaced or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    before: Option<Box<RawValue>>,
}

/// `POST /v1/apply`
pub(super) async fn apply(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(remark): Extension<audit::Remark>,
    body: Sent,
) -> Result<Json<Report>, Problem> {
    let wanted: Wanted = extract::json(&api, body, limits::BODY_BYTES).await?;
    wanted.check(&caller)?;
    let (prune, dry_run) = (wanted.prune, wanted.dry_run);
    let warnings = wanted.warnings(&api);
    let folder = wanted.folder(&api)?;
    let applied = api.rules.apply_whole(folder, prune, dry_run).await?;
    let changed = |one: &Applied| one.change != AppliedChange::Unchanged;
    remark.says(told(&api, &applied, dry_run));
    Ok(Json(Report {
        dry_run,
        changed: applied.iter().any(changed),
        changes: applied.into_iter().map(entry).collect::<Result<_, _>>()?,
        warnings,
    }))
}

impl Wanted {
    /// Whether the caller may manage every bus that is named, and publish where replies go.
    fn check(&self, caller: &Caller) -> Result<(), Problem> {
        for (bus, wanted) in &self.buses {
            access::check(caller, Scope::Manage, bus)?;
            for document in wanted.rules.values() {
                rules::check_replies(caller, document.get())?;
            }
        }
        Ok(())
    }

    fn warnings(&self, api: &Api) -> Vec<String> {
        let of_bus = |(bus, wanted): (&BusName, &WantedBus)| -> Vec<String> {
            let rules = wanted.rules.iter();
            let of_rules = rules
                .flat_map(|(rule, document)| warnings::of_rule(api, bus, rule, document.get()));
            of_rules.collect()
        };
        self.buses.iter().flat_map(of_bus).collect()
    }

    fn folder(self, api: &Api) -> Result<Folder, Problem> {
        let (mut folder, mut problems) = (Folder::default(), Vec::new());
        for (bus, wanted) in self.buses {
            let at = format!("/buses/{bus}");
            let text = wanted.document.as_ref().map(|document| document.get());
            let added = folder.add_bus(bus.clone(), text, &at);
            problems.extend(added.err().into_iter().flatten());
            for (rule, document) in wanted.rules {
                let guard = api.rules.guard();
                let added = folder.add_rule(bus.clone(), rule, document.get(), guard, &at);
                problems.extend(added.err().into_iter().flatten());
            }
        }
        match problems.is_empty() {
            true => Ok(folder),
            false => Err(RuleError::Invalid(problems).into()),
        }
    }
}

/// What the audit says of it: each document that is not as before, as it was and as it is.
fn told(api: &Api, applied: &[Applied], dry_run: bool) -> Value {
    let changed = applied
        .iter()
        .filter(|one| one.change != AppliedChange::Unchanged);
    let told = changed.map(|one| {
        let before = one.before.as_deref().map(serde_json::from_str::<Value>);
        let after = match &one.rule {
            None => api
                .rules
                .bus(&one.bus)
                .map(|bus| bus.document.text().to_owned()),
            Some(rule) => {
                let rule = api.rules.rule(&one.bus, rule);
                rule.map(|rule| rule.document.text().to_owned())
            }
        };
        let after = after.filter(|_| !dry_run);
        let after = after.map(|text| serde_json::from_str::<Value>(&text));
        json!({
            "bus": one.bus,
            "rule": one.rule,
            "change": one.change.as_str(),
            "revision": one.revision,
            "before": before.transpose().unwrap_or_default(),
            "after": after.transpose().unwrap_or_default(),
        })
    });
    json!({"dry_run": dry_run, "changes": told.collect::<Vec<_>>()})
}

fn entry(applied: Applied) -> Result<Entry, Problem> {
    let shown = matches!(
        applied.change,
        AppliedChange::Replaced | AppliedChange::Deleted
    );
    let before = applied.before.filter(|_| shown);
    Ok(Entry {
        bus: applied.bus,
        rule: applied.rule,
        change: applied.change.as_str(),
        revision: applied.revision,
        before: before.map(|text| buses::document(&text)).transpose()?,
    })
}
