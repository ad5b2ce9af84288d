//! Closures as jobs, and the future of their outcome.
//!
//! One allocation holds the closure, its state and its outcome ([`closure`]), and serves one closure after the other
//! ([`stash`]). Where the outcome is near, the future looks out for it before it registers anything ([`sent`]).
//!
//! What costs less than its own hand-off may run here and now instead ([`in_place`]); then there is nothing of all that, and
//! the handle holds the outcome itself.

mod bell;
mod claim;
mod closure;
mod in_place;
mod order;
mod parcel;
mod sent;
mod stash;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{Priority, anchor::Anchor, context::JobContext, room::NoRoom};
use crate::{
    grpc::performance::{error::OptimizationError, monitor::Class},
    platform::clock,
};

pub(super) use self::{closure::ClosureJob, stash::Stash};
use self::{in_place::Ran, sent::Sent};

/// How a job is to be treated.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobOptions {
    /// What kind of work it is: what it will take is learnt by class. [`Class::DEFAULT`] leaves it to the type of the
    /// closure: what is spawned at one place in the code is a class.
    pub class: Class,
    /// Which lane it waits in.
    pub priority: Priority,
    /// Bytes that it keeps in memory, counted against `max_bytes_in_flight` until it is done.
    pub weight: usize,
    /// When its outcome stops being of use: from then on it is not started, and its future says so at once. Waiting for
    /// it needs a tokio runtime with time.
    pub deadline: Option<Instant>,
    /// Whether its checkpoints let nothing else run: for what keeps a lock, or something of its thread's, over them. What
    /// is short then waits until this is seen to be in the way.
    pub undivided: bool,
    /// Whether it may run on the thread that spawns it, within the call that does, and keep everybody waiting who is served by
    /// that thread. Who says so vouches that the closure never blocks (no lock that is held for long, no file, no socket, no
    /// sleep), and that it is done within some microseconds: nobody watches over it there, and neither `worker_timeout`
    /// nor the deadline of a drain cuts it short.
    ///
    /// It is a permission. It is made use of when the class was learnt, on workers, to be as short as `in_place_budget` asks
    /// for: then a hand-off would cost more than the work. All but one in a thousand have to be done within what is left of
    /// that budget by the CPU clock, and half of them by the wall clock; so the first thousand go to workers, and so does a
    /// class that takes longer than it used to. At any overload level but normal, as the streams that share the pool have last
    /// seen it, all go there.
    ///
    /// The budget is that of the task that spawns, and is renewed when the task gives way: what it spawns beyond that in one
    /// turn goes to workers. Once the budget is spent the task gives way at its next await of a handle, or of anything of
    /// tokio's. Where nobody can tell whether it has (a thread that is in no tokio runtime, a task that is `unconstrained`),
    /// the budget is renewed when as much time has gone by as it is long: so at most half of the time goes to such jobs, and
    /// a thread that spawns more than that has the others run beside it, by workers. What is spawned by a job that runs in
    /// place goes to a worker.
    ///
    /// A job that runs in place is over when `spawn_with` returns: it cannot be cancelled by dropping its handle. For who
    /// awaits it nothing else changes: bounds, priority, deadline, and what a panic does are the same.
    pub may_run_in_place: bool,
}

impl JobOptions {
    /// The usual, for a closure of this type.
    pub(super) fn of<F: 'static>() -> Self {
        Self::default().or_class_of::<F>()
    }

    /// The same, with the class of the closure's type if none is named.
    fn or_class_of<F: 'static>(self) -> Self {
        if self.class == Class::DEFAULT { Self { class: Class::of_type::<F>(), ..self } } else { self }
    }
}

/// Why [`WorkerPool::try_spawn`](super::WorkerPool::try_spawn) gave the closure back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TrySpawnError<F> {
    /// The lanes are full.
    #[error("the worker pool has no room")]
    Full(F),
    /// The pool is shutting down.
    #[error("the worker pool is shutting down")]
    Closed(F),
}

impl<F> TrySpawnError<F> {
    /// The closure.
    pub fn into_inner(self) -> F {
        match self {
            Self::Full(work) | Self::Closed(work) => work,
        }
    }
}

impl<F> fmt::Debug for TrySpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// The outcome of a job, when it is there.
///
/// Dropped before the job has started it cancels the job; later, the job sees the cancellation at its next checkpoint.
/// Where there was no room at once, the job is queued while this is polled.
#[must_use = "a dropped handle cancels its job"]
pub struct JobHandle<T>(Way<T>);

/// Where a job runs.
enum Way<T> {
    /// On a worker.
    Sent(Sent<T>),
    /// It ran where it was spawned.
    Ran(Ran<T>),
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut handle = f.debug_struct("JobHandle");
        if let Way::Sent(sent) = &self.0 {
            handle.field("deadline", &sent.deadline());
        }
        handle.finish_non_exhaustive()
    }
}

impl<T> Future for JobHandle<T> {
    type Output = Result<T, OptimizationError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Sent(sent) => sent.poll(cx),
            Way::Ran(ran) => ran.poll(cx),
        }
    }
}

/// Makes a job of a closure, and queues it if there is room; else its handle waits for that. One that had better run here and
/// now does.
#[inline]
pub(super) fn spawn<F, T>(shared: &Arc<Anchor>, options: JobOptions, work: F) -> JobHandle<T>
where
    F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    let options = options.or_class_of::<F>();
    let work = match in_place::run(shared, &options, work) {
        Ok(ran) => return JobHandle(Way::Ran(ran)),
        Err(work) => work,
    };
    let mut sent = Sent::prepare(shared, &options, work);
    sent.send(options.priority, options.weight);
    JobHandle(Way::Sent(sent))
}

/// Makes a job of a closure if there is room at once.
pub(super) fn try_spawn<F, T>(shared: &Arc<Anchor>, work: F) -> Result<JobHandle<T>, TrySpawnError<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let options = JobOptions::of::<F>();
    match shared.room.try_acquire(options.priority, options.weight, clock::recently()) {
        Ok(()) => {
            let mut sent = Sent::prepare(shared, &options, move |_: &mut JobContext<'_>| work());
            sent.queue(options.priority.into());
            Ok(JobHandle(Way::Sent(sent)))
        }
        Err(NoRoom::Full) => Err(TrySpawnError::Full(work)),
        Err(NoRoom::Closed) => Err(TrySpawnError::Closed(work)),
    }
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_of_one_size_whatever_its_outcome_and_fits_a_cache_line() {
        assert_eq!(size_of::<JobHandle<[u8; 4096]>>(), size_of::<JobHandle<()>>());
        assert_eq!(size_of::<Ran<()>>(), size_of::<Sent<()>>());
        assert!(size_of::<JobHandle<()>>() <= 64, "{} bytes", size_of::<JobHandle<()>>());
    }
}
