//! Closures as jobs, and the future of their outcome.
//!
//! One allocation holds the closure, its state and its outcome ([`closure`]), and serves one closure after the other
//! ([`stash`]). Where the outcome is near, the future looks out for it before it registers anything.

mod bell;
mod claim;
mod closure;
mod order;
mod parcel;
mod stash;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::time::Sleep;

use super::{
    Priority,
    anchor::Anchor,
    context::JobContext,
    job::Task,
    line::Line,
    lookout::Look,
    room::{NoRoom, Waiting},
};
use crate::{
    grpc::performance::{
        error::{Interruption, OptimizationError, Refusal},
        monitor::Class,
    },
    platform::clock,
};

use self::claim::Claim;
pub(super) use self::{closure::ClosureJob, stash::Stash};

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

/// How far a job is on its way.
enum Stage {
    /// There was no room yet.
    Unqueued(Waiting, Line),
    /// Was put into a lane just now; its outcome is near.
    Near(Look),
    /// In a lane, or further.
    Queued,
    /// It was never accepted. Boxed, for handles are moved about, and this is rare.
    Refused(Box<Refusal>),
    /// The outcome was given out.
    Over,
}

/// The outcome of a job, when it is there.
///
/// Dropped before the job has started it cancels the job; later, the job sees the cancellation at its next checkpoint.
/// Where there was no room at once, the job is queued while this is polled.
#[must_use = "a dropped handle cancels its job"]
pub struct JobHandle<T> {
    shared: Arc<Anchor>,
    claim: Claim<T>,
    stage: Stage,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("deadline", &self.claim.job().deadline()).finish_non_exhaustive()
    }
}

impl<T> JobHandle<T> {
    /// Queues the job, whose room has been acquired.
    fn queue(&mut self, line: Line) {
        let job = self.claim.job();
        job.charge(&self.shared.room);
        let prospect = self.shared.prospect(job.class, line, self.shared.company());
        self.shared.forecast.queued(&job.share, job.class, line);
        let woke = self.shared.submit(Task { job: Arc::clone(job) as _, unit: 0, line }, prospect.side());
        self.stage = prospect.look(woke).map_or(Stage::Queued, Stage::Near);
    }

    /// The outcome, if it is there, or comes while this looks out for it.
    fn look(&mut self) -> Poll<Result<T, OptimizationError>> {
        let outcome = self.claim.take_outcome();
        let job = &**self.claim.job();
        let look = match self.stage {
            Stage::Near(look) => {
                self.stage = Stage::Queued;
                Some(look)
            }
            Stage::Queued if outcome.is_pending() && order::is_next(job) => {
                self.shared.look_of_who_caught_up(job.class)
            }
            _ => None,
        };
        match look {
            Some(look) if outcome.is_pending() && self.shared.await_briefly(job, look) => {
                self.claim.take_outcome()
            }
            _ => outcome,
        }
    }

    /// Takes the job away; its place, if it is queued, is free at once.
    fn withdraw(&self, why: Interruption) {
        let job = self.claim.job();
        job.withdraw(why);
        if matches!(self.stage, Stage::Near(_) | Stage::Queued) {
            self.shared.withdrawn(&job.share);
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) {
        let Stage::Unqueued(waiting, line) = &mut self.stage else { return };
        let Poll::Ready(room) = Pin::new(waiting).poll(cx) else { return };
        let line = *line;
        match room {
            Ok(()) => self.queue(line),
            Err(_) => self.stage = Stage::Refused(Box::new(Refusal::Draining)),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.claim.job().deadline() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(cx)
    }
}

impl<T> Future for JobHandle<T> {
    type Output = Result<T, OptimizationError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.poll_room(cx);
        if matches!(this.stage, Stage::Refused(_)) {
            let Stage::Refused(refusal) = std::mem::replace(&mut this.stage, Stage::Over) else {
                unreachable!("the stage was matched above")
            };
            // It never came to a worker, and keeps its closure for nobody.
            this.claim.job().withdraw(Interruption::Cancelled);
            return Poll::Ready(Err((*refusal).into()));
        }
        assert!(!matches!(this.stage, Stage::Over), "polled after it was ready");
        // Outcomes that are there at once, again and again, are no reason to keep others from this thread.
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        let mut outcome = this.look();
        order::asked(outcome.is_ready());
        if outcome.is_pending() {
            outcome = this.claim.poll_outcome(cx);
        }
        if outcome.is_pending() && this.poll_deadline(cx).is_ready() {
            this.withdraw(Interruption::DeadlineExceeded);
            outcome = this.claim.poll_outcome(cx);
        }
        if outcome.is_ready() {
            progress.made_progress();
            this.stage = Stage::Over;
        }
        outcome
    }
}

impl<T> Drop for JobHandle<T> {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Over) {
            self.withdraw(Interruption::Cancelled);
        }
        if let Some(job) = self.claim.give_up() {
            self.shared.stash.put(job);
        }
    }
}

/// Makes a job of a closure, and queues it if there is room; else its handle waits for that.
pub(super) fn spawn<F, T>(shared: &Arc<Anchor>, options: JobOptions, work: F) -> JobHandle<T>
where
    F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    let mut handle = prepare(shared, options.or_class_of::<F>(), work);
    let (priority, weight, room) = (options.priority, options.weight, &shared.room);
    if weight > room.byte_capacity() {
        let refusal = Refusal::TooLarge { weight, limit: room.byte_capacity() };
        handle.stage = Stage::Refused(Box::new(refusal));
        return handle;
    }
    match room.try_acquire(priority, weight, clock::recently()) {
        Ok(()) => handle.queue(priority.into()),
        Err(_) => handle.stage = Stage::Unqueued(room.wait(priority, weight), priority.into()),
    }
    handle
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
            let mut handle = prepare(shared, options, move |_: &mut JobContext<'_>| work());
            handle.queue(options.priority.into());
            Ok(handle)
        }
        Err(NoRoom::Full) => Err(TrySpawnError::Full(work)),
        Err(NoRoom::Closed) => Err(TrySpawnError::Closed(work)),
    }
}

/// The handle of a job that is ready to be queued.
fn prepare<F, T>(shared: &Arc<Anchor>, options: JobOptions, work: F) -> JobHandle<T>
where
    F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    let job = shared.stash.take().unwrap_or_else(|| Arc::new(ClosureJob::vacant()));
    let claim = Claim::to(job, &options, work);
    order::spawned(claim.job());
    JobHandle { shared: Arc::clone(shared), claim, stage: Stage::Over, timer: None }
}
