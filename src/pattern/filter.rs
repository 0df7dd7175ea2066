//! A set of grams that may say yes too often, and shares what did not change with earlier ones.

use std::sync::Arc;

/// Whether a filter could take another gram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    Yes,
    /// It is too full and must be made anew, larger.
    TooFull,
}

/// A set that may say yes too often: two bits a member, at least sixteen bits of room for each.
/// Members are never taken out one by one; it is made anew when it outgrows itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Pages are shared with earlier filters until they change.
    pages: Vec<Arc<[u64; PAGE]>>,
}

const PAGE: usize = 64;

impl Filter {
    pub(super) fn of(hashes: impl Iterator<Item = u64> + Clone) -> Self {
        let bits = (hashes.clone().count() * 32).next_power_of_two();
        let pages = bits.div_ceil(64 * PAGE).next_power_of_two();
        let mut filter = Filter {
            // All the one empty page, until each changes.
            pages: std::iter::repeat_n(Arc::new([0; PAGE]), pages).collect(),
        };
        for hash in hashes {
            filter.set(hash);
        }
        filter
    }

    pub(super) fn add(&mut self, hash: u64, count: usize) -> Noted {
        if count * 16 > self.pages.len() * 64 * PAGE {
            return Noted::TooFull;
        }
        self.set(hash);
        Noted::Yes
    }

    fn set(&mut self, hash: u64) {
        for (page, word, bit) in self.bits(hash) {
            Arc::make_mut(&mut self.pages[page])[word] |= 1 << bit;
        }
    }

    fn bits(&self, hash: u64) -> [(usize, usize, u32); 2] {
        [hash >> 32, hash].map(|hash| {
            let hash = hash as u32;
            let page = (hash >> 12) as usize & (self.pages.len() - 1);
            (page, hash as usize >> 6 & (PAGE - 1), hash & 63)
        })
    }

    #[inline]
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        !self.pages.is_empty()
            && self
                .bits(hash)
                .iter()
                .all(|(page, word, bit)| self.pages[*page][*word] >> bit & 1 == 1)
    }
}
