//! Counts dead letters by target, reason and status class, so that one look tells what is wrong.

use std::collections::BTreeMap;

use super::choice::{StatusClass, Walk};
use crate::clock::Timestamp;
use crate::limits;
use crate::log::{
    BusName, DeadLetter, DeadLetterReason, LogError, RuleName, Sequence, TargetId, TargetName,
};

/// Dead letters of one target that were given up for one reason after answers of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub key: TargetId,
    pub bus: BusName,
    pub rule: RuleName,
    pub target: TargetName,
    pub reason: DeadLetterReason,
    pub status: StatusClass,
    pub count: u64,
    /// When the first and the last of them were given up.
    pub oldest: Timestamp,
    pub newest: Timestamp,
    /// The last one given up, and what its target said.
    pub example: Sequence,
    pub example_error: Option<String>,
}

/// Groups, by target, reason and status class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    pub groups: Vec<Group>,
    /// All letters that were counted.
    pub count: u64,
    /// Those of them in no group, since there were [`limits::DEAD_LETTER_GROUPS`] already.
    pub ungrouped: u64,
}

/// Counts what is left of a walk.
///
/// # Errors
/// [`LogError`] when the letters cannot be read.
pub async fn groups(mut walk: Walk) -> Result<Groups, LogError> {
    let mut counting = Counting::default();
    while let Some(letters) = walk.next().await? {
        for letter in letters {
            counting.count(letter);
        }
    }
    Ok(counting.finish())
}

/// Counts letters that were read already.
#[must_use]
pub fn groups_of(letters: Vec<DeadLetter>) -> Groups {
    let mut counting = Counting::default();
    for letter in letters {
        counting.count(letter);
    }
    counting.finish()
}

#[derive(Default)]
struct Counting {
    groups: BTreeMap<(TargetId, &'static str, StatusClass), Group>,
    count: u64,
    ungrouped: u64,
}

impl Counting {
    fn count(&mut self, letter: DeadLetter) {
        self.count += 1;
        let status = StatusClass::of(letter.last_status);
        let key = (letter.target, letter.reason.as_str(), status);
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
            group.oldest = group.oldest.min(letter.dead_at);
            if letter.dead_at >= group.newest {
                group.newest = letter.dead_at;
                group.example = letter.sequence;
                group.example_error = letter.last_error;
            }
            return;
        }
        if self.groups.len() >= limits::DEAD_LETTER_GROUPS {
            self.ungrouped += 1;
            return;
        }
        let group = Group {
            key: letter.target,
            bus: letter.bus,
            rule: letter.rule,
            target: letter.target_name,
            reason: letter.reason,
            status,
            count: 1,
            oldest: letter.dead_at,
            newest: letter.dead_at,
            example: letter.sequence,
            example_error: letter.last_error,
        };
        self.groups.insert(key, group);
    }

    fn finish(self) -> Groups {
        Groups {
            groups: self.groups.into_values().collect(),
            count: self.count,
            ungrouped: self.ungrouped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(target: u32, sequence: u64, status: Option<u16>, dead_at: u64) -> DeadLetter {
        DeadLetter {
            target: TargetId(target),
            sequence,
            bus: BusName::default_bus(),
            rule: RuleName::new("r").unwrap(),
            target_name: TargetName::new("t").unwrap(),
            reason: DeadLetterReason::Refused,
            attempts: 1,
            since: Timestamp::default(),
            dead_at: Timestamp::from_millis(dead_at),
            last_status: status,
            last_error: Some(format!("error {sequence}")),
        }
    }

    #[test]
    fn letters_are_counted_by_target_reason_and_status_class() {
        let mut counting = Counting::default();
        for letter in [
            letter(1, 10, Some(400), 50),
            letter(1, 11, Some(422), 70),
            letter(1, 12, Some(400), 60),
            letter(1, 13, None, 10),
            letter(2, 10, Some(400), 20),
        ] {
            counting.count(letter);
        }
        let groups = counting.finish();
        assert_eq!((groups.count, groups.ungrouped), (5, 0));
        let seen: Vec<_> = groups
            .groups
            .iter()
            .map(|g| (g.key.0, g.status.to_string(), g.count, g.example))
            .collect();
        let expected = [
            (1, "none".to_owned(), 1, 13),
            (1, "4xx".to_owned(), 3, 11),
            (2, "4xx".to_owned(), 1, 10),
        ];
        assert_eq!(seen, expected);
        let bad = &groups.groups[1];
        assert_eq!(bad.oldest, Timestamp::from_millis(50));
        assert_eq!(bad.newest, Timestamp::from_millis(70));
        assert_eq!(bad.example_error.as_deref(), Some("error 11"));
    }

    #[test]
    fn more_groups_than_are_told_are_counted_together() {
        let mut counting = Counting::default();
        for target in 0..limits::DEAD_LETTER_GROUPS as u32 + 7 {
            counting.count(letter(target, 1, None, 1));
        }
        let groups = counting.finish();
        assert_eq!(groups.groups.len(), limits::DEAD_LETTER_GROUPS);
        assert_eq!(groups.ungrouped, 7);
    }
}
