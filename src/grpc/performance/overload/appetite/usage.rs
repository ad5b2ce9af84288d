//! CPU time that was used, fading.
//!
//! It is kept as a logarithm, counted up with the time: it need not be touched to fade, and usages of different moments
//! are compared by their difference.

use std::{
    cmp::Ordering,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What counts half.
const HALF_LIFE: Duration = Duration::from_secs(1);
/// Who has used less, in nanoseconds, counts as having used that: nobody is greedy beside next to nothing.
pub(super) const FLOOR: f64 = 1e6;
/// So small a part of that says that somebody has gone.
const GONE: f64 = 1.0 / 1024.0;

/// Bits of a usage where room is scarce: parts of an octave, and half-lives for a century.
pub(super) const COARSE_BITS: u32 = 40;
const PARTS: f64 = 256.0;

/// The binary logarithm of what is left of its nanoseconds, and one more for each
/// half-life since the start of time. The default is next to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage(f64);

impl Usage {
    pub(super) fn of(nanoseconds: f64, now: Duration) -> Self {
        Self(nanoseconds.max(1.0).log2() + Self::half_lives(now))
    }

    fn half_lives(now: Duration) -> f64 {
        now.as_secs_f64() / HALF_LIFE.as_secs_f64()
    }

    /// What is left of it, in nanoseconds.
    pub(super) fn left(self, now: Duration) -> f64 {
        (self.0 - Self::half_lives(now)).exp2()
    }

    /// With so much more, or less.
    pub(super) fn changed(self, nanoseconds: i64, now: Duration) -> Self {
        Self::of(self.left(now) + nanoseconds as f64, now)
    }

    /// How many times as much as another.
    pub(super) fn times(self, other: Self) -> f64 {
        (self.0 - other.0).exp2()
    }

    /// The greater of it and so many nanoseconds at this moment.
    pub(super) fn at_least(self, nanoseconds: f64, now: Duration) -> Self {
        Self(self.0.max(Self::of(nanoseconds, now).0))
    }

    /// As one of two that are put in order.
    pub(super) fn order(self, other: Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }

    /// As a number of [`COARSE_BITS`] bits.
    pub(super) fn coarse(self) -> u64 {
        ((self.0 * PARTS) as u64) & ((1 << COARSE_BITS) - 1)
    }

    /// What [`coarse`](Self::coarse) has left of it.
    pub(super) fn from_coarse(coarse: u64) -> Self {
        Self(coarse as f64 / PARTS)
    }

    /// So little is left that whoever has used it has gone.
    pub(super) fn is_gone(self, now: Duration) -> bool {
        self.0 < Self::of(FLOOR * GONE, now).0
    }
}

/// What several streams have used together. Relaxed, as all of this: it steers, and publishes nothing.
#[derive(Debug, Default)]
pub(super) struct SharedUsage(AtomicU64);

impl SharedUsage {
    pub(super) fn get(&self) -> Usage {
        Usage(f64::from_bits(self.0.load(Relaxed)))
    }

    /// Adds to it, or gives it up when somebody else does so at the same moment.
    pub(super) fn try_change(&self, nanoseconds: i64, now: Duration) -> bool {
        let before = self.get();
        let after = before.changed(nanoseconds, now);
        self.0.compare_exchange(before.0.to_bits(), after.0.to_bits(), Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_fades_by_half_in_its_time_and_what_was_small_is_not_lost() {
        let now = Duration::from_secs(10_000_000);
        let shared = SharedUsage::default();
        (0..10_000).for_each(|_| assert!(shared.try_change(1000, now)));
        let left = shared.get().left(now + HALF_LIFE);
        assert!((left - 5e6).abs() < 5e3, "{left}");
    }
}
