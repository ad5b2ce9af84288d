//! The handle's side of a job: who spawned it has one claim to its outcome.
//!
//! There is one claim to a job for each closure that it serves, and what it does at the job it does one after the other:
//! that is what makes the [`Bell`](super::bell) and the parcel of the [job](super::closure) safe to use.

#![allow(unsafe_code)]

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    JobOptions,
    closure::{ClosureJob, outcome},
    parcel::Parcel,
};
use crate::grpc::performance::{error::OptimizationError, worker_pool::context::JobContext};

pub(super) struct Claim<T> {
    /// `None` once it was given up.
    job: Option<Arc<ClosureJob>>,
    /// Takes the outcome out of the job's parcel.
    open: fn(&mut Parcel) -> Result<T, String>,
}

impl<T> Claim<T> {
    /// To the outcome of a closure, in a job that nobody else has.
    ///
    /// # Panics
    /// When somebody has it.
    pub(super) fn to<F>(mut job: Arc<ClosureJob>, options: &JobOptions, closure: F) -> Self
    where
        F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        Arc::get_mut(&mut job).expect("nobody else has the job").fill(options, closure);
        Self { job: Some(job), open: outcome::<T> }
    }

    pub(super) fn job(&self) -> &Arc<ClosureJob> {
        self.job.as_ref().expect("a claim is used until it is given up")
    }

    /// The outcome, if it is there.
    pub(super) fn take_outcome(&mut self) -> Poll<Result<T, OptimizationError>> {
        let job = self.job();
        if job.state.is_finished() {
            // SAFETY: what is in a finished job is its handle's, and that has this one claim.
            let outcome = unsafe { job.content(self.open) };
            return Poll::Ready(outcome.map_err(OptimizationError::Panicked));
        }
        match job.state.withdrawn() {
            Some(why) => Poll::Ready(Err(why.into())),
            None => Poll::Pending,
        }
    }

    /// The same, for who wants to be woken if it is not.
    pub(super) fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, OptimizationError>> {
        // SAFETY: there is this one claim to the job, and `self` is borrowed for the call.
        unsafe { self.job().bell.register(cx.waker()) };
        self.take_outcome()
    }

    /// Nobody wants to know of the job any more, and it is over or withdrawn: what the claim has left there goes. That is an
    /// outcome that nobody took, and the waker of a future that was not woken. Gives the job.
    pub(super) fn give_up(&mut self) -> Option<Arc<ClosureJob>> {
        let job = self.job.take()?;
        // SAFETY: as in `poll_outcome`.
        unsafe { job.bell.leave() };
        if job.state.is_finished() {
            // SAFETY: as in `take_outcome`.
            unsafe { job.clear() };
        }
        Some(job)
    }
}
