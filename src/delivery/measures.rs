//! What all lanes count and time together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::next_step::Class;
use crate::limits;
use crate::log::BusName;
use crate::measure::{Histogram, Named, Times};

/// Totals since the start. Unlike those of a lane they outlive it.
#[derive(Debug)]
pub(crate) struct Measures {
    /// By class, in the order of [`Class::ALL`].
    attempts: [AtomicU64; Class::ALL.len()],
    attempt: Histogram,
    first_try: Histogram,
    buses: Named<BusName, BusCounts>,
}

/// What became of the deliveries of one bus.
#[derive(Debug, Default)]
pub(crate) struct BusCounts {
    pub(crate) delivered: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
}

/// How delivering does, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Attempts by class.
    pub attempts: Vec<(Class, u64)>,
    /// How long attempts took, whatever came of them; leases are not among them.
    pub attempt: Times,
    /// From when an event was accepted, or from its `deliverat`, until a target accepted it, where
    /// that took one attempt.
    pub first_try: Times,
    /// By bus; those beyond [`limits::METRIC_BUSES`] under `None`, last.
    pub buses: Vec<(Option<BusName>, BusFigures)>,
    /// Routed events of which some delivery is in memory only.
    pub unsettled: u64,
}

/// The same for one bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusFigures {
    pub delivered: u64,
    /// Failed attempts that are tried again.
    pub retried: u64,
    pub dead_lettered: u64,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            attempts: std::array::from_fn(|_| AtomicU64::new(0)),
            // 500 µs to 131 s: a longer timeout than two minutes is rare.
            attempt: Histogram::new(Duration::from_micros(500), 1, 19),
            // 1 ms, as exact as events tell their time, to about nine hours.
            first_try: Histogram::new(Duration::from_millis(1), 1, 26),
            buses: Named::new(limits::METRIC_BUSES),
        }
    }
}

impl Measures {
    /// An attempt ended.
    pub(crate) fn attempted(&self, class: Class, took: Duration) {
        self.attempts[class as usize].fetch_add(1, Relaxed);
        if !class.is_of_lease() {
            self.attempt.observe(took);
        }
    }

    /// A delivery went well at once.
    pub(crate) fn first_try(&self, took: Duration) {
        self.first_try.observe(took);
    }

    pub(crate) fn of_bus(&self, bus: &BusName) -> Arc<BusCounts> {
        self.buses.of(bus)
    }

    pub(crate) fn figures(&self, unsettled: u64) -> Figures {
        let attempts = Class::ALL.into_iter().zip(&self.attempts);
        let (named, rest) = self.buses.all();
        let named = named
            .into_iter()
            .map(|(bus, counts)| (Some(bus), counts.figures()));
        let rest = rest.figures();
        let has_rest = rest.delivered + rest.retried + rest.dead_lettered > 0;
        Figures {
            attempts: attempts
                .map(|(class, count)| (class, count.load(Relaxed)))
                .collect(),
            attempt: self.attempt.times(),
            first_try: self.first_try.times(),
            buses: named.chain(has_rest.then_some((None, rest))).collect(),
            unsettled,
        }
    }
}

impl BusCounts {
    fn figures(&self) -> BusFigures {
        BusFigures {
            delivered: self.delivered.load(Relaxed),
            retried: self.retried.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
        }
    }
}
