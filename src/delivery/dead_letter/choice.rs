//! Says which dead letters are meant, and walks over them page by page: a million cost no memory.

use crate::clock::Timestamp;
use crate::limits;
use crate::log::{
    BusName, DeadLetter, DeadLetterReason, Log, LogError, RuleName, Sequence, TargetId, TargetName,
};

/// Dead letters of a bus for which all given conditions hold.
#[derive(Debug, Clone)]
pub struct Choice {
    pub bus: BusName,
    pub rule: Option<RuleName>,
    pub target: Option<TargetName>,
    pub reason: Option<DeadLetterReason>,
    pub status: Option<StatusWanted>,
    /// The event's `type`. Each letter's event is read for it.
    pub kind: Option<String>,
    /// Given up at or after this moment.
    pub since: Option<Timestamp>,
    /// Given up before this moment.
    pub until: Option<Timestamp>,
}

/// What the target answered last, coarsely: the first digit of its status, or no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusClass {
    None,
    /// 1 to 9.
    Hundreds(u8),
}

/// A status that is wanted: `503`, `5xx`, or `none` for no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWanted {
    Exactly(u16),
    Class(StatusClass),
}

impl StatusClass {
    #[must_use]
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(status) => Self::Hundreds(u8::try_from(status / 100).unwrap_or(9)),
            None => Self::None,
        }
    }
}

impl std::fmt::Display for StatusClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Hundreds(digit) => write!(f, "{digit}xx"),
        }
    }
}

impl StatusWanted {
    /// Reads `503`, `5xx` or `none`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            b"none" => Some(Self::Class(StatusClass::None)),
            [digit @ b'1'..=b'9', b'x', b'x'] => {
                Some(Self::Class(StatusClass::Hundreds(digit - b'0')))
            }
            [b'1'..=b'9', _, _] => text.parse().ok().map(Self::Exactly),
            _ => None,
        }
    }

    fn takes(self, status: Option<u16>) -> bool {
        match self {
            Self::Exactly(wanted) => status == Some(wanted),
            Self::Class(class) => StatusClass::of(status) == class,
        }
    }
}

impl Choice {
    /// Every dead letter of a bus.
    #[must_use]
    pub fn all(bus: BusName) -> Self {
        Self {
            bus,
            rule: None,
            target: None,
            reason: None,
            status: None,
            kind: None,
            since: None,
            until: None,
        }
    }

    /// Whether it stands at the place that is meant: the same for all letters of one target.
    #[must_use]
    pub fn is_of_place(&self, letter: &DeadLetter) -> bool {
        letter.bus == self.bus
            && self.rule.as_ref().is_none_or(|rule| letter.rule == *rule)
            && self
                .target
                .as_ref()
                .is_none_or(|target| letter.target_name == *target)
    }

    /// Whether all conditions hold but that on the event, which the letter does not tell.
    #[must_use]
    pub fn takes(&self, letter: &DeadLetter) -> bool {
        self.is_of_place(letter)
            && self.reason.is_none_or(|reason| letter.reason == reason)
            && self
                .status
                .is_none_or(|status| status.takes(letter.last_status))
            && self.since.is_none_or(|since| letter.dead_at >= since)
            && self.until.is_none_or(|until| letter.dead_at < until)
    }
}

/// A walk over the letters of a choice, in (target, sequence) order. Each is met at most once, also
/// when it dies again meanwhile.
#[derive(Debug)]
pub struct Walk {
    log: Log,
    choice: Choice,
    after: Option<(TargetId, Sequence)>,
    /// The target that `after` stands in, known to be of the place.
    current: Option<TargetId>,
    ended: bool,
}

impl Walk {
    /// Begins behind `after`.
    #[must_use]
    pub fn new(log: Log, choice: Choice, after: Option<(TargetId, Sequence)>) -> Self {
        Self {
            log,
            choice,
            after,
            current: None,
            ended: false,
        }
    }

    /// The last letter that was looked at.
    #[must_use]
    pub fn position(&self) -> Option<(TargetId, Sequence)> {
        self.after
    }

    /// The next letters of one target, at most [`limits::BULK_RECORDS`]; `None` at the end. A page
    /// may be empty when none of those looked at was wanted.
    ///
    /// # Errors
    /// [`LogError`] when they cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, LogError> {
        if self.ended {
            return Ok(None);
        }
        // Others on this thread get their turn: the walk may go over a million letters.
        tokio::task::yield_now().await;
        let Some(target) = self.current else {
            return self.enter().map(|found| found.then(Vec::new));
        };
        let after = self.after.filter(|(passed, _)| *passed == target);
        let mut letters = self
            .log
            .dead_letters(Some(target), after, limits::BULK_RECORDS)?;
        match letters.last() {
            Some(last) => self.after = Some((last.target, last.sequence)),
            None => {
                self.after = Some((target, Sequence::MAX));
                self.current = None;
            }
        }
        letters.retain(|letter| self.choice.takes(letter));
        if let Some(kind) = self.choice.kind.clone() {
            letters = self.of_kind(letters, &kind).await?;
        }
        Ok(Some(letters))
    }

    /// Looks for the next target of the place; whether there is more to look at.
    fn enter(&mut self) -> Result<bool, LogError> {
        let first = self.log.dead_letters(None, self.after, 1)?.pop();
        match first {
            Some(letter) if self.choice.is_of_place(&letter) => {
                self.current = Some(letter.target);
            }
            // All of its target are elsewhere too.
            Some(letter) => self.after = Some((letter.target, Sequence::MAX)),
            None => self.ended = true,
        }
        Ok(!self.ended)
    }

    async fn of_kind(
        &self,
        letters: Vec<DeadLetter>,
        kind: &str,
    ) -> Result<Vec<DeadLetter>, LogError> {
        let mut wanted = Vec::with_capacity(letters.len());
        for letter in letters {
            let event = self.log.event(letter.sequence).await?;
            if event.is_some_and(|event| event.event.kind() == kind) {
                wanted.push(letter);
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_wanted_exactly_or_by_its_class() {
        let check = |text: &str, status: Option<u16>| {
            StatusWanted::parse(text).map(|wanted| wanted.takes(status))
        };
        assert_eq!(check("503", Some(503)), Some(true));
        assert_eq!(check("503", Some(502)), Some(false));
        assert_eq!(check("5xx", Some(599)), Some(true));
        assert_eq!(check("5xx", Some(404)), Some(false));
        assert_eq!(check("5xx", None), Some(false));
        assert_eq!(check("none", None), Some(true));
        assert_eq!(check("none", Some(200)), Some(false));
        for bad in ["", "5", "50", "5000", "0xx", "5x", "x", "5XX", "+50", "no"] {
            assert_eq!(StatusWanted::parse(bad), None, "{bad}");
        }
    }
}
