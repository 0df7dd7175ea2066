//! Numbers that compare: those whose text is exactly what its binary64 stands for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::RangeInclusive;

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
    decimal: OnceCell<Option<Decimal>>,
    nearest: OnceCell<Option<Number>>,
    compares: OnceCell<bool>,
}

impl<'a> NumberText<'a> {
    #[inline]
    pub(crate) fn new(text: Cow<'a, [u8]>) -> Self {
        Self {
            text,
            decimal: OnceCell::new(),
            nearest: OnceCell::new(),
            compares: OnceCell::new(),
        }
    }

    #[inline]
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    fn decimal(&self) -> Option<Decimal> {
        *self.decimal.get_or_init(|| Decimal::of(&self.text))
    }

    /// The number, if it compares.
    pub(crate) fn number(&self) -> Option<Number> {
        let nearest = self.nearest()?;
        let compares = self.compares.get_or_init(|| {
            self.decimal().is_some_and(|decimal| {
                let mut buffer = zmij::Buffer::new();
                decimal.is_exact() || {
                    let shortest = buffer.format_finite(nearest.0).as_bytes();
                    *shortest == *self.text || Decimal::of(shortest) == Some(decimal)
                }
            })
        });
        compares.then_some(nearest)
    }

    /// Ranks among which its own is, if it is a number that compares and not of unusual size. Takes a
    /// multiplication where the binary64 next to the text takes an algorithm.
    #[inline]
    pub(crate) fn near(&self) -> Option<RangeInclusive<u64>> {
        // Digits and power are each rounded at most once, and the result is: off by less than two.
        const OFF: u64 = 4;
        let rank = Number(self.decimal()?.close()?).rank();
        Some(rank - OFF..=rank + OFF)
    }

