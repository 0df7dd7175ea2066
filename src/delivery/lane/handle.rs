//! The side of a lane that others hold: they offer deliveries to it, change its settings, and ask how it
//! stands.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::delivery::attempt::Sender;
use crate::delivery::crowd::Crowd;
use crate::delivery::desk::Desk;
use crate::delivery::inbox::{Fresh, Inbox, Keep, Offer};
use crate::delivery::measures::{BusCounts, Measures};
use crate::delivery::notices::Notices;
use crate::delivery::progress::Progress;
use crate::delivery::standing::Standings;
use crate::delivery::status::{Counters, LaneStatus, Names};
use crate::delivery::traces::Traces;
use crate::log::{AppendError, Chunk, Record, Sequence, TargetId};
use crate::rule::Target;

/// What all lanes share.
pub(crate) struct Hub {
    pub(crate) sender: Sender,
    pub(crate) progress: Progress,
    pub(crate) standings: Standings,
    pub(crate) notices: Notices,
    pub(crate) measures: Measures,
    pub(crate) traces: Traces,
    pub(crate) crowd: Crowd,
    /// Set once when draining begins: attempts in flight may go on until then.
    pub(crate) drain_by: OnceLock<Instant>,
    /// Events up to here may have been routed before the start, and are routed again.
    pub(crate) repeats_through: Sequence,
}

/// The side of a lane that others hold.
pub(crate) struct Handle {
    pub(crate) key: TargetId,
    pub(super) inbox: Inbox,
    /// Where pullers wait, if the target is pulled.
    pub(crate) desk: Arc<Desk>,
    pub(super) settings: ArcSwap<Settings>,
    pub(super) counters: Counters,
    /// Shared by the lanes of one bus.
    pub(super) of_bus: Arc<BusCounts>,
    /// The newest record written for this lane: views that show it show all of them.
    pub(super) last_record: AtomicU64,
    /// Some secret was changed.
    pub(super) secrets_changed: AtomicBool,
    /// An operator changed how the target stands.
    pub(super) standing_changed: AtomicBool,
}

/// What a lane is told about its target.
pub(crate) struct Settings {
    pub(crate) names: Arc<Names>,
    /// `None` once the target was deleted.
    pub(crate) target: Option<Arc<Target>>,
}

impl Handle {
    /// A handle for a target with so many deliveries parked, and `backlogged` ones in chunks on disk.
    pub(crate) fn new(
        key: TargetId,
        settings: Settings,
        (parked, backlogged): (u64, u64),
        of_bus: Arc<BusCounts>,
    ) -> Self {
        Self {
            key,
            inbox: Inbox::new(parked, backlogged),
            desk: Arc::default(),
            settings: ArcSwap::from_pointee(settings),
            counters: Counters::default(),
            of_bus,
            last_record: AtomicU64::new(0),
            secrets_changed: AtomicBool::new(false),
            standing_changed: AtomicBool::new(false),
        }
    }

    /// Takes a routed delivery; never waits.
    pub(crate) fn offer(&self, hub: &Hub, fresh: Fresh) -> Result<Offer, AppendError> {
        self.inbox.offer(fresh, self.keep(hub))
    }

    /// Replaces the settings; attempts from now on follow them.
    pub(crate) fn set(&self, settings: Settings) {
        let target = settings.target.as_ref();
        let is_pulled = target.is_some_and(|target| target.pull.is_some());
        self.desk.set_open(is_pulled);
        self.settings.store(Arc::new(settings));
        self.inbox.wake();
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// So many dead letters were parked anew.
    pub(crate) fn redriven(&self, deliveries: u64) {
        self.inbox.redriven(deliveries);
    }

    /// A secret was set: what was lacking may be there now.
    pub(crate) fn secrets_changed(&self) {
        self.secrets_changed.store(true, Ordering::Release);
        self.inbox.wake();
    }

    /// An operator changed how the target stands.
    pub(crate) fn standing_changed(&self) {
        self.standing_changed.store(true, Ordering::Release);
        self.inbox.wake();
    }

    pub(crate) fn wake(&self) {
        self.inbox.wake();
    }

    pub(crate) fn status(&self) -> LaneStatus {
        let (waiting, said) = self.inbox.shown();
        let names = Names::clone(&self.settings.load().names);
        let mut status = self.counters.status(self.key, names, said);
        status.ready += waiting.ready as u64;
        status.pulling = self.desk.pulling();
        status.backlogged = waiting.unloaded + waiting.spilled as u64;
        status.oldest_pending = match (status.oldest_pending, waiting.oldest) {
            (Some(disk), Some(memory)) => Some(disk.min(memory)),
            (disk, memory) => disk.or(memory),
        };
        if status.in_flight + status.ready + status.parked + status.backlogged == 0 {
            // What the last survey saw has been settled since.
            status.oldest_pending = None;
        }
        status
    }

    /// After a crash deliveries come again that are older than some in chunks on disk. Where order
    /// is kept no chunk may reach over another, since chunks are read one by one.
    fn parts<'f>(&self, hub: &Hub, chunk: &'f [Fresh]) -> Result<Vec<&'f [Fresh]>, AppendError> {
        let mut parts = Vec::with_capacity(1);
        let mut rest = chunk;
        let is_ordered = || {
            let settings = self.settings.load();
            let target = settings.target.as_ref();
            target.is_some_and(|target| target.ordering_key.is_some())
        };
        while let Some(first) = rest.first()
            && first.sequence <= hub.repeats_through
            && is_ordered()
        {
            let after = hub.sender.log.backlog(self.key, first.sequence, 1);
            // A log that cannot be read takes no chunk either: it is offered again.
            let after = after.map_err(|_| AppendError::Busy)?;
            let Some(bound) = after.first().and_then(Chunk::first) else {
                break;
            };
            let at = rest.partition_point(|fresh| fresh.sequence < bound);
            if at == rest.len() {
                break;
            }
            let (part, behind) = rest.split_at(at.max(1));
            parts.push(part);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        Ok(parts)
    }

    /// Writes a chunk: from then on it is settled as far as the checkpoint goes.
    pub(super) fn keep<'a>(&'a self, hub: &'a Hub) -> impl Keep + 'a {
        |chunk: &[Fresh]| {
            let mut records = Vec::with_capacity(1);
            for part in self.parts(hub, chunk)? {
                let part = part.iter().map(|fresh| (fresh.sequence, fresh.key));
                records.push(Record::chunk(self.key, part.collect()));
            }
            let written = hub.sender.log.enqueue(&records)?;
            self.last_record.fetch_max(written, Ordering::AcqRel);
            hub.progress
                .settle_all(chunk.iter().map(|fresh| fresh.sequence));
            Ok(())
        }
    }
}
