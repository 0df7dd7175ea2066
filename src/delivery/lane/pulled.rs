//! The lane of a target that is pulled: makes attempts while pullers wait, and writes acknowledgements
//! down before they are answered.
//!
//! A delivery that works writes nothing where the bus itself is the only one who knows: a crash repeats
//! it. A puller is told that its word is safe, so an acknowledgement is a record, and a loaded chunk
//! that it belongs to is exchanged at once.

use std::sync::Arc;

use tokio::time::Instant;

use super::change::Change;
use super::{Flight, Kept, Kind, Lane, Pending};
use crate::delivery::desk::{Promise, Receipt};
use crate::log::{Record, Sequence};
use crate::rule::Target;

/// Acknowledgements that are not written down yet.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    sequences: Vec<Sequence>,
    receipts: Vec<Receipt>,
    /// Open chunks that some of them belong to.
    chunks: Vec<Sequence>,
}

impl Lane {
    pub(super) fn is_pulled(&self) -> bool {
        let target = self.settings.target.as_ref();
        target.is_some_and(|target| target.pull.is_some())
    }

    /// Whether deliveries wait for somebody who pulls.
    pub(super) fn is_unattended(&self) -> bool {
        self.is_pulled() && !self.handle.desk.wants()
    }

    /// Leases one delivery.
    pub(super) fn start_lease(
        &mut self,
        target: Arc<Target>,
        deliveries: Vec<Pending>,
        promise: Promise,
        kind: Kind,
        now: Instant,
    ) {
        let Some(pending) = deliveries.first().copied() else {
            return;
        };
        let wanted = pending.wanted();
        let (hub, desk, to) = (
            self.hub.clone(),
            self.handle.desk.clone(),
            Arc::clone(&target),
        );
        let lease = async move { hub.sender.lease(&to, wanted, &desk, promise).await };
        let flight = Flight {
            started: now,
            target,
            deliveries,
            kind,
        };
        self.take_off(lease, flight);
    }

    /// A puller has done with a delivery.
    pub(super) fn acknowledged(&mut self, pending: Pending) {
        self.acknowledged.sequences.push(pending.sequence);
        let receipt = self.handle.desk.receipt(pending.sequence);
        self.acknowledged.receipts.extend(receipt);
        if let Kept::Chunk(first) = pending.kept {
            self.acknowledged.chunks.push(first);
        }
    }

    /// Writes down what was acknowledged in this turn.
    pub(super) fn write_acknowledgements(&mut self) {
        if self.acknowledged.sequences.is_empty() {
            return;
        }
        let Acknowledged {
            sequences,
            receipts,
            mut chunks,
        } = std::mem::take(&mut self.acknowledged);
        chunks.sort_unstable();
        chunks.dedup();
        for first in chunks {
            // One that is gone was exchanged behind it already.
            self.exchange_chunk(first, false);
        }
        self.outbox.push(Change {
            records: vec![Record::Acknowledged {
                target: self.handle.key,
                sequences,
            }],
            receipts,
            ..Change::default()
        });
    }
}
