//! Keeps attempts away from a target that does not answer, and tries with one now and then.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::limits;

/// How a target stands, as its status shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Attempts are made.
    #[default]
    Closed,
    /// No attempts are made until the next probe.
    Open,
    /// One attempt is made as a probe, or waits for something to deliver.
    HalfOpen,
}

/// Whether an attempt may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Pass,
    /// One attempt may start, as the probe.
    Probe,
    /// Not before the probe in flight has ended.
    Probing,
    Closed {
        until: Instant,
    },
    /// The target is paused or disabled.
    Stopped,
}

/// A change of state that the caller logs and acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// `again`: after a probe in vain.
    Opened {
        for_: Duration,
        again: bool,
    },
    Closed,
}

/// Opens after [`limits::BREAKER_FAILURES`] failures in a row.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    failures: u32,
    /// How often it opened since the target last answered.
    openings: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: bool },
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            openings: 0,
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Failures in a row so far.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether an attempt may start; an open breaker whose time has come becomes half-open.
    pub(crate) fn gate(&mut self, now: Instant) -> Gate {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.state = State::HalfOpen { probing: false };
        }
        match self.state {
            State::Closed => Gate::Pass,
            State::Open { until } => Gate::Closed { until },
            State::HalfOpen { probing: false } => Gate::Probe,
            State::HalfOpen { probing: true } => Gate::Probing,
        }
    }

    /// The attempt that starts now is the probe.
    pub(crate) fn probe_started(&mut self) {
        self.state = State::HalfOpen { probing: true };
    }

    /// The probe came to nothing (its event could not be read): another may start.
    pub(crate) fn probe_void(&mut self) {
        if let State::HalfOpen { probing } = &mut self.state {
            *probing = false;
        }
    }

    /// The target answered. Any answer closes the breaker, also to an attempt from before.
    pub(crate) fn succeeded(&mut self) -> Option<Change> {
        let was_closed = matches!(self.state, State::Closed);
        *self = Self::new();
        (!was_closed).then_some(Change::Closed)
    }

    /// An attempt failed. `asked` is the wait that the target asked for; `random` in `0.0..1.0`.
    pub(crate) fn failed(
        &mut self,
        was_probe: bool,
        asked: Option<Duration>,
        now: Instant,
        random: f64,
    ) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures >= limits::BREAKER_FAILURES,
            // Attempts from before the breaker opened say nothing new.
            State::Open { .. } => false,
            State::HalfOpen { .. } => was_probe,
        };
        if !opens {
            return None;
        }
        let doublings = self.openings.min(16);
        self.openings = self.openings.saturating_add(1);
        let bound = limits::BREAKER_OPEN_FIRST
            .saturating_mul(1 << doublings)
            .min(limits::BREAKER_OPEN_MAX);
        // Half of it is fixed, half is drawn: targets that fell together are not probed together.
        let drawn = bound / 2 + (bound / 2).mul_f64(random.clamp(0.0, 1.0));
        let wait = drawn.max(asked.unwrap_or_default().min(limits::RETRY_AFTER_MAX));
        self.state = State::Open { until: now + wait };
        Some(Change::Opened {
            for_: wait,
            again: self.openings > 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) -> Option<Change> {
        (0..times)
            .map(|_| breaker.failed(false, None, now, 0.99))
            .last()
            .flatten()
    }

    #[test]
    fn it_opens_on_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        assert_eq!(fail(&mut breaker, limits::BREAKER_FAILURES - 1, now), None);
        assert_eq!(breaker.succeeded(), None);
        assert_eq!(fail(&mut breaker, limits::BREAKER_FAILURES - 1, now), None);
        assert_eq!(breaker.gate(now), Gate::Pass);
        assert!(matches!(
            fail(&mut breaker, 1, now),
            Some(Change::Opened { .. })
        ));
        assert!(matches!(breaker.gate(now), Gate::Closed { .. }));
    }

    #[test]
    fn it_probes_with_one_attempt_and_doubles_its_wait() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new();
        let mut change = fail(&mut breaker, limits::BREAKER_FAILURES, now);
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let Some(Change::Opened { for_, again }) = change else {
                panic!("{change:?}")
            };
            assert_eq!(again, last > Duration::ZERO);
            assert!(for_ >= last && for_ <= limits::BREAKER_OPEN_MAX, "{for_:?}");
            last = for_;
            now += for_;
            assert_eq!(breaker.gate(now), Gate::Probe);
            breaker.probe_started();
            assert_eq!(breaker.gate(now), Gate::Probing);
            assert_eq!(breaker.failed(false, None, now, 0.5), None);
            change = breaker.failed(true, None, now, 0.99);
        }
        assert!(last > limits::BREAKER_OPEN_MAX / 2);
        now += last;
        assert_eq!(breaker.gate(now), Gate::Probe);
        breaker.probe_started();
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert_eq!(breaker.gate(now), Gate::Pass);
    }

    #[test]
    fn a_void_probe_lets_another_start() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        fail(&mut breaker, limits::BREAKER_FAILURES, now);
        let later = now + limits::BREAKER_OPEN_MAX;
        assert_eq!(breaker.gate(later), Gate::Probe);
        breaker.probe_started();
        breaker.probe_void();
        assert_eq!(breaker.gate(later), Gate::Probe);
    }

    #[test]
    fn a_wait_that_the_target_asked_for_is_kept() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        fail(&mut breaker, limits::BREAKER_FAILURES - 1, now);
        let asked = Duration::from_secs(120);
        assert_eq!(
            breaker.failed(false, Some(asked), now, 0.0),
            Some(Change::Opened {
                for_: asked,
                again: false
            })
        );
    }
}
