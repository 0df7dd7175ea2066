//! Frames of HTTP/2 that carry no data (RFC 9113, section 4.1), counted as their bytes come.
//!
//! Data is bounded by flow control. The rest is not: interim answers wait in memory until the final
//! one, and pings are answered. What a target may send of it grows with what it was sent, by more
//! than an answer and the windows of its request need, and by less than an answered ping brings.

use crate::limits;

/// More came than what was sent explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it sent HTTP/2 frames without end: interim answers (1xx), pings or the like")]
pub(super) struct TooManyFrames;

/// Length, type, flags, stream.
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;

/// Bytes sent for which one more frame may come. A request has over a hundred, its answer two or
/// three frames; the acknowledgement of a ping has 17.
const BYTES_PER_FRAME: u64 = 24;

/// What has come and gone since the connection was opened.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    len: usize,
    /// Bytes of the payload that are still to come.
    payload: usize,
    /// Frames that carry no data.
    frames: u64,
    sent: u64,
}

impl Frames {
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Looks at bytes that were read.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), TooManyFrames> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = self.payload.min(bytes.len());
                self.payload -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let part = (HEAD_BYTES - self.len).min(bytes.len());
            self.head[self.len..self.len + part].copy_from_slice(&bytes[..part]);
            self.len += part;
            bytes = &bytes[part..];
            if self.len < HEAD_BYTES {
                break;
            }
            self.len = 0;
            let [high, middle, low, kind, ..] = self.head;
            self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
            if kind != DATA {
                self.frames += 1;
            }
            if self.frames > limits::HTTP2_FRAMES + self.sent / BYTES_PER_FRAME {
                return Err(TooManyFrames);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        frame.resize(HEAD_BYTES + payload, kind);
        frame
    }

    #[test]
    fn data_is_not_counted_and_all_else_is_in_pieces_of_any_size() {
        let bytes = [frame(4, 0), frame(1, 40), frame(DATA, 20_000), frame(1, 3)].concat();
        for size in [1, 2, 7, 8, 9, 10, 1024, bytes.len()] {
            let mut frames = Frames::default();
            for piece in bytes.chunks(size) {
                frames.read(piece).unwrap();
            }
            assert_eq!((frames.frames, frames.payload, frames.len), (3, 0, 0));
        }
    }

    #[test]
    fn interim_answers_end_and_so_do_pings_whose_acknowledgements_go_out() {
        let mut frames = Frames::default();
        for _ in 0..limits::HTTP2_FRAMES {
            frames.read(&frame(1, 10)).unwrap();
        }
        assert_eq!(frames.read(&frame(1, 10)), Err(TooManyFrames));

        let mut frames = Frames::default();
        let refused = (0..10 * limits::HTTP2_FRAMES).find(|_| {
            frames.wrote(17);
            frames.read(&frame(6, 8)).is_err()
        });
        assert!(refused.is_some(), "pings never end");
    }

    #[test]
    fn a_connection_that_is_used_for_long_is_never_refused() {
        let mut frames = Frames::default();
        for _ in 0..100_000 {
            // The least that a delivery sends: its own headers and an empty body.
            frames.wrote(120);
            // Windows of the stream and the connection, the answer, trailers.
            for kind in [8, 8, 1, DATA, 1] {
                frames.read(&frame(kind, 4)).unwrap();
            }
        }
    }
}
