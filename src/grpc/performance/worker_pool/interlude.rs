//! Shorter work that runs within a checkpoint of something long.
//!
//! A worker of the front that is at something long keeps its seat while it is not seen to be in the way, and that takes
//! a while (`supervisor::overruns`). When something short waits meanwhile and nobody is free ([`haste`](super::haste)),
//! the long job's next checkpoint runs it there and then, on the same stack, and goes back. No thread has to be woken,
//! started or sent down for that.
//!
//! **Who lends.** A job on a seat of the front that has run for longer than anything short, its own loans left out. Not
//! one that has overstayed: it has to be what its thread is seen at, or loans could hide it from look after look. Not one
//! on a thread of the lowest class: what it took up would be stopped in the midst whenever the front has work, and the
//! kernel takes the core from that thread anyway. Not one that runs within a checkpoint itself: it goes one level deep,
//! so that a stack has to hold two handlers and no more. And not one whose author says that it may not be divided, for it
//! keeps a lock or something of its thread's over its checkpoints.
//!
//! **Who runs.** The head of the front's lanes, in the worker's own order. It is queued, started, counted, learnt from,
//! watched and answered for like any other; a handler instance of its own is checked out for it. If it turns out long
//! itself, the thread sinks with both.
//!
//! **Whose time it is.** The long job's start moves on by what it has lent: for `worker_timeout`, for its figures, and for
//! what its class is learnt to take. Its deadline does not move. Between two loans it keeps `long_work_share` of the time,
//! so that it moves on when shorts never end.
//!
//! **When the pool is over** nothing is lent any more: what is left in the lanes was withdrawn, and at the end of a drain
//! the supervisor waits for whoever is on the way from one turn to the next. It is not to find it so again and again.
//!
//! **The supervisor's view** is that of [`Post`]: an interlude is a turn of its own, with the long job beneath. If it
//! overstays, both are answered for, since both are on that thread. A panic of the handler in it ends within its job, as
//! always; one of our own costs its message, and the long job goes on.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use super::{
    Shared,
    crew::Level,
    job::Task,
    post::{Occupation, Post},
};
use crate::{
    grpc::performance::error::Interruption,
    platform::{clock, contain::contain, stage::reached},
};

/// Where a worker stands while it runs a job.
pub(super) struct Stand<'a> {
    pub(super) shared: &'a Shared,
    pub(super) post: &'a Post,
    /// Of the front.
    pub(super) seat: usize,
}

/// What a job needs to let others run in its checkpoints, and what it has lent them.
pub(crate) struct Interlude<'a> {
    stand: Option<Stand<'a>>,
    started: Instant,
    lent: Cell<Duration>,
    /// It lends nothing before: it is owed its share for the last loan.
    not_before: Cell<Instant>,
}

impl<'a> Interlude<'a> {
    /// For a job that is run at this stand from `started`; without a stand it lends nothing.
    pub(super) fn new(stand: Option<Stand<'a>>, started: Instant) -> Self {
        Self { stand, started, lent: Cell::new(Duration::ZERO), not_before: Cell::new(started) }
    }

    /// For a job that is run where nothing else may run within it.
    pub(crate) fn none(started: Instant) -> Self {
        Self::new(None, started)
    }

    /// How long others have run in the job's checkpoints.
    pub(crate) fn lent(&self) -> Duration {
        self.lent.get()
    }

    /// Whether something waits for which nobody is free: one load.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.stand.as_ref().is_some_and(|stand| stand.shared.haste.is_hinted())
    }

    /// Runs something that waits, if the job is one to lend its worker; true when time has passed.
    #[cold]
    pub(super) fn play(&self) -> bool {
        let Some(stand) = &self.stand else { return false };
        let now = clock::now();
        let Some(longest_short) = stand.shared.forecast.longest_short() else { return false };
        let ran = now.saturating_duration_since(self.started).saturating_sub(self.lent.get());
        if ran <= longest_short || now < self.not_before.get() || !stand.has_something() {
            return false;
        }
        if ran >= stand.shared.timeout {
            reached!("interlude: what is overdue lends nothing");
            return false;
        }
        let Some(beneath) = stand.post.suspend(ran) else {
            reached!("interlude: the thread has sunk, or was given up");
            return false;
        };
        let Some(task) = stand.take() else {
            reached!("interlude: somebody else was faster");
            stand.post.go_on(beneath, self.started + self.lent.get());
            return false;
        };
        reached!("interlude: something shorter runs within a checkpoint");
        let (unit, started) = (task.unit, clock::now());
        let (job, life) = (task.job.clone(), task.job.life(unit));
        stand.post.occupy(Occupation { task, life, beneath: Some(beneath) }, started);
        // After that: see `Worker::work`.
        stand.shared.leave_queue(job.share(unit));
        let within = Interlude::none(started);
        // What comes out of here is no handler's, and must not be taken for that of the job beneath.
        if let Err(panic) = contain(|| job.run(unit, started, &stand.shared.forecast, &within)) {
            tracing::error!(panic, "a fault within an interlude; its message is answered for");
            job.refuse(unit, Interruption::WorkerLost);
        }
        let done = clock::now();
        self.lent.set(self.lent.get() + (done - now));
        let owed = stand.shared.floor.as_ref().map(|floor| floor.owed(done - now));
        self.not_before.set(done + owed.unwrap_or_default());
        if !stand.post.resume(self.started + self.lent.get()) {
            reached!("interlude: it overstays, and what lies beneath it is lost with it");
        }
        true
    }
}

impl Stand<'_> {
    /// Whether anything is in the lanes for which somebody waits; if not, the word that there is is withdrawn.
    fn has_something(&self) -> bool {
        let waiting = || !self.shared.front.lanes.is_empty() && !self.shared.is_over();
        waiting() || {
            self.shared.haste.withdraw();
            waiting()
        }
    }

    /// Takes the next task out of the lanes, and what was chained behind it off.
    fn take(&self) -> Option<Task> {
        self.shared.haste.withdraw();
        let task = self.shared.front.pick(self.seat)?;
        self.shared.cut_rest(Level::Short, self.seat, &task);
        if !self.shared.front.lanes.is_empty() {
            self.shared.tell_if_pressed();
        }
        Some(task)
    }
}
