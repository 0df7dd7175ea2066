//! Passes over parts of valid JSON without reading them, sixteen and sixty-four bytes at a time.
//!
//! All functions take offsets and give offsets. On bytes that are no valid JSON they give some
//! offset within the bytes: nothing here panics or runs on for ever.

mod lanes;

/// A string without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Offset of the closing quote.
    pub(crate) end: usize,
    /// Offset behind it.
    pub(crate) after: usize,
    /// Whether there is a backslash in it.
    pub(crate) escaped: bool,
}

/// The string whose first byte, behind its opening quote, stands at `start`.
#[inline]
pub(crate) fn string(bytes: &[u8], start: usize) -> Span {
    let mut at = start;
    let mut escaped = false;
    loop {
        at = find_quote_or_backslash(bytes, at);
        match bytes.get(at) {
            Some(b'"') => {
                return Span {
                    end: at,
                    after: at + 1,
                    escaped,
                };
            }
            Some(_) => {
                escaped = true;
                at += 2;
            }
            None => {
                return Span {
                    end: bytes.len(),
                    after: bytes.len(),
                    escaped,
                };
            }
        }
    }
}

/// Offset of the first byte from `at` on that is no white space.
#[inline]
pub(crate) fn space(bytes: &[u8], at: usize) -> usize {
    // There is none, or one.
    match bytes.get(at..) {
        Some([b' ', next, ..]) if *next > b' ' => at + 1,
        Some([..=b' ', ..]) => beyond_space(bytes, at),
        _ => at,
    }
}

#[inline(never)]
fn beyond_space(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Offset behind the number, `true`, `false` or `null` that starts at `at`.
#[inline]
pub(crate) fn scalar(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let lanes = Lanes::load(chunk);
        let found = lanes.are_below(b'!').or(lanes.equals(b','));
        let found = found.or(lanes.with(0x20).equals(b'}')).bits();
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
    }
    at
}

/// Offset behind the value whose first byte stands at `at`.
#[inline]
pub(crate) fn value(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string(bytes, at + 1).after,
        Some(b'{' | b'[') => container(bytes, at + 1),
        _ => scalar(bytes, at),
    }
}

/// Offset of the next quote or bracket from `at` on, taking what is there to be outside strings.
#[inline]
pub(crate) fn next_structural(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let lanes = Lanes::load(chunk);
        // `[` and `{`, `]` and `}` differ in one bit.
        let folded = lanes.with(0x20);
        let brackets = folded.equals(b'{').or(folded.equals(b'}'));
        let found = lanes.equals(b'"').or(brackets).bits();
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += 16;
    }
    let rest = bytes.get(at..)?;
    let found = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
    Some(at + found)
}

