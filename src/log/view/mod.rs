//! What is looked up by key: the fold of the journal's frames, kept in the store.
//!
//! [`View::fold`] turns frames into changes; the files beside this one hold one kind of record
//! each, with its key and value. Folding a frame twice changes nothing that the frames after it do
//! not set right again, which is what lets a restart begin at an older frame.

mod acknowledged;
mod answers;
mod backlog;
mod dead_letter;
mod deferred;
mod events;
mod line;
mod parked;
mod rules;
mod segments;
mod standing;
mod timetable;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::dedup::HashKey;
use super::index::Block;
use super::line::{Chunk, OrderKey, Queued};
use super::name::BusName;
use super::record::{Meaning, Record, TargetId, read_frame};
use crate::journal::{Frame, Position, Sequence};
use crate::store::{Batch, Key, Store, StoreError};

pub use rules::{BusRecord, RuleRecord};
pub(super) use segments::BusUse;

/// The first byte of each kind of key. The compiler sees to it that no two kinds share one.
#[repr(u8)]
enum Table {
    Acknowledged = b'a',
    Answer = b'i',
    Backlog = b'k',
    Bus = b'c',
    CarriedEvent = b'e',
    DeadLetter = b'd',
    DeferredByDue = b'w',
    DeferredBySequence = b'x',
    Line = b'l',
    LineHead = b'h',
    Meta = b'm',
    Parked = b'p',
    ParkedByDue = b'q',
    Rule = b'u',
    Segment = b's',
    Standing = b'o',
    Timetable = b't',
}

/// Key: `m | name`. Small facts about the view itself.
fn meta_key(name: &str) -> Key {
    Key::new(Table::Meta as u8).text(name)
}

/// Written in every view; another number means another layout, and a rebuild.
const LAYOUT: u32 = 3;

/// How far the journal is folded into what the store will show after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Applied {
    /// The next frame to fold.
    pub(super) position: Position,
    /// The last frame folded.
    pub(super) sequence: Sequence,
}

/// The view over an open store.
#[derive(Debug)]
pub(super) struct View {
    store: Store,
    key: HashKey,
    /// The end of the index, which is not in the store yet.
    open_end: RwLock<events::OpenEnd>,
    /// What each bus holds in each segment.
    segments: Mutex<BTreeMap<u32, Segment>>,
    /// Blocks read last: a backlog is read in order.
    recent_blocks: Mutex<Vec<Arc<Block>>>,
}

/// What each bus holds in one segment.
type Segment = BTreeMap<BusName, BusUse>;

/// A batch that is being folded, and what it makes dirty.
#[derive(Debug, Default)]
pub(super) struct Fold {
    batch: Batch,
    /// Parked deliveries changed in this batch: reads must see them before the store does.
    parked: BTreeMap<(u32, Sequence), Option<Queued>>,
    /// Lines that this batch changes: what is due of them is set right in the same batch.
    lines: BTreeSet<(TargetId, OrderKey)>,
    /// Where the frames of the open block begin; the view must be folded again from here.
    pub(super) applied: Applied,
    changed_segments: BTreeSet<u32>,
}

impl Fold {
    /// Begins behind what is applied.
    pub(super) fn behind(applied: Applied) -> Self {
        Self {
            applied,
            ..Self::default()
        }
    }
}

impl View {
    /// Opens the view of a store that an earlier run left, or begins a new one, whose hashes have
    /// the secret `new_key`.
    pub(super) fn open(store: Store, new_key: HashKey) -> Result<(Self, Applied), StoreError> {
        let layout: Option<u32> = read(&store, meta_key("layout"))?;
        let key: Option<[u8; 16]> = read(&store, meta_key("hash_key"))?;
        let applied: Option<Applied> = read(&store, meta_key("applied"))?;
        let (key, applied) = match (layout, key, applied) {
            (Some(LAYOUT), Some(key), Some(applied)) => (HashKey(key), applied),
            (None, None, None) => {
                let key = new_key;
                let mut batch = Batch::default();
                batch.put(meta_key("layout"), encode(&LAYOUT));
                batch.put(meta_key("hash_key"), encode(&key.0));
                batch.put(meta_key("applied"), encode(&Applied::default()));
                store.apply(batch)?;
                store.checkpoint()?;
                (key, Applied::default())
            }
            _ => {
                return Err(StoreError::Damaged(
                    "it was written by another version, or is incomplete".to_owned(),
                ));
            }
        };
        let segments = segments::load(&store)?;
        let view = Self {
            open_end: RwLock::new(events::load_open_end(&store)?),
            key,
            segments: Mutex::new(segments),
            recent_blocks: Mutex::new(Vec::new()),
            store,
        };
        Ok((view, applied))
    }

    /// The secret of this view's hashes.
    pub(super) fn hash_key(&self) -> &HashKey {
        &self.key
    }

    /// Folds one frame. Nothing is visible before [`View::apply`].
    pub(super) fn fold(&self, frame: &Frame, fold: &mut Fold) -> Result<(), StoreError> {
        let meaning = read_frame(frame).map_err(|error| StoreError::Failed(error.to_string()))?;
        match meaning {
            Meaning::Event(logged) => {
                self.fold_event(&logged, frame.position, fold);
                Ok(())
            }
            Meaning::CarriedEvent(logged) => {
                self.fold_carried_event(logged.sequence, frame.position, fold);
                Ok(())
            }
            Meaning::State(record, number) => self.fold_record(record, number, fold),
        }?;
        fold.applied = Applied {
            position: frame.next,
            sequence: frame.sequence,
        };
        Ok(())
    }

