//! The tags of a set: eight bits of each entry's key, all of them in one cache line and compared at once.
//!
//! All is SeqCst, like what is done to the [`slot`](super::slot)s: of two that set a tag, publish, and look round, one at
//! least sees the other's tag and finds what was published behind it. On x86-64 that costs nothing, since a load is
//! a plain one either way, and an exchange locked.

use std::sync::atomic::Ordering::SeqCst;

use super::policy::WAYS;
use crate::platform::atomic::AtomicU64;

/// Tags to a word.
const LANES: usize = 8;

/// One tag for each way; 0 stands for nothing.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Tags([AtomicU64; WAYS / LANES]);

impl Tags {
    /// The ways that have this tag. A tag that was set before this began is seen, and any other need not be.
    #[inline]
    pub(super) fn ways(&self, tag: u8) -> Ways {
        Ways(self.equal(tag))
    }

    /// The ways that have any.
    pub(super) fn present(&self) -> u64 {
        !self.equal(0)
    }

    /// Sixteen at a time. There is no branch to go wrong, wherever the entry lies.
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    #[inline]
    fn equal(&self, tag: u8) -> u64 {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

        let (pairs, _) = self.0.as_chunks::<2>();
        pairs.iter().enumerate().fold(0, |ways, (pair, words)| {
            let [low, high] = [0, 1].map(|n: usize| words[n].load(SeqCst) as i64);
            // SAFETY: these need SSE2, which every x86-64 has, and work on values.
            let equal = unsafe {
                _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_set_epi64x(high, low), _mm_set1_epi8(tag as i8)))
            };
            ways | u64::from(equal as u16) << (pair * 2 * LANES)
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn equal(&self, tag: u8) -> u64 {
        self.equal_by_words(tag)
    }

    /// Eight at a time.
    #[cfg(any(all(test, not(millstream_loom)), not(target_arch = "x86_64")))]
    fn equal_by_words(&self, tag: u8) -> u64 {
        const LOW_BITS: u64 = 0x0101_0101_0101_0101;
        const BELOW: u64 = LOW_BITS * 0x7F;
        let pattern = u64::from(tag) * LOW_BITS;
        self.0.iter().enumerate().fold(0, |ways, (word, tags)| {
            let differences = tags.load(SeqCst) ^ pattern;
            // The lowest bit of each byte that has no other; the multiplication gathers them in the top byte.
            let equal = !(((differences & BELOW) + BELOW) | differences | BELOW) >> 7;
            ways | (equal.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (word * LANES)
        })
    }

    /// Sets the tag of a way that has none, takes it away, or turns it into another, by the difference; the caller has the
    /// claim.
    pub(super) fn flip(&self, way: usize, difference: u8) {
        self.0[way / LANES].fetch_xor(u64::from(difference) << (way % LANES * LANES), SeqCst);
    }
}

/// Some of the ways, one bit each; goes over them from the first on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways(u64);

impl Iterator for Ways {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let way = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (way < WAYS).then_some(way)
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tag_is_found_where_it_was_put_and_nowhere_else(
            tags in prop::collection::vec(prop_oneof![0..4_u8, 126..131_u8, any::<u8>()], WAYS),
            asked in prop_oneof![0..4_u8, 126..131_u8, any::<u8>()],
        ) {
            let set = Tags::default();
            tags.iter().enumerate().for_each(|(way, tag)| set.flip(way, *tag));
            let expected: Vec<usize> = (0..WAYS).filter(|way| tags[*way] == asked).collect();
            prop_assert_eq!(set.ways(asked).collect::<Vec<_>>(), expected);
            prop_assert_eq!(set.equal(asked), set.equal_by_words(asked));
            prop_assert_eq!(set.present().count_ones() as usize, tags.iter().filter(|tag| **tag != 0).count());
        }
    }
}
