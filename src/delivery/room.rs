//! How many attempts a target may have in flight: as many as it bears, shared between first attempts
//! and retries so that neither keeps the other out.

use tokio::time::Instant;

use super::next_step::Outcome;
use crate::limits;

/// What an attempt's end says of how much the target bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// It took the delivery.
    Borne,
    /// It answered 429, 503 or 504, or nothing in time.
    TooMuch,
    /// Neither: a refusal, a broken connection, nothing sent.
    Unclear,
}

impl Load {
    pub(crate) fn of(outcome: &Outcome) -> Load {
        match outcome {
            Outcome::Answered { status, .. } if status.is_success() => Load::Borne,
            Outcome::Answered { status, .. } if matches!(status.as_u16(), 429 | 503 | 504) => {
                Load::TooMuch
            }
            Outcome::TimedOut(_) => Load::TooMuch,
            _ => Load::Unclear,
        }
    }
}

/// The working limit of attempts at once: halved when the target bears no more, grown by one when
/// as many attempts as it allows have gone well. The target's `concurrency` is its ceiling.
#[derive(Debug)]
pub(crate) struct Room {
    ceiling: usize,
    limit: usize,
    /// Attempts that went well since the limit last changed.
    borne: usize,
    /// When the limit last shrank: attempts from before say nothing new.
    shrunk: Option<Instant>,
}

/// How many attempts of each kind are in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) all: usize,
    pub(crate) retries: usize,
}

/// Which kinds may start an attempt now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct May {
    pub(crate) first: bool,
    pub(crate) retry: bool,
}

impl Room {
    pub(crate) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        Self {
            ceiling,
            limit: ceiling,
            borne: 0,
            shrunk: None,
        }
    }

    /// The working limit.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A changed ceiling: a target at its old one goes to the new one, another keeps its limit.
    pub(crate) fn set_ceiling(&mut self, ceiling: usize) {
        let ceiling = ceiling.max(1);
        if self.limit == self.ceiling {
            self.limit = ceiling;
        }
        self.ceiling = ceiling;
        self.limit = self.limit.min(ceiling);
    }

    /// An attempt that began at `started` has ended.
    pub(crate) fn ended(&mut self, load: Load, started: Instant, now: Instant) {
        match load {
            Load::Borne if self.limit < self.ceiling => {
                self.borne += 1;
                if self.borne >= self.limit {
                    self.limit += 1;
                    self.borne = 0;
                }
            }
            // Many attempts that fail together are one sign, not many.
            Load::TooMuch if self.shrunk.is_none_or(|shrunk| started >= shrunk) => {
                self.limit = (self.limit / 2).max(1);
                self.borne = 0;
                self.shrunk = Some(now);
            }
            Load::Borne | Load::TooMuch | Load::Unclear => {}
        }
    }

    /// Who may start. A quarter of the room (one at least, of two or more) is the first attempts':
    /// retries never take it, for one that hangs holds its place for a whole timeout, and fresh
    /// events must not wait for that. As much is the retries', but only while some are due: first
    /// attempts have all of it otherwise. With room for one alone the two take turns.
    pub(crate) fn may(&self, flying: InFlight, retries_due: bool) -> May {
        if flying.all >= self.limit {
            return May::default();
        }
        let reserved = match self.limit {
            1 => 0,
            limit => limit.div_ceil(limits::ROOM_SHARE),
        };
        let firsts = flying.all.saturating_sub(flying.retries);
        May {
            first: !retries_due || firsts < self.limit - reserved,
            retry: flying.retries < self.limit - reserved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn it_halves_once_for_attempts_that_fail_together() {
        let start = Instant::now();
        let mut room = Room::new(32);
        let later = start + Duration::from_secs(1);
        for _ in 0..32 {
            room.ended(Load::TooMuch, start, later);
        }
        assert_eq!(room.limit(), 16);
        for expected in [8, 4, 2, 1, 1] {
            room.ended(Load::TooMuch, later, later);
            assert_eq!(room.limit(), expected);
        }
    }

    #[test]
    fn it_grows_by_one_for_each_roomful_that_went_well() {
        let now = Instant::now();
        let mut room = Room::new(4);
        for _ in 0..3 {
            room.ended(Load::TooMuch, now, now);
        }
        let mut seen = Vec::new();
        for _ in 0..8 {
            room.ended(Load::Unclear, now, now);
            room.ended(Load::Borne, now, now);
            seen.push(room.limit());
        }
        assert_eq!(seen, [2, 2, 3, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn a_new_ceiling_holds_at_once() {
        let now = Instant::now();
        let mut room = Room::new(8);
        room.set_ceiling(16);
        assert_eq!(room.limit(), 16);
        room.ended(Load::TooMuch, now, now);
        room.set_ceiling(32);
        assert_eq!(room.limit(), 8);
        room.set_ceiling(2);
        assert_eq!(room.limit(), 2);
    }

    #[test]
    fn each_kind_has_room_beside_the_other() {
        let room = Room::new(8);
        let check = |all, retries, due, first, retry| {
            let may = room.may(InFlight { all, retries }, due);
            assert_eq!(
                (may.first, may.retry),
                (first, retry),
                "{all} {retries} {due}"
            );
        };
        check(0, 0, false, true, true);
        check(7, 0, false, true, true);
        check(6, 0, true, false, true);
        check(6, 6, true, true, false);
        check(7, 6, true, true, false);
        check(8, 0, true, false, false);
        let one = Room::new(1).may(InFlight::default(), true);
        assert!(one.first && one.retry);
    }

    proptest! {
        /// Whatever ends how, the limit stays between one and the ceiling; and while there is room
        /// at all, one kind or the other may start.
        #[test]
        fn there_is_always_room_for_one(
            ceiling in 1usize..200,
            steps in prop::collection::vec((0u8..4, 0u64..100), 0..300),
            retries in 0usize..200,
            firsts in 0usize..200,
            due: bool,
        ) {
            let start = Instant::now();
            let mut room = Room::new(ceiling);
            for (at, (step, ago)) in steps.into_iter().enumerate() {
                let now = start + Duration::from_millis(1_000 + at as u64);
                let began = now - Duration::from_millis(ago);
                match step {
                    0 | 1 => room.ended(Load::Borne, began, now),
                    2 => room.ended(Load::TooMuch, began, now),
                    _ => room.ended(Load::Unclear, began, now),
                }
                prop_assert!((1..=ceiling).contains(&room.limit()));
            }
            let flying = InFlight { all: retries + firsts, retries };
            let may = room.may(flying, due);
            prop_assert_eq!(may.first || may.retry, flying.all < room.limit());
        }
    }
}
