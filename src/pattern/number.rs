//! Numbers that compare: those whose text is exactly what its binary64 stands for.

/// A finite binary64, never `-0`: what event-ruler calls a comparable number. Equality and hash of
/// its bits are those of the number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Number(f64);

impl Number {
    /// The number of a JSON number's text, or `None` when binary64 does not hold it exactly in the
    /// decimal sense: `0.1` compares, `0.10000000000000000001`, `12345678901234567890` and `1E309`
    /// do not.
    pub(crate) fn of_text(text: &str) -> Option<Number> {
        let value: f64 = text.parse().ok()?;
        if !value.is_finite() {
            return None;
        }
        let exact = Decimal::of(text)?;
        // Fifteen digits survive binary64 wherever it has its full precision.
        let survives = exact.digits.len() <= 15 && (-290..=290).contains(&exact.exponent);
        if !survives && Decimal::of(&format!("{value:e}"))? != exact {
            return None;
        }
        Some(Number(if value == 0.0 { 0.0 } else { value }))
    }

    pub(crate) fn of_integer(value: i64) -> Option<Number> {
        Number::of_text(&value.to_string())
    }

    pub(crate) fn bits(self) -> u64 {
        self.0.to_bits()
    }
}

/// A decimal number's significant digits and the power of ten behind the last of them.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Zero has no digits, no sign and the exponent 0.
    fn of(text: &str) -> Option<Decimal> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i64>().ok()?),
            None => (text, 0),
        };
        let fraction = mantissa.find('.').map_or(0, |at| mantissa.len() - at - 1);
        let mut digits: Vec<u8> = mantissa.bytes().filter(|byte| *byte != b'.').collect();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        let trailing = digits
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count();
        digits.truncate(digits.len() - trailing);
        if digits.is_empty() {
            return Some(Decimal {
                negative: false,
                digits,
                exponent: 0,
            });
        }
        let exponent = exponent
            .checked_sub(i64::try_from(fraction).ok()?)?
            .checked_add(i64::try_from(trailing).ok()?)?;
        Some(Decimal {
            negative,
            digits,
            exponent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_compares_when_binary64_holds_its_decimal() {
        let check = |text: &str, expected: bool| {
            assert_eq!(Number::of_text(text).is_some(), expected, "{text}");
        };
        check("0", true);
        check("-0.0", true);
        check("0e99999999999999999999", false);
        check("300", true);
        check("3.0e2", true);
        check("0.1", true);
        check("0.10", true);
        check("0.10000000000000000001", false);
        check("9007199254740992", true);
        check("9007199254740993", false);
        check("12345678901234567890", false);
        check("1E308", true);
        check("1E309", false);
        check("5e-324", true);
        check("1E-325", false);
        check("123456789012345678e0", false);
        check("1.7976931348623157e308", true);
        check("1e99999999999999999999", false);
    }

    #[test]
    fn equal_numbers_have_equal_bits() {
        let bits = |text: &str| Number::of_text(text).map(Number::bits);
        assert_eq!(bits("300"), bits("3.0e2"));
        assert_eq!(bits("-0"), bits("0.000"));
        assert_ne!(bits("1"), bits("-1"));
    }
}
