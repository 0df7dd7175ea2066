//! The widest comparisons that the machine has, found out when the program runs. One of two files with an
//! `unsafe` line: a function compiled for instructions that not every machine has must not be called
//! where they are missing.
//!
//! Obligation: `container_avx2` is called only after the processor has been asked for every feature
//! that the function is compiled with. Nothing else here is unsafe: bytes are read through slices and
//! no pointer is made. Skipping containers took 17 % of the instructions of matching by numbers behind
//! an array, and takes half of that with this.

/// [`super::container`] by thirty-two bytes at once; `None` where the machine cannot do that.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn container_by_wide_lanes(bytes: &[u8], at: usize) -> Option<usize> {
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("pclmulqdq")
    {
        // SAFETY: the three features that it is compiled with are there, as was just asked.
        #[allow(unsafe_code, reason = "see the head of this file")]
        return Some(unsafe { x86::container_avx2(bytes, at) });
    }
    None
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn container_by_wide_lanes(_: &[u8], _: usize) -> Option<usize> {
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
        _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_epi64x,
        _mm256_set1_epi8, _mm256_setzero_si256,
    };

    use super::super::{BLOCK, Masks, container_by};

    #[target_feature(enable = "avx2,bmi1,pclmulqdq")]
    pub(super) fn container_avx2(bytes: &[u8], at: usize) -> usize {
        container_by(bytes, at, |block| masks(block), |bits| prefix_xor(bits))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn masks(block: &[u8; BLOCK]) -> Masks {
        let (mut quotes, mut brackets) = (0, 0);
        let mut backslash = _mm256_setzero_si256();
        let splat = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
        let bits = |lanes: __m256i| u64::from(_mm256_movemask_epi8(lanes).cast_unsigned());
        for (at, chunk) in block.as_chunks::<32>().0.iter().enumerate() {
            // One load, once compiled.
            let words = chunk.as_chunks::<8>().0;
            let word = |at: usize| i64::from_le_bytes(words[at]);
            let lanes = _mm256_set_epi64x(word(3), word(2), word(1), word(0));
            // `[` and `{`, `]` and `}` differ in one bit.
            let folded = _mm256_or_si256(lanes, splat(0x20));
            let bracket = _mm256_or_si256(
                _mm256_cmpeq_epi8(folded, splat(b'{')),
                _mm256_cmpeq_epi8(folded, splat(b'}')),
            );
            quotes |= bits(_mm256_cmpeq_epi8(lanes, splat(b'"'))) << (32 * at);
            brackets |= bits(bracket) << (32 * at);
            backslash = _mm256_or_si256(backslash, _mm256_cmpeq_epi8(lanes, splat(b'\\')));
        }
        Masks {
            quotes,
            brackets,
            has_backslash: bits(backslash) != 0,
        }
    }

    /// Each bit is the XOR of all bits up to it: a product without carries with all ones.
    #[target_feature(enable = "pclmulqdq")]
    #[inline]
    fn prefix_xor(bits: u64) -> u64 {
        let bits = _mm_set_epi64x(0, bits.cast_signed());
        let product = _mm_clmulepi64_si128::<0>(bits, _mm_set1_epi8(-1));
        _mm_cvtsi128_si64(product).cast_unsigned()
    }
}
