//! One frame: what the journal stores of a payload, and how its bytes prove that they are whole.
//!
//! ```text
//!  0 length u32 of the payload        16 time u64, ms since 1970     26 check u16 of the head
//!  4 crc32c u32 of all that follows   24 kind u8, the caller's       28 batch_start u32
//!  8 sequence u64                     25 flags u8: MORE, SEAL        32 payload, zeros up to 8
//! ```
//! Little-endian. Both sums start from the segment's [`Salt`]: bytes of another segment, or of the
//! file's earlier life as another segment, never pass. The check of the head lets recovery dismiss
//! a place that is no frame without trusting its length.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A frame's number: increasing over the whole journal from 1, not dense where a full disk lost some.
pub type Sequence = u64;

/// Where a frame stands: segment id in the upper 32 bits, byte offset in the lower. Offset 0 stands
/// for the segment's first frame, and `Position(0)` for the journal's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position(pub u64);

impl Position {
    /// The place `offset` bytes into segment `segment`.
    #[must_use]
    pub const fn new(segment: u32, offset: u32) -> Self {
        Self((segment as u64) << 32 | offset as u64)
    }

    /// The segment's id.
    #[must_use]
    pub const fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Bytes from the segment's start.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {}, offset {}", self.segment(), self.offset())
    }
}

/// A frame as it is read back.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its number.
    pub sequence: Sequence,
    /// When it was submitted; never decreases along the journal of one process.
    pub time: Timestamp,
    /// What the caller marked it with.
    pub kind: u8,
    /// What the caller stored.
    pub payload: Bytes,
    /// Where it stands.
    pub position: Position,
    /// Where the next frame begins.
    pub next: Position,
}

/// A frame to be written.
#[derive(Debug, Clone)]
pub struct NewFrame {
    /// The caller's mark, given back on reading.
    pub kind: u8,
    /// The caller's bytes.
    pub payload: Bytes,
}

/// Bytes before the payload.
pub(super) const HEAD_BYTES: usize = 32;
/// Every frame starts at a multiple of this: recovery looks for frames at fewer places.
pub(super) const ALIGN: usize = 8;

/// The next frame belongs to the same group.
pub(super) const MORE: u8 = 1;
/// Nothing follows in this segment; stands after its last group and has no payload.
pub(super) const SEAL: u8 = 2;

/// Where the sums of one segment's frames start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(u32);

impl Salt {
    /// `journal_salt` is the journal's random number. For one such number no two ids share a salt,
    /// since a CRC maps the four bytes of the id one to one.
    pub(super) fn new(journal_salt: u64, id: u32) -> Self {
        let start = crc32c::crc32c(&journal_salt.to_le_bytes());
        Self(crc32c::crc32c_append(start, &id.to_le_bytes()))
    }
}

/// Bytes that a frame takes on disk.
pub(super) const fn stored_bytes(payload_bytes: usize) -> usize {
    (HEAD_BYTES + payload_bytes).next_multiple_of(ALIGN)
}

/// What stands before the payload, without the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) payload_bytes: u32,
    pub(super) sequence: Sequence,
    pub(super) time: Timestamp,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Offset in the segment where the write began that brought this frame.
    pub(super) batch_start: u32,
}

impl Head {
    pub(super) fn has_more(self) -> bool {
        self.flags & MORE != 0
    }

    pub(super) fn is_seal(self) -> bool {
        self.flags & SEAL != 0
    }

    pub(super) fn stored_bytes(self) -> usize {
        stored_bytes(self.payload_bytes as usize)
    }
}

/// Appends the frame to `out`.
pub(super) fn encode(out: &mut Vec<u8>, salt: Salt, head: Head, payload: &[u8]) {
    debug_assert_eq!(payload.len(), head.payload_bytes as usize);
    let start = out.len();
    out.extend_from_slice(&head.payload_bytes.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.sequence.to_le_bytes());
    out.extend_from_slice(&head.time.as_millis().to_le_bytes());
    out.extend_from_slice(&[head.kind, head.flags, 0, 0]);
    out.extend_from_slice(&head.batch_start.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(start + head.stored_bytes(), 0);

    let frame = &mut out[start..];
    let check = head_check(frame, salt);
    frame[26..28].copy_from_slice(&check.to_le_bytes());
    let crc = body_crc(frame, salt);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The head at the start of `bytes`, if one is there. Says nothing yet about the payload.
pub(super) fn decode_head(bytes: &[u8], salt: Salt) -> Option<Head> {
    let bytes: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
    let head = Head {
        payload_bytes: u32_at(bytes, 0),
        sequence: u64_at(bytes, 8),
        time: Timestamp::from_millis(u64_at(bytes, 16)),
        kind: bytes[24],
        flags: bytes[25],
        batch_start: u32_at(bytes, 28),
    };
    // Zeros are by far the most frequent non-frame: dismiss them before any sum.
    let plausible = head.batch_start != 0 && head.sequence != 0 && head.flags <= SEAL;
    let check = u16::from_le_bytes([bytes[26], bytes[27]]);
    (plausible && head_check(bytes, salt) == check).then_some(head)
}

/// The whole frame at the start of `bytes`: its head and payload, or `None` when any bit is wrong.
pub(super) fn decode(bytes: &[u8], salt: Salt) -> Option<(Head, &[u8])> {
    let head = decode_head(bytes, salt)?;
    let frame = bytes.get(..head.stored_bytes())?;
    if body_crc(frame, salt) != u32_at(frame, 4) {
        return None;
    }
    let payload = &frame[HEAD_BYTES..HEAD_BYTES + head.payload_bytes as usize];
    Some((head, payload))
}

/// Over everything in the head but the two sums.
fn head_check(frame: &[u8], salt: Salt) -> u16 {
    let mut fields = [0; 26];
    fields[..4].copy_from_slice(&frame[..4]);
    fields[4..22].copy_from_slice(&frame[8..26]);
    fields[22..].copy_from_slice(&frame[28..HEAD_BYTES]);
    let crc = crc32c::crc32c_append(salt.0, &fields);
    (crc ^ crc >> 16) as u16
}

/// Over the length and everything after the sum, the closing zeros too.
fn body_crc(frame: &[u8], salt: Salt) -> u32 {
    let length = crc32c::crc32c_append(salt.0, &frame[..4]);
    crc32c::crc32c_append(length, &frame[8..])
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}
