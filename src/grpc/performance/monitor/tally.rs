//! A figure that one thread writes and any thread reads.
//!
//! The writer loads, adds and stores, all relaxed: about as cheap as a plain addition, and no cache line is locked.
//! Nothing is lost by that, since nobody else stores between its load and its store. That there is one writer at a
//! time is up to the owner of the tally: it sits in a [`Recorder`](super::recorder::Recorder), which a
//! [`ThreadLocal`](thread_local::ThreadLocal) shows to its own thread only. When that thread ends, the recorder goes to
//! a thread that starts later; the lock under which `thread_local` hands numbers of threads on makes every store of
//! the first visible to the second.
//!
//! A reader sees a figure that was right a moment ago, never one that goes back, and two tallies not as of the same
//! moment. Once the writer was joined (or is known in another way to have stopped) it sees the last one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// See the module.
#[derive(Debug)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// By the one writer.
    #[inline]
    pub(super) fn add(&self, more: u64) {
        // Relaxed, here and below: pairs with nothing, see the module.
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// By the one writer: keeps the larger one.
    #[inline]
    pub(super) fn raise_to(&self, value: u64) {
        if value > self.0.load(Relaxed) {
            self.0.store(value, Relaxed);
        }
    }

    #[inline]
    pub(super) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
