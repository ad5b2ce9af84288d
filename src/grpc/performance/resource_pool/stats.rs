//! What a pool has done so far.

use std::sync::atomic::Ordering::{Acquire, Release};

use crossbeam::utils::CachePadded;

use crate::platform::atomic::AtomicU64;

/// What a pool has done since it was made.
///
/// Whatever was handed out is in one place: `hits + misses = returned + discarded + poisoned + taken + outstanding`.
/// While other threads use the pool, `idle` and `outstanding` may be off by what went out and came back during the
/// call; the others are each right at some moment of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// Checkouts that found an idle instance.
    pub hits: u64,
    /// Checkouts that made a fresh one.
    pub misses: u64,
    /// Instances that came back and were kept.
    pub returned: u64,
    /// Instances that came back and were dropped: enough were idle, or the reset refused them or panicked.
    pub discarded: u64,
    /// Instances that were dropped because a panic may have left them half changed.
    pub poisoned: u64,
    /// Instances that were taken out for good.
    pub taken: u64,
    /// Instances that wait for the next checkout.
    pub idle: usize,
    /// Instances that are in use.
    pub outstanding: usize,
}

/// The counters behind [`PoolStats`]: those of a checkout on one cache line, those of a return on another.
#[derive(Debug, Default)]
pub(super) struct Counters {
    out: CachePadded<Out>,
    back: CachePadded<Back>,
}

#[derive(Debug, Default)]
struct Out {
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Default)]
struct Back {
    returned: AtomicU64,
    discarded: AtomicU64,
    poisoned: AtomicU64,
    taken: AtomicU64,
}

/// Release pairs with the Acquire of [`Counters::read`]: whoever reads that an instance came back also reads, below, that it went out.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Release);
}

impl Counters {
    pub(super) fn hit(&self) {
        count(&self.out.hits);
    }

    pub(super) fn missed(&self) {
        count(&self.out.misses);
    }

    pub(super) fn returned(&self) {
        count(&self.back.returned);
    }

    pub(super) fn discarded(&self) {
        count(&self.back.discarded);
    }

    pub(super) fn poisoned(&self) {
        count(&self.back.poisoned);
    }

    pub(super) fn taken(&self) {
        count(&self.back.taken);
    }

    /// The figures of a pool that began with `made_ahead` idle instances, and keeps `capacity` at most.
    pub(super) fn read(&self, made_ahead: usize, capacity: usize) -> PoolStats {
        // Returns before checkouts, with Acquire: a return that is seen has its checkout seen, so that `outstanding`
        // is never below zero.
        let returned = self.back.returned.load(Acquire);
        let discarded = self.back.discarded.load(Acquire);
        let poisoned = self.back.poisoned.load(Acquire);
        let taken = self.back.taken.load(Acquire);
        let hits = self.out.hits.load(Acquire);
        let misses = self.out.misses.load(Acquire);
        let idle = (made_ahead as u64 + returned).saturating_sub(hits);
        PoolStats {
            hits,
            misses,
            returned,
            discarded,
            poisoned,
            taken,
            idle: (idle as usize).min(capacity),
            outstanding: (hits + misses - returned - discarded - poisoned - taken) as usize,
        }
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    #[test]
    fn nothing_comes_back_that_did_not_go_out() {
        loom::model(|| {
            let counters = Arc::new(Counters::default());
            let user = {
                let counters = Arc::clone(&counters);
                thread::spawn(move || {
                    counters.missed();
                    counters.returned();
                    counters.hit();
                    counters.poisoned();
                })
            };
            let stats = counters.read(0, 1);
            assert!(stats.outstanding <= 2, "{stats:?}");
            user.join().unwrap();
            assert_eq!(counters.read(0, 1).outstanding, 0);
        });
    }
}
