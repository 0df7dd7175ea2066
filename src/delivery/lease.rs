//! Makes one attempt of a target that is pulled: the event to a puller, and the puller's word for it
//! to an outcome.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::attempt::{Done, Sender, Tried, Wanted, webhook_id};
use super::desk::{Desk, Parcel, Promise};
use super::timing::Timing;
use super::wire;
use crate::rule::Target;

impl Sender {
    /// Leases a delivery to the puller that it was promised to, and waits for how that ends. Without
    /// an outcome nobody has seen it.
    pub(crate) async fn lease(
        &self,
        target: &Target,
        wanted: Wanted,
        desk: &Arc<Desk>,
        promise: Promise,
    ) -> Tried {
        let began = Instant::now();
        let mut timing = Timing::default();
        let done = self.lease_one(target, wanted, desk, promise).await;
        timing.took = Some(began.elapsed().into());
        Tried {
            dones: vec![done],
            timing,
        }
    }

    async fn lease_one(
        &self,
        target: &Target,
        wanted: Wanted,
        desk: &Arc<Desk>,
        promise: Promise,
    ) -> Done {
        let (event, mut done) = self.look_up(&wanted).await;
        let Some(event) = event else { return done };
        let event = match self.prepared(target, event, done.since) {
            Ok(event) => event,
            Err(outcome) => {
                done.outcome = Some(outcome);
                return done;
            }
        };
        let parcel = Parcel {
            sequence: wanted.sequence,
            attempt: wanted.number,
            event: Bytes::from(event.event.to_json()),
            id: webhook_id(target, &[event]),
        };
        if let Some(holding) = desk.hand(promise, parcel, Instant::now()) {
            done.outcome = holding.end().await;
            if let Some(text) = done.outcome.as_mut().and_then(|outcome| outcome.text_mut()) {
                wire::cut(text);
            }
        }
        done
    }
}
