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

/// A member of an object: where its key, and perhaps its value, begins and ends within the quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Member {
    /// Nothing but a colon stands between key and value, both are strings, and both end within
    /// sixty-four bytes.
    Text {
        key_end: usize,
        value_start: usize,
        value_end: usize,
        /// Another member's key begins three bytes behind `value_end`.
        is_followed: bool,
    },
    Key {
        key_end: usize,
    },
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

    /// The member of an object whose key begins, behind its quote, at `at`, or at least the key.
    ///
    /// Only quotes are looked at: where two of them have one byte between them that is in no string,
    /// it is a colon or a comma.
    #[inline(always)]
    pub(crate) fn member(&mut self, at: usize) -> Member {
        if let Some(member) = self.known_member(at) {
            return member;
        }
        let key_end = self.end_beyond(at);
        self.known_member(at).unwrap_or(Member::Key { key_end })
    }

    #[inline(always)]
    fn known_member(&self, at: usize) -> Option<Member> {
        let offset = at.wrapping_sub(self.start);
        if offset >= BLOCK {
            return None;
        }
        let quotes = self.quotes >> offset;
        if quotes == 0 {
            return None;
        }
        let key = quotes.trailing_zeros();
        let key_end = at + key as usize;
        // The quote that ends the key, and whether the next byte but one is a quote.
        let quotes = quotes >> key;
        if quotes & 0b100 == 0 {
            return Some(Member::Key { key_end });
        }
        let quotes = quotes >> 3;
        if quotes == 0 {
            return None;
        }
        let value = quotes.trailing_zeros();
        let value_start = key_end + 3;
        Some(Member::Text {
            key_end,
            value_start,
            value_end: value_start + value as usize,
            is_followed: quotes >> value & 0b100 != 0,
        })
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
