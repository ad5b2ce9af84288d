//! How the handles of jobs hold on to their pool.
//!
//! Each handle keeps the pool's shared parts alive, and so counts one up when it is made and one down when it is dropped.
//! Were that one count for all, threads that spawn at the same time would pass its cache line to and fro, twice for each
//! job. So there are several counts, and each thread uses its own as far as there are enough. With the count goes a stash
//! of jobs that are over.
//!
//! The counts tell, too, how much is under way ([`Anchor::company`]).

use std::{
    ops::Deref,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crossbeam::utils::CachePadded;

use super::{
    Shared,
    lookout::Lookout,
    spawn::{ClosureJob, Stash},
};

/// Counts of a pool. More threads than these seldom spawn at the same time.
const ANCHORS: usize = 16;

/// What a handle holds. Padded, so that the counts of two have no cache line in common.
pub(super) struct Anchor {
    shared: CachePadded<Arc<Shared>>,
    pub(super) stash: CachePadded<Stash<ClosureJob>>,
    /// Jobs that its thread has run where it spawned them. Relaxed: a figure.
    pub(super) ran_in_place: CachePadded<AtomicU64>,
    /// Of all threads, this one among them.
    all: OnceLock<Arc<[Weak<Anchor>]>>,
}

/// Handles of a count, of which one is the pool's own, until it is gone.
fn handles(count: usize) -> usize {
    count.saturating_sub(1)
}

impl Anchor {
    /// How many messages its thread has under way, at about this moment: by what it has spawned, or by its part in what all
    /// have, if that is more. Tasks go from thread to thread, so that who has spawned little may have much to await; and
    /// where it is many threads that have little, no more of them than [may look out](super::lookout) have a part.
    pub(super) fn company(self: &Arc<Self>) -> usize {
        let own = handles(Arc::strong_count(self));
        if !Lookout::suits(own) {
            return own;
        }
        let all = self.all.get().into_iter().flat_map(|all| all.iter());
        let all: usize = all.map(|anchor| handles(anchor.strong_count())).sum();
        own.max(all.div_ceil(self.most_spinning))
    }
}

impl Deref for Anchor {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        &self.shared
    }
}

pub(super) struct Anchors([Arc<Anchor>; ANCHORS]);

impl Anchors {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let anchor = || Anchor {
            shared: CachePadded::new(Arc::clone(shared)),
            stash: CachePadded::new(Stash::new()),
            ran_in_place: CachePadded::new(AtomicU64::new(0)),
            all: OnceLock::new(),
        };
        let anchors = [(); ANCHORS].map(|()| Arc::new(anchor()));
        let all: Arc<[_]> = anchors.iter().map(Arc::downgrade).collect();
        for anchor in &anchors {
            anchor.all.get_or_init(|| Arc::clone(&all));
        }
        Self(anchors)
    }

    /// Jobs that ran where they were spawned.
    pub(super) fn ran_in_place(&self) -> u64 {
        self.0.iter().map(|anchor| anchor.ran_in_place.load(Relaxed)).sum()
    }

    /// The one of the calling thread.
    pub(super) fn mine(&self) -> &Arc<Anchor> {
        static THREADS: Threads = Threads::new();
        thread_local! {
            static NUMBER: Number = THREADS.join();
        }
        // A thread that is ending has no number any more, and may share one.
        &self.0[NUMBER.try_with(|number| number.number).unwrap_or_default()]
    }
}

/// Which anchor of each pool is a thread's, for as long as it lives. The next thread may have it then, with what lies in its
/// stash.
struct Number {
    number: usize,
    threads: &'static Threads,
}

/// Threads that have each number. Relaxed, all of it: they publish nothing, and a thread that sees too few shares a number.
struct Threads([AtomicUsize; ANCHORS]);

impl Threads {
    const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; ANCHORS])
    }

    /// A number that the fewest have.
    fn join(&'static self) -> Number {
        let number = (0..ANCHORS).min_by_key(|&number| self.0[number].load(Relaxed)).unwrap_or_default();
        self.0[number].fetch_add(1, Relaxed);
        Number { number, threads: self }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.threads.0[self.number].fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn threads_share_a_number_when_there_is_none_left_and_leave_it_to_those_who_come_later() {
        static THREADS: Threads = Threads::new();
        let mut numbers: Vec<_> = (0..ANCHORS).map(|_| THREADS.join()).collect();
        assert!(numbers.iter().map(|number| number.number).eq(0..ANCHORS));
        let shared = THREADS.join();
        assert!(shared.number < ANCHORS);
        drop(shared);
        let left = numbers.swap_remove(5).number;
        assert_eq!(THREADS.join().number, left);
    }
}
