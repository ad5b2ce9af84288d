//! Who awaits its jobs in the order in which it spawned them.
//!
//! Workers serve jobs of a kind in that order, too. So when a thread has just found one done, and finds the next one not,
//! it has caught up with the workers, and what it asks for is about to be done: worth a look
//! ([`lookout`](super::super::lookout)) before it sleeps.
//!
//! A job that was spawned just now is at the end of its lane, and is not looked out for: that is what tasks find that each
//! spawn a job when they have the outcome of the one before. So there is one look at most for each outcome.
//!
//! These are hints of one thread to itself. A task that moves on to another thread loses a look, or has one in vain.

use std::{cell::Cell, ptr};

use super::ClosureJob;

thread_local! {
    static AWAITED: Cell<Awaited> = const { Cell::new(Awaited { found: false, latest: ptr::null() }) };
}

/// What a thread has seen of its jobs.
#[derive(Clone, Copy)]
struct Awaited {
    /// The outcome that was asked for last was there.
    found: bool,
    /// The job that was spawned last. Only its address is looked at: another job may lie there by now.
    latest: *const ClosureJob,
}

/// This thread has spawned a job.
pub(super) fn spawned(job: &ClosureJob) {
    AWAITED.set(Awaited { latest: job, ..AWAITED.get() });
}

/// This thread has asked for an outcome, and that was there or not.
pub(super) fn asked(found: bool) {
    AWAITED.set(Awaited { found, ..AWAITED.get() });
}

/// Whether a job that is not over is likely to be the next that is, as far as this thread can tell.
pub(super) fn is_next(job: &ClosureJob) -> bool {
    let Awaited { found, latest } = AWAITED.get();
    found && !ptr::eq(job, latest)
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn next_is_what_is_asked_for_after_one_that_was_done_unless_it_was_spawned_just_now() {
        let [first, second] = [(); 2].map(|()| ClosureJob::vacant());
        spawned(&first);
        spawned(&second);
        assert!(!is_next(&first), "nothing was done yet");
        asked(true);
        assert!(is_next(&first));
        assert!(!is_next(&second), "it is the last in its lane");
        asked(false);
        assert!(!is_next(&first), "one look for each outcome");
    }
}
