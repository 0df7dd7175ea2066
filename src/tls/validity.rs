//! When a certificate ends, read from its bytes.
//!
//! ```text
//! Certificate     { TBSCertificate, … }                                       RFC 5280, 4.1
//! TBSCertificate  { [0] version?, serialNumber, signature, issuer, validity, … }
//! Validity        { notBefore, notAfter }
//! ```

use jiff::civil::{DateTime, date};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// In seconds since 1970; `None` when the certificate does not read.
pub(super) fn not_after(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, behind)) = expect(VERSION, rest) {
        rest = behind;
    }
    // The serial number, the algorithm of the signature, the issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    seconds(tag, std::str::from_utf8(time).ok()?)
}

/// The first element as its tag and content, and what follows it (X.690, 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (digits, behind) = rest.split_at_checked(usize::from(first & 0x7F))?;
        // A certificate is not as long as three of them can say.
        if digits.is_empty() || digits.len() > 3 {
            return None;
        }
        length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = behind;
    }
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}

fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, behind) = element(bytes)?;
    (found == tag).then_some((content, behind))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, which is all that a certificate may have (RFC 5280, 4.1.2.5).
fn seconds(tag: u8, text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let digits = match tag {
        UTC_TIME if text.len() == 12 => {
            let century = if text < "50" { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%S", &digits).ok()?;
    let since = at.duration_since(date(1970, 1, 1).at(0, 0, 0, 0));
    Some(u64::try_from(since.as_secs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let check = |(year, month, day), expected| {
            let mut params = CertificateParams::new(vec!["bus.test".to_owned()]).unwrap();
            params.not_before = date_time_ymd(1969, 1, 1);
            params.not_after = date_time_ymd(year, month, day);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let der = certificate.der();
            assert_eq!(not_after(der), Some(expected), "{year}");
            for length in 0..der.len() {
                assert_eq!(not_after(&der[..length]), None, "{length} bytes of it");
            }
        };
        check((2026, 11, 27), 1_795_737_600);
        check((2049, 12, 31), 2_524_521_600);
        // From 2050 on it is written otherwise.
        check((2050, 1, 1), 2_524_608_000);
        check((9999, 12, 31), 253_402_214_400);
        check((1969, 12, 31), 0);
    }

    #[test]
    fn what_is_no_certificate_ends_never() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x30, 0x02, 0x30, 0x00],
            &[0x30, 0xFF],
        ] {
            assert_eq!(not_after(bytes), None, "{bytes:?}");
        }
        for (tag, text) in [
            (UTC_TIME, "261127000000"),
            (UTC_TIME, "261327000000Z"),
            (UTC_TIME, "20261127000000Z"),
            (GENERALIZED_TIME, "261127000000Z"),
            (GENERALIZED_TIME, "2026112700000éZ"),
            (SEQUENCE, "261127000000Z"),
        ] {
            assert_eq!(seconds(tag, text), None, "{text}");
        }
    }
}
