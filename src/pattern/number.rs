//! Numbers that compare: those whose text is exactly what its binary64 stands for.

use std::borrow::Cow;
use std::cell::OnceCell;

/// A finite binary64, never `-0`: what event-ruler calls a comparable number. Equality and hash of
/// its bits are those of the number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Number(f64);

impl Number {
    /// The number of a JSON number's text, or `None` when binary64 does not hold it exactly in the
    /// decimal sense: `0.1` compares, `0.10000000000000000001`, `12345678901234567890` and `1E309`
    /// do not.
    pub(crate) fn of_text(text: &str) -> Option<Number> {
        NumberText::new(Cow::Borrowed(text.as_bytes())).number()
    }

    pub(crate) fn bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The bytes that numbers are found by: equal for equal numbers.
    pub(crate) fn key(self) -> DecimalKey {
        let decimal = Decimal::shortest(self.0);
        decimal.expect("a number has at most 17 digits").key()
    }

    /// Ascends as the numbers do.
    pub(crate) fn rank(self) -> u64 {
        let bits = self.0.to_bits();
        if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        }
    }

    /// The number of that rank.
    pub(crate) fn of_rank(rank: u64) -> Number {
        let bits = if rank >> 63 == 1 {
            rank ^ 1 << 63
        } else {
            !rank
        };
        Number(f64::from_bits(bits))
    }
}

/// A number of a document: its text, and what is found out of it when somebody asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NumberText<'a> {
    text: Cow<'a, [u8]>,
    /// `None` when it is certainly no number that compares.
    decimal: Option<Decimal>,
    nearest: OnceCell<Option<Number>>,
    compares: OnceCell<bool>,
}

impl<'a> NumberText<'a> {
    pub(crate) fn new(text: Cow<'a, [u8]>) -> Self {
        Self {
            decimal: Decimal::of(&text),
            text,
            nearest: OnceCell::new(),
            compares: OnceCell::new(),
        }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The number, if it compares.
    pub(crate) fn number(&self) -> Option<Number> {
        let nearest = self.nearest()?;
        let compares = self.compares.get_or_init(|| {
            self.decimal.is_some_and(|decimal| {
                decimal.is_exact() || Decimal::shortest(nearest.0) == Some(decimal)
            })
        });
        compares.then_some(nearest)
    }

    /// The binary64 next to the text: the number, if it compares.
    #[inline]
    pub(crate) fn nearest(&self) -> Option<Number> {
        *self.nearest.get_or_init(|| {
            let value = match self.decimal?.value() {
                Some(value) => value,
                None => std::str::from_utf8(&self.text).ok()?.parse().ok()?,
            };
            let value: f64 = if value == 0.0 { 0.0 } else { value };
            value.is_finite().then_some(Number(value))
        })
    }

    /// The bytes that it is found by, which are those of no number that compares if it does not.
    /// Whether two texts are one number shows in their decimals; binary64 is not needed for it.
    #[inline]
    pub(crate) fn key(&self) -> Option<DecimalKey> {
        self.decimal.map(Decimal::key)
    }
}

/// A decimal's digits, exponent and sign.
pub(crate) type DecimalKey = [u8; 12];

/// Digits of the longest decimal that tells two binary64 apart; a longer one is held by none.
const DIGITS: u32 = 17;

/// Digits that 64 bits have room for, whatever they are.
const ROOM: usize = 19;

/// A decimal number of at most 17 significant digits, and the power of ten behind the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at its end; zero has the exponent 0 and no sign.
    digits: u64,
    exponent: i32,
}

