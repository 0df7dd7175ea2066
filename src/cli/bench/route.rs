//! One way through a bus that is measured: what is published, and where its deliveries arrive.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::load::Load;
use super::receiver::Receiver;
use super::report::{Latency, Round};
use super::server::Server;
use super::{Bench, await_deliveries};
use crate::cli::exit::Failure;

const PATIENCE: Duration = Duration::from_secs(30);

/// Events of one type, and the receiver that they are for.
pub(super) struct Route {
    kind: String,
    pub(super) receiver: Receiver,
    numbers: Arc<AtomicU64>,
    /// Events accepted since the start.
    accepted: u64,
    /// Of a round, where the command line says nothing.
    warm_up: Duration,
    measure: Duration,
}

impl Route {
    pub(super) fn new(kind: &str) -> Result<Route, Failure> {
        Ok(Route::to(Receiver::start(None)?, kind))
    }

    pub(super) fn to(receiver: Receiver, kind: &str) -> Route {
        Route {
            kind: kind.to_owned(),
            receiver,
            numbers: Arc::new(AtomicU64::new(1)),
            accepted: 0,
            warm_up: super::WARM_UP,
            measure: super::MEASURE,
        }
    }

    pub(super) fn in_rounds_of(self, warm_up: Duration, measure: Duration) -> Route {
        Route {
            warm_up,
            measure,
            ..self
        }
    }

    /// Events of all rounds, every one of which has arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.accepted
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The name of the rule for its events.
    pub(super) fn rule(&self) -> String {
        self.kind.replace('.', "-")
    }

    /// Events of another type from here on, to the same receiver.
    pub(super) fn turn_to(&mut self, kind: String) {
        self.kind = kind;
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.receiver.addr)
    }

    /// Publishes for a round and waits until every event has arrived. `ahead` bounds a load at full
    /// speed; with a `rate` the clock does. The rate that counts is that of deliveries.
    pub(super) fn round(
        &mut self,
        bench: &Bench,
        server: &Server,
        what: &str,
        rate: Option<f64>,
        ahead: usize,
    ) -> Result<Round, Failure> {
        bench.progress.step(what);
        let deliveries = &self.receiver.deliveries;
        let load = Load {
            rate,
            until: bench.until(self.warm_up, self.measure),
            ahead: (rate.is_none() && ahead > 0).then(|| (ahead, Arc::clone(deliveries))),
            ..bench.load(server, &self.kind, 1, &self.numbers)
        };
        let arrived = || deliveries.count() + deliveries.repeats();
        let before = arrived();
        // Deliveries, not acceptances, make the rate: counted over the measured time.
        let mut opened = (0, Instant::now());
        let mut delivered = (0, Duration::from_secs(1));
        let outcome = load.run(&mut |_| bench.progress.at(arrived() - before), &mut |on| {
            deliveries.measure(on);
            if on {
                opened = (arrived(), Instant::now());
            } else {
                delivered = (arrived() - opened.0, opened.1.elapsed());
            }
        })?;
        outcome.check(what)?;
        self.accepted += outcome.accepted;
        await_deliveries(deliveries, self.accepted, PATIENCE, &mut |_| {})?;
        Ok(Round {
            events_per_second: delivered.0 as f64 / delivered.1.as_secs_f64(),
            latency: Latency::of(&deliveries.take_ages()),
        })
    }

    /// Waits until each of `targets` targets of the rule has every event.
    pub(super) fn await_all(&self, targets: u64) -> Result<(), Failure> {
        let deliveries = &self.receiver.deliveries;
        let wanted = self.accepted * targets;
        let start = Instant::now();
        loop {
            let arrived = deliveries.count() + deliveries.repeats();
            if arrived >= wanted {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(Failure::failed(format!(
                    "{arrived} of {wanted} deliveries arrived"
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
