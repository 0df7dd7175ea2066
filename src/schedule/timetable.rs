//! Fires rules on their schedules: publishes an event each time, with an id that tells the time.
//!
//! The event is on disk before the moment counts as dealt with; after a crash in between it is
//! published again, with the same source and id, and is a duplicate. Of the moments that were
//! missed at most the latest is made up for.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::{CancelError, Schedule};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::limits;
use crate::log::{BusName, Record, RuleName};
use crate::rule::{Rule, RuleSchedule};

type Name = (BusName, RuleName);

/// The rules on a schedule, as the newest rule set has them.
#[derive(Default)]
pub(super) struct Timetable {
    entries: BTreeMap<Name, Entry>,
    /// The earliest of all moments ahead.
    soonest: Option<u64>,
    loaded: bool,
}

struct Entry {
    rule: Arc<Rule>,
    fingerprint: u64,
    /// Every moment up to here is dealt with.
    through: u64,
    next: Option<u64>,
}

impl Timetable {
    /// Takes over the rule set. At the start what was missed while the bus was down is still to be
    /// dealt with; a schedule that comes, changes or is enabled later begins now.
    pub(super) async fn follow(&mut self, schedule: &Schedule) -> Result<(), CancelError> {
        let inner = &schedule.0;
        let now = inner.clock.now().as_millis();
        let mut records = Vec::new();
        let mut entries = BTreeMap::new();
        for rule in inner.rules.current().scheduled() {
            let Some(plan) = &rule.document.schedule else {
                continue;
            };
            let fingerprint = plan.fingerprint();
            let name = (rule.bus.clone(), rule.name.clone());
            let known = match self.entries.get(&name) {
                Some(entry) => Some((entry.fingerprint, entry.through)),
                None if self.loaded => None,
                None => inner
                    .log
                    .schedule_through(&rule.bus, &rule.name)?
                    .map(|(fingerprint, through)| (fingerprint, through.as_millis())),
            };
            let through = match known {
                Some((same, through)) if same == fingerprint => through,
                _ => {
                    records.push(through_record(&name, fingerprint, now));
                    now
                }
            };
            let entry = Entry {
                next: plan.next(through),
                fingerprint,
                through,
                rule,
            };
            entries.insert(name, entry);
        }
        for (bus, rule) in self.entries.keys() {
            if !entries.contains_key(&(bus.clone(), rule.clone())) {
                records.push(Record::ScheduleForgotten {
                    bus: bus.clone(),
                    rule: rule.clone(),
                });
            }
        }
        if !records.is_empty() {
            inner.log.commit(&records).await?;
        }
        self.entries = entries;
        self.loaded = true;
        self.set_soonest();
        Ok(())
    }

    /// Fires what is due.
    pub(super) async fn fire(&mut self, schedule: &Schedule) -> Result<(), CancelError> {
        let inner = &schedule.0;
        let now = inner.clock.now().as_millis();
        if self.soonest.is_none_or(|soonest| now < soonest) {
            return Ok(());
        }
        let mut events: BTreeMap<BusName, Vec<Event>> = BTreeMap::new();
        let mut dealt_with = Vec::new();
        for (name, entry) in &self.entries {
            let Some(plan) = &entry.rule.document.schedule else {
                continue;
            };
            if entry.next.is_none_or(|next| now < next) || dealt_with.len() >= limits::BATCH_EVENTS
            {
                continue;
            }
            let Some(at) = plan.latest(entry.through, now) else {
                continue;
            };
            let is_late = now - at > limits::SCHEDULE_LATE.as_secs() * 1_000;
            if !is_late || plan.catches_up {
                match fired(&entry.rule, plan, at) {
                    Some(event) => events.entry(name.0.clone()).or_default().push(event),
                    None => {
                        warn!(bus = %name.0, rule = %name.1, "the schedule's event is not valid")
                    }
                }
            }
            dealt_with.push((name.clone(), entry.fingerprint, at));
        }
        for (bus, events) in events {
            let window = inner.rules.window(&bus).unwrap_or_default();
            let window = window.max(limits::DEDUP_WINDOW);
            inner.log.append(&bus, events, window).await?;
        }
        let records: Vec<Record> = dealt_with
            .iter()
            .map(|(name, fingerprint, at)| through_record(name, *fingerprint, *at))
            .collect();
        inner.log.enqueue(&records)?;
        for (name, _, at) in dealt_with {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.through = at;
                let plan = entry.rule.document.schedule.as_ref();
                entry.next = plan.and_then(|plan| plan.next(at));
            }
        }
        self.set_soonest();
        Ok(())
    }

    fn set_soonest(&mut self) {
        self.soonest = self.entries.values().filter_map(|entry| entry.next).min();
    }
}

fn through_record((bus, rule): &Name, schedule: u64, through: u64) -> Record {
    Record::ScheduleThrough {
        bus: bus.clone(),
        rule: rule.clone(),
        schedule,
        through: Timestamp::from_millis(through),
    }
}

/// The event of one moment; the same for the same moment.
fn fired(rule: &Rule, plan: &RuleSchedule, at: u64) -> Option<Event> {
    let at = Timestamp::from_millis(at).to_string();
    let mut event = Event::builder(&at, &rule.source(), &plan.kind).attribute("time", at.as_str());
    if let Some(data) = &plan.data {
        event = event.json(data.get());
    }
    event.build().ok()
}
