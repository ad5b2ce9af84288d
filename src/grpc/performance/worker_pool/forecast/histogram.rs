//! How service times are spread: a decaying histogram, small enough that each class has one.
//!
//! Four buckets to an octave, from a microsecond to half a minute: a quantile is the upper end of its bucket, so it is
//! never below what was counted, and above it by a fourth at most. When it has seen [`MEMORY`] samples every count is
//! halved: what was long ago fades, and the quantile of one in a thousand still rests on several samples.
//!
//! Relaxed loads and stores, and no read-modify-write: two threads that count at once may count as one, and a sample
//! that arrives while the counts are halved may weigh twice as much. Nothing else reads these numbers.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Buckets to an octave, as a power of two.
const STEP_BITS: u32 = 2;
const STEPS: usize = 1 << STEP_BITS;
/// The first octave begins here: 1.024 µs. What is shorter is counted below it.
const FIRST: u32 = 10;
const OCTAVES: usize = 25;
const BUCKETS: usize = 1 + OCTAVES * STEPS;
/// Samples after which the counts are halved.
const MEMORY: u32 = 8192;

pub(super) struct Histogram {
    counts: [AtomicU32; BUCKETS],
    total: AtomicU32,
}

fn bucket(nanoseconds: u64) -> usize {
    let octave = nanoseconds.max(1).ilog2();
    let Some(above) = octave.checked_sub(FIRST) else { return 0 };
    let step = (nanoseconds >> (octave - STEP_BITS)) as usize % STEPS;
    (1 + above as usize * STEPS + step).min(BUCKETS - 1)
}

/// The first time that is too long for a bucket.
fn upper_end(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(1) else { return 1 << FIRST };
    let (octave, step) = (FIRST as usize + above / STEPS, above % STEPS);
    ((STEPS + step + 1) as u64) << (octave - STEP_BITS as usize)
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: [const { AtomicU32::new(0) }; BUCKETS], total: AtomicU32::new(0) }
    }

    /// Counts a sample; says how many there are, as far as they are remembered.
    pub(super) fn count(&self, nanoseconds: u64) -> u32 {
        let count = &self.counts[bucket(nanoseconds)];
        count.store(count.load(Relaxed) + 1, Relaxed);
        let total = self.total.load(Relaxed) + 1;
        self.total.store(total, Relaxed);
        if total >= MEMORY {
            self.fade();
        }
        total
    }

    fn fade(&self) {
        let mut total = 0;
        for count in &self.counts {
            let half = count.load(Relaxed) / 2;
            count.store(half, Relaxed);
            total += half;
        }
        self.total.store(total, Relaxed);
    }

    /// Nanoseconds that this share of the samples took at most; `None` while there are too few to tell.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        let total: u64 = self.counts.iter().map(|count| u64::from(count.load(Relaxed))).sum();
        let beyond = (total as f64 * (1.0 - share)).floor() as u64;
        if beyond == 0 {
            return None;
        }
        let mut left = total - beyond;
        let found = self.counts.iter().position(|count| {
            let count = u64::from(count.load(Relaxed));
            left = left.saturating_sub(count);
            left == 0
        });
        found.map(upper_end)
    }

    /// What the samples beyond this weigh among all, each by the square of its time; 0 while there is none. Those of its
    /// bucket count as beyond, as a [quantile](Self::quantile) in it does.
    pub(super) fn square_share_beyond(&self, nanoseconds: u64) -> f64 {
        let first_beyond = bucket(nanoseconds);
        let (mut all, mut beyond) = (0.0, 0.0);
        for (bucket, count) in self.counts.iter().enumerate() {
            let squares = f64::from(count.load(Relaxed)) * (upper_end(bucket) as f64).powi(2);
            all += squares;
            if bucket >= first_beyond {
                beyond += squares;
            }
        }
        if all > 0.0 { beyond / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_ends_above_its_times_by_a_fourth_at_most(nanoseconds in 1024_u64..30_000_000_000) {
            let end = upper_end(bucket(nanoseconds));
            prop_assert!(nanoseconds < end && end as f64 <= nanoseconds as f64 * 1.25, "{end}");
        }
    }

    #[test]
    fn a_quantile_is_known_once_there_are_samples_beyond_it() {
        let histogram = Histogram::new();
        for _ in 0..990 {
            histogram.count(100_000);
        }
        for _ in 0..9 {
            histogram.count(10_000_000);
        }
        assert_eq!(histogram.quantile(0.999), None);
        histogram.count(1_000_000_000);
        assert!(histogram.quantile(0.5).is_some_and(|median| (100_000..125_000).contains(&median)));
        assert!(histogram.quantile(0.999).is_some_and(|high| (10_000_000..12_500_000).contains(&high)));
    }

    #[test]
    fn times_beyond_a_bound_weigh_by_their_squares() {
        let histogram = Histogram::new();
        assert_eq!(histogram.square_share_beyond(0).to_bits(), 0.0_f64.to_bits(), "there is nothing");
        for _ in 0..100 {
            histogram.count(100_000);
        }
        histogram.count(1_000_000);
        // One of ten times the length is worth a hundred.
        assert!((0.4..0.6).contains(&histogram.square_share_beyond(200_000)));
        assert!(histogram.square_share_beyond(50_000) > 0.99);
        assert!(histogram.square_share_beyond(2_000_000) < 0.01);
    }

    #[test]
    fn what_was_long_ago_fades() {
        let histogram = Histogram::new();
        for _ in 0..MEMORY {
            histogram.count(10_000_000);
        }
        for _ in 0..3 * MEMORY {
            histogram.count(10_000);
        }
        assert!(histogram.quantile(0.5).is_some_and(|median| median < 12_500));
    }
}
