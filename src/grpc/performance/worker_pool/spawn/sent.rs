//! A job on its way to a worker and back, as its handle sees it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::time::Sleep;

use super::{ClosureJob, JobOptions, claim::Claim, order};
use crate::{
    grpc::performance::{
        error::{Interruption, OptimizationError, Refusal},
        worker_pool::{
            Priority, anchor::Anchor, context::JobContext, job::Task, line::Line, lookout::Look,
            room::Waiting,
        },
    },
    platform::clock,
};

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

/// See the module.
pub(super) struct Sent<T> {
    shared: Arc<Anchor>,
    claim: Claim<T>,
    stage: Stage,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Sent<T> {
    /// A job of this closure, which is ready to be queued.
    pub(super) fn prepare<F>(shared: &Arc<Anchor>, options: &JobOptions, work: F) -> Self
    where
        F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = shared.stash.take().unwrap_or_else(|| Arc::new(ClosureJob::vacant()));
        let claim = Claim::to(job, options, work);
        order::spawned(claim.job());
        Self { shared: Arc::clone(shared), claim, stage: Stage::Over, timer: None }
    }

    /// Queues it if there is room; else it waits for that.
    pub(super) fn send(&mut self, priority: Priority, weight: usize) {
        let room = &self.shared.room;
        if weight > room.byte_capacity() {
            let refusal = Refusal::TooLarge { weight, limit: room.byte_capacity() };
            self.stage = Stage::Refused(Box::new(refusal));
            return;
        }
        match room.try_acquire(priority, weight, clock::recently()) {
            Ok(()) => self.queue(priority.into()),
            Err(_) => self.stage = Stage::Unqueued(room.wait(priority, weight), priority.into()),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.claim.job().deadline()
    }

    /// Queues the job, whose room has been acquired.
    pub(super) fn queue(&mut self, line: Line) {
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
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(cx)
    }

    /// As of the future.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, OptimizationError>> {
        self.poll_room(cx);
        if matches!(self.stage, Stage::Refused(_)) {
            let Stage::Refused(refusal) = std::mem::replace(&mut self.stage, Stage::Over) else {
                unreachable!("the stage was matched above")
            };
            // It never came to a worker, and keeps its closure for nobody.
            self.claim.job().withdraw(Interruption::Cancelled);
            return Poll::Ready(Err((*refusal).into()));
        }
        assert!(!matches!(self.stage, Stage::Over), "polled after it was ready");
        // Outcomes that are there at once, again and again, are no reason to keep others from this thread.
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        let mut outcome = self.look();
        order::asked(outcome.is_ready());
        if outcome.is_pending() {
            outcome = self.claim.poll_outcome(cx);
        }
        if outcome.is_pending() && self.poll_deadline(cx).is_ready() {
            self.withdraw(Interruption::DeadlineExceeded);
            outcome = self.claim.poll_outcome(cx);
        }
        if outcome.is_ready() {
            progress.made_progress();
            self.stage = Stage::Over;
        }
        outcome
    }
}

impl<T> Drop for Sent<T> {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Over) {
            self.withdraw(Interruption::Cancelled);
        }
        if let Some(job) = self.claim.give_up() {
            self.shared.stash.put(job);
        }
    }
}
