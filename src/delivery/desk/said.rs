//! Remembers for a while how leases were ended by their pullers, so that who says the same again, since
//! the answer was lost, hears the same.

use std::collections::{HashMap, VecDeque};

use futures_util::future::Shared;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Token, Told, Word};
use crate::limits;
use crate::log::Sequence;

/// How a lease was ended by its puller.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// It is safe once the record that comes here is on disk.
    Acknowledged(Shared<oneshot::Receiver<Sequence>>),
    GivenBack,
}

/// The words of the last minutes, by the tokens that they were about.
#[derive(Debug, Default)]
pub(super) struct Words {
    by_token: HashMap<Token, Said>,
    /// The oldest first.
    order: VecDeque<(Instant, Token)>,
}

impl Words {
    pub(super) fn keep(&mut self, token: &str, said: Said, now: Instant) {
        self.forget(now);
        if self.order.len() >= limits::PULL_WORDS {
            self.forget_oldest();
        }
        self.by_token.insert(token.to_owned(), said);
        self.order.push_back((now, token.to_owned()));
    }

    /// The answer to a word about a lease that has ended.
    pub(super) fn again(&mut self, token: &str, word: &Word, now: Instant) -> Told {
        self.forget(now);
        match (self.by_token.get(token), word) {
            (Some(Said::Acknowledged(safe)), Word::Acknowledge) => Told::Acknowledged(safe.clone()),
            (Some(Said::GivenBack), Word::GiveBack(_)) => Told::Done,
            _ => Told::NotLeased,
        }
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |(at, _): &(Instant, Token)| {
            now.saturating_duration_since(*at) > limits::PULL_WORDS_AGE
        };
        while self.order.front().is_some_and(is_old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, token)) = self.order.pop_front() {
            self.by_token.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_words_are_kept_and_so_long() {
        let (mut words, start) = (Words::default(), Instant::now());
        let word = Word::GiveBack(super::super::GiveBack::default());
        let check = |words: &mut Words, token: &str, now: Instant, expected: bool| {
            let told = words.again(token, &word, now);
            assert_eq!(matches!(told, Told::Done), expected, "{token}");
        };
        for number in 0..=limits::PULL_WORDS {
            words.keep(&number.to_string(), Said::GivenBack, start);
        }
        let last = limits::PULL_WORDS.to_string();
        check(&mut words, "0", start, false);
        check(&mut words, "1", start, true);
        let end = start + limits::PULL_WORDS_AGE;
        check(&mut words, &last, end, true);
        check(&mut words, &last, end + Duration::from_millis(1), false);
        assert!(words.by_token.is_empty() && words.order.is_empty());
    }
}
