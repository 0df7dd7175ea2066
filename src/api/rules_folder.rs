//! Makes the bus hold what the rules folder describes, and writes down what that changes.

use std::path::Path;

use serde_json::Value;

use super::audit::{bus_state, on_disk, rule_state};
use super::{Problem, routes};
use crate::audit::{Actor, Audit, Call, Outcome};
use crate::log::{BusName, RuleName};
use crate::rule::{Applied, AppliedChange, Folder, ReloadError, Report, Rules, read_admitted};

/// One document that the folder changes.
struct Changed {
    bus: BusName,
    /// `None`: it is the bus's own.
    rule: Option<RuleName>,
    is_new: bool,
    /// Below the folder.
    file: String,
}

/// Reads the folder and changes what it describes otherwise, in one step. Each changed document is an
/// entry of the audit, as if its file had called.
pub async fn ensure_folder(
    rules: &Rules,
    audit: &Audit,
    dir: &Path,
) -> Result<Report, ReloadError> {
    let folder = read_admitted(rules, dir).await?;
    let turn = audit.turn().await;
    // Nobody else changes rules now: what is planned is what will be done.
    let planned = rules.apply_whole(folder.clone(), false, true).await?;
    let changed = planned.into_iter().map(|one| Changed::of(one, &folder));
    let changed: Vec<Changed> = changed.flatten().collect();
    if changed.is_empty() {
        return Ok(rules.ensure(folder).await?);
    }
    let calls: Vec<Call> = changed.iter().map(|one| one.call(rules)).collect();
    let begun = on_disk(audit, |audit| audit.begin_all(calls)).await;
    let entries = begun.map_err(|_| ReloadError::Closing)?;
    let entries = entries.map_err(|error| ReloadError::NotWrittenDown(error.to_string()))?;
    let done = rules.ensure(folder).await;
    let failed = done.as_ref().err().cloned();
    let failed = failed.map(|error| Problem::from(error).status().as_u16());
    let outcomes: Vec<Outcome> = changed
        .iter()
        .map(|one| Outcome {
            status: failed.unwrap_or(if one.is_new { 201 } else { 200 }),
            after: one.state(rules),
        })
        .collect();
    drop(turn);
    let ended = on_disk(audit, |audit| {
        for (entry, outcome) in entries.into_iter().zip(outcomes) {
            audit.end(entry, outcome);
        }
    });
    ended.await.map_err(|_| ReloadError::Closing)?;
    Ok(done?)
}

impl Changed {
    /// `None`: it stays as it is.
    fn of(applied: Applied, folder: &Folder) -> Option<Changed> {
        if applied.change == AppliedChange::Unchanged {
            return None;
        }
        let Applied { bus, rule, .. } = applied;
        let mut described = folder
            .buses
            .iter()
            .filter(|(_, document)| document.is_some());
        let file = match &rule {
            Some(rule) => format!("{bus}/{rule}.json"),
            None if described.any(|(one, _)| *one == bus) => format!("{bus}/bus.json"),
            // That there is a folder makes the bus.
            None => format!("{bus}/"),
        };
        Some(Changed {
            bus,
            rule,
            is_new: applied.change == AppliedChange::Created,
            file,
        })
    }

    /// What would be the call to the same effect.
    fn call(&self, rules: &Rules) -> Call {
        let (route, path) = match (&self.bus, &self.rule) {
            (bus, Some(rule)) => (routes::RULE, format!("/v1/buses/{bus}/rules/{rule}")),
            (bus, None) => (routes::BUS, format!("/v1/buses/{bus}")),
        };
        let file = self.file.clone();
        Call {
            actor: Actor::RulesFolder { file },
            peer: None,
            request_id: None,
            method: "PUT".to_owned(),
            route: route.to_owned(),
            path,
            before: self.state(rules),
            asked: None,
        }
    }

    fn state(&self, rules: &Rules) -> Option<Value> {
        match &self.rule {
            Some(rule) => rule_state(rules, &self.bus, rule),
            None => bus_state(rules, &self.bus),
        }
    }
}
