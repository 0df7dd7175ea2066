//! Passes over parts of valid JSON without reading them, sixteen and sixty-four bytes at a time.
//!
//! All functions take offsets and give offsets. On bytes that are no valid JSON they give some
//! offset within the bytes: nothing here panics or runs on for ever.

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
        let found = lanes.below(b'!') | lanes.equal(b',') | lanes.or(0x20).equal(b'}');
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
        let folded = lanes.or(0x20);
        let found = lanes.equal(b'"') | folded.equal(b'{') | folded.equal(b'}');
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
        let found = lanes.equal(b'"') | lanes.equal(b'\\');
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
    found.map_or(bytes.len(), |found| at + found)
}

/// Offset behind the object or array whose opening bracket stands right before `at`.
///
/// Sixty-four bytes become four masks: quotes, backslashes, opening and closing brackets. A prefix
/// XOR of the quotes tells what is inside strings.
pub(crate) fn container(bytes: &[u8], at: usize) -> usize {
    let mut depth = 1;
    let mut at = at;
    let mut in_string = 0_u64;
    let mut escape_pending = false;
    while at < bytes.len() {
        let masks = match bytes.get(at..).and_then(<[u8]>::first_chunk::<64>) {
            Some(block) => Masks::of(block),
            None => {
                let mut block = [b' '; 64];
                let rest = &bytes[at..];
                block[..rest.len()].copy_from_slice(rest);
                Masks::of(&block)
            }
        };
        let mut quotes = masks.quotes;
        if masks.backslashes != 0 || escape_pending {
            quotes &= !escaped(masks.backslashes, &mut escape_pending);
        }
        let inside = prefix_xor(quotes) ^ in_string;
        in_string = if inside >> 63 == 1 { u64::MAX } else { 0 };
        let opens = masks.opens & !inside;
        let mut closes = masks.closes & !inside;
        if closes.count_ones() < depth {
            depth += opens.count_ones();
            depth -= closes.count_ones();
        } else {
            // The end may be in this block: look at each closing bracket, counting what opened
            // before it.
            let mut closed = 0;
            while closes != 0 {
                let bit = closes.trailing_zeros();
                closed += 1;
                let opened = (opens & ((1_u64 << bit) - 1)).count_ones();
                if depth + opened == closed {
                    return at + bit as usize + 1;
                }
                closes &= closes - 1;
            }
            depth = depth + opens.count_ones() - closed;
        }
        at += 64;
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

struct Masks {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
}

impl Masks {
    #[inline]
    fn of(block: &[u8; 64]) -> Self {
        let mut masks = Masks {
            quotes: 0,
            backslashes: 0,
            opens: 0,
            closes: 0,
        };
        for (at, chunk) in block.as_chunks::<16>().0.iter().enumerate() {
            let lanes = Lanes::load(chunk);
            let folded = lanes.or(0x20);
            let shift = 16 * at;
            masks.quotes |= u64::from(lanes.equal(b'"')) << shift;
            masks.backslashes |= u64::from(lanes.equal(b'\\')) << shift;
            masks.opens |= u64::from(folded.equal(b'{')) << shift;
            masks.closes |= u64::from(folded.equal(b'}')) << shift;
        }
        masks
    }
}

/// Sixteen bytes compared at once, by whatever the machine has for it.
#[derive(Clone, Copy)]
struct Lanes(wide::i8x16);

impl Lanes {
    #[inline(always)]
    fn load(chunk: &[u8; 16]) -> Self {
        Lanes(wide::i8x16::new(chunk.map(u8::cast_signed)))
    }

    #[inline(always)]
    fn or(self, byte: u8) -> Self {
        Lanes(self.0 | wide::i8x16::splat(byte.cast_signed()))
    }

    /// A bit for each lane that is less than the byte, or no ASCII.
    #[inline(always)]
    fn below(self, byte: u8) -> u32 {
        use wide::CmpLt as _;
        let below = self.0.cmp_lt(wide::i8x16::splat(byte.cast_signed()));
        below.move_mask().cast_unsigned()
    }

    /// A bit for each lane that equals the byte.
    #[inline(always)]
    fn equal(self, byte: u8) -> u32 {
        use wide::CmpEq as _;
        let equal = self.0.cmp_eq(wide::i8x16::splat(byte.cast_signed()));
        equal.move_mask().cast_unsigned()
    }
}
