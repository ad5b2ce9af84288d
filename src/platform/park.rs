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
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
use super::stage;

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// A spot where one thread at a time sleeps.
#[derive(Debug)]
pub(crate) struct ParkingSpot {
    word: AtomicU32,
    futex: Futex,
}

impl ParkingSpot {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(EMPTY), futex: Futex::new() }
    }

    /// Sleeps until [`unpark`](Self::unpark), or not at all when that came before. Acquire pairs with the Release of
    /// `unpark`, so that what was written before the wake is seen after it.
    pub(crate) fn park(&self) {
        // Relaxed, both: they decide whether to sleep on, and the swap below synchronises.
        if self.word.compare_exchange(EMPTY, PARKED, Relaxed, Relaxed).is_ok() {
            while self.word.load(Relaxed) == PARKED {
                self.futex.wait(&self.word, PARKED);
            }
        }
        self.word.swap(EMPTY, Acquire);
    }

    /// Wakes the thread that sleeps here, or lets the next `park` return at once. A system call only when it sleeps.
    /// Release pairs with the Acquire of `park`.
    pub(crate) fn unpark(&self) {
        if self.word.swap(NOTIFIED, Release) == PARKED {
            self.futex.wake(&self.word);
        }
    }
}

/// The platform's: it looks at the word and falls asleep in one step, so that a wake after a change of the word finds
/// the sleeper. It may wake for nothing.
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
#[derive(Debug)]
struct Futex;

#[cfg(not(any(millstream_loom, millstream_shuttle)))]
impl Futex {
    fn new() -> Self {
        Self
    }

    fn wait(&self, word: &AtomicU32, expected: u32) {
        stage::wait(word, expected);
    }

    fn wake(&self, word: &AtomicU32) {
        stage::wake(word);
    }
}

/// For shuttle, which has none: the look at the word and the falling asleep are one step under the lock.
#[cfg(millstream_shuttle)]
#[derive(Debug)]
struct Futex(shuttle::sync::Mutex<()>, shuttle::sync::Condvar);

#[cfg(millstream_shuttle)]
impl Futex {
    fn new() -> Self {
        Self(shuttle::sync::Mutex::new(()), shuttle::sync::Condvar::new())
    }

    fn wait(&self, word: &AtomicU32, expected: u32) {
        let looking = self.0.lock().expect("nobody panics under it");
        if word.load(Relaxed) == expected {
            drop(self.1.wait(looking).expect("nobody panics under it"));
        }
    }

    fn wake(&self, _word: &AtomicU32) {
        let _asleep_or_not_yet_looking = self.0.lock().expect("nobody panics under it");
        self.1.notify_one();
    }
}

/// Loom's: it too may wake for nothing, and a thread that nobody wakes is a deadlock, which loom reports.
#[cfg(millstream_loom)]
#[derive(Debug)]
struct Futex(loom::sync::Notify);

#[cfg(millstream_loom)]
impl Futex {
    fn new() -> Self {
        Self(loom::sync::Notify::new())
    }

    fn wait(&self, _word: &AtomicU32, _expected: u32) {
        self.0.wait();
    }

    fn wake(&self, _word: &AtomicU32) {
        self.0.notify();
    }
}

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

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn who_is_woken_sees_what_was_written_before_the_wake() {
        loom::model(|| {
            let bed = Arc::new((ParkingSpot::new(), AtomicU32::new(0)));
            let sleeper = {
                let bed = Arc::clone(&bed);
                thread::spawn(move || {
                    for wake in 1..=2 {
                        // Two wakes may be one, so it sleeps until both were seen.
                        while bed.1.load(Relaxed) < wake {
                            bed.0.park();
                        }
                    }
                })
            };
            for wake in 1..=2 {
                bed.1.store(wake, Relaxed);
                bed.0.unpark();
            }
            sleeper.join().unwrap();
        });
    }
}
