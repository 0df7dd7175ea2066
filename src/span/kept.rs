//! Remembers for a while in whose traces events were published: an event itself is never changed.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::SpanContext;
use crate::limits;

/// What a publisher's request said of its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) parent: SpanContext,
    /// `tracestate`, passed on as it came.
    pub(super) state: Option<Box<str>>,
}

/// By event; the oldest go first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Most buses are never told of traces: then nobody locks.
    has_any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    given: HashMap<u64, Given>,
    order: VecDeque<u64>,
}

impl Kept {
    pub(super) fn keep(&self, event: u64, given: Given) {
        self.has_any.store(true, Ordering::Release);
        let mut inner = self.inner.lock();
        // Published again: what was begun goes on where it began.
        if inner.given.contains_key(&event) {
            return;
        }
        inner.given.insert(event, given);
        inner.order.push_back(event);
        while inner.order.len() > limits::TRACE_CONTEXTS {
            let Some(oldest) = inner.order.pop_front() else {
                return;
            };
            inner.given.remove(&oldest);
        }
    }

    pub(super) fn has_any(&self) -> bool {
        self.has_any.load(Ordering::Acquire)
    }

    pub(super) fn of(&self, event: u64) -> Option<Given> {
        if !self.has_any() {
            return None;
        }
        self.inner.lock().given.get(&event).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let kept = Kept::default();
        let given = |span: u64| Given {
            parent: SpanContext {
                trace: [1; 16],
                span: span.to_be_bytes(),
                sampled: true,
            },
            state: None,
        };
        assert_eq!(kept.of(1), None);
        let most = limits::TRACE_CONTEXTS as u64;
        for event in 1..=most + 1 {
            kept.keep(event, given(event));
        }
        kept.keep(2, given(7));
        assert_eq!(kept.of(1), None);
        assert_eq!(kept.of(2), Some(given(2)), "the first one stays");
        assert_eq!(kept.of(most + 1), Some(given(most + 1)));
    }
}
