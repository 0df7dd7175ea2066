//! Byte sizes as documents write them: `8GiB 500MB 64KiB`.

/// Units with their bytes, largest first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a text is no byte size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("a size is a whole number and a unit, such as 64KiB, 500MB or 8GiB")]
    Form,
    #[error("this size is larger than can be counted")]
    TooLarge,
}

/// Reads a whole number followed at once by `B`, `KB`, `MB`, `GB`, `TB` (powers of 1000) or `KiB`,
/// `MiB`, `GiB`, `TiB` (powers of 1024).
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let (digits, bytes) = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))
        .ok_or(SizeError::Form)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SizeError::Form);
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(bytes))
        .ok_or(SizeError::TooLarge)
}

/// Writes a size in the largest unit that divides it; [`parse_size`] reads it back.
#[must_use]
pub fn format_size(size: u64) -> String {
    UNITS
        .iter()
        .find(|(_, bytes)| size >= *bytes && size.is_multiple_of(*bytes))
        .map_or_else(
            || "0B".to_owned(),
            |(unit, bytes)| format!("{}{unit}", size / bytes),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_reads() {
        for (text, bytes) in [
            ("0B", 0),
            ("7B", 7),
            ("2KB", 2_000),
            ("2KiB", 2_048),
            ("500MB", 500_000_000),
            ("1MiB", 1_048_576),
            ("8GiB", 8_589_934_592),
            ("1TB", 1_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "8", "GiB", "8 GiB", "8gib", "1.5GB", "-1B", "8G"] {
            assert_eq!(parse_size(text), Err(SizeError::Form), "{text}");
        }
        assert_eq!(parse_size("99999999TiB"), Err(SizeError::TooLarge));
    }

    proptest! {
        #[test]
        fn a_written_size_reads_back(size in any::<u64>()) {
            prop_assert_eq!(parse_size(&format_size(size)), Ok(size));
        }
    }
}
