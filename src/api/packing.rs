//! Unpacks request bodies that came compressed (`Content-Encoding`), within the bound of what they may
//! be unpacked.
//!
//! A body is unpacked when all of it is here, at one go, as its JSON is read: so a decoder, with its
//! window of up to [`limits::ZSTD_WINDOW_LOG`], lives no longer than that and never waits for a slow
//! sender.

use std::io::Read;

use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};

use super::body::BodyError;
use crate::limits;

/// What is taken, as `Accept-Encoding` says it.
pub(super) const TAKEN: &str = "gzip, zstd";

/// Bytes unpacked between two looks at the bound.
const STEP_BYTES: usize = 64 * 1024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

/// Codings that are not taken, or several at once.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body comes in the content coding {0:?}; one of gzip and zstd is taken, or none")]
pub(super) struct NotTaken(String);

impl Packing {
    /// What the headers say (RFC 9110, section 8.4). `identity` is nothing.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, NotTaken> {
        let values = headers.get_all(header::CONTENT_ENCODING);
        let mut codings = Vec::new();
        for value in values {
            let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            let parts = text.split(',').map(str::trim);
            let parts = parts.filter(|part| !part.is_empty() && *part != "identity");
            codings.extend(parts.map(str::to_owned));
        }
        match &*codings {
            [] => Ok(None),
            [one] if one == "gzip" || one == "x-gzip" => Ok(Some(Self::Gzip)),
            [one] if one == "zstd" => Ok(Some(Self::Zstd)),
            _ => Err(NotTaken(codings.join(", "))),
        }
    }

    /// What was packed, if it is at most `limit` bytes; `take` is asked before any of it is kept.
    pub(super) fn unpack(
        self,
        packed: &[u8],
        limit: usize,
        take: impl FnMut(usize) -> Result<(), BodyError>,
    ) -> Result<Bytes, BodyError> {
        match self {
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(packed), limit, take),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(packed);
                let mut decoder = decoder.map_err(broken)?;
                let window = decoder.window_log_max(limits::ZSTD_WINDOW_LOG);
                window.map_err(broken)?;
                read(decoder, limit, take)
            }
        }
    }
}

fn read(
    mut decoder: impl Read,
    limit: usize,
    mut take: impl FnMut(usize) -> Result<(), BodyError>,
) -> Result<Bytes, BodyError> {
    let mut step = vec![0; STEP_BYTES];
    let mut unpacked = BytesMut::new();
    loop {
        let count = decoder.read(&mut step).map_err(broken)?;
        if count == 0 {
            return Ok(unpacked.freeze());
        }
        if unpacked.len() + count > limit {
            return Err(BodyError::UnpacksTooLarge { limit });
        }
        take(count)?;
        unpacked.extend_from_slice(&step[..count]);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn broken(cause: std::io::Error) -> BodyError {
    BodyError::NotUnpacked(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::default();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(data, 3).unwrap()
    }

    /// Unpacks with a bound of 1,000 bytes; the text, or what is wrong.
    fn check(packing: Packing, packed: &[u8]) -> String {
        let mut taken = 0;
        let unpacked = packing.unpack(packed, 1_000, |count| {
            taken += count;
            Ok(())
        });
        match unpacked {
            Ok(bytes) => {
                assert_eq!(taken, bytes.len());
                String::from_utf8(bytes.to_vec()).unwrap()
            }
            Err(BodyError::UnpacksTooLarge { .. }) => {
                assert!(taken <= 1_000);
                "too large".to_owned()
            }
            Err(BodyError::NotUnpacked(_)) => "broken".to_owned(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn bodies_are_unpacked_up_to_the_bound() {
        let text = "x".repeat(1_000);
        for (packing, pack) in [
            (Packing::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
            (Packing::Zstd, zstd),
        ] {
            assert_eq!(check(packing, &pack(b"")), "");
            assert_eq!(check(packing, &pack(b"abc")), "abc");
            // Several members, or frames, are one body.
            let two = [pack(b"abc"), pack(b"def")].concat();
            assert_eq!(check(packing, &two), "abcdef");
            assert_eq!(check(packing, &pack(text.as_bytes())), text);
            assert_eq!(check(packing, &pack(&[b'x'; 1_001])), "too large");
            let bomb = pack(&vec![0; 64 << 20]);
            assert!(bomb.len() < 100_000);
            assert_eq!(check(packing, &bomb), "too large");
            let whole = pack(b"a longer text, so that there is something to cut");
            for cut in 1..whole.len() {
                assert_eq!(check(packing, &whole[..cut]), "broken", "{packing:?} {cut}");
            }
            assert_eq!(check(packing, b"no such thing"), "broken");
            let trailing = [whole, b"rest".to_vec()].concat();
            assert_eq!(check(packing, &trailing), "broken", "{packing:?}");
        }
        assert_eq!(check(Packing::Gzip, b""), "broken");
    }

    #[test]
    fn a_window_that_costs_much_memory_is_refused() {
        let pack = |window_log| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(b"abc").unwrap();
            // A frame that does not say how long it is has the whole window.
            encoder.flush().unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(check(Packing::Zstd, &pack(limits::ZSTD_WINDOW_LOG)), "abc");
        let more = pack(limits::ZSTD_WINDOW_LOG + 1);
        assert_eq!(check(Packing::Zstd, &more), "broken");
    }

    #[test]
    fn one_coding_is_taken() {
        let check = |values: &[&str], expected: Result<Option<Packing>, &str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            let expected = expected.map_err(|text| NotTaken(text.to_owned()));
            assert_eq!(Packing::of(&headers), expected, "{values:?}");
        };
        check(&[], Ok(None));
        check(&[""], Ok(None));
        check(&["identity"], Ok(None));
        check(&["gzip"], Ok(Some(Packing::Gzip)));
        check(&["X-Gzip"], Ok(Some(Packing::Gzip)));
        check(&["ZSTD, identity"], Ok(Some(Packing::Zstd)));
        check(&["br"], Err("br"));
        check(&["gzip, zstd"], Err("gzip, zstd"));
        check(&["gzip", "gzip"], Err("gzip, gzip"));
    }
}
