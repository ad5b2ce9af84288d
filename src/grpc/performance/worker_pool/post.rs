//! A worker's post: what it runs since when, where the supervisor can see it, and take it away.
//!
//! ```text
//!          occupy                 seize (it overstays)
//!  IDLE ──────────▶ BUSY ─────────────────────────────▶ SEIZED   (its thread ends when it comes back)
//!   ▲ ▲               │ │                                  ▲
//!   │ └─── vacate ────┘ │ sink (it is long)                │ seize
//!   │                   ▼                                  │
//!   └─── vacate ────── SUNK ───────────────────────────────┘
//!        (and its thread ends)
//! ```
//! SUNK is BUSY for everybody but the worker, who learns when it comes back that its seat is another's, and ends. The
//! supervisor changes the scheduling class of a thread that sinks, and where it may run, from outside, by the number that the
//! system knows it by. Such numbers are given anew when a thread has ended: so a sunk thread [stays](Post::await_release)
//! while the supervisor *holds* it.
//!
//! **Interludes.** A job that lets shorter work run at its checkpoint is *suspended* (BUSY to MOVING, by the worker, which
//! has the task back), and lies [beneath](Occupation::beneath) the task that the post is occupied with next. When that is
//! done the job is *resumed* (by way of MOVING): the post is occupied with it again, as a turn of its own whose start leaves
//! out what was lent. To the supervisor an interlude is a turn like any other. Whoever seizes it has both tasks, since both
//! are on the thread that is lost. A thread that sinks in an interlude is SUNK afterwards as well, with the job that was
//! beneath; one whose post is SUNK or SEIZED suspends nothing. MOVING says that there is something that cannot be seen in
//! this moment: the worker is a few steps away from the next turn.
//!
//! A post belongs to one thread for good; a substitute gets a post of its own. The phase carries a sequence number, so
//! that the supervisor can only seize the very task whose start it read. The copy of the task lies in a [`Handoff`] that
//! is the worker's while the post is IDLE, BUSY, SUNK or MOVING, and becomes the supervisor's with the step to SEIZED.

use std::{
    iter,
    sync::{
        OnceLock,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

use super::{handoff::Handoff, job::Task, state::Life};
use crate::{
    grpc::performance::error::Interruption,
    platform::{
        atomic::{AtomicBool, AtomicU8, AtomicU64},
        stack::{self, Base},
        stage::{self, reached},
        whereabouts::ThreadNumber,
    },
};

const IDLE: u64 = 0;
const BUSY: u64 = 1;
const SEIZED: u64 = 2;
const SUNK: u64 = 3;
/// Between two turns of an interlude.
const MOVING: u64 = 4;
const PHASE: u64 = 7;
/// What the sequence number counts in.
const NEXT: u64 = 8;

/// A thread that sinks is held from the start.
const HELD: u8 = 0;
const RELEASED: u8 = 1;
/// It is about to end.
const GONE: u8 = 2;

/// What a worker finds when it comes back from a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Return {
    /// Go on.
    Stay,
    /// The task was answered for, and the thread is to end.
    Leave,
    /// The task was the thread's to the end, but its seat is another's: it is to end.
    Surface,
}

/// What a post is occupied with.
pub(super) struct Occupation {
    pub(super) task: Task,
    pub(super) life: Life,
    /// What was suspended for it, and is on the same stack.
    pub(super) beneath: Option<Suspended>,
}

/// A task that its worker has begun, and has let another run before it goes on.
pub(super) struct Suspended {
    pub(super) task: Task,
    pub(super) life: Life,
    /// How long it has run so far.
    pub(super) ran: Duration,
}

impl Occupation {
    /// All that a thread has begun and not ended.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (&Task, Life)> {
        let beneath = self.beneath.as_ref().map(|beneath| (&beneath.task, beneath.life));
        iter::once((&self.task, self.life)).chain(beneath)
    }

    /// Answers for all of it that has no answer, and lets it run on unheard; says how much that was.
    pub(super) fn abandon(&self, why: Interruption) -> usize {
        self.tasks().map(|(task, life)| usize::from(task.job.abandon(task.unit, life, why))).sum()
    }
}

