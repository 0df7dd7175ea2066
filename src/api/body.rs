//! Reads request bodies: bounded in size, in silence and in what all of them hold together.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::packing::Packing;
use crate::limits;

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum BodyError {
    TooLarge {
        limit: usize,
    },
    /// Compressed, and more than that when it is not.
    UnpacksTooLarge {
        limit: usize,
    },
    /// Not compressed as it says, or damaged.
    NotUnpacked(String),
    /// Silent for too long, or dripping.
    Slow,
    /// All bodies together hold as much as they may.
    Busy,
    Broken(String),
}

/// The bodies being read or worked on.
#[derive(Debug)]
pub(super) struct Bodies {
    idle_timeout: Duration,
    held_bytes: AtomicUsize,
}

/// A body that was read whole; its bytes count until it is dropped.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) bytes: Bytes,
    _held: Held<'a>,
}

#[derive(Debug)]
struct Held<'a> {
    bodies: &'a Bodies,
    bytes: usize,
}

impl Held<'_> {
    fn add(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.bytes += bytes;
        let held = self.bodies.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > limits::BODIES_BYTES {
            return Err(BodyError::Busy);
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bodies
            .held_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Bodies {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout,
            held_bytes: AtomicUsize::new(0),
        }
    }

    /// Bytes that all of them hold now.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed) as u64
    }

    /// Reads a body of at most `limit` bytes, also when it is unpacked.
    pub(super) async fn read_packed<B>(
        &self,
        packing: Option<Packing>,
        body: B,
        limit: usize,
    ) -> Result<Whole<'_>, BodyError>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let whole = self.read(body, limit).await?;
        let Some(packing) = packing else {
            return Ok(whole);
        };
        let mut held = Held {
            bodies: self,
            bytes: 0,
        };
        let bytes = packing.unpack(&whole.bytes, limit, |count| held.add(count))?;
        Ok(Whole { bytes, _held: held })
    }

    /// Reads a body of at most `limit` bytes. One whose declared length is larger is refused
    /// before its first byte is waited for.
    pub(super) async fn read<B>(&self, body: B, limit: usize) -> Result<Whole<'_>, BodyError>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let declared = body.size_hint();
        if declared.lower() > limit as u64 {
            return Err(BodyError::TooLarge { limit });
        }
        let mut body = pin!(body);
        let started = Instant::now();
        let mut held = Held {
            bodies: self,
            bytes: 0,
        };
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context));
            let deadline = self.deadline(started, held.bytes);
            // Bytes that are here already are taken without the timer being set.
            let frame = match tokio::time::timeout_at(deadline, frame).await {
                Err(_) => return Err(BodyError::Slow),
                Ok(None) => break,
                Ok(Some(Err(cause))) => return Err(BodyError::Broken(cause.to_string())),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue; // trailers
            };
            if held.bytes + data.len() > limit {
                return Err(BodyError::TooLarge { limit });
            }
            held.add(data.len())?;
            if first.is_empty() {
                first = data;
            } else {
                if rest.is_empty() {
                    let expected = declared.upper().map_or(0, |upper| upper.min(limit as u64));
                    // A length is only a claim: room for what was sent twice over is enough.
                    rest.reserve((expected as usize).min(2 * (first.len() + data.len())));
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
        }
        let bytes = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Ok(Whole { bytes, _held: held })
    }

    /// Until when the next bytes must come: within the idle timeout, and the whole body no slower
    /// than `limits::REQUEST_BODY_RATE`.
    fn deadline(&self, started: Instant, received: usize) -> Instant {
        let earned = Duration::from_secs(received as u64 / limits::REQUEST_BODY_RATE);
        let slowest = started + self.idle_timeout + earned;
        slowest.min(Instant::now() + self.idle_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn check(chunks: &[usize], limit: usize) -> Result<usize, &'static str> {
        let bodies = Bodies::new(Duration::from_millis(50));
        let chunks: Vec<_> = chunks
            .iter()
            .map(|len| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; *len])))
            .collect();
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        let result = match bodies.read(body, limit).await {
            Ok(whole) => Ok(whole.bytes.len()),
            Err(BodyError::TooLarge { .. }) => Err("too large"),
            Err(_) => Err("other"),
        };
        assert_eq!(bodies.held_bytes.load(Ordering::Relaxed), 0);
        result
    }

    #[tokio::test]
    async fn a_body_is_read_whole_up_to_the_limit() {
        assert_eq!(check(&[], 10).await, Ok(0));
        assert_eq!(check(&[10], 10).await, Ok(10));
        assert_eq!(check(&[3, 3, 4], 10).await, Ok(10));
        assert_eq!(check(&[11], 10).await, Err("too large"));
        assert_eq!(check(&[5, 6], 10).await, Err("too large"));
    }

    #[tokio::test]
    async fn a_silent_body_is_given_up() {
        let bodies = Bodies::new(Duration::from_millis(20));
        let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let result = bodies.read(Body::from_stream(silent), 10).await;
        assert!(matches!(result, Err(BodyError::Slow)));
    }
}
