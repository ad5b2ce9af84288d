//! What a pool has done so far.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::platform::atomic::AtomicU64;

/// What a pool has done since it was made.
///
/// Whatever was handed out is in one place: `hits + misses = returned + discarded + poisoned + taken + outstanding`.
/// While other threads use the pool, `idle`, `returned` and `outstanding` may be off by what went out and came back
/// during the call; the others are each right at some moment of it.
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

/// What happens to an instance, and is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Hit,
    Miss,
    Returned,
    Discarded,
    Poisoned,
    Taken,
}

/// Who writes to counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writers {
    /// One thread at a time, so that it may load, add and store: a third of the price.
    One,
    Many,
}

/// A part of what is behind [`PoolStats`]: what happened at one desk.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 6]);

impl Counters {
    /// Release pairs with the Acquire of [`read`](Self::read): whoever reads that an instance came back also reads,
    /// below, that it went out.
    #[inline]
    pub(super) fn count(&self, event: Event, writers: Writers) {
        let counter = &self.0[event as usize];
        if writers == Writers::One {
            // Relaxed: nobody else has stored since this thread did.
            counter.store(counter.load(Relaxed) + 1, Release);
        } else {
            counter.fetch_add(1, Release);
        }
    }

    /// The figures of a pool with these counters, which began with `made_ahead` idle instances and keeps `capacity` at
    /// most.
    pub(super) fn read<'a, All: Iterator<Item = &'a Self>>(
        all: impl Fn() -> All,
        made_ahead: usize,
        capacity: usize,
    ) -> PoolStats {
        let sum = |event| all().map(|counters| counters.0[event as usize].load(Acquire)).sum();
        // What came back before what went out, with Acquire: a return that is seen has its checkout seen, so that
        // `outstanding` is never below zero.
        let [returned, discarded, poisoned, taken, hits, misses]: [u64; 6] =
            [Event::Returned, Event::Discarded, Event::Poisoned, Event::Taken, Event::Hit, Event::Miss]
                .map(sum);
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
            let desks = Arc::new([Counters::default(), Counters::default()]);
            let read = |desks: &[Counters; 2]| Counters::read(|| desks.iter(), 0, 1);
            let user = {
                let desks = Arc::clone(&desks);
                thread::spawn(move || {
                    // One desk's thread sends an instance to another's.
                    desks[1].count(Event::Miss, Writers::One);
                    desks[0].count(Event::Returned, Writers::One);
                })
            };
            let stats = read(&desks);
            assert!(stats.outstanding <= 1, "{stats:?}");
            user.join().unwrap();
            assert_eq!(read(&desks).outstanding, 0);
        });
    }
}
