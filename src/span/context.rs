//! A place in a trace, as W3C Trace Context writes it into `traceparent`.

use std::fmt;

/// A span of a trace, ours or another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanContext {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    /// Whoever began the trace wants it recorded.
    pub sampled: bool,
}

const SAMPLED: u8 = 1;

impl SpanContext {
    /// Reads a `traceparent`; one that is not as the specification has it is none. Of a version to
    /// come the part is read that this one knows (section 3.2.4).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(5, '-');
        let [version] = hex::<1>(parts.next()?)?;
        let trace = hex::<16>(parts.next()?)?;
        let span = hex::<8>(parts.next()?)?;
        let [flags] = hex::<1>(parts.next()?)?;
        let has_more = parts.next().is_some();
        let is_valid =
            version != 0xff && !(version == 0 && has_more) && trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
        })
    }
}

/// Lower-case hex digits, exactly as many.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

/// As a `traceparent` of version 0.
impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        for byte in self.trace {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("-")?;
        for byte in self.span {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

impl fmt::Debug for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        let check = |text: &str, expected: Option<&str>| {
            let read = SpanContext::parse(text).map(|context| context.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        check(good, Some(good));
        check(&format!(" {good}\t"), Some(good));
        let not_sampled = good.replace("-01", "-00");
        check(&not_sampled, Some(&not_sampled));
        // Flags that this version does not know are not passed on.
        check(&good.replace("-01", "-03"), Some(good));
        // A version to come may say more.
        check(&format!("cc{}-what-comes", &good[2..]), Some(good));
        for bad in [
            "",
            "00",
            &format!("{good}-more"),
            &format!("ff{}", &good[2..]),
            &good.to_uppercase(),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &good.replace("b7ad6b7169203331", &"0".repeat(16)),
            &good.replace("319c-", "319-"),
            &good.replace('b', "g"),
            &good.replace("-01", "-1"),
        ] {
            check(bad, None);
        }
    }
}
