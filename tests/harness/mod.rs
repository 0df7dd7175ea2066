//! What integration tests stand on: a real bus, a recording target, and waiting with a deadline.

mod bus;
mod contract;
mod target;
mod tls;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use bus::{Answer, TestBus, send};
pub(crate) use target::{Received, Reply, TestTarget};
pub(crate) use tls::{Authority, TlsTarget};

/// How long a test waits for what must come: far above what it takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `check` gives something, and returns it; panics with `what` at the deadline.
#[track_caller]
pub(crate) fn eventually<T, C>(what: &str, check: C) -> impl Future<Output = T>
where
    C: AsyncFnMut() -> Option<T>,
{
    let place = std::panic::Location::caller();
    poll(what.to_owned(), place, check)
}

async fn poll<T, C>(what: String, place: &std::panic::Location<'_>, mut check: C) -> T
where
    C: AsyncFnMut() -> Option<T>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{place}: waited {PATIENCE:?} in vain for: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
