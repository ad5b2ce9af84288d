//! A hint to the processor about what is read soon, so that it comes while something else is done.

/// The cache line that this points into is read soon. It need not be there.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[allow(unsafe_code)]
#[inline]
pub(crate) fn prefetch<T>(at: *const T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    // SAFETY: it needs SSE, which every x86-64 has, and reads nothing that the program could see.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

/// The same for one that is written soon.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[allow(unsafe_code)]
#[inline]
pub(crate) fn prefetch_to_write<T>(at: *const T) {
    // The intrinsic becomes the other hint where the compiler is not told that there is this one.
    // SAFETY: every x86-64 knows the instruction, if only as one that does nothing; it changes nothing that the program could
    // see, and faults at no address.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
}

/// Where the compiler knows of no such hint.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) fn prefetch<T>(_at: *const T) {}

/// The same.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) fn prefetch_to_write<T>(_at: *const T) {}