    /// The binary64 next to the text: the number, if it compares.
    #[inline]
    fn nearest(&self) -> Option<Number> {
        *self.nearest.get_or_init(|| {
            let value = match self.decimal()?.nearest() {
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
        self.decimal().map(Decimal::key)
    }

    /// What shows of it at a glance: equal for equal numbers.
    #[inline]
    pub(crate) fn leading(&self) -> u64 {
        leading_digits(&self.text)
    }
}

/// The same of the number that such a key is of.
pub(crate) fn leading_of_key(key: &[u8]) -> u64 {
    let digits = key.first_chunk().copied().map_or(0, u64::from_le_bytes);
    leading_digits(digits.to_string().as_bytes())
}

const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// The first eight digits from the one that is not zero on, a byte each, with zeros behind the last:
/// these are the same however the number is written.
#[inline]
fn leading_digits(text: &[u8]) -> u64 {
    let is_in_front = |byte: &u8| matches!(byte, b'-' | b'0' | b'.');
    let text = match text {
        [b'1'..=b'9', ..] => text,
        [b'-', rest @ ..] if matches!(rest.first(), Some(b'1'..=b'9')) => rest,
        _ => {
            let front = text.iter().take_while(|byte| is_in_front(byte)).count();
            &text[front..]
        }
    };
    let (word, ninth) = match text.first_chunk::<9>() {
        Some([first @ .., ninth]) => (u64::from_le_bytes(*first), *ninth),
        None => {
            let mut padded = [b'0'; 8];
            padded[..text.len()].copy_from_slice(text);
            (u64::from_le_bytes(padded), b'0')
        }
    };
    let mut digits = word ^ ZEROS;
    let end = first_beyond_nine(digits);
    if end == u64::BITS {
        return digits;
    }
    let below = (1 << end) - 1;
    if word >> end & 0xFF != u64::from(b'.') {
        return digits & below;
    }
    // What stands behind the point moves to its place.
    digits = digits & below | digits >> 8 & !below | u64::from(ninth ^ b'0') << 56;
    match first_beyond_nine(digits) {
        u64::BITS => digits,
        end => digits & ((1 << end) - 1),
    }
}

/// Where the first byte begins that is more than nine.
#[inline]
fn first_beyond_nine(bytes: u64) -> u32 {
    const BEYOND: u64 = u64::from_le_bytes([0x80 - 10; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // Rounded down to the byte; 64 stays.
    ((bytes.wrapping_add(BEYOND) | bytes) & HIGH).trailing_zeros() & !7
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
        Decimal::of_short(text).or_else(|| Decimal::of_any(text))
    }

    /// Eight digits at a time; `None` when the text has more than 19, counted from the first one that
    /// is not zero, or an exponent, or is no number.
    fn of_short(text: &[u8]) -> Option<Decimal> {
        let negative = text.first() == Some(&b'-');
        let mut at = usize::from(negative);
        let (mut digits, mut significant) = (0_u64, 0);
        let mut point = None;
        while at < text.len() {
            let word = match text[at..].first_chunk() {
                Some(word) => u64::from_le_bytes(*word),
                // The rest, with zeros behind it, which are no digits.
                None => rest(text, at),
            } ^ ZEROS;
            let count = first_beyond_nine(word) / 8;
            if count == 0 {
                if text[at] != b'.' || point.is_some() {
                    return None;
                }
                at += 1;
                point = Some(at);
                continue;
            }
            let word = word << (64 - 8 * count);
            significant += if digits == 0 {
                // Zeros in front are not significant; shifted, they are the bytes above the others.
                8_u32.saturating_sub(word.trailing_zeros() / 8)
            } else {
                count
            };
            if significant > ROOM as u32 {
                return None;
            }
            digits = digits * POWERS_OF_TEN[count as usize] + joined(word);
            at += count as usize;
        }
        let fraction = point.map_or(0, |point| text.len() - point);
        let fraction = i32::try_from(fraction).ok()?;
        Decimal::normal(negative, digits, -fraction)
    }

    /// The same, however it is written.
    fn of_any(text: &[u8]) -> Option<Decimal> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut digits = 0_u64;
        // From the first one that is not zero on.
        let mut significant = 0;
        let mut in_fraction = 0;
        let mut exponent = 0_i32;
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            if significant > 0
                && significant + 8 <= ROOM
                && let Some(eight) = text[at..].first_chunk().copied().and_then(eight_digits)
            {
                digits = digits * 100_000_000 + eight;
                significant += 8;
                exponent -= 8 * in_fraction;
                at += 8;
                continue;
            }
            let digit = byte.wrapping_sub(b'0');
            at += 1;
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
                let power = std::str::from_utf8(&text[at..]).ok()?;
                let power: i32 = power.parse().ok()?;
                exponent = exponent.checked_add(power)?;
                break;
            }
        }
        Decimal::normal(negative, digits, exponent)
    }

    /// Of digits with zeros at their end.
    #[inline]
    fn normal(negative: bool, mut digits: u64, mut exponent: i32) -> Option<Decimal> {
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

    /// The binary64 next to it, if a power of ten that 64 bits hold divides it or none does.
    fn nearest(self) -> Option<f64> {
        if let Some(value) = self.value() {
            return Some(value);
        }
        let power = 10_u64.checked_pow(u32::try_from(-self.exponent).ok()?)?;
        // All bits of 128 that there are, so that the quotient has 63 and more: the last one of them
        // stands for what the division leaves, and rounding to 53 is rounding once.
        let shift = self.digits.leading_zeros() + 64;
        let dividend = u128::from(self.digits) << shift;
        let (quotient, left) = (
            dividend / u128::from(power),
            !dividend.is_multiple_of(u128::from(power)),
        );
        let value =
            (quotient | u128::from(left)) as f64 / f64::from_bits(u64::from(1_023 + shift) << 52);
        Some(if self.negative { -value } else { value })
    }

    /// Whether binary64 holds it for certain: see [`Decimal::value`].
    fn is_exact(self) -> bool {
        self.digits < 1_000_000_000_000_000 && (-22..=22).contains(&self.exponent)
    }

    /// The binary64 that it is for certain: up to fifteen digits survive, and with so small a power
    /// of ten one operation on exact operands rounds once.
    fn value(self) -> Option<f64> {
        if self.is_exact() { self.close() } else { None }
    }

    /// A binary64 that is close: not more than two others lie between.
    #[inline]
    fn close(self) -> Option<f64> {
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
        ];
        let digits = self.digits as f64;
        let power = POWERS.get(self.exponent.unsigned_abs() as usize)?;
        let value = if self.exponent < 0 {
            digits / power
        } else {
            digits * power
        };
        Some(if self.negative { -value } else { value })
    }
}

/// The powers of ten that eight digits are less than.
const POWERS_OF_TEN: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// The last bytes of a text from `at` on, which are less than eight, with zeros behind them.
#[inline]
fn rest(text: &[u8], at: usize) -> u64 {
    let rest = &text[at..];
    if let Some(last) = text.last_chunk() {
        return u64::from_le_bytes(*last) >> (8 * (8 - rest.len()));
    }
    let mut padded = [0; 8];
    padded[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(padded)
}

/// The number of eight digits, if they are.
#[inline]
fn eight_digits(bytes: [u8; 8]) -> Option<u64> {
    let digits = u64::from_le_bytes(bytes) ^ ZEROS;
    (first_beyond_nine(digits) == u64::BITS).then(|| joined(digits))
}

/// The number of eight digits, the first in the lowest byte.
#[inline]
fn joined(digits: u64) -> u64 {
    // Neighbours are joined: to pairs, to fours, to all eight.
    let digits = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let digits = (digits * 100 + (digits >> 16)) & 0x0000_FFFF_0000_FFFF;
    (digits * 10_000 + (digits >> 32)) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_lead_alike() {
        let check = |text: &str, digits: &str| {
            let number = NumberText::new(Cow::Borrowed(text.as_bytes()));
            let leading = number.leading() ^ ZEROS;
            assert_eq!(&leading.to_le_bytes(), digits.as_bytes(), "{text}");
            if let Some(key) = number.key() {
                assert_eq!(leading_of_key(&key), number.leading(), "{text}");
            }
        };
        check("0", "00000000");
        check("-0.0", "00000000");
        check("0e5", "00000000");
        check("5", "50000000");
        check("-5", "50000000");
        check("300", "30000000");
        check("3.0e2", "30000000");
        check("3e+2", "30000000");
        check("0.0003", "30000000");
        check("12.5", "12500000");
        check("1234567.8", "12345678");
        check("12345678.9", "12345678");
        check("12345678", "12345678");
        check("123456789", "12345678");
        check("-122.423359928455675", "12242335");
        check("1.2345678", "12345678");
        check("1.23456789", "12345678");
        check("0.0012345678e-7", "12345678");
        check("100000000000000000000000", "10000000");
    }

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
        check("00000000000000000000000000001.5", true);
    }

    #[test]
    fn numbers_are_what_std_reads() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..60_000 {
            let length = random.u32(1..18);
            let digits = random.u64(..10_u64.pow(length));
            let text = match random.u8(..6) {
                4 => format!("{}.{}", random.u8(..), random.u64(..)),
                5 => format!("0.{:0>20}", digits),
                0 => format!("{}", f64::from_bits(random.u64(..))),
                1 => format!("-{digits}e{}", random.i32(-30..30)),
                2 => format!("{digits}.{}", random.u32(..)),
                _ => format!("{}", random.f64() * 1e4),
            };
            let decimal = Decimal::of(text.as_bytes());
            assert_eq!(decimal, Decimal::of_any(text.as_bytes()), "{text}");
            if let Some(nearest) = decimal.and_then(Decimal::nearest) {
                assert_eq!(nearest, text.parse::<f64>().unwrap(), "{text}");
            }
            let Some(number) = Number::of_text(&text) else {
                continue;
            };
            assert_eq!(number.0, text.parse::<f64>().unwrap(), "{text}");
            let text = NumberText::new(Cow::Borrowed(text.as_bytes()));
            if let Some(near) = text.near() {
                assert!(near.contains(&number.rank()), "{text:?}");
            }
            let key = number.key();
            assert_eq!(text.key(), Some(key), "{text:?}");
            assert_eq!(text.leading(), leading_of_key(&key), "{text:?}");
        }
    }

    #[test]
    fn what_a_division_leaves_decides_between_two_numbers_as_near() {
        let check = |text: &str| {
            let nearest = Decimal::of(text.as_bytes()).and_then(Decimal::nearest);
            assert_eq!(nearest, text.parse::<f64>().ok(), "{text}");
        };
        check("90013706495975657e-19");
        check("75059914371772723e-19");
        check("38177347002885918e-19");
        check("-0.0018834036913029968");
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
