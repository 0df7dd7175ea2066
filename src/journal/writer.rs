//! The one thread that writes: takes all that wait, one write, one flush, one announcement.

use std::sync::Arc;
use std::time::Instant;

use super::frame::{Head, MORE, Position, SEAL, Sequence, encode, stored_bytes};
use super::segment::{FIRST_FRAME, SEAL_BYTES, Segment};
use super::shared::{Desk, Group, NextSegment, Shared};
use super::status::State;
use crate::clock::Timestamp;
use crate::limits;

/// The segment being written.
pub(super) struct Active {
    pub(super) segment: Segment,
    /// Where the next batch goes.
    pub(super) offset: u32,
}

impl Active {
    /// Bytes left for frames.
    fn room(&self) -> usize {
        (self.segment.header.capacity - SEAL_BYTES).saturating_sub(u64::from(self.offset)) as usize
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// Last sequence on disk.
    last: Sequence,
    buffer: Vec<u8>,
    /// Tests turn the order of flush and announcement round, to see that they would notice.
    #[cfg(test)]
    pub(super) announces_before_flush: bool,
}

/// What the writer does next.
enum Step {
    Write(Vec<Group>),
    Roll(Segment),
    Fail(String),
    Stop,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, active: Option<Active>) -> Self {
        let last = shared.progress.durable();
        Self {
            shared,
            active,
            last,
            buffer: Vec::new(),
            #[cfg(test)]
            announces_before_flush: false,
        }
    }

    /// Until the journal closes or fails.
    pub(super) fn run(mut self) {
        loop {
            let done = match self.next_step() {
                Step::Write(groups) => self.write(&groups).inspect(|()| {
                    // Many came at once: more are on their way, and one flush serves them all.
                    // Without the wait, two cores spend their time on small flushes and wake-ups.
                    if groups.len() >= limits::JOURNAL_COMPANY {
                        std::thread::sleep(limits::JOURNAL_COMPANY_WAIT);
                    }
                }),
                Step::Roll(next) => self.roll(next),
                Step::Fail(error) => Err(error),
                Step::Stop => return,
            };
            if let Err(error) = done {
                self.shared.end(error);
                return;
            }
        }
    }

    fn next_step(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        let mut desk = shared.desk.lock();
        loop {
            if let Some(text) = &desk.failure {
                return Step::Fail(text.clone());
            }
            let ready = matches!(desk.next_segment, NextSegment::Ready(_));
            if ready && matches!(desk.state, State::Full(_)) {
                tracing::info!("the disk has room again, the journal goes on");
                shared.set_state(&mut desk, State::Writable);
            }
            let room = self.active.as_ref().map_or(0, Active::room);
            match desk.queue.front() {
                Some(group) if group.bytes <= room => {
                    return Step::Write(self.take_batch(&mut desk, room));
                }
                Some(_) => {
                    if ready {
                        shared.prepare.notify_one();
                        return Step::Roll(take_ready(&mut desk));
                    }
                    if let NextSegment::NoRoom(_, text) = &desk.next_segment {
                        let text = text.clone();
                        tracing::warn!(error = %text, "the disk is full, the journal waits for room");
                        self.lose_queue(&mut desk, &text);
                        shared.set_state(&mut desk, State::Full(text));
                        continue;
                    }
                }
                None if desk.closing => return Step::Stop,
                None => {}
            }
            shared.work.wait(&mut desk);
        }
    }

    /// As many groups from the queue's head as one write takes; at least one.
    fn take_batch(&self, desk: &mut Desk, room: usize) -> Vec<Group> {
        let limit = room.min(limits::JOURNAL_WRITE_BYTES);
        let mut bytes = 0;
        let mut groups = Vec::with_capacity(desk.queue.len().min(1024));
        while let Some(group) = desk.queue.front() {
            if !groups.is_empty() && bytes + group.bytes > limit {
                break;
            }
            bytes += group.bytes;
            groups.extend(desk.queue.pop_front());
        }
        desk.queued_bytes -= bytes;
        groups
    }

    /// All that wait, and not only what does not fit: a group on disk proves the earlier ones.
    fn lose_queue(&self, desk: &mut Desk, reason: &str) {
        let (Some(first), Some(last)) = (desk.queue.front(), desk.queue.back()) else {
            return;
        };
        let (first, last) = (first.first, last.last());
        desk.queue.clear();
        desk.queued_bytes = 0;
        self.shared.progress.announce_lost(first, last, reason);
    }

