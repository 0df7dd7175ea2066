//! The rules that match an event, each once.

use super::entry::RuleNumber;

/// Rules that match an event, each once.
#[derive(Debug)]
pub(super) struct Matched {
    /// A bit for each of the first rules.
    bits: Box<[u64; BITS]>,
    /// A bit for each word of those that is not zero.
    words: u64,
    /// The others, some of them more than once.
    others: Vec<RuleNumber>,
}

/// Matches that are kept room for.
const OTHERS_KEPT: usize = 4_096;

/// So many times sixty-four rules are noted by setting bits.
const BITS: usize = 64;

impl Default for Matched {
    fn default() -> Self {
        Self {
            bits: Box::new([0; BITS]),
            words: 0,
            others: Vec::new(),
        }
    }
}

impl Matched {
    #[inline]
    pub(super) fn add(&mut self, rule: RuleNumber) {
        match self.bits.get_mut(rule as usize / 64) {
            Some(bits) => {
                *bits |= 1 << (rule % 64);
                self.words |= 1 << (rule / 64);
            }
            None => self.others.push(rule),
        }
    }

    /// The sub-rules of one rule mostly come one after the other.
    #[inline]
    pub(super) fn has_just_got(&self, rule: RuleNumber) -> bool {
        match self.bits.get(rule as usize / 64) {
            Some(bits) => bits >> (rule % 64) & 1 == 1,
            None => self.others.last() == Some(&rule),
        }
    }

    /// How many there are, or more.
    pub(super) fn at_most(&self) -> usize {
        let words = std::iter::successors(Some(self.words), |words| {
            Some(words & words.wrapping_sub(1))
        });
        let words = words.take_while(|words| *words != 0);
        let bits = words.map(|words| self.bits[words.trailing_zeros() as usize].count_ones());
        bits.sum::<u32>() as usize + self.others.len()
    }

    /// Puts those in order that are to be taken out.
    pub(super) fn sort(&mut self) {
        if !self.others.is_empty() {
            self.others.sort_unstable_by(|one, other| other.cmp(one));
            self.others.dedup();
        }
    }

    /// Takes the first one out.
    #[inline]
    pub(super) fn take_first(&mut self) -> Option<RuleNumber> {
        if self.words != 0 {
            let word = self.words.trailing_zeros();
            let bits = &mut self.bits[word as usize % BITS];
            let bit = bits.trailing_zeros();
            *bits &= bits.wrapping_sub(1);
            if *bits == 0 {
                self.words &= self.words - 1;
            }
            return Some(word * 64 + bit);
        }
        let rule = self.others.pop();
        if rule.is_none() {
            self.others.shrink_to(OTHERS_KEPT);
        }
        rule
    }
}
