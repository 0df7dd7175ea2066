//! Finds where strings end, for a reader that goes forward through one valid JSON text: sixty-four
//! bytes are compared once and remembered, for all the strings that end among them.

use super::skip::{self, BLOCK, quotes_and_backslashes};

/// A text and which quotes stand in a part of it.
#[derive(Debug, Clone)]
pub(crate) struct Strings<'a> {
    bytes: &'a [u8],
    /// Where the part begins.
    start: usize,
    /// A bit for each quote in it; none when there is a backslash in it or nothing is known.
    quotes: u64,
    escaped: bool,
}

impl<'a> Strings<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            start: 0,
            quotes: 0,
            escaped: false,
        }
    }

    /// Offset of the closing quote of the string whose first byte, behind its opening quote, stands
    /// at `at`: no further in front than that of the string asked for before.
    #[inline(always)]
    pub(crate) fn end(&mut self, at: usize) -> usize {
        let offset = at.wrapping_sub(self.start);
        if offset < BLOCK {
            let quotes = self.quotes >> offset;
            if quotes != 0 {
                return at + quotes.trailing_zeros() as usize;
            }
        }
        self.end_beyond(at)
    }

    /// Whether there is a backslash in the string that was asked for last.
    #[inline(always)]
    pub(crate) fn is_escaped(&self) -> bool {
        self.escaped
    }

    #[inline(never)]
    fn end_beyond(&mut self, at: usize) -> usize {
        self.start = at;
        self.quotes = 0;
        let string = match quotes_and_backslashes(self.bytes, at) {
            Some((quotes, false)) if quotes != 0 => {
                self.quotes = quotes;
                self.escaped = false;
                return at + quotes.trailing_zeros() as usize;
            }
            Some((_, false)) => skip::string(self.bytes, at + BLOCK),
            _ => skip::string(self.bytes, at),
        };
        self.escaped = string.escaped;
        string.end
    }
}
