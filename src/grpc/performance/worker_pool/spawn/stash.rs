//! Jobs that are over, kept for those to come: so that in the steady state a spawn asks nobody for memory.
//!
//! Each [`Anchor`](super::super::anchor::Anchor) has a stash. Who spawns takes from that of its thread, and the job goes
//! back to the same one when its handle is dropped, on whatever thread that is: so each stash gets back what it gave, and
//! holds as many jobs as its thread ever had under way at a time, up to [`MOST`].
//!
//! **Nobody is at a job that is taken out.** When the handle is dropped its worker may still be there: it has told the
//! outcome, and has yet to leave its post; or the job was withdrawn, and lies in a lane. Each of them holds an `Arc`, and
//! what is given out is a job that the stash alone holds: its count says so, and can only be too high by then, since
//! nobody can clone what nobody else has. Who takes the job makes sure of it, with `Arc::get_mut`. Those who still have
//! one leave in their own time; of the jobs that were put back last some are tried, more than there are likely to be
//! workers that are just leaving. No weak reference to a job is ever made.
//!
//! **Nobody waits**: a stash that another thread is at is passed by, to the allocator.

use std::sync::Arc;

use crate::platform::try_lock::TryLock;

/// Jobs that one stash keeps.
const MOST: usize = 1024;
/// Jobs that are tried for one that nobody is at.
const TRIES: usize = 16;

pub(in super::super) struct Stash<J>(TryLock<Vec<Arc<J>>>);

impl<J> Stash<J> {
    pub(in super::super) fn new() -> Self {
        Self(TryLock::new(Vec::new()))
    }

    /// A job that nobody else holds.
    pub(super) fn take(&self) -> Option<Arc<J>> {
        let mut kept = self.0.try_lock()?;
        let last = kept.len().checked_sub(1)?;
        let back = kept.iter().rev().take(TRIES).position(|job| Arc::strong_count(job) == 1)?;
        Some(kept.swap_remove(last - back))
    }

    /// Keeps a job that is over: nothing of strangers is in it any more.
    pub(super) fn put(&self, job: Arc<J>) {
        if let Some(mut kept) = self.0.try_lock()
            && kept.len() < MOST
        {
            kept.push(job);
        }
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_back_is_given_out_when_nobody_else_holds_it() {
        let stash = Stash::new();
        assert!(stash.take().is_none());
        let jobs = [Arc::new(1), Arc::new(2)];
        jobs.iter().for_each(|job| stash.put(Arc::clone(job)));
        assert!(stash.take().is_none(), "somebody is at both");
        let [first, second] = jobs;
        drop(first);
        assert_eq!(stash.take().as_deref(), Some(&1));
        assert!(stash.take().is_none());
        drop(second);
        assert_eq!(stash.take().as_deref(), Some(&2));
    }

    #[test]
    fn it_keeps_so_many_and_passes_by_whom_it_would_wait_for() {
        let stash = Stash::new();
        (0..2 * MOST).for_each(|job| stash.put(Arc::new(job)));
        let held = stash.0.try_lock().unwrap();
        assert_eq!(held.len(), MOST);
        assert!(stash.take().is_none());
        stash.put(Arc::new(0));
        assert_eq!(held.len(), MOST);
    }
}
