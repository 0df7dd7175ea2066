//! Gives disk back: lets go of the oldest segments that no bus's retention asks for, after carrying
//! forward what they alone still prove.
//!
//! The state of the bus is the fold of the journal's frames. Segments go oldest first, so a frame
//! may go when it no longer says anything: an event that nothing pending or dead needs, a record
//! that a newer one replaced, a removal (what it removed is in an older segment, which is gone).
//! Every other frame is copied to the journal's end, with its own number, before the segment goes.
//! Records are compared and copied while no new ones are queued, so that a copy never undoes a
//! change.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::record::{
    FRAME_EVENT, Meaning, Record, carried_event_frame, carried_state_frame, read_frame,
};
use super::shared::Shared;
use super::view::View;
use super::{BusName, LogError, Sequence};
use crate::journal::{Frame, NewFrame, Position, SegmentInfo};
use crate::store::Batch;

/// How often old segments are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// Frames compared while nobody else may queue records.
const FRAMES_PER_STEP: usize = 256;

/// Bytes copied in one group.
const BYTES_PER_STEP: usize = 1024 * 1024;

/// How long the view may take to show what is queued; far more than it needs.
const VIEW_PATIENCE: Duration = Duration::from_secs(10);

/// What a trim did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments given up.
    pub segments: usize,
    /// Frames copied to the journal's end.
    pub carried: usize,
}

/// The trimming thread.
pub(super) fn run(shared: &Shared) {
    let mut next = Instant::now() + TRIM_EVERY;
    while !shared.stopping.load(Ordering::Acquire) {
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + TRIM_EVERY;
        // First, so that nothing is carried forward that is forgotten.
        if let Err(error) = super::answers::tidy(shared) {
            tracing::warn!(%error, "answers that are over could not be let go of; trying again");
        }
        match trim(shared) {
            Ok(Trimmed { segments: 0, .. }) => {}
            Ok(trimmed) => tracing::info!(
                segments = trimmed.segments,
                carried = trimmed.carried,
                "old segments were trimmed"
            ),
            Err(error) => tracing::warn!(%error, "old segments could not be trimmed; trying again"),
        }
    }
}

/// Trims what can be trimmed now.
pub(super) fn trim(shared: &Shared) -> Result<Trimmed, LogError> {
    let _only_one = shared.trimming.lock();
    let mut trimmed = Trimmed::default();
    while !shared.stopping.load(Ordering::Acquire) && !shared.is_held() {
        let segments = shared.journal.segments();
        let Some(oldest) = segments.first().filter(|oldest| !oldest.active) else {
            break;
        };
        let view = shared.view()?;
        if !may_go(shared, &view, oldest)? {
            break;
        }
        trimmed.carried += carry_forward(shared, &view, oldest)?;
        shared
            .journal
            .trim_through(oldest.id)
            .map_err(|error| LogError::Read(error.to_string()))?;
        trimmed.segments += 1;
        view.tidy_segments(oldest.id)?;
        if let Some(last) = oldest.last_sequence {
            view.tidy_blocks(last + 1)?;
        }
    }
    Ok(trimmed)
}

fn may_go(shared: &Shared, view: &View, segment: &SegmentInfo) -> Result<bool, LogError> {
    // After a crash the view goes on from its checkpoint: it must not stand in this segment.
    if shared.checkpointed().segment() <= segment.id {
        return Ok(false);
    }
    let uses = view.uses();
    let Some(buses) = uses.get(&segment.id) else {
        return Ok(true); // it holds state only
    };
    let (routed_through, _) = view.routed_through()?;
    let known = view.buses()?;
    let retention = shared.retention.lock().clone();
    let now = shared.clock.now();
    Ok(buses.iter().all(|(bus, bus_use)| {
        if bus_use.last_sequence > routed_through {
            return false;
        }
        let created = known.iter().find(|record| record.bus == *bus);
        let is_of_this_bus = *bus == BusName::default_bus()
            || created.is_some_and(|record| record.created <= bus_use.last_sequence);
        if !is_of_this_bus {
            return true; // of a bus that was deleted
        }
        let Some(kept) = retention.get(bus) else {
            return false;
        };
        let newer_bytes: u64 = uses
            .range(segment.id + 1..)
            .filter_map(|(_, buses)| buses.get(bus))
            .map(|newer| newer.bytes)
            .sum();
        now.since(bus_use.last_time) > kept.max_age || newer_bytes >= kept.max_bytes
    }))
}

/// Copies what `segment` alone still proves; returns once the copies are on disk.
fn carry_forward(shared: &Shared, view: &View, segment: &SegmentInfo) -> Result<usize, LogError> {
    let needed = needed_events(view, segment.last_sequence.unwrap_or(0))?;
    let mut reader = shared.journal.reader(Position::new(segment.id, 0));
    let mut carried = 0;
    let mut last_carried = 0;
    let mut numbered_targets = false;
    let mut tidy = Batch::default();
    loop {
        let mut frames = Vec::new();
        let mut bytes = 0;
        while frames.len() < FRAMES_PER_STEP && bytes < BYTES_PER_STEP {
            let frame = reader
                .next()
                .map_err(|error| LogError::Read(error.to_string()))?
                .filter(|frame| frame.position.segment() == segment.id);
            let Some(frame) = frame else { break };
            // Most frames are events that nothing needs.
            if frame.kind == FRAME_EVENT && needed.binary_search(&frame.sequence).is_err() {
                continue;
            }
            bytes += frame.payload.len();
            frames.push(frame);
        }
        if frames.is_empty() {
            break;
        }
        let mut last = shared.state.lock();
        wait_for_view(shared, *last)?;
        let mut copies = Vec::new();
        for frame in &frames {
            let meaning = read_frame(frame).map_err(|error| LogError::Read(error.to_string()))?;
            numbered_targets |= matches!(
                meaning,
                Meaning::State(Record::RulePut { .. } | Record::TargetsNumbered { .. }, _)
            );
            copies.extend(copy_of(view, frame, meaning, &needed, &mut tidy)?);
        }
        if !copies.is_empty() {
            carried += copies.len();
            *last = submit(shared, copies)?;
            last_carried = *last;
        }
    }
    if numbered_targets {
        let last = view.last_target()?;
        let record = Record::TargetsNumbered { last };
        let mut state = shared.state.lock();
        *state = submit(shared, vec![super::record::state_frame(&record)])?;
        last_carried = *state;
    }
    if last_carried > 0 {
        wait_for_view(shared, last_carried)?;
    }
    view.tidy(tidy)?;
    Ok(carried)
}