/// One occupation of a post, as the supervisor saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    busy: u64,
    /// When the task was started.
    pub(super) started: Instant,
    /// How long what lies beneath it has run; zero where nothing does.
    pub(super) beneath: Duration,
}

pub(super) struct Post {
    phase: AtomicU64,
    /// Nanoseconds from `epoch` to the start of the task.
    started: AtomicU64,
    /// Nanoseconds that what lies beneath it has run.
    beneath: AtomicU64,
    epoch: Instant,
    /// Whose post it is, for reports.
    thread: OnceLock<(ThreadNumber, Base)>,
    ended: AtomicBool,
    task: Handoff<Occupation>,
    hold: AtomicU8,
}

impl Post {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            phase: AtomicU64::new(IDLE),
            started: AtomicU64::new(0),
            beneath: AtomicU64::new(0),
            epoch,
            thread: OnceLock::new(),
            ended: AtomicBool::new(false),
            task: Handoff::empty(),
            hold: AtomicU8::new(HELD),
        }
    }

    /// The worker says who it is, where the platform tells, and where its stack begins.
    pub(super) fn sign(&self, base: Base) {
        if let Some(thread) = ThreadNumber::of_this_thread() {
            // Nobody else signs.
            let _ = self.thread.set((thread, base));
        }
    }

    /// The worker is about to end, after which another thread may have its number. Release pairs with `stack`.
    pub(super) fn sign_off(&self) {
        self.ended.store(true, Release);
    }

    /// Whose post it is.
    pub(super) fn thread(&self) -> Option<ThreadNumber> {
        self.thread.get().map(|(thread, _)| *thread)
    }

    /// What the worker is in, by functions; `None` when it has ended, or does not say. It may take seconds.
    pub(super) fn stack(&self) -> Option<String> {
        let (thread, base) = *self.thread.get()?;
        // Acquire: a number that has gone to another thread while it was asked was given up before that answered, and the
        // kernel has both in this order. What that one said is then of no interest.
        let has_ended = || self.ended.load(Acquire);
        if has_ended() {
            return None;
        }
        stack::of(thread, base).filter(|_| !has_ended())
    }

    /// The worker begins a task, maybe with another one beneath it.
    pub(super) fn occupy(&self, occupation: Occupation, now: Instant) {
        self.enter(BUSY, occupation, now);
    }

    /// A turn begins, in this phase.
    fn enter(&self, phase: u64, occupation: Occupation, started: Instant) {
        let beneath = occupation.beneath.as_ref().map_or(Duration::ZERO, |beneath| beneath.ran);
        self.task.put(occupation);
        stage::point();
        // Relaxed, here and below: published by the store of the phase.
        self.beneath.store(beneath.as_nanos() as u64, Relaxed);
        self.started.store(started.saturating_duration_since(self.epoch).as_nanos() as u64, Relaxed);
        // Only the worker leaves IDLE and MOVING, so a plain store is enough, and it knows the phase; Release pairs with
        // the supervisor's Acquire in `turn` and `seize`: who sees BUSY sees the task and its start.
        let idle = self.phase.load(Relaxed);
        self.phase.store((idle & !PHASE) + NEXT + phase, Release);
    }

    /// The worker leaves the turn that it is in, if that is still in this phase, for another one; gives what it was at.
    fn leave(&self, phase: u64, next: u64) -> Option<Occupation> {
        // Relaxed: only the phase may be stale, and that does not matter.
        let idle = self.phase.load(Relaxed) & !PHASE;
        stage::point();
        // AcqRel: one of this step and that of `seize` happens, and the task goes with it.
        self.phase.compare_exchange(idle | phase, idle | next, AcqRel, Acquire).ok()?;
        Some(self.task.take().expect("who leaves a turn that was not seized has its task"))
    }

    /// The worker lets its task lie, which has run for so long, to run another one first; `None` when the task was seized,
    /// or the thread has lost its seat: then it is to go on with what it has.
    pub(super) fn suspend(&self, ran: Duration) -> Option<Suspended> {
        let Occupation { task, life, .. } = self.leave(BUSY, MOVING)?;
        Some(Suspended { task, life, ran })
    }

    /// The worker goes on with a task that it has let lie, and that counts as `started` then; no other was run.
    pub(super) fn go_on(&self, Suspended { task, life, .. }: Suspended, started: Instant) {
        self.enter(BUSY, Occupation { task, life, beneath: None }, started);
    }

    /// The worker is done with what it ran in between, and goes on with what lay beneath; false when both were seized: then
    /// the post stays as it is.
    pub(super) fn resume(&self, started: Instant) -> bool {
        // As in `vacate`.
        let done = [BUSY, SUNK].into_iter().find_map(|phase| Some((phase, self.leave(phase, MOVING)?)));
        let Some((phase, Occupation { beneath, .. })) = done else { return false };
        let Suspended { task, life, .. } = beneath.expect("an interlude has something beneath it");
        self.enter(phase, Occupation { task, life, beneath: None }, started);
        true
    }

    /// The worker has finished the task.
    pub(super) fn vacate(&self) -> Return {
        // A post that is not BUSY any more never is again in this turn, so that trying SUNK next is enough.
        for (phase, outcome) in [(BUSY, Return::Stay), (SUNK, Return::Surface)] {
            if let Some(done) = self.leave(phase, IDLE) {
                drop(done);
                return outcome;
            }
        }
        reached!("post: a thread comes back to a post that was seized");
        Return::Leave
    }

    /// What the worker is at, if it is at anything.
    pub(super) fn turn(&self) -> Option<Turn> {
        // Acquire pairs with the Release of `occupy`; the start is then that of this turn, or of a later one, whose task
        // `seize` will not take for this one's.
        let phase = self.phase.load(Acquire);
        let started = self.epoch + Duration::from_nanos(self.started.load(Relaxed));
        let beneath = Duration::from_nanos(self.beneath.load(Relaxed));
        matches!(phase & PHASE, BUSY | SUNK).then_some(Turn { busy: phase, started, beneath })
    }

    /// Whether the worker is at something that cannot be seen in this moment. Acquire as in `turn`.
    pub(super) fn is_moving(&self) -> bool {
        self.phase.load(Acquire) & PHASE == MOVING
    }

    /// Takes the task of a turn away from the worker, to answer for it, and what lies beneath it; `None` when it has just
    /// finished.
    pub(super) fn seize(&self, turn: Turn) -> Option<Occupation> {
        let seized = turn.busy & !PHASE | SEIZED;
        stage::point();
        // AcqRel: acquires the task from `enter`; see `leave`.
        self.phase.compare_exchange(turn.busy, seized, AcqRel, Acquire).ok()?;
        self.task.take()
    }

    /// Tells the worker that it leaves its seat with this task; false when it has just finished it.
    pub(super) fn sink(&self, turn: Turn) -> bool {
        let sunk = turn.busy & !PHASE | SUNK;
        // AcqRel: in line with the other steps; nothing but the right to the seat goes with it.
        self.phase.compare_exchange(turn.busy & !PHASE | BUSY, sunk, AcqRel, Acquire).is_ok()
    }

    /// The supervisor will not name the thread any more, which has sunk, unless it holds it anew. Release pairs with
    /// `await_release`.
    pub(super) fn release(&self) {
        self.hold.store(RELEASED, Release);
    }

    /// The supervisor is going to name the thread once more; false when that is about to end.
    pub(super) fn hold_anew(&self) -> bool {
        // Acquire and Relaxed: nothing comes with it but the right to name the thread.
        self.hold.compare_exchange(RELEASED, HELD, Acquire, Relaxed).is_ok()
    }

    /// The thread has sunk, and is done: it may end when nobody names it. That is a system call of the supervisor away,
    /// and nobody waits for this thread.
    pub(super) fn await_release(&self) {
        // Acquire pairs with `release`: the thread ends after it was named, for the supervisor as for the system.
        while self.hold.compare_exchange(RELEASED, GONE, Acquire, Relaxed).is_err() {
            stage::give_way();
        }
    }

    /// Whether the thread was told to end. Acquire pairs with `seize`.
    pub(super) fn is_seized(&self) -> bool {
        self.phase.load(Acquire) & PHASE == SEIZED
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
