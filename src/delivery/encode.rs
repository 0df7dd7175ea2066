//! Puts events into a request the way their target wants them.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::event::{self, ContentMode, Event};
use crate::log::LoggedEvent;
use crate::rule::{Mode, Target};

/// Headers and body of one request, and how many of the events, from the first on, it carries: one,
/// or in batch mode as many as fit the target's `batch_bytes`, but at least one.
pub(crate) fn encode(target: &Target, events: &[Arc<LoggedEvent>]) -> (HeaderMap, Bytes, usize) {
    let mode = match target.mode {
        Mode::Binary => ContentMode::Binary,
        Mode::Structured => ContentMode::Structured,
        Mode::Batch => return encode_batch(target.batch_bytes, events),
    };
    let (headers, body) = match events.first() {
        Some(first) => event::encode(&first.event, mode),
        None => (HeaderMap::new(), Bytes::new()),
    };
    (headers, body, 1)
}

fn encode_batch(most_bytes: usize, events: &[Arc<LoggedEvent>]) -> (HeaderMap, Bytes, usize) {
    let mut bytes = 0;
    let mut batch: Vec<&Event> = events
        .iter()
        .map(|logged| &logged.event)
        .take_while(|event| {
            bytes += event.stored().len();
            bytes <= most_bytes
        })
        .collect();
    if let (true, Some(first)) = (batch.is_empty(), events.first()) {
        batch.push(&first.event);
    }
    loop {
        let (headers, body) = event::encode_batch(&batch);
        // The JSON form is a little larger than the stored one, and base64 is larger by a third.
        if body.len() <= most_bytes || batch.len() <= 1 {
            return (headers, body, batch.len());
        }
        let fitting = batch.len() * most_bytes / body.len();
        batch.truncate(fitting.clamp(1, batch.len() - 1));
    }
}
