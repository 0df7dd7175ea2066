//! Bytes that are known to be one JSON value.

use super::plain::is_plain;
use super::scanner::Scanner;

/// One JSON value (RFC 8259), checked: UTF-8, its grammar, at most `limits::JSON_DEPTH` levels.
///
/// Whoever holds one may read the bytes without looking for faults. Bytes that break the promise
/// make a reader find wrong values, never more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a> {
    bytes: &'a [u8],
    plain: bool,
}

impl<'a> JsonText<'a> {
    /// Checks the bytes; `None` when they are no JSON value or nest too deeply.
    #[must_use]
    pub fn check(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut scanner = Scanner::new(text);
        scanner.skip().ok()?;
        scanner.end().ok()?;
        Some(Self {
            bytes,
            plain: is_plain(bytes),
        })
    }

    /// Takes the word of somebody who checked the bytes. `plain` says that no object in them repeats
    /// a key and that no key holds a dot or an escape; `false` is always right and only slower.
    #[must_use]
    pub fn trusted(bytes: &'a [u8], plain: bool) -> Self {
        Self { bytes, plain }
    }

    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether a path leads to one place only, and a key's bytes are its name: then a reader that has
    /// found each path it wants may stop.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.plain
    }
}
