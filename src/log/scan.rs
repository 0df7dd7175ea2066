//! Goes over a bus's events in the order of the log, as fast as the disk gives them.

use std::sync::Arc;

use super::record::{LoggedEvent, event_of};
use super::shared::Shared;
use super::view::View;
use super::{BusName, LogError, Sequence};
use crate::clock::Timestamp;
use crate::journal::{Position, ReadError, Reader};

/// Reads frame by frame, without the index. Blocking.
pub struct Scan {
    shared: Arc<Shared>,
    reader: Reader,
    bus: BusName,
    /// Events before belong to another bus of that name.
    created: Sequence,
    since: Timestamp,
    until: Timestamp,
    /// The first frame that is read, for the share.
    from: Sequence,
    /// The end of the log when the scan began.
    through: Sequence,
    at: Sequence,
    bytes: u64,
}

/// What a step came upon.
#[derive(Debug)]
pub enum Step {
    Event(LoggedEvent),
    /// Something else: a record, an event of another bus, one from before or after.
    Other,
    End,
}

impl Scan {
    pub(super) fn new(
        shared: &Arc<Shared>,
        bus: &BusName,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Scan, LogError> {
        let view = shared.view()?;
        let kept_for = shared.retention.lock().get(bus).map(|kept| kept.max_age);
        let retained = kept_for.map(|age| shared.clock.now().minus(age));
        let since = retained.max(since).unwrap_or_default();
        let through = shared.journal.durable_through();
        let start = shared.journal.start();
        let (from, position) = match since.as_millis() {
            0 => (0, start),
            _ => place_since(&view, since, through)?,
        };
        let first = shared.journal.first_sequence().unwrap_or(through);
        Ok(Scan {
            reader: shared.journal.reader(position.max(start)),
            created: view.bus(bus)?.map_or(0, |record| record.created),
            bus: bus.clone(),
            since,
            until: until.unwrap_or(Timestamp::from_millis(u64::MAX)),
            from: from.max(first),
            through,
            at: 0,
            bytes: 0,
            shared: Arc::clone(shared),
        })
    }

    /// Goes one frame on.
    ///
    /// # Errors
    /// [`LogError`] when the journal cannot be read.
    pub fn step(&mut self) -> Result<Step, LogError> {
        let frame = match self.reader.next() {
            Ok(Some(frame)) if frame.sequence <= self.through => frame,
            Ok(_) => return Ok(Step::End),
            Err(ReadError::Trimmed) => {
                // Retention has overtaken the scan.
                self.reader = self.shared.journal.reader(self.shared.journal.start());
                return Ok(Step::Other);
            }
            Err(error) => return Err(LogError::Read(error.to_string())),
        };
        self.at = frame.sequence;
        self.bytes += frame.payload.len() as u64;
        if frame.time >= self.until {
            return Ok(Step::End);
        }
        if frame.time < self.since || frame.sequence < self.created {
            return Ok(Step::Other);
        }
        match event_of(&frame, &self.bus) {
            Ok(Some(event)) => Ok(Step::Event(event)),
            Ok(None) => Ok(Step::Other),
            Err(error) => Err(LogError::Read(error.to_string())),
        }
    }

    /// Bytes of the frames read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of the way is behind, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let whole = self.through.saturating_sub(self.from).max(1);
        let gone = self.at.saturating_sub(self.from);
        (gone as f64 / whole as f64).min(1.0)
    }
}

/// A place at or before the first event that was taken at this moment or later.
fn place_since(
    view: &View,
    since: Timestamp,
    through: Sequence,
) -> Result<(Sequence, Position), LogError> {
    // Of a block that begins earlier; events before it are earlier still.
    let mut found = (0, Position::default());
    let (mut low, mut high) = (0, through.saturating_add(1));
    while low < high {
        let middle = Sequence::midpoint(low, high);
        let block = view.block_with(middle)?;
        let first = block.as_ref().and_then(|block| block.entries.first());
        match first {
            Some(first) if first.time >= since => high = first.sequence.min(middle),
            Some(first) => {
                found = (first.sequence, first.position);
                low = middle + 1;
            }
            // Nothing so early is kept.
            None => low = middle + 1,
        }
    }
    Ok(found)
}
