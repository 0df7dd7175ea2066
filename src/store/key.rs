//! Keys of the view: a prefix byte, then big-endian parts, so that byte order is the parts' order.

/// A key under construction, cheap to extend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// A key that starts with the prefix of its record kind.
    #[must_use]
    pub fn new(prefix: u8) -> Self {
        let mut bytes = Vec::with_capacity(24);
        bytes.push(prefix);
        Self(bytes)
    }

    /// Appends four bytes.
    #[must_use]
    pub fn u32(mut self, part: u32) -> Self {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// Appends eight bytes.
    #[must_use]
    pub fn u64(mut self, part: u64) -> Self {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// Appends a text that holds no NUL, and a NUL that ends it.
    #[must_use]
    pub fn text(mut self, part: &str) -> Self {
        debug_assert!(!part.as_bytes().contains(&0), "names hold no NUL");
        self.0.extend_from_slice(part.as_bytes());
        self.0.push(0);
        self
    }

    /// The first key behind all that start with this one.
    #[must_use]
    pub fn end(mut self) -> Self {
        while let Some(last) = self.0.pop() {
            if last < u8::MAX {
                self.0.push(last + 1);
                return self;
            }
        }
        // Only a key of nothing but 0xFF gets here, and prefixes are letters.
        Self(vec![u8::MAX; 32])
    }

    /// The first key behind one that was read.
    #[must_use]
    pub fn after(read: &[u8]) -> Self {
        let mut bytes = read.to_vec();
        bytes.push(0);
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_like_their_parts_and_end_behind_their_prefix() {
        let small = Key::new(b'p').u32(1).u64(255).into_bytes();
        let large = Key::new(b'p').u32(1).u64(256).into_bytes();
        let end = Key::new(b'p').u32(1).end().into_bytes();
        assert!(small < large && large < end);
        assert!(end <= Key::new(b'p').u32(2).into_bytes());
        assert!(
            Key::new(b'p').u32(u32::MAX).u64(9).into_bytes()
                < Key::new(b'p').u32(u32::MAX).end().into_bytes()
        );
    }
}
