//! How the handles of jobs hold on to their pool.
//!
//! Each handle keeps the pool's shared parts alive, and so counts one up when it is made and one down when it is dropped.
//! Were that one count for all, threads that spawn at the same time would pass its cache line to and fro, twice for each
//! job. So there are several counts, and each thread uses its own as far as there are enough. With the count goes a stash
//! of jobs that are over.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crossbeam::utils::CachePadded;

use super::{
    Shared,
    spawn::{ClosureJob, Stash},
};

/// Counts of a pool. More threads than these seldom spawn at the same time.
const ANCHORS: usize = 16;

/// What a handle holds. Padded, so that the counts of two have no cache line in common.
pub(super) struct Anchor {
    shared: CachePadded<Arc<Shared>>,
    pub(super) stash: CachePadded<Stash<ClosureJob>>,
}

impl Anchor {
    /// Handles that hold this one, at about this moment: what its thread has under way.
    pub(super) fn handles(self: &Arc<Self>) -> usize {
        // One is the pool's own, until it is gone.
        Arc::strong_count(self).saturating_sub(1).max(1)
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
        let anchor =
            || Anchor { shared: CachePadded::new(Arc::clone(shared)), stash: CachePadded::new(Stash::new()) };
        Self([(); ANCHORS].map(|()| Arc::new(anchor())))
    }

    /// The one of the calling thread.
    pub(super) fn mine(&self) -> &Arc<Anchor> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            // Relaxed: a number that publishes nothing.
            static NUMBER: usize = THREADS.fetch_add(1, Relaxed);
        }
        // A thread that is ending has no number any more, and may share one.
        &self.0[NUMBER.try_with(|number| *number).unwrap_or_default() % ANCHORS]
    }
}
