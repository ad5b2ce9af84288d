//! A closure as a job: what its worker, its handle and the supervisor share.
//!
//! The worker writes the outcome and then moves the state to finished; the future registers its waker and then looks at
//! the state: so either the future sees the outcome, or the worker sees the waker.
//!
//! A job knows nothing of the closure's type, nor of its outcome's: both are [`Parcel`]s, so that one job may serve one
//! closure after the other ([`stash`](super::stash)). They lie in the same place, since the one is gone when the other
//! comes: a job passes from core to core four times, and each cache line of it costs more than what is done with it there.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{JobOptions, parcel::Parcel};
use crate::{
    grpc::performance::{
        error::{Interruption, OptimizationError},
        monitor::Class,
        worker_pool::{
            context::JobContext,
            forecast::{Forecast, Share},
            handoff::Handoff,
            interlude::Interlude,
            job::Job,
            lookout::Expected,
            overstay::Description,
            room::{Charge, Room},
            state::{JobState, Life, WithdrawnFrom},
        },
    },
    platform::{
        clock,
        contain::{contain, drop_logged, wake_registered},
        sync::AtomicWaker,
    },
};

/// A closure, and how it is called.
#[repr(C)]
pub(super) struct Work {
    call: fn(Parcel, &mut JobContext<'_>) -> Parcel,
    closure: Parcel,
}

/// What is in a job, by its state.
pub(super) enum Content {
    /// While it is queued.
    Work(Work),
    /// Once it is finished: what the closure gave, or what it panicked with.
    Outcome(Result<Parcel, String>),
}

impl Work {
    pub(super) fn of<F, T>(closure: F) -> Self
    where
        F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        Self { closure: Parcel::new(closure), call: call::<F, T> }
    }
}

fn call<F, T>(closure: Parcel, context: &mut JobContext<'_>) -> Parcel
where
    F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    let closure: F = closure.open().expect("this call was chosen for the closure");
    Parcel::new(closure(context))
}

/// In the order in which it lies in memory: what everybody touches first, what small closures leave unused last.
#[repr(C)]
pub(in super::super) struct ClosureJob {
    state: JobState,
    pub(super) share: Share,
    waker: AtomicWaker,
    pub(super) class: Class,
    deadline: Option<Instant>,
    undivided: bool,
    weight: usize,
    /// Only where it weighs anything.
    charge: Handoff<Charge>,
    pub(super) content: Handoff<Content>,
}

impl ClosureJob {
    pub(super) fn new(options: &JobOptions, work: Work) -> Self {
        Self {
            state: JobState::queued(),
            share: Share::default(),
            waker: AtomicWaker::new(),
            class: options.class,
            deadline: options.deadline,
            undivided: options.undivided,
            weight: options.weight,
            charge: Handoff::empty(),
            content: Handoff::new(Content::Work(work)),
        }
    }

    /// What it weighs is free.
    fn discharge(&self) {
        if self.weight > 0 {
            drop(self.charge.take());
        }
    }

    /// The job has its room: what it weighs is given back when it is done.
    pub(super) fn charge(&self, room: &Arc<Room>) {
        if let Some(charge) = Charge::new(room, self.weight) {
            self.charge.put(charge);
        }
    }

    /// The outcome, if it is there.
    pub(super) fn take_outcome(&self) -> Poll<Result<Parcel, OptimizationError>> {
        if self.state.is_finished() {
            let Some(Content::Outcome(outcome)) = self.content.take() else {
                unreachable!("a finished job has one outcome, for one future")
            };
            return Poll::Ready(outcome.map_err(OptimizationError::Panicked));
        }
        match self.state.withdrawn() {
            Some(why) => Poll::Ready(Err(why.into())),
            None => Poll::Pending,
        }
    }

    /// The same, for who wants to be woken if it is not.
    pub(super) fn poll_outcome(&self, cx: &mut Context<'_>) -> Poll<Result<Parcel, OptimizationError>> {
        self.waker.register(cx.waker());
        self.take_outcome()
    }

    /// Takes the job away, if it has no outcome yet, nor was taken away before: true then.
    pub(super) fn withdraw(&self, why: Interruption) -> bool {
        let withdrawn = self.state.withdraw(why);
        if withdrawn == Some(WithdrawnFrom::Queued) {
            drop_logged(self.content.take());
            self.discharge();
        }
        wake_registered(&self.waker);
        withdrawn.is_some()
    }

    /// Nobody wants to know of it any more, and no waker will be registered: what its future has left here goes.
    /// An outcome that nobody took, that is, and the waker of a future that was not woken.
    pub(super) fn forget(&self) {
        drop(self.waker.take());
        if self.state.is_finished() {
            drop_logged(self.content.take());
        }
    }
}

impl Job for ClosureJob {
    fn split(&self, _unit: u32) -> Option<u32> {
        None
    }

    fn share(&self, _unit: u32) -> &Share {
        &self.share
    }

    fn run(&self, _unit: u32, started: Instant, forecast: &Forecast, interlude: &Interlude<'_>) {
        if self.deadline.is_some_and(|deadline| deadline <= started) {
            self.withdraw(Interruption::DeadlineExceeded);
        }
        if self.state.begin().is_err() {
            return;
        }
        let Some(Content::Work(Work { call, closure })) = self.content.take() else {
            unreachable!("the input of a job that has begun is the worker's")
        };
        let effort = forecast.begin(self.class);
        let outcome = contain(|| {
            let context = JobContext::new(&self.state, self.deadline);
            call(closure, &mut if self.undivided { context } else { context.lending(interlude) })
        });
        let service_time = (clock::now() - started).saturating_sub(interlude.lent());
        forecast.learn_from(&effort, service_time);
        self.content.put(Content::Outcome(outcome));
        // The charge before the outcome is told: who awaits it finds its bytes free.
        self.discharge();
        if self.state.finish().is_err() {
            drop_logged(self.content.take());
        }
        wake_registered(&self.waker);
    }

    fn refuse(&self, _unit: u32, why: Interruption) {
        self.withdraw(why);
    }

    fn is_withdrawn(&self, _unit: u32) -> bool {
        self.state.withdrawn().is_some()
    }

    fn describe(&self, _unit: u32, _life: Life) -> Option<Description> {
        let passed = self.state.passed();
        Some(Description { class: self.class, stream: String::new(), number: 0, passed })
    }

    fn displace(&self, _unit: u32, _life: Life) -> bool {
        // Who spawns a closure knows nothing of refusals.
        false
    }

    fn life(&self, _unit: u32) -> Life {
        // Whoever names a life holds the job, and a job that somebody holds serves no other closure.
        Life::ONLY
    }

    fn abandon(&self, _unit: u32, _life: Life, why: Interruption) -> bool {
        self.withdraw(why)
    }
}

impl Expected for ClosureJob {
    fn has_begun(&self) -> bool {
        !self.state.is_queued()
    }

    fn is_over(&self) -> bool {
        self.state.is_finished() || self.state.withdrawn().is_some()
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
