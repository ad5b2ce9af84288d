//! Closures that cost less than their own hand-off: who spawns them runs them.
//!
//! To hand an empty closure over costs the thread that spawns it some hundred nanoseconds, and the machine a wake or two, of
//! tens of microseconds. It is spared under the same conditions, and for the same reasons, as with messages of streams (the
//! processor's `in_place`): the author vouches that it cannot block, its class was learnt to be short, and a budget lasts, which is that of
//! the thread's [turn](super::super::turn).
//!
//! **At once, not when it is awaited.** A job that was spawned runs whether its handle is polled or not: whoever spawns and
//! does not look relies on it. So it runs within the call that spawns it; the handle holds its outcome ([`Ran`]), and there is
//! no state between the two in which it could be forgotten.
//!
//! **Nothing else changes.** The room has its say, and nobody is overtaken who waits for it; the job holds a place and its
//! bytes until it is done, so that a drain waits for it. Its panic is contained, and its time is learnt from. One whose
//! deadline has passed goes the usual way, and is refused there.
//!
//! **No job is made**: the closure runs where it lies, nobody else ever knows of it, and so there is nothing to withdraw, and
//! no waker. What it panics with, or its outcome, goes from the stack into the handle; one that is larger than a handle
//! should be is boxed there.

use std::{
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, ready},
};

use super::{JobOptions, parcel::Parcel};
use crate::{
    grpc::performance::{
        error::OptimizationError,
        worker_pool::{anchor::Anchor, context::JobContext, turn},
    },
    platform::{
        clock,
        contain::{contain, drop_logged},
        stage::reached,
    },
};

/// Words of an outcome that lie in the handle itself: as many as the handle of a job that was sent has.
const WORDS: usize = 5;

/// A job that is over, as its handle sees it.
pub(super) struct Ran<T> {
    outcome: Parcel<WORDS>,
    /// Takes it out.
    open: fn(&mut Parcel<WORDS>) -> Result<T, String>,
}

impl<T> Ran<T> {
    fn with(outcome: Result<T, String>) -> Self
    where
        T: Send + 'static,
    {
        let mut parcel = Parcel::empty();
        parcel.put(outcome);
        Self { outcome: parcel, open: |parcel| parcel.take().expect("polled after it was ready") }
    }

    /// As of the future.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, OptimizationError>> {
        // Outcomes that are there at once, again and again, are no reason to keep others from this thread; and here the task
        // gives way whose budget is spent.
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        progress.made_progress();
        Poll::Ready((self.open)(&mut self.outcome).map_err(OptimizationError::Panicked))
    }
}

impl<T> Drop for Ran<T> {
    fn drop(&mut self) {
        if let Some(left) = self.outcome.take_all() {
            drop_logged(left);
        }
    }
}

/// Runs a closure here and now, if it is one for that; else gives it back.
#[inline]
pub(super) fn run<F, T>(shared: &Anchor, options: &JobOptions, work: F) -> Result<Ran<T>, F>
where
    F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    let budget = shared.in_place_budget;
    if !options.may_run_in_place || budget.is_zero() {
        return Err(work);
    }
    let left = turn::left_of(budget, clock::now);
    if left.is_zero() {
        return Err(work);
    }
    let Some(known) = shared.costs_less_than_its_hand_off(options.class, left) else {
        if shared.costs_less_than_its_hand_off(options.class, budget).is_some() {
            // Enough in another turn: the task is to give way before.
            turn::end(budget, clock::now());
        }
        return Err(work);
    };
    let started = clock::now();
    let &JobOptions { priority, weight, deadline, .. } = options;
    if deadline.is_some_and(|deadline| deadline <= started)
        || shared.room.try_acquire(priority, weight, started).is_err()
    {
        return Err(work);
    }
    reached!("in place: a closure runs where it is spawned");
    let (outcome, took) = turn::spend(|| {
        let mut context = JobContext::unattended(deadline);
        let (outcome, took) = shared.forecast.follow(known, started, || contain(|| work(&mut context)));
        ((outcome, took), took)
    });
    shared.room.release(1, weight);
    shared.ran_in_place.fetch_add(1, Relaxed);
    // Its like would find too little.
    if !shared.forecast.is_done_within(known, left.saturating_sub(took)) {
        turn::end(budget, started + took);
    }
    Ok(Ran::with(outcome))
}
