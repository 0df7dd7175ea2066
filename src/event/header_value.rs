//! Attribute values as HTTP header values (HTTP binding, section 3.1.3.2).

use std::borrow::Cow;

use http::HeaderValue;

/// Reads a header's value: first a quoted string loses its quotes and backslashes, then one round
/// of percent-decoding. What the binding leaves open is read literally, since senders do it: a
/// percent sign before no two hex digits, quotes that are not around the whole, raw UTF-8.
pub(super) fn decode(value: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let value = value.trim_ascii();
    let unquoted = unquote(value).map_or(Cow::Borrowed(value), Cow::Owned);
    let decoded = match unquoted {
        plain if !plain.contains(&b'%') => plain,
        escaped => Cow::Owned(percent_decode(&escaped)),
    };
    match decoded {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
    .ok_or("is not UTF-8 once percent-decoded; percent-encode the bytes of its UTF-8")
}

/// The inside of a quoted string (RFC 9110, section 5.6.4), if the whole value is one.
fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut unquoted = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&b) = bytes.next() {
        match b {
            // The closing quote is no end if it is escaped itself, and quotes inside must be.
            b'\\' => unquoted.push(*bytes.next()?),
            b'"' => return None,
            _ => unquoted.push(b),
        }
    }
    Some(unquoted)
}

fn percent_decode(value: &[u8]) -> Vec<u8> {
    let hex = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        rest = after;
        let escape = match after {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &after[2..];
            }
            None => decoded.push(*first),
        }
    }
    decoded
}

/// Writes a value: space, `"`, `%` and all outside U+0021 to U+007E become upper-case `%XY`.
pub(super) fn encode(text: &str) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let plain = |b: u8| matches!(b, 0x21..=0x7E) && b != b'"' && b != b'%';
    let value = if text.bytes().all(plain) {
        HeaderValue::from_str(text)
    } else {
        let mut escaped = Vec::with_capacity(text.len() + 32);
        for b in text.bytes() {
            if plain(b) {
                escaped.push(b);
            } else {
                let (high, low) = (usize::from(b >> 4), usize::from(b & 15));
                escaped.extend_from_slice(&[b'%', HEX[high], HEX[low]]);
            }
        }
        HeaderValue::from_bytes(&escaped)
    };
    value.expect("printable ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &str, read: &str) {
        assert_eq!(decode(sent.as_bytes()).as_deref(), Ok(read), "{sent}");
    }

    #[test]
    fn values_are_unquoted_then_decoded_once() {
        check("plain", "plain");
        check("", "");
        check("  padded\t", "padded");
        check("a%20b", "a b");
        check("%c3%BC", "ü");
        check("%41%2e", "A.");
        check("%2525", "%25");
        check("1+1", "1+1");
        check("\"a b\"", "a b");
        check("\"\"", "");
        check(r#""a\"b\\c\d""#, "a\"b\\cd");
        check("\"50%25\"", "50%");
        check("%22x%22", "\"x\"");
    }

    #[test]
    fn what_the_binding_leaves_open_is_literal() {
        check("5%", "5%");
        check("%g1%1", "%g1%1");
        check("%%41", "%A");
        check("\"", "\"");
        check("\"a", "\"a");
        check("a\"", "a\"");
        check("\"a\"b\"", "\"a\"b\"");
        check(r#""a\""#, r#""a\""#);
        check("grün", "grün");
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_refused() {
        for bad in [
            &b"\xff"[..],
            b"%ff",
            b"%C0%80",
            b"%ED%BF%BF",
            b"%E2%82",
            b"\"%80\"",
            b"\xc3",
        ] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_are_escaped_in_upper_case() {
        for (text, sent) in [
            ("a-b_c~!", "a-b_c~!"),
            ("a b", "a%20b"),
            ("\"50%\"", "%2250%25%22"),
            ("ü", "%C3%BC"),
            ("\u{7f}", "%7F"),
            ("", ""),
        ] {
            assert_eq!(encode(text), sent, "{text}");
        }
    }
}