fn submit(shared: &Shared, frames: Vec<NewFrame>) -> Result<Sequence, LogError> {
    let ticket = shared
        .journal
        .submit(frames)
        .map_err(|error| LogError::Read(error.to_string()))?;
    Ok(ticket.last)
}

/// Sequences up to `through` that a pending or dead delivery needs, or that wait, ascending.
fn needed_events(view: &View, through: Sequence) -> Result<Vec<Sequence>, LogError> {
    let mut needed = Vec::new();
    let mut keep = |sequence| {
        if sequence <= through {
            needed.push(sequence);
        }
    };
    view.each_parked(&mut keep)?;
    view.each_backlogged(&mut keep)?;
    view.each_dead_letter(&mut keep)?;
    view.each_deferred(&mut keep)?;
    needed.sort_unstable();
    needed.dedup();
    Ok(needed)
}

/// The copy of a frame, when it still says something.
fn copy_of(
    view: &View,
    frame: &Frame,
    meaning: Meaning,
    needed: &[Sequence],
    tidy: &mut Batch,
) -> Result<Option<NewFrame>, LogError> {
    match meaning {
        Meaning::Event(logged) | Meaning::CarriedEvent(logged) => {
            let is_needed = needed.binary_search(&logged.sequence).is_ok();
            let copy = view.carried_place(logged.sequence)?;
            let is_copied_on = copy.is_some_and(|copy| copy > frame.position);
            if !is_needed && !is_copied_on && copy.is_some() {
                View::tidy_carried(logged.sequence, tidy);
            }
            Ok((is_needed && !is_copied_on).then(|| carried_event_frame(&logged)))
        }
        Meaning::State(record, number) => {
            let says_something = is_current(view, &record, number)?;
            Ok(says_something.then(|| carried_state_frame(&record, number)))
        }
    }
}

fn is_current(view: &View, record: &Record, number: Sequence) -> Result<bool, LogError> {
    Ok(match record {
        Record::BusPut { bus, .. } => view
            .bus(bus)?
            .is_some_and(|held| held.revision == number || held.created == number),
        Record::RulePut { bus, rule, .. } => view
            .rule(bus, rule)?
            .is_some_and(|held| held.revision == number),
        Record::Parked(parked) => view
            .parked(parked.target, parked.sequence)?
            .is_some_and(|held| held.parked == *parked && held.line.is_none()),
        Record::ParkedInLine { parked, line } => view
            .parked(parked.target, parked.sequence)?
            .is_some_and(|held| held.parked == *parked && held.line == Some(*line)),
        Record::Backlogged { target, sequences } => match sequences.first() {
            Some(first) => view
                .backlog_chunk(*target, *first)?
                .is_some_and(|held| held.sequences == *sequences),
            None => false,
        },
        Record::BackloggedInOrder { target, deliveries } => match deliveries.first() {
            Some((first, _)) => view
                .backlog_chunk(*target, *first)?
                .is_some_and(|held| held.deliveries().eq(deliveries.iter().copied())),
            None => false,
        },
        Record::DeadLettered(letter) => {
            view.dead_letter(letter.target, letter.sequence)?.as_ref() == Some(letter)
        }
        Record::Deferred { sequence, due } => view.deferred(*sequence)? == Some(*due),
        Record::ScheduleThrough {
            bus,
            rule,
            schedule,
            through,
        } => view.schedule_through(bus, rule)? == Some((*schedule, *through)),
        Record::Checkpoint { .. } => view.routed_through()?.1 == number,
        Record::Answered(_) => view.answer(number)?.is_some(),
        Record::TargetMarked(mark) => view.target_mark(mark.target)?.as_ref() == Some(mark),
        // Said anew when the segment goes; see `carry_forward`.
        Record::TargetsNumbered { .. }
        | Record::BusDeleted { .. }
        | Record::RuleDeleted { .. }
        | Record::BacklogDone { .. }
        | Record::Settled { .. }
        | Record::DeadLetterRemoved { .. }
        | Record::DeferredDone { .. }
        | Record::ScheduleForgotten { .. } => false,
        // It speaks of events before it, and a segment with one that the checkpoint has not passed
        // stays.
        Record::Acknowledged { .. } => false,
    })
}

/// Waits until the view shows everything up to `sequence`.
fn wait_for_view(shared: &Shared, sequence: Sequence) -> Result<(), LogError> {
    let deadline = Instant::now() + VIEW_PATIENCE;
    while shared.visible_through() < sequence {
        shared.view()?;
        if shared.journal.is_lost(sequence) {
            return Err(LogError::Read("the journal took no copies".to_owned()));
        }
        if Instant::now() > deadline {
            return Err(LogError::ViewUnavailable(
                "it is far behind the journal".to_owned(),
            ));
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
    Ok(())
}
