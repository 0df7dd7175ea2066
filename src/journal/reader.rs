//! Reads frames: in order from a position on, or one by its position.

use std::sync::Arc;

use bytes::Bytes;

use super::frame::{Frame, HEAD_BYTES, Head, Position, decode, decode_head};
use super::segment::FIRST_FRAME;
use super::shared::Shared;
use super::status::ReadError;
use super::table::Readable;
use crate::limits;

/// Bytes that a read at a position asks for before it knows the frame's length.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// Follows the durable frames in order.
pub struct Reader {
    shared: Arc<Shared>,
    position: Position,
    segment: Option<Readable>,
    buffer: Vec<u8>,
    /// Where in the segment the buffer's first byte stands.
    buffer_start: u32,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, from: Position) -> Self {
        Self {
            shared,
            position: from,
            segment: None,
            buffer: Vec::new(),
            buffer_start: 0,
        }
    }

    /// The next durable frame; `None` at the durable end: call again later for more. After an
    /// error the reader stays where it is.
    ///
    /// # Errors
    /// [`ReadError`]; a reader that was overtaken by a trim gets [`ReadError::Trimmed`].
    #[expect(
        clippy::should_implement_trait,
        reason = "it is no iterator: None is not the end"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            let end = self.shared.progress.end();
            if self.position.0 == 0 {
                self.position = self.shared.start();
            }
            if self.position.offset() < FIRST_FRAME {
                self.position = Position::new(self.position.segment(), FIRST_FRAME);
            }
            if self.position >= end {
                return Ok(None);
            }
            let (head, payload) = self.load(end)?;
            let next = Position(self.position.0 + head.stored_bytes() as u64);
            if head.is_seal() {
                self.position = Position::new(self.position.segment() + 1, FIRST_FRAME);
                continue;
            }
            let frame = Frame {
                sequence: head.sequence,
                time: head.time,
                kind: head.kind,
                payload,
                position: self.position,
                next,
            };
            self.position = next;
            return Ok(Some(frame));
        }
    }

    /// Where the next frame is looked for.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The frame at `self.position`, read into the buffer if it is not there yet.
    fn load(&mut self, end: Position) -> Result<(Head, Bytes), ReadError> {
        let at = self.position;
        let id = at.segment();
        if self
            .segment
            .as_ref()
            .is_none_or(|open| open.header.id != id)
        {
            self.buffer.clear();
            self.segment = None;
        }
        let segment = match &self.segment {
            Some(segment) => segment.clone(),
            None => self.segment.insert(self.shared.table.open(id)?).clone(),
        };
        let salt = segment.header.salt();
        let limit = if id == end.segment() {
            u64::from(end.offset())
        } else {
            segment.header.capacity
        };
        if self.buffered(at.offset()).len() < HEAD_BYTES {
            self.fill(&segment, HEAD_BYTES, limit)?;
        }
        let damaged = || self.shared.table.damaged(at);
        let head = decode_head(self.buffered(at.offset()), salt).ok_or_else(damaged)?;
        if u64::from(at.offset()) + head.stored_bytes() as u64 > limit {
            return Err(damaged());
        }
        if self.buffered(at.offset()).len() < head.stored_bytes() {
            self.fill(&segment, head.stored_bytes(), limit)?;
        }
        let (head, payload) = decode(self.buffered(at.offset()), salt)
            .ok_or_else(|| self.shared.table.damaged(at))?;
        // Copied: a slice would hold the whole buffer for as long as one event lives.
        Ok((head, Bytes::copy_from_slice(payload)))
    }

    /// What the buffer holds from `offset` on.
    fn buffered(&self, offset: u32) -> &[u8] {
        offset
            .checked_sub(self.buffer_start)
            .and_then(|skip| self.buffer.get(skip as usize..))
            .unwrap_or_default()
    }

    /// Reads from the position on: at least `needed` bytes (unless the file is shorter), mostly
    /// many more, none beyond `limit`, since what stands there may still change.
    fn fill(&mut self, segment: &Readable, needed: usize, limit: u64) -> Result<(), ReadError> {
        let at = self.position;
        let room = limit.saturating_sub(u64::from(at.offset()));
        let wanted = needed.max(limits::JOURNAL_READ_BYTES);
        let wanted = usize::try_from(room).map_or(wanted, |room| wanted.min(room));
        self.buffer_start = at.offset();
        self.buffer.resize(wanted, 0);
        match segment.file.read_at(&mut self.buffer, at.offset().into()) {
            Ok(count) => {
                self.buffer.truncate(count);
                self.buffer.shrink_to(2 * limits::JOURNAL_READ_BYTES);
                Ok(())
            }
            Err(error) => {
                self.buffer.clear();
                Err(self.shared.table.read_failed(at, &error))
            }
        }
    }
}

/// The one frame at `position`.
pub(super) fn read_at(shared: &Shared, position: Position) -> Result<Frame, ReadError> {
    let table = &shared.table;
    let id = position.segment();
    if table.is_trimmed(id) {
        return Err(ReadError::Trimmed);
    }
    if position >= shared.progress.end() {
        return Err(ReadError::Io(format!(
            "the journal has no frame at {position}: it ends before"
        )));
    }
    let segment = table.opened(id)?;
    let salt = segment.header.salt();
    let offset = u64::from(position.offset());
    let room = segment.header.capacity.saturating_sub(offset);

    let mut buffer = vec![0; FIRST_READ_BYTES];
    let mut count = read(&segment, table, position, &mut buffer)?;
    let head = decode_head(&buffer[..count], salt).ok_or_else(|| table.damaged(position))?;
    if head.stored_bytes() as u64 > room {
        return Err(table.damaged(position));
    }
    if head.stored_bytes() > buffer.len() {
        buffer.resize(head.stored_bytes(), 0);
        count = read(&segment, table, position, &mut buffer)?;
    }
    buffer.truncate(count);
    let (head, payload) = decode(&buffer, salt).ok_or_else(|| table.damaged(position))?;
    if head.is_seal() {
        return Err(ReadError::Io(format!(
            "the journal has no frame at {position}: the segment ends there"
        )));
    }
    Ok(Frame {
        sequence: head.sequence,
        time: head.time,
        kind: head.kind,
        payload: Bytes::copy_from_slice(payload),
        position,
        next: Position(position.0 + head.stored_bytes() as u64),
    })
}

fn read(
    segment: &Readable,
    table: &super::table::Table,
    position: Position,
    buffer: &mut [u8],
) -> Result<usize, ReadError> {
    segment
        .file
        .read_at(buffer, position.offset().into())
        .map_err(|error| table.read_failed(position, &error))
}
