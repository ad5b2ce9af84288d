//! Moments as entries keep them: a number, half as large as an [`Instant`], counted from when the store was made.

use std::{
    ops::Add,
    time::{Duration, Instant},
};

use crate::platform::{clock, coarse_clock::coarse_now};

/// How far the coarse clock may lag behind: a hundred times what it does on a healthy machine.
const MOST_LAG: Duration = Duration::from_secs(1);

/// Nanoseconds since the store was made, up to 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Uptime(u64);

impl Uptime {
    /// Later than any moment.
    pub(in super::super) const NEVER: Self = Self(u64::MAX);

    #[inline]
    pub(in super::super) fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    #[inline]
    pub(in super::super) fn nanoseconds(self) -> u64 {
        self.0
    }

    #[inline]
    fn of(time: Duration) -> Self {
        Self(time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos())))
    }
}

impl Add<Duration> for Uptime {
    type Output = Self;

    #[inline]
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(Self::of(time).0))
    }
}

/// When the store was made, by both clocks.
pub(super) struct Origin {
    fine: Instant,
    coarse: Duration,
}

impl Origin {
    pub(super) fn now() -> Self {
        Self::read(coarse_now, clock::now)
    }

    /// In this order: to who is stopped in between, for however long, the coarse clock seems to be ahead, and never behind.
    fn read(coarse: impl FnOnce() -> Duration, fine: impl FnOnce() -> Instant) -> Self {
        let coarse = coarse();
        Self { coarse, fine: fine() }
    }

    /// A moment that was told. What was before the origin is the origin.
    pub(super) fn at(&self, moment: Instant) -> Uptime {
        Uptime::of(moment.saturating_duration_since(self.fine))
    }

    /// A moment that is now, or a little later, by a clock that costs next to nothing.
    #[inline]
    pub(super) fn surely_by_now(&self) -> Uptime {
        self.surely_by(coarse_now())
    }

    #[inline]
    fn surely_by(&self, coarse: Duration) -> Uptime {
        // The clock may have lagged behind at the origin, too: then it seems to go fast, and never slow.
        Uptime::of(coarse.saturating_sub(self.coarse)) + MOST_LAG
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_coarse_clock_is_not_behind_where_the_store_s_maker_was_stopped_between_two_looks_at_a_clock() {
        const STOPPED: Duration = Duration::from_secs(60);
        let (start, time) = (Instant::now(), Cell::new(Duration::ZERO));
        let look = || time.replace(time.get() + STOPPED);
        let origin = Origin::read(look, || start + look());
        for since in [STOPPED, 2 * STOPPED, 100 * STOPPED] {
            assert!(origin.surely_by(since) >= origin.at(start + since), "{since:?}");
        }
    }
}