impl Decimal {
    /// `None` when the text has more significant digits, or an exponent that is out of all bounds.
    fn of(text: &[u8]) -> Option<Decimal> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut digits = 0_u64;
        // From the first one that is not zero on.
        let mut significant = 0;
        let mut in_fraction = 0;
        let mut exponent = 0_i32;
        for (at, byte) in text.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                exponent -= in_fraction;
                if significant >= ROOM {
                    // Zeros may still follow: they count as none.
                    if digit != 0 {
                        return None;
                    }
                    exponent += 1;
                    continue;
                }
                digits = digits * 10 + u64::from(digit);
                significant += usize::from(digits > 0);
            } else if *byte == b'.' {
                in_fraction = 1;
            } else {
                let power = std::str::from_utf8(&text[at + 1..]).ok()?;
                let power: i32 = power.parse().ok()?;
                exponent = exponent.checked_add(power)?;
                break;
            }
        }
        if digits == 0 {
            return Some(Decimal {
                negative: false,
                digits: 0,
                exponent: 0,
            });
        }
        while digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        if digits >= 10_u64.pow(DIGITS) {
            return None;
        }
        // Nothing that binary64 holds is beyond these.
        (-400..400).contains(&exponent).then_some(Decimal {
            negative,
            digits,
            exponent,
        })
    }

    /// The shortest decimal that reads as this binary64.
    fn shortest(value: f64) -> Option<Decimal> {
        Decimal::of(zmij::Buffer::new().format_finite(value).as_bytes())
    }

    #[inline]
    fn key(self) -> DecimalKey {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&self.digits.to_le_bytes());
        key[8..].copy_from_slice(&(self.exponent * 2 + i32::from(self.negative)).to_le_bytes());
        key
    }

    /// Whether binary64 holds it for certain: see [`Decimal::value`].
    fn is_exact(self) -> bool {
        self.digits < 1_000_000_000_000_000 && (-22..=22).contains(&self.exponent)
    }

    /// The binary64 that it is for certain: up to fifteen digits survive, and with so small a power
    /// of ten one operation on exact operands rounds once.
    fn value(self) -> Option<f64> {
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
        ];
        if !self.is_exact() {
            return None;
        }
        let digits = self.digits as f64;
        let power = POWERS[self.exponent.unsigned_abs() as usize];
        let value = if self.exponent < 0 {
            digits / power
        } else {
            digits * power
        };
        Some(if self.negative { -value } else { value })
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
        check("-122.42916360922355", true);
        check("-122.429163609223551", false);
        check("100000000000000000000000", true);
        check("0.00000000000000000000000000000000001", true);
        check("10000000000000000000000000000000000000001", false);
        check("123456789012345", true);
        check("1e23", true);
        check("9e22", true);
        check("1000000000000000000000000000.000000000", true);
        check("12345678901234500000000000", true);
        check("123456789012345670000000001", false);
        check("0.000100000000000000000000000", true);
    }

    #[test]
    fn numbers_are_what_std_reads() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let length = random.u32(1..18);
            let digits = random.u64(..10_u64.pow(length));
            let text = match random.u8(..4) {
                0 => format!("{}", f64::from_bits(random.u64(..))),
                1 => format!("-{digits}e{}", random.i32(-30..30)),
                2 => format!("{digits}.{}", random.u32(..)),
                _ => format!("{}", random.f64() * 1e4),
            };
            let Some(number) = Number::of_text(&text) else {
                continue;
            };
            assert_eq!(number.0, text.parse::<f64>().unwrap(), "{text}");
        }
    }

    #[test]
    fn ranks_ascend_as_numbers_do() {
        let texts = [
            "-1e308", "-2", "-1.5", "-1e-300", "0", "1e-300", "1", "1.5", "2e10",
        ];
        let ranks: Vec<u64> = texts
            .iter()
            .map(|text| Number::of_text(text).unwrap().rank())
            .collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        for (text, rank) in texts.iter().zip(ranks) {
            assert_eq!(Number::of_text(text), Some(Number::of_rank(rank)));
        }
    }

    #[test]
    fn equal_numbers_have_equal_bits() {
        let bits = |text: &str| Number::of_text(text).map(Number::bits);
        assert_eq!(bits("300"), bits("3.0e2"));
        assert_eq!(bits("-0"), bits("0.000"));
        assert_ne!(bits("1"), bits("-1"));
    }
}
