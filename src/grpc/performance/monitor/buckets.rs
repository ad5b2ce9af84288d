//! Which bucket a time falls into.
//!
//! Times are counted in nanoseconds, in octaves of [`BINS`] bins each. Up to 255 ns each value has a bin of its own;
//! above that an octave runs from a power of two to the next, and its bins are as wide as it takes:
//! ```text
//!  octave   from      to          width of a bin
//!  0        0         127         1
//!  1        128       255         1
//!  2        256       511         2
//!  3        512       1023        4
//!  ...
//!  40       2^46      2^47 - 1    2^39
//! ```
//! So a bin is never wider than 1/128 of the least value in it, 0.8%. The last octave ends at 39 hours, past the
//! longest `worker_timeout`; what is longer is counted in the last bin.
//!
//! These are also the buckets of an [`hdrhistogram::Histogram`] of [`SIGNIFICANT_DIGITS`], so that counts move
//! there without loss: its percentiles are those it would have had if it had been given the times themselves.

/// Of the [`hdrhistogram::Histogram`] with the same buckets.
pub(super) const SIGNIFICANT_DIGITS: u8 = 2;
/// Bins in an octave, as a power of two: the least for which a bin is within 1% of its values.
const BIN_BITS: u32 = 7;
/// Bins in an octave.
pub(super) const BINS: usize = 1 << BIN_BITS;
/// Octaves up to [`HIGHEST`].
pub(super) const OCTAVES: usize = 41;
/// The longest time that has a bin, in nanoseconds.
pub(super) const HIGHEST: u64 = (1 << (BIN_BITS as usize + OCTAVES - 1)) - 1;

/// Where a time is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket {
    pub(super) octave: usize,
    pub(super) bin: usize,
}

impl Bucket {
    /// The bucket of a time of at most [`HIGHEST`] nanoseconds.
    #[inline]
    pub(super) fn of(nanos: u64) -> Self {
        // The first octave holds everything below its size.
        let magnitude = (nanos | (BINS as u64 - 1)).ilog2();
        let octave = (magnitude + 1 - BIN_BITS) as usize;
        let bin = (nanos >> width_bits(octave)) as usize % BINS;
        Self { octave, bin }
    }

    /// The shortest time in this bucket, in nanoseconds.
    pub(super) fn lowest(self) -> u64 {
        let first = if self.octave == 0 { 0 } else { BINS };
        ((first + self.bin) as u64) << width_bits(self.octave)
    }
}

/// The width of an octave's bins, as a power of two.
#[inline]
fn width_bits(octave: usize) -> u32 {
    (octave as u32).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    use super::*;

    /// Times of all magnitudes.
    fn nanos() -> impl Strategy<Value = u64> {
        (0..48_u32, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1))
    }

    #[test]
    fn the_last_bucket_ends_at_the_highest_time_which_is_longer_than_any_timeout() {
        assert_eq!(Bucket::of(HIGHEST), Bucket { octave: OCTAVES - 1, bin: BINS - 1 });
        const { assert!(HIGHEST > 24 * 3600 * 1_000_000_000) };
    }

    #[test]
    fn every_bucket_begins_right_after_the_one_before() {
        let mut expected = 0;
        for octave in 0..OCTAVES {
            for bin in 0..BINS {
                let bucket = Bucket { octave, bin };
                assert_eq!(bucket.lowest(), expected);
                assert_eq!(Bucket::of(expected), bucket);
                expected += 1 << width_bits(octave);
                assert_eq!(Bucket::of(expected - 1), bucket);
            }
        }
        assert_eq!(expected - 1, HIGHEST);
    }

    proptest! {
        #[test]
        fn a_bucket_is_within_one_percent_of_each_time_in_it(nanos in nanos()) {
            let bucket = Bucket::of(nanos);
            let lowest = bucket.lowest();
            let highest = lowest + (1 << width_bits(bucket.octave)) - 1;
            prop_assert!(lowest <= nanos && nanos <= highest);
            prop_assert!((highest - lowest) as f64 <= 0.01 * lowest as f64);
        }

        #[test]
        fn a_longer_time_is_never_in_an_earlier_bucket(one in nanos(), other in nanos()) {
            let (short, long) = (one.min(other), one.max(other));
            prop_assert!(Bucket::of(short) <= Bucket::of(long));
        }

        #[test]
        fn the_buckets_are_those_of_the_library(nanos in nanos()) {
            let histogram = Histogram::<u64>::new_with_bounds(1, HIGHEST, SIGNIFICANT_DIGITS).unwrap();
            prop_assert_eq!(Bucket::of(nanos).lowest(), histogram.lowest_equivalent(nanos));
        }
    }
}