#[inline]
fn find_quote_or_backslash(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let lanes = Lanes::load(chunk);
        let found = lanes.equals(b'"').or(lanes.equals(b'\\')).bits();
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.map_or(bytes.len(), |found| at + found)
}

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// The block that begins at `at`, filled up with spaces behind the text; nothing behind the end.
#[inline]
fn with_block<T>(bytes: &[u8], at: usize, look: impl Fn(&[u8; BLOCK]) -> T) -> Option<T> {
    let rest = bytes.get(at..)?;
    if let Some(block) = rest.first_chunk() {
        return Some(look(block));
    }
    let mut block = [b' '; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    (!rest.is_empty()).then(|| look(&block))
}

/// A bit for each quote in the block that begins at `at`, and whether there is a backslash in it.
#[inline]
pub(super) fn quotes_and_backslashes(bytes: &[u8], at: usize) -> Option<(u64, bool)> {
    with_block(bytes, at, |block| {
        let mut quotes = 0;
        let mut backslash = Lanes::NONE;
        for (at, chunk) in block.as_chunks::<16>().0.iter().enumerate() {
            let lanes = Lanes::load(chunk);
            quotes |= u64::from(lanes.equals(b'"').bits()) << (16 * at);
            backslash = backslash.or(lanes.equals(b'\\'));
        }
        (quotes, backslash.bits() != 0)
    })
}

/// Offset behind the object or array whose opening bracket stands right before `at`.
///
/// Sixty-four bytes become two masks: quotes and brackets. A prefix XOR of the quotes tells what is
/// inside strings; the brackets outside are few, and counted one by one.
#[inline]
pub(crate) fn container(bytes: &[u8], at: usize) -> usize {
    lanes::container(bytes, at)
}

/// The same by sixteen bytes at once.
#[cfg(test)]
pub(super) fn container_narrow(bytes: &[u8], at: usize) -> usize {
    container_by(bytes, at, Masks::of, prefix_xor)
}

/// The same by some way to find the masks and the XOR.
#[inline(always)]
fn container_by(
    bytes: &[u8],
    at: usize,
    masks_of: impl Fn(&[u8; BLOCK]) -> Masks,
    prefix_xor: impl Fn(u64) -> u64,
) -> usize {
    let mut depth = 1_usize;
    let mut at = at;
    let mut in_string = 0_u64;
    let mut escape_pending = false;
    let mut last = [b' '; BLOCK];
    while at < bytes.len() {
        let block = match bytes[at..].first_chunk() {
            Some(block) => block,
            None => {
                let rest = &bytes[at..];
                last[..rest.len()].copy_from_slice(rest);
                &last
            }
        };
        let masks = masks_of(block);
        let mut quotes = masks.quotes;
        if masks.has_backslash || escape_pending {
            quotes &= !escaped(backslashes(block), &mut escape_pending);
        }
        let mut inside = in_string;
        if quotes != 0 {
            inside ^= prefix_xor(quotes);
            in_string = if inside >> 63 == 1 { u64::MAX } else { 0 };
        }
        let mut brackets = masks.brackets & !inside;
        while brackets != 0 {
            let bit = brackets.trailing_zeros() as usize;
            // `{` and `[` have this bit, `}` and `]` have not.
            if block[bit % BLOCK] & 0b10 != 0 {
                depth += 1;
            } else {
                depth -= 1;
                if depth == 0 {
                    return at + bit + 1;
                }
            }
            brackets &= brackets - 1;
        }
        at += BLOCK;
    }
    bytes.len()
}

/// The bytes that an odd run of backslashes stands before; `pending` carries a run over a block's
/// end.
fn escaped(backslashes: u64, pending: &mut bool) -> u64 {
    let mut escaped = 0;
    let mut at = u32::from(*pending);
    if *pending {
        escaped |= 1;
        *pending = false;
    }
    while at < 64 {
        let rest = backslashes >> at;
        if rest == 0 {
            break;
        }
        let bit = at + rest.trailing_zeros();
        if bit == 63 {
            *pending = true;
            break;
        }
        escaped |= 1 << (bit + 1);
        at = bit + 2;
    }
    escaped
}

/// Each bit is the XOR of all bits up to it.
fn prefix_xor(bits: u64) -> u64 {
    let mut bits = bits;
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// What [`container`] needs to know of a block.
#[derive(Debug, PartialEq, Eq)]
struct Masks {
    quotes: u64,
    brackets: u64,
    has_backslash: bool,
}

impl Masks {
    #[inline]
    fn of(block: &[u8; BLOCK]) -> Self {
        let (mut quotes, mut brackets) = (0, 0);
        let mut backslash = Lanes::NONE;
        for (at, chunk) in block.as_chunks::<16>().0.iter().enumerate() {
            let lanes = Lanes::load(chunk);
            // `[` and `{`, `]` and `}` differ in one bit.
            let folded = lanes.with(0x20);
            let bracket = folded.equals(b'{').or(folded.equals(b'}'));
            quotes |= u64::from(lanes.equals(b'"').bits()) << (16 * at);
            brackets |= u64::from(bracket.bits()) << (16 * at);
            backslash = backslash.or(lanes.equals(b'\\'));
        }
        Masks {
            quotes,
            brackets,
            has_backslash: backslash.bits() != 0,
        }
    }
}

/// A bit for each backslash.
fn backslashes(block: &[u8; BLOCK]) -> u64 {
    let chunks = block.as_chunks::<16>().0.iter().enumerate();
    chunks.fold(0, |mask, (at, chunk)| {
        mask | u64::from(Lanes::load(chunk).equals(b'\\').bits()) << (16 * at)
    })
}

/// Sixteen bytes compared at once, by whatever the machine has for it.
#[derive(Clone, Copy)]
struct Lanes(wide::i8x16);

impl Lanes {
    const NONE: Lanes = Lanes(wide::i8x16::ZERO);

    #[inline(always)]
    fn load(chunk: &[u8; 16]) -> Self {
        Lanes(wide::i8x16::new(chunk.map(u8::cast_signed)))
    }

    /// With these bits set in each lane.
    #[inline(always)]
    fn with(self, bits: u8) -> Self {
        Lanes(self.0 | wide::i8x16::splat(bits.cast_signed()))
    }

    #[inline(always)]
    fn or(self, other: Lanes) -> Self {
        Lanes(self.0 | other.0)
    }

    /// The lanes that are less than the byte, or no ASCII.
    #[inline(always)]
    fn are_below(self, byte: u8) -> Self {
        use wide::CmpLt as _;
        Lanes(self.0.cmp_lt(wide::i8x16::splat(byte.cast_signed())))
    }

    /// The lanes that equal the byte.
    #[inline(always)]
    fn equals(self, byte: u8) -> Self {
        use wide::CmpEq as _;
        Lanes(self.0.cmp_eq(wide::i8x16::splat(byte.cast_signed())))
    }

    /// Of compared lanes: a bit for each that holds.
    #[inline(always)]
    fn bits(self) -> u32 {
        self.0.move_mask().cast_unsigned()
    }
}
