//! `backpressure_threshold` and `backpressure_window`: load that lasts is held back, bursts are not.
//!
//! The load (the share of the capacity that is taken) is averaged with exponential decay over the window. While the
//! average is at or above the threshold, only that share of the capacity is open; else all of it is.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::platform::clock;

/// Milliseconds that a sample may be older than the one before it.
const MOST_LATE: u32 = 3_600_000;

/// The average, as bits of an `f32`, over the time of its last update in milliseconds since `start`. A lost update is
/// one sample less, so relaxed accesses and a single try are enough: the word carries no other data. It stays the standard
/// library's under loom too: time is no part of a model.
pub(super) struct Pressure {
    word: AtomicU64,
    start: Instant,
    threshold: f64,
    window: Duration,
}

impl Pressure {
    pub(super) fn new(threshold: f64, window: Duration) -> Self {
        Self { word: AtomicU64::new(0), start: clock::now(), threshold, window }
    }

    /// Takes a sample of the load, if it is time for one, and says which share of the capacity is open.
    pub(super) fn open_share(&self, load: impl FnOnce() -> f32, now: Instant) -> f64 {
        if f64::from(self.average(load, now)) >= self.threshold { self.threshold } else { 1.0 }
    }

    fn average(&self, load: impl FnOnce() -> f32, now: Instant) -> f32 {
        let word = self.word.load(Relaxed);
        let average = f32::from_bits((word >> 32) as u32);
        // Wraps after 49 days, and then takes one sample at the wrong weight. A sample of a thread that was stopped on its way
        // here may be older than the last.
        let time = now.saturating_duration_since(self.start).as_millis() as u32;
        let elapsed = time.wrapping_sub(word as u32);
        if elapsed == 0 || elapsed > u32::MAX - MOST_LATE {
            return average;
        }
        let weight = 1.0 - (-(elapsed as f32) / (self.window.as_secs_f32() * 1000.0)).exp();
        let updated = average + (load() - average) * weight;
        let new_word = u64::from(updated.to_bits()) << 32 | u64::from(time);
        // Somebody else's sample of the same moment is as good.
        let _ = self.word.compare_exchange(word, new_word, Relaxed, Relaxed);
        updated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_lasts_is_held_back_until_it_is_over() {
        let window = Duration::from_millis(100);
        let pressure = Pressure::new(0.5, window);
        let at = |ms| pressure.start + Duration::from_millis(ms);
        assert_eq!(pressure.open_share(|| 0.0, at(10)), 1.0);
        assert_eq!(pressure.open_share(|| 1.0, at(12)), 1.0, "2 ms of full load in a window of 100");
        assert_eq!(pressure.open_share(|| 1.0, at(312)), 0.5, "three windows of full load");
        assert_eq!(pressure.open_share(|| 0.0, at(612)), 1.0, "three windows of calm");
    }

    #[test]
    fn a_pause_of_weeks_is_a_pause_and_a_sample_that_comes_late_is_none() {
        let pressure = Pressure::new(0.5, Duration::from_millis(100));
        let month = pressure.start + Duration::from_secs(30 * 24 * 3600);
        assert_eq!(pressure.open_share(|| 1.0, month), 0.5);
        assert_eq!(pressure.open_share(|| 0.0, month - Duration::from_secs(60)), 0.5);
        assert_eq!(pressure.open_share(|| 0.0, month + Duration::from_secs(1)), 1.0);
    }

    #[test]
    fn a_threshold_of_one_opens_everything_always() {
        let pressure = Pressure::new(1.0, Duration::from_millis(1));
        let late = pressure.start + Duration::from_secs(1);
        assert_eq!(pressure.open_share(|| 1.0, late), 1.0);
    }
}
