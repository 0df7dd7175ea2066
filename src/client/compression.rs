//! Compresses what a client publishes.

use std::io::Write;

use super::ClientError;

/// How bodies are compressed on their way to a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Everybody reads it.
    Gzip,
    /// Smaller, and faster on both sides.
    Zstd,
}

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

impl Compression {
    /// As `Content-Encoding` names it.
    pub(super) fn coding(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }

    pub(super) fn compress(self, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        let compressed = match self {
            Compression::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Compression::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL),
        };
        compressed
            .map_err(|error| ClientError::Invalid(format!("the body was not compressed: {error}")))
    }
}
