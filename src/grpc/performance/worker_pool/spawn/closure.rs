//! A closure as a job: what its worker, its handle and the supervisor share.
//!
//! The worker writes the outcome, then moves the state to finished, and then rings the [`Bell`]; the future looks at the
//! state after it has registered: so either the future sees the outcome, or it is woken. Whoever withdraws a job rings in
//! the worker's place.
//!
//! A job knows nothing of the closure's type, nor of its outcome's: so one job may serve one closure after the other
//! ([`stash`](super::stash)). Both lie in the same [`Parcel`], since the one is gone when the other comes: a job passes
//! from core to core four times, and each cache line of it costs more than what is done with it there.
//!
//! **Whose the parcel is** the state says, which gives the right to it to one thread at a time: to the worker that has
//! begun the job; when that has finished it, to the handle; to who withdraws it before it was begun. Here is no lock that
//! would see a mistake, since a message would be at it five times; loom does see one.

#![allow(unsafe_code)]

use std::{sync::Arc, time::Instant};

use super::{JobOptions, bell::Bell, parcel::Parcel};
use crate::{
    grpc::performance::{
        error::Interruption,
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
        cell::UnsafeCell,
        clock,
        contain::{contain, drop_logged},
    },
};

/// Takes the closure out of a job's parcel, calls it, and leaves its outcome there, or what it panicked with.
type Call = fn(&mut Parcel, &mut JobContext<'_>);

fn call<F, T>(parcel: &mut Parcel, context: &mut JobContext<'_>)
where
    F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    let closure: F = parcel.take().expect("this call was chosen for the closure");
    parcel.put(contain(|| closure(context)));
}

/// What [`call`] has left.
pub(super) fn outcome<T: Send + 'static>(parcel: &mut Parcel) -> Result<T, String> {
    parcel.take().expect("the outcome is that of the closure")
}

/// The closure while the job is queued, its outcome once it is finished.
struct Content(UnsafeCell<Parcel>);

// SAFETY: the parcel is touched by who has the right to it, as the callers of `ClosureJob::content` say: by one thread at a
// time, each after the one before, since the right goes along with steps of the state that release and acquire. So it only
// goes from thread to thread, and it is `Send`.
unsafe impl Sync for Content {}

/// In the order in which it lies in memory: what everybody touches first, then what small closures leave unused, then what
/// is of interest to few.
#[repr(C)]
pub(in super::super) struct ClosureJob {
    pub(super) state: JobState,
    pub(super) share: Share,
    pub(super) bell: Bell,
    call: Call,
    undivided: bool,
    /// Whether it may run where it is spawned, once it is known how long its like takes.
    vouched: bool,
    /// Whether it has a deadline, and whether it weighs anything: what they are lies further back.
    is_due: bool,
    has_weight: bool,
    content: Content,
    pub(super) class: Class,
    deadline: Option<Instant>,
    weight: usize,
    charge: Handoff<Charge>,
}

impl ClosureJob {
    /// A place for closures; it has to be [filled](Self::fill) before it is anything else.
    pub(super) fn vacant() -> Self {
        let JobOptions { class, weight, deadline, undivided, may_run_in_place, .. } = JobOptions::default();
        Self {
            state: JobState::queued(),
            share: Share::default(),
            bell: Bell::new(),
            call: |_, _| unreachable!("a vacant place is not queued"),
            undivided,
            vouched: may_run_in_place,
            is_due: deadline.is_some(),
            has_weight: weight > 0,
            content: Content(UnsafeCell::new(Parcel::empty())),
            class,
            deadline,
            weight,
            charge: Handoff::empty(),
        }
    }

    /// Puts a closure there. What was there before is over, and nothing is left of it.
    pub(super) fn fill<F, T>(&mut self, options: &JobOptions, closure: F)
    where
        F: FnOnce(&mut JobContext<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.state = JobState::queued();
        self.share = Share::default();
        self.bell = Bell::new();
        self.call = call::<F, T>;
        self.undivided = options.undivided;
        self.vouched = options.may_run_in_place;
        self.is_due = options.deadline.is_some();
        self.has_weight = options.weight > 0;
        // SAFETY: nobody else has the job.
        unsafe { self.content(|parcel| parcel.put(closure)) };
        self.class = options.class;
        self.deadline = options.deadline;
        self.weight = options.weight;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_due { self.deadline } else { None }
    }

    /// # Safety
    /// The parcel is the caller's, by the state.
    #[inline]
    pub(super) unsafe fn content<R>(&self, touch: impl FnOnce(&mut Parcel) -> R) -> R {
        // SAFETY: the caller says so.
        self.content.0.with_mut(|parcel| touch(unsafe { &mut *parcel }))
    }

    /// Drops what is in the parcel.
    ///
    /// # Safety
    /// As for [`content`](Self::content).
    pub(super) unsafe fn clear(&self) {
        // SAFETY: the caller says so.
        if let Some(left) = unsafe { self.content(Parcel::take_all) } {
            drop_logged(left);
        }
    }

    /// What it weighs is free.
    fn discharge(&self) {
        if self.has_weight {
            drop(self.charge.take());
        }
    }

    /// The job has its room: what it weighs is given back when it is done.
    pub(super) fn charge(&self, room: &Arc<Room>) {
        if let Some(charge) = Charge::new(room, self.weight) {
            self.charge.put(charge);
        }
    }

    /// Takes the job away, if it has no outcome yet, nor was taken away before: true then.
    pub(super) fn withdraw(&self, why: Interruption) -> bool {
        let withdrawn = self.state.withdraw(why);
        if withdrawn == Some(WithdrawnFrom::Queued) {
            // SAFETY: who withdraws a job that nobody has begun has the right to its input.
            unsafe { self.clear() };
            self.discharge();
        }
        if withdrawn.is_some() {
            self.bell.ring();
        }
        withdrawn.is_some()
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
        let deadline = self.deadline();
        if deadline.is_some_and(|deadline| deadline <= started) {
            self.withdraw(Interruption::DeadlineExceeded);
        }
        if self.state.begin().is_err() {
            return;
        }
        let effort = forecast.begin_queued(&self.share, &self.class, self.vouched);
        let context = JobContext::new(&self.state, deadline);
        let mut context = if self.undivided { context } else { context.lending(interlude) };
        // SAFETY: the worker has begun the job, and has yet to finish it.
        unsafe { self.content(|parcel| (self.call)(parcel, &mut context)) };
        forecast.learn_from(&effort, || (clock::now() - started).saturating_sub(interlude.lent()));
        // The charge before the outcome is told: who awaits it finds its bytes free.
        self.discharge();
        if self.state.finish().is_ok() {
            self.bell.ring();
        } else {
            // SAFETY: what was withdrawn while it ran stays its worker's.
            unsafe { self.clear() };
        }
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
