//! How much of a core messages of a class take: their own time, by the CPU clock of their thread.
//!
//! Who decides whether a class may be run on an I/O thread wants to know how long it would keep that thread by itself. The
//! wall clock does not tell: of a thousand messages of 2 µs, on a machine that has something to do, several are interrupted
//! by another thread, and take as long as that likes.
//!
//! The CPU clock costs a system call, before and after. It is read for each message of a class that somebody vouches for
//! until the tail is known, when each is handed to a worker at many times that cost, and then for one in [`ONE_IN`] (of
//! those that run on the spot: one in as many of which anything is learnt, and of brief ones that is not all).
//!
//! Relaxed, all of it, as in [`histogram`](super::histogram): a lost update is one sample less, or one more.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::histogram::Histogram;

/// The share of the messages that are done within the tail.
const TAIL: f64 = 0.999;
/// Samples between two readings of the tail, unless one is beyond it: reading it looks at every bucket.
const REREAD: u32 = 32;
/// Once the tail is known, one message in so many is measured.
const ONE_IN: u32 = 8;

pub(super) struct OwnTime {
    spread: Histogram,
    /// Nanoseconds; 0 while there are too few samples to tell.
    tail: AtomicU64,
    /// Messages since the tail is known.
    asked: AtomicU32,
}

impl OwnTime {
    pub(super) fn unknown() -> Self {
        Self { spread: Histogram::new(), tail: AtomicU64::new(0), asked: AtomicU32::new(0) }
    }

    /// Whether the next message is to be measured.
    pub(super) fn is_wanted(&self) -> bool {
        if self.tail().is_none() {
            return true;
        }
        let asked = self.asked.load(Relaxed).wrapping_add(1);
        self.asked.store(asked, Relaxed);
        asked.is_multiple_of(ONE_IN)
    }

    pub(super) fn learn(&self, nanoseconds: u64) {
        let seen = self.spread.count(nanoseconds);
        if nanoseconds > self.tail.load(Relaxed) || seen.is_multiple_of(REREAD) {
            self.tail.store(self.spread.quantile(TAIL).unwrap_or(0), Relaxed);
        }
    }

    /// Nanoseconds that all but one in a thousand take at most, rounded up by a fourth at most; `None` while too few were
    /// seen to tell.
    pub(super) fn tail(&self) -> Option<u64> {
        let tail = self.tail.load(Relaxed);
        (tail > 0).then_some(tail)
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_known_after_a_thousand_and_follows_what_changes() {
        let own = OwnTime::unknown();
        for _ in 0..1000 {
            assert!(own.tail().is_none() && own.is_wanted());
            own.learn(5_000);
        }
        own.learn(5_000);
        assert!(own.tail().is_some_and(|tail| (5_000..=6_250).contains(&tail)), "{:?}", own.tail());
        own.learn(200_000);
        assert!(own.tail().is_some_and(|tail| tail <= 6_250), "one in a thousand may take longer");
        own.learn(200_000);
        assert!(own.tail().is_some_and(|tail| tail >= 200_000), "two are too many");
    }

    #[test]
    fn once_the_tail_is_known_some_messages_are_measured() {
        let own = OwnTime::unknown();
        for _ in 0..=1000 {
            own.learn(5_000);
        }
        assert_eq!((0..80).filter(|_| own.is_wanted()).count(), 10);
    }
}