    fn write(&mut self, groups: &[Group]) -> Result<(), String> {
        let active = self
            .active
            .as_mut()
            .expect("a batch is taken for a segment");
        let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
            return Ok(());
        };
        let (first, last) = (first.first, last.last());
        let progress = &self.shared.progress;
        progress.begin_batch(last);

        let header = active.segment.header;
        self.buffer.clear();
        for group in groups {
            encode_group(&mut self.buffer, group, &active.segment, active.offset);
        }
        let end = Position::new(header.id, active.offset + self.buffer.len() as u32);
        if active.offset == FIRST_FRAME {
            self.shared.table.set_first(header.id, first);
        }
        #[cfg(test)]
        if self.announces_before_flush {
            progress.announce(last, end);
        }
        let at = Position::new(header.id, active.offset);
        let file = &active.segment.file;
        file.write_all_at(&self.buffer, u64::from(active.offset))
            .map_err(|error| format!("cannot write at {at}: {error}"))?;
        let flushing = Instant::now();
        file.sync_data()
            .map_err(|error| format!("cannot flush what was written at {at}: {error}"))?;
        let measures = &self.shared.measures;
        measures.flushed(self.buffer.len(), flushing.elapsed());
        active.offset = end.offset();
        self.last = last;
        progress.announce(last, end);

        // One huge group must not hold its memory for good.
        self.buffer.shrink_to(2 * limits::JOURNAL_WRITE_BYTES);
        Ok(())
    }

    /// Seals the segment, so that what it holds is known to be all that it held, and goes on to
    /// the next. Flushed at once: a frame in the next segment proves that this one is complete.
    fn roll(&mut self, next: Segment) -> Result<(), String> {
        if let Some(active) = self.active.take() {
            let header = active.segment.header;
            let seal = Head {
                payload_bytes: 0,
                sequence: self.last.max(1),
                time: Timestamp::default(),
                kind: 0,
                flags: SEAL,
                batch_start: active.offset,
            };
            self.buffer.clear();
            encode(&mut self.buffer, header.salt(), seal, &[]);
            let file = &active.segment.file;
            file.write_all_at(&self.buffer, u64::from(active.offset))
                .and_then(|()| file.sync_data())
                .map_err(|error| format!("cannot seal segment {}: {error}", header.id))?;
            self.shared.table.close(header.id, self.last, active.offset);
        }
        self.shared.table.add(next.header);
        self.active = Some(Active {
            segment: next,
            offset: FIRST_FRAME,
        });
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.end("the writer thread panicked".to_owned());
        }
        let mut desk = self.shared.desk.lock();
        desk.writer_done = true;
        if !matches!(desk.state, State::Failed(_)) {
            self.shared.set_state(&mut desk, State::Closed);
        }
        drop(desk);
        self.shared.prepare.notify_all();
    }
}

/// Takes the segment that is ready and asks for the one after it.
fn take_ready(desk: &mut Desk) -> Segment {
    let wanted = NextSegment::Wanted(0);
    match std::mem::replace(&mut desk.next_segment, wanted) {
        NextSegment::Ready(segment) => {
            desk.next_segment = NextSegment::Wanted(segment.header.id + 1);
            segment
        }
        NextSegment::Wanted(_) | NextSegment::NoRoom(..) => unreachable!("looked under the lock"),
    }
}

fn encode_group(buffer: &mut Vec<u8>, group: &Group, segment: &Segment, batch_start: u32) {
    let salt = segment.header.salt();
    buffer.reserve(group.bytes);
    for (index, frame) in group.frames.iter().enumerate() {
        let is_last = index + 1 == group.frames.len();
        let head = Head {
            payload_bytes: frame.payload.len() as u32,
            sequence: group.first + index as u64,
            time: group.time,
            kind: frame.kind,
            flags: if is_last { 0 } else { MORE },
            batch_start,
        };
        encode(buffer, salt, head, &frame.payload);
    }
    debug_assert_eq!(
        group.bytes,
        group
            .frames
            .iter()
            .map(|frame| stored_bytes(frame.payload.len()))
            .sum::<usize>()
    );
}