    fn fold_record(
        &self,
        record: Record,
        number: Sequence,
        fold: &mut Fold,
    ) -> Result<(), StoreError> {
        match record {
            Record::BusPut { bus, document } => self.fold_bus(bus, document, number, fold),
            Record::BusDeleted { bus } => self.fold_bus_deleted(&bus, fold),
            Record::RulePut {
                bus,
                rule,
                document,
                targets,
            } => {
                let last = targets.iter().map(|(_, id)| id.0).max().unwrap_or(0);
                self.fold_last_target(last, fold)?;
                let record = RuleRecord {
                    bus,
                    rule,
                    document,
                    targets,
                    revision: number,
                };
                self.fold_rule(&record, fold)
            }
            Record::RuleDeleted { bus, rule } => self.fold_rule_deleted(&bus, &rule, fold),
            Record::Parked(parked) => self.fold_parked(Queued { parked, line: None }, fold),
            Record::ParkedInLine { parked, line } => {
                let line = Some(line);
                self.fold_parked(Queued { parked, line }, fold)
            }
            Record::Backlogged { target, sequences } => {
                let keys = Vec::new();
                backlog::fold_chunk(target, &Chunk { sequences, keys }, fold);
                Ok(())
            }
            Record::BackloggedInOrder { target, deliveries } => {
                backlog::fold_chunk(target, &deliveries.into_iter().collect(), fold);
                Ok(())
            }
            Record::BacklogDone { target, first } => {
                fold.batch.remove(backlog::key(target, first));
                Ok(())
            }
            Record::Settled { target, sequence } => self.fold_unparked(target, sequence, fold),
            Record::DeadLettered(letter) => {
                self.fold_unparked(letter.target, letter.sequence, fold)?;
                dead_letter::fold_letter(&letter, fold);
                Ok(())
            }
            Record::DeadLetterRemoved { target, sequence } => {
                fold.batch.remove(dead_letter::key(target, sequence));
                Ok(())
            }
            Record::Checkpoint { routed_through } => {
                fold.batch
                    .put(meta_key("routed"), encode(&(routed_through, number)));
                self.fold_passed(routed_through, fold)
            }
            Record::TargetsNumbered { last } => self.fold_last_target(last, fold),
            Record::Deferred { sequence, due } => {
                deferred::fold_deferred(sequence, due, fold);
                Ok(())
            }
            Record::ScheduleThrough {
                bus,
                rule,
                schedule,
                through,
            } => {
                timetable::fold_through(&bus, &rule, schedule, through, fold);
                Ok(())
            }
            Record::ScheduleForgotten { bus, rule } => {
                fold.batch.remove(timetable::key(&bus, &rule));
                Ok(())
            }
            Record::DeferredDone { sequence, due } => {
                deferred::fold_done(sequence, due, fold);
                Ok(())
            }
            Record::TargetMarked(mark) => {
                standing::fold_mark(&mark, fold);
                Ok(())
            }
            Record::Acknowledged { target, sequences } => {
                acknowledged::fold_acknowledged(target, &sequences, fold);
                Ok(())
            }
            Record::Answered(answer) => {
                answers::fold_answer(number, &answer, fold);
                Ok(())
            }
        }
    }

    /// Makes folded frames visible.
    pub(super) fn apply(&self, fold: &mut Fold) -> Result<(), StoreError> {
        self.settle_lines(fold)?;
        fold.parked.clear();
        self.store.apply(std::mem::take(&mut fold.batch))?;
        self.forget_full_blocks();
        Ok(())
    }

    /// Applies what is folded and brings it to the disk: a crash from here on begins at
    /// `fold.applied`.
    pub(super) fn checkpoint(&self, fold: &mut Fold) -> Result<(), StoreError> {
        {
            let end = self.open_end.read();
            if let Some(first) = end.block.first() {
                fold.batch
                    .put(super::index::block_key(first), end.block.encode());
            }
        }
        self.write_segments(fold);
        fold.batch.put(meta_key("applied"), encode(&fold.applied));
        self.apply(fold)?;
        self.store.checkpoint()
    }

    /// Applies changes that no frame says, such as removing what was trimmed.
    pub(super) fn tidy(&self, batch: Batch) -> Result<(), StoreError> {
        self.store.apply(batch)
    }

    /// Everything up to here is settled, parked or dead-lettered; and the record that says so.
    pub(super) fn routed_through(&self) -> Result<(Sequence, Sequence), StoreError> {
        Ok(read(&self.store, meta_key("routed"))?.unwrap_or_default())
    }

    /// The highest target number ever given out.
    pub(super) fn last_target(&self) -> Result<u32, StoreError> {
        Ok(read(&self.store, meta_key("last_target"))?.unwrap_or(0))
    }

    fn fold_last_target(&self, last: u32, fold: &mut Fold) -> Result<(), StoreError> {
        if last > self.last_target()? {
            fold.batch.put(meta_key("last_target"), encode(&last));
            // The next record of this batch must see it.
            self.settle_lines(fold)?;
            self.store.apply(std::mem::take(&mut fold.batch))?;
        }
        Ok(())
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("a record holds nothing postcard refuses")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn read<T: DeserializeOwned>(store: &Store, key: Key) -> Result<Option<T>, StoreError> {
    store.get(key)?.map(|bytes| decode(&bytes)).transpose()
}
