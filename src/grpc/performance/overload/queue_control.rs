//! The controller of the wait, for messages that have no deadline: CoDel in the form that folly gave it.
//!
//! A queue that is never empty for long has a *standing* wait: even the least wait of an interval is above the target.
//! While that is so, what has waited for twice the target is dropped when its turn comes. A burst is none: it drains, and
//! somebody hardly waits. (K. Nichols and V. Jacobson, "Controlling Queue Delay", 2012; folly's `Codel` drops by the
//! wait of each, where the paper drops ever more often: that is steadier for requests, which do not slow down.)
//!
//! **States.** Time is cut into intervals. Whoever is the first to come after the end of one (one compare-exchange) reads
//! its least wait, decides for the next one, and is not dropped itself. An interval in which nobody came says nothing.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::nanoseconds;

/// A wait of so many targets is too long while the queue stands (folly's `sloughTimeout`).
const SLOUGH: u32 = 2;

/// The wait that is all right: so many mean service times, within bounds.
pub(crate) fn target(mean_service: Duration, services: f64, least: Duration, most: Duration) -> Duration {
    // Clamped as numbers: the product may be longer than any Duration.
    let seconds = mean_service.as_secs_f64() * services;
    Duration::from_secs_f64(seconds.clamp(least.as_secs_f64(), most.as_secs_f64()))
}

/// The controller of one queue.
#[derive(Debug)]
pub(crate) struct QueueControl {
    interval: u64,
    /// When the running interval ends. 0: nobody has come yet.
    end: AtomicU64,
    /// The least wait of the running interval.
    least: AtomicU64,
    /// The least wait of the last one.
    standing: AtomicU64,
    overloaded: AtomicBool,
}

impl QueueControl {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval: nanoseconds(interval).max(1),
            end: AtomicU64::new(0),
            least: AtomicU64::new(0),
            standing: AtomicU64::new(0),
            overloaded: AtomicBool::new(false),
        }
    }

    /// Somebody's turn has come after a wait; true when it was too long.
    pub(crate) fn dequeued(&self, now: Duration, wait: Duration, target: Duration) -> bool {
        let (now, waited) = (nanoseconds(now), nanoseconds(wait));
        let end = self.end.load(Relaxed);
        if now >= end && self.end.compare_exchange(end, now + self.interval, Relaxed, Relaxed).is_ok() {
            let least = self.least.swap(waited, Relaxed);
            // Nobody came for a whole interval, or ever: what was is over.
            let known = end > 0 && now - end <= self.interval;
            let standing = if known { least } else { 0 };
            self.standing.store(standing, Relaxed);
            self.overloaded.store(standing > nanoseconds(target), Relaxed);
            return false;
        }
        if waited < self.least.load(Relaxed) {
            self.least.fetch_min(waited, Relaxed);
        }
        self.is_too_long(wait, target)
    }

    /// Whether a wait, gone through or predicted, is too long by what the last interval has shown.
    pub(crate) fn is_too_long(&self, wait: Duration, target: Duration) -> bool {
        self.overloaded.load(Relaxed) && wait > target * SLOUGH
    }

    /// The least wait of the last interval, if anybody has come lately.
    pub(crate) fn standing_wait(&self, now: Duration) -> Option<Duration> {
        let end = self.end.load(Relaxed);
        let lately = end > 0 && nanoseconds(now).saturating_sub(end) <= self.interval;
        lately.then(|| Duration::from_nanos(self.standing.load(Relaxed)))
    }

    /// The load that a wait stands for: 1 is where waits begin to be too long. (folly's `getLoad`, without its cap.)
    pub(crate) fn load(wait: Duration, target: Duration) -> f64 {
        wait.as_secs_f64() / (target * SLOUGH).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const TARGET: Duration = Duration::from_millis(5);

    /// One comes every millisecond, from `from` to `to`, after a wait of `wait`; how many waited too long.
    fn come(control: &QueueControl, from: u32, to: u32, wait: u32) -> usize {
        (from..to).filter(|&at| control.dequeued(at * MS, wait * MS, TARGET)).count()
    }

    #[test]
    fn a_burst_is_let_through_and_what_stands_is_dropped_until_it_has_drained() {
        let control = QueueControl::new(100 * MS);
        assert_eq!(come(&control, 1, 100, 30), 0, "nothing is known of the first interval");
        assert!(come(&control, 100, 300, 30) > 150, "the least wait of an interval was 30 ms");
        assert_eq!(control.standing_wait(299 * MS), Some(30 * MS));
        assert!(control.is_too_long(11 * MS, TARGET) && !control.is_too_long(10 * MS, TARGET));
        come(&control, 300, 420, 1);
        assert_eq!(come(&control, 420, 600, 30), 0, "somebody waited for a millisecond only");
    }

    #[test]
    fn one_short_wait_in_an_interval_is_enough() {
        let control = QueueControl::new(100 * MS);
        for at in 1..1000 {
            let wait = if at % 50 == 0 { MS } else { 40 * MS };
            assert!(!control.dequeued(at * MS, wait, TARGET));
        }
    }

    #[test]
    fn what_was_before_a_pause_does_not_count() {
        let control = QueueControl::new(100 * MS);
        come(&control, 1, 300, 30);
        assert_eq!(control.standing_wait(600 * MS), None);
        assert_eq!(come(&control, 600, 700, 30), 0);
    }

    #[test]
    fn the_target_is_so_many_services_within_its_bounds() {
        let target = |mean| target(mean, 5.0, MS, 1000 * MS);
        assert_eq!(target(Duration::ZERO), MS);
        assert_eq!(target(Duration::from_micros(10)), MS);
        assert_eq!(target(10 * MS), 50 * MS);
        assert_eq!(target(Duration::MAX), 1000 * MS);
    }

    #[test]
    fn the_load_is_one_where_waits_begin_to_be_too_long() {
        assert_eq!(QueueControl::load(TARGET, TARGET), 0.5);
        assert_eq!(QueueControl::load(10 * MS, TARGET), 1.0);
    }
}
