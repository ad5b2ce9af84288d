//! How bad it is, in words, with hysteresis: levels that are reported, and that others act on.
//!
//! ```text
//!            load ≥ overload_warning      ≥ overload_critical      ≥ overload_emergency
//!  NORMAL ──────────────▶ WARNING ──────────────▶ CRITICAL ──────────────▶ EMERGENCY      at once
//!         ◀────────────── ◀─────────────────────── ◀──────────────────────
//!            one step for each interval in which the load stayed below 0.7 of what led there
//! ```
//! The load is that of [`QueueControl`](super::QueueControl). Up goes at once, since each moment of too much work costs
//! the moments after it; down goes slowly, so that what a level switches off is not switched on and off at the edge.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The load must fall below this share of a level's threshold to leave the level.
const LEAVES_BELOW: f64 = 0.7;

/// How much more comes than can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum OverloadLevel {
    /// All is well.
    #[default]
    Normal,
    /// Everybody waits: messages travel one by one.
    Warning,
    /// Everybody waits for too long: nothing is computed that nobody asked for, and nothing is compressed.
    Critical,
    /// Nothing helps any more but to do less: what is least urgent is refused.
    Emergency,
}

impl OverloadLevel {
    /// All of them, from the best to the worst.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Warning, Self::Critical, Self::Emergency];

    /// In a word, as figures show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }
}

impl fmt::Display for OverloadLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bits that name the level; the rest are microseconds.
const LEVEL_BITS: u32 = 2;

/// The level, and since when the load has been low enough to leave it: one word, whose updates are single tries. A lost
/// one is one look less.
#[derive(Debug)]
pub(crate) struct Levels {
    word: AtomicU64,
    thresholds: [f64; 3],
    hold: Duration,
}

impl Levels {
    /// Levels that begin at these loads, and are held for so long.
    pub(crate) fn new(thresholds: [f64; 3], hold: Duration) -> Self {
        Self { word: AtomicU64::new(0), thresholds, hold }
    }

    /// The level that was found last.
    pub(crate) fn get(&self) -> OverloadLevel {
        Self::level(self.word.load(Relaxed))
    }

    fn level(word: u64) -> OverloadLevel {
        OverloadLevel::ALL[(word & ((1 << LEVEL_BITS) - 1)) as usize]
    }

    fn pack(level: OverloadLevel, since: Duration) -> u64 {
        (since.as_micros() as u64) << LEVEL_BITS | level as u64
    }

    /// A look at the load; gives the level before and after.
    pub(crate) fn observe(&self, load: f64, now: Duration) -> (OverloadLevel, OverloadLevel) {
        let word = self.word.load(Relaxed);
        let before = Self::level(word);
        let low_since = Duration::from_micros(word >> LEVEL_BITS);
        let reached = self.thresholds.iter().filter(|&&threshold| load >= threshold).count();
        let (reached, at) = (OverloadLevel::ALL[reached], before as usize);
        let (after, since) = if reached > before {
            (reached, now)
        } else if at == 0 {
            return (before, before);
        } else if load >= self.thresholds[at - 1] * LEAVES_BELOW {
            (before, now)
        } else {
            // Where nobody has looked for long, nothing has happened, and several steps are due.
            let held = now.saturating_sub(low_since).as_nanos() / self.hold.as_nanos().max(1);
            let lowest =
                self.thresholds.iter().filter(|&&threshold| load >= threshold * LEAVES_BELOW).count();
            let after = at.saturating_sub(usize::try_from(held).unwrap_or(at)).max(lowest);
            if after == at {
                return (before, before);
            }
            (OverloadLevel::ALL[after], now)
        };
        // Somebody else's look at the same moment is as good.
        match self.word.compare_exchange(word, Self::pack(after, since), Relaxed, Relaxed) {
            Ok(_) => (before, after),
            Err(current) => (Self::level(current), Self::level(current)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OverloadLevel::*;

    const HOLD: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn up_goes_at_once_and_down_a_step_at_a_time() {
        let levels = Levels::new([0.5, 1.0, 2.0], HOLD);
        assert_eq!(levels.observe(0.4, at(1)), (Normal, Normal));
        assert_eq!(levels.observe(3.0, at(2)), (Normal, Emergency));
        assert_eq!(levels.observe(0.0, at(50)), (Emergency, Emergency), "not yet");
        assert_eq!(levels.observe(0.0, at(102)), (Emergency, Critical));
        assert_eq!(levels.observe(0.0, at(202)), (Critical, Warning));
        assert_eq!(levels.observe(0.0, at(302)), (Warning, Normal));
        assert_eq!(levels.get(), Normal);
    }

    #[test]
    fn after_a_pause_all_steps_are_taken_at_once_down_to_what_the_load_still_is() {
        let levels = Levels::new([0.5, 1.0, 2.0], HOLD);
        levels.observe(3.0, at(0));
        assert_eq!(levels.observe(0.8, at(5000)), (Emergency, Critical));
        assert_eq!(levels.observe(0.0, at(9000)), (Critical, Normal));
    }

    #[test]
    fn at_the_edge_a_level_stays() {
        let levels = Levels::new([0.5, 1.0, 2.0], HOLD);
        levels.observe(1.0, at(0));
        for ms in 1..1000 {
            let load = if ms % 2 == 0 { 1.1 } else { 0.75 };
            assert_eq!(levels.observe(load, at(ms)).1, Critical);
        }
        assert_eq!(levels.observe(0.6, at(1100)), (Critical, Warning));
        assert_eq!(levels.observe(0.6, at(1300)).1, Warning, "below its threshold, and not far enough");
    }
}
