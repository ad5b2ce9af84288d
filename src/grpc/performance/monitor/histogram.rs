//! The times of one stage and class on one thread, and what becomes of them when threads are put together.

use std::time::Duration;

use hdrhistogram::Histogram;
use once_cell::race::OnceBox;

use super::{
    buckets::{BINS, Bucket, HIGHEST, OCTAVES, SIGNIFICANT_DIGITS},
    tally::Tally,
};

type Octave = [Tally; BINS];

/// The times that one thread recorded. An octave takes its kilobyte of counts with its first time; times of one kind
/// of work lie in ten octaves or so, and once those are there recording allocates nothing.
///
/// [`record`](Self::record) is the owning thread's; any thread may read (see [`tally`](super::tally)). An octave is
/// published by one store of a pointer, so that nobody ever waits for one.
#[derive(Debug)]
pub(super) struct Times {
    octaves: [OnceBox<Octave>; OCTAVES],
    total: Tally,
    longest: Tally,
    clamped: Tally,
}

impl Times {
    pub(super) const fn new() -> Self {
        Self {
            octaves: [const { OnceBox::new() }; OCTAVES],
            total: Tally::new(),
            longest: Tally::new(),
            clamped: Tally::new(),
        }
    }

    /// Counts one time.
    #[inline]
    pub(super) fn record(&self, nanos: u64) {
        let within = if nanos <= HIGHEST { nanos } else { self.clamp() };
        let Bucket { octave, bin } = Bucket::of(within);
        let octave = self.octaves[octave].get_or_init(|| Box::new([const { Tally::new() }; BINS]));
        octave[bin].add(1);
        self.total.add(nanos);
        self.longest.raise_to(nanos);
    }

    #[cold]
    fn clamp(&self) -> u64 {
        self.clamped.add(1);
        HIGHEST
    }

    /// Adds what was recorded here to `merged`.
    pub(super) fn add_to(&self, merged: &mut MergedTimes) {
        // A count may be seen before the longest time that belongs to it.
        let mut longest = 0;
        for (octave, tallies) in self.octaves.iter().enumerate() {
            let tallies = tallies.get().into_iter().flat_map(|tallies| tallies.iter());
            for (bin, tally) in tallies.enumerate() {
                let count = tally.read();
                if count > 0 {
                    let nanos = Bucket { octave, bin }.lowest();
                    merged
                        .histogram
                        .record_n(nanos, count)
                        .expect("the histogram reaches as far as the buckets");
                    longest = nanos;
                }
            }
        }
        merged.total += Duration::from_nanos(self.total.read());
        merged.longest = merged.longest.max(Duration::from_nanos(longest.max(self.longest.read())));
        merged.clamped += self.clamped.read();
    }
}

/// The times of several threads.
#[derive(Debug)]
pub(super) struct MergedTimes {
    pub(super) histogram: Histogram<u64>,
    pub(super) total: Duration,
    pub(super) longest: Duration,
    pub(super) clamped: u64,
}

impl MergedTimes {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST, SIGNIFICANT_DIGITS)
            .expect("the bounds and digits are what the library allows");
        Self { histogram, total: Duration::ZERO, longest: Duration::ZERO, clamped: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(times: &Times) -> MergedTimes {
        let mut merged = MergedTimes::new();
        times.add_to(&mut merged);
        merged
    }

    #[test]
    fn total_and_longest_are_exact() {
        let times = Times::new();
        for nanos in [1_000_003, 7, 123_456_789] {
            times.record(nanos);
        }
        let merged = merged(&times);
        assert_eq!(merged.total, Duration::from_nanos(1_000_003 + 7 + 123_456_789));
        assert_eq!(merged.longest, Duration::from_nanos(123_456_789));
        assert_eq!((merged.histogram.len(), merged.clamped), (3, 0));
    }

    #[test]
    fn a_time_beyond_the_last_bucket_is_counted_there_and_said_to_be_clamped() {
        let times = Times::new();
        times.record(HIGHEST);
        times.record(HIGHEST + 1);
        times.record(u64::MAX / 2);
        let merged = merged(&times);
        assert_eq!((merged.histogram.count_at(HIGHEST), merged.clamped), (3, 2));
        assert_eq!(merged.longest, Duration::from_nanos(u64::MAX / 2));
    }

    #[test]
    fn memory_is_taken_for_the_octaves_that_occur_only() {
        let times = Times::new();
        for nanos in [1_000_000, 1_040_000, 1_050_000] {
            times.record(nanos);
        }
        assert_eq!(times.octaves.iter().filter(|octave| octave.get().is_some()).count(), 2);
    }
}
