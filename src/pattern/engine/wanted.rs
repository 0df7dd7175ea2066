//! Keys that are to be looked up.

use crate::pattern::kinds::Kind;
use crate::pattern::value::Field;

/// Keys that are to be looked up.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) keys: Vec<WantedKey>,
    /// The bytes of those that are no part of their value.
    pub(super) made: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct WantedKey {
    pub(super) hash: u64,
    pub(super) field: Field,
    pub(super) value: u32,
    /// Where its bytes stand: in what was made, or in the value.
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) is_made: bool,
    pub(super) kind: Kind,
}

impl Wanted {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.made.clear();
    }
}
