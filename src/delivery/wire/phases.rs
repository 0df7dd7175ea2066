//! How long the phases of connecting took for one request.
//!
//! The connector runs inside of the request that needs the connection, so what it measures is left
//! in the task's own place. A request that was given a connection of before measures nothing, and
//! one that took another's while it dialled measures what it got to.

use std::cell::Cell;
use std::time::Duration;

/// `None`: not needed, or not come to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Phases {
    /// From the name to its addresses.
    pub(crate) dns: Option<Duration>,
    /// From the addresses to a TCP connection.
    pub(crate) connect: Option<Duration>,
    /// The handshake of TLS.
    pub(crate) tls: Option<Duration>,
}

tokio::task_local! {
    static OF_THIS_REQUEST: Cell<Phases>;
}

/// Runs a request, and tells the phases of connecting for it, however it ended.
pub(crate) async fn measured<F: Future>(request: F) -> (F::Output, Phases) {
    let told = async {
        let output = request.await;
        (output, OF_THIS_REQUEST.with(Cell::get))
    };
    OF_THIS_REQUEST.scope(Cell::default(), told).await
}

/// Leaves a measure for the request that this task is at, if it is at one.
pub(super) fn note(measure: impl FnOnce(&mut Phases)) {
    // No request: it took another connection, and this one is for the pool.
    let _ = OF_THIS_REQUEST.try_with(|place| {
        let mut phases = place.get();
        measure(&mut phases);
        place.set(phases);
    });
}
