//! Lists a bus's events, newest first or after a cursor, by attributes and time.

use std::sync::Arc;

use super::index::{Block, Entry};
use super::record::LoggedEvent;
use super::shared::Shared;
use super::view::View;
use super::{BusName, LogError, Sequence};
use crate::clock::Timestamp;

/// Blocks looked at for one page (512 events each): a search for what is not there must end.
const BLOCKS_PER_PAGE: usize = 4_096;

/// Which events to list; all filters given must hold.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// List events after this sequence, oldest first; without it the newest come first.
    pub after: Option<Sequence>,
    /// Newest first, go on below this sequence.
    pub before: Option<Sequence>,
    /// Most events of the page.
    pub limit: usize,
    /// The `type` attribute.
    pub kind: Option<String>,
    pub source: Option<String>,
    pub id: Option<String>,
    /// Taken by the bus at or after this moment.
    pub since: Option<Timestamp>,
    /// Taken by the bus before this moment.
    pub until: Option<Timestamp>,
}

/// A page of events.
#[derive(Debug, Clone, Default)]
pub struct EventPage {
    pub events: Vec<Arc<LoggedEvent>>,
    /// Where the next page begins, as `after` or `before`; `None` at the end. A page may be empty
    /// and still have a next one, when a search went through many events in vain.
    pub next: Option<Sequence>,
}

/// A query made ready for the index.
struct Search<'a> {
    bus: &'a BusName,
    query: &'a EventQuery,
    kind: Option<u32>,
    source: Option<u32>,
    id: Option<u32>,
    oldest_sequence: Sequence,
    oldest_time: Timestamp,
}

pub(super) fn browse(
    shared: &Shared,
    bus: &BusName,
    query: &EventQuery,
) -> Result<EventPage, LogError> {
    let view = shared.view()?;
    let key = view.hash_key();
    let kept_for = shared.retention.lock().get(bus).map(|kept| kept.max_age);
    let retained = kept_for.map(|age| shared.clock.now().minus(age));
    let search = Search {
        bus,
        query,
        kind: query.kind.as_deref().map(|kind| key.value(kind)),
        source: query.source.as_deref().map(|source| key.value(source)),
        id: query.id.as_deref().map(|id| key.value(id)),
        oldest_sequence: view.bus(bus)?.map_or(0, |record| record.created),
        oldest_time: retained.max(query.since).unwrap_or_default(),
    };
    match query.after {
        Some(after) => search.upward(shared, &view, after),
        None => search.downward(shared, &view, query.before.unwrap_or(Sequence::MAX)),
    }
}

impl Search<'_> {
    fn upward(
        &self,
        shared: &Shared,
        view: &View,
        mut after: Sequence,
    ) -> Result<EventPage, LogError> {
        let mut page = EventPage::default();
        let mut block = match view.block_with(after)? {
            Some(block) => Some(block),
            None => view.block_after(after)?,
        };
        for _ in 0..BLOCKS_PER_PAGE {
            let Some(current) = block else {
                return Ok(page);
            };
            let first_new = current
                .entries
                .partition_point(|entry| entry.sequence <= after);
            for entry in &current.entries[first_new..] {
                after = entry.sequence;
                page.events.extend(self.look(shared, &current, entry)?);
                if page.events.len() == self.query.limit {
                    page.next = Some(after);
                    return Ok(page);
                }
            }
            block = view.block_after(after)?;
        }
        page.next = Some(after);
        Ok(page)
    }

    fn downward(
        &self,
        shared: &Shared,
        view: &View,
        mut before: Sequence,
    ) -> Result<EventPage, LogError> {
        let mut page = EventPage::default();
        for _ in 0..BLOCKS_PER_PAGE {
            let block = match before.checked_sub(1) {
                Some(last) => view.block_with(last)?,
                None => None,
            };
            let Some(current) = block else {
                return Ok(page);
            };
            let old = current
                .entries
                .partition_point(|entry| entry.sequence < before);
            for entry in current.entries[..old].iter().rev() {
                before = entry.sequence;
                page.events.extend(self.look(shared, &current, entry)?);
                if page.events.len() == self.query.limit {
                    page.next = Some(before);
                    return Ok(page);
                }
            }
            before = current.first().unwrap_or(0).min(before);
        }
        page.next = Some(before);
        Ok(page)
    }

    /// The event of an entry, when it is one that is looked for.
    fn look(
        &self,
        shared: &Shared,
        block: &Block,
        entry: &Entry,
    ) -> Result<Option<Arc<LoggedEvent>>, LogError> {
        let wanted = |hash: Option<u32>, value: u32| hash.is_none_or(|hash| hash == value);
        let may_be = block.buses[usize::from(entry.bus)] == *self.bus
            && entry.sequence >= self.oldest_sequence
            && entry.time >= self.oldest_time
            && self.query.until.is_none_or(|until| entry.time < until)
            && wanted(self.kind, entry.kind)
            && wanted(self.source, entry.source)
            && wanted(self.id, entry.id);
        if !may_be {
            return Ok(None);
        }
        let found = super::read::read_at(shared, entry.position)?;
        Ok(found.filter(|logged| self.is_wanted(logged)))
    }

    fn is_wanted(&self, logged: &LoggedEvent) -> bool {
        let same = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        same(&self.query.kind, logged.event.kind())
            && same(&self.query.source, logged.event.source())
            && same(&self.query.id, logged.event.id())
    }
}
