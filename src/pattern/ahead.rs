//! Asks the processor for memory that is needed soon, without waiting for it.
//!
//! Reading a word for nothing asks for it too, but what is begun after such a read cannot be ended
//! before it: after a few the processor stands still until the first one has come. With a million
//! rules an event's keys are in some forty lines of memory that are not in the cache, and asking this
//! way took a fifth of the time off matching.
//!
//! Obligation of the `unsafe` line: none is left. The instruction reads and writes nothing that a
//! program can see, and never faults, whatever the address; this one is a reference's, so it is valid
//! besides. It is part of every x86-64 processor.

/// Asks for the line of the cache that a value begins in; on other processors than x86-64 nothing is
/// done.
#[inline(always)]
pub(crate) fn ask_for<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = std::ptr::from_ref(value).cast();
        // SAFETY: it cannot be misused: see the head of this file.
        #[allow(unsafe_code, reason = "see the head of this file")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(address);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
