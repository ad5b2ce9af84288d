//! Sleeping until somebody wakes us: one word, and the futex of the platform behind it.
//!
//! ```text
//!            park                    unpark
//!  EMPTY ───────────▶ PARKED ─────────────────────▶ NOTIFIED ──▶ (park returns) EMPTY
//!    └────────────── unpark ───▶ NOTIFIED ── park ──▶ EMPTY, without sleeping
//! ```
//! A wake is never lost: one that comes before `park` is kept in the word. The thread that parks may change over time
//! (a substitute takes a stuck worker's place); two never park on one spot at once.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::atomic::AtomicU32;

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// A spot where one thread at a time sleeps.
#[derive(Debug)]
pub(crate) struct ParkingSpot(AtomicU32);

impl ParkingSpot {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(EMPTY))
    }

    /// Sleeps until [`unpark`](Self::unpark), or not at all when that came before. Acquire pairs with the Release of
    /// `unpark`, so that what was written before the wake is seen after it.
    pub(crate) fn park(&self) {
        if self.0.compare_exchange(EMPTY, PARKED, Relaxed, Relaxed).is_ok() {
            while self.0.load(Relaxed) == PARKED {
                wait(&self.0, PARKED);
            }
        }
        self.0.swap(EMPTY, Acquire);
    }

    /// Wakes the thread that sleeps here, or lets the next `park` return at once. A system call only when it sleeps.
    pub(crate) fn unpark(&self) {
        if self.0.swap(NOTIFIED, Release) == PARKED {
            wake(&self.0);
        }
    }
}

#[cfg(not(millstream_loom))]
fn wait(word: &AtomicU32, expected: u32) {
    atomic_wait::wait(word, expected);
}

#[cfg(not(millstream_loom))]
fn wake(word: &AtomicU32) {
    atomic_wait::wake_one(word);
}

/// Under loom the word is polled: the scheduler runs others meanwhile.
#[cfg(millstream_loom)]
fn wait(_word: &AtomicU32, _expected: u32) {
    loom::thread::yield_now();
}

#[cfg(millstream_loom)]
fn wake(_word: &AtomicU32) {}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn a_wake_that_comes_first_is_kept() {
        let spot = ParkingSpot::new();
        spot.unpark();
        spot.unpark();
        spot.park();
    }

    #[test]
    fn every_wake_is_answered_across_threads() {
        let ping = Arc::new((ParkingSpot::new(), ParkingSpot::new()));
        let other = Arc::clone(&ping);
        let answering = thread::spawn(move || {
            for _ in 0..1000 {
                other.0.park();
                other.1.unpark();
            }
        });
        for _ in 0..1000 {
            ping.0.unpark();
            ping.1.park();
        }
        answering.join().unwrap();
    }
}
