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
//! supervisor changes the scheduling class of a thread that sinks from outside, by the number that the system knows it by.
//! Such numbers are given anew when a thread has ended: so a sunk thread stays until that has been done.
//!
//! A post belongs to one thread for good; a substitute gets a post of its own. The phase carries a sequence number, so
//! that the supervisor can only seize the very task whose start it read. The copy of the task lies in a [`Handoff`] that
//! is the worker's while the post is IDLE or BUSY, and becomes the supervisor's with the step to SEIZED.

use std::{
    sync::{
        OnceLock,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

use super::{handoff::Handoff, job::Task, state::Life};
use crate::platform::{
    atomic::{AtomicBool, AtomicU64},
    stage::{self, reached},
    whereabouts::ThreadNumber,
};

const IDLE: u64 = 0;
const BUSY: u64 = 1;
const SEIZED: u64 = 2;
const SUNK: u64 = 3;
const PHASE: u64 = 3;
/// What the sequence number counts in.
const NEXT: u64 = 4;

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

/// One occupation of a post, as the supervisor saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    busy: u64,
    /// When the task was started.
    pub(super) started: Instant,
}

pub(super) struct Post {
    phase: AtomicU64,
    /// Nanoseconds from `epoch` to the start of the task.
    started: AtomicU64,
    epoch: Instant,
    /// Whose post it is, for reports.
    thread: OnceLock<ThreadNumber>,
    task: Handoff<(Task, Life)>,
    settled: AtomicBool,
}

impl Post {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            phase: AtomicU64::new(IDLE),
            started: AtomicU64::new(0),
            epoch,
            thread: OnceLock::new(),
            task: Handoff::empty(),
            settled: AtomicBool::new(false),
        }
    }

    /// The worker says who it is, where the platform tells.
    pub(super) fn sign(&self) {
        if let Some(thread) = ThreadNumber::of_this_thread() {
            // Nobody else signs.
            let _ = self.thread.set(thread);
        }
    }

    /// Whose post it is.
    pub(super) fn thread(&self) -> Option<ThreadNumber> {
        self.thread.get().copied()
    }

    /// The worker begins a task.
    pub(super) fn occupy(&self, task: Task, life: Life, now: Instant) {
        self.task.put((task, life));
        stage::point();
        // Relaxed: published by the store of the phase.
        self.started.store(now.saturating_duration_since(self.epoch).as_nanos() as u64, Relaxed);
        // Only the worker leaves IDLE, so a plain store is enough, and it knows the phase; Release pairs with the
        // supervisor's Acquire in `turn` and `seize`: who sees BUSY sees the task and its start.
        let idle = self.phase.load(Relaxed);
        self.phase.store((idle & !PHASE) + NEXT + BUSY, Release);
    }

    /// The worker has finished the task.
    pub(super) fn vacate(&self) -> Return {
        // Relaxed: only the phase may be stale, and that does not matter.
        let idle = self.phase.load(Relaxed) & !PHASE;
        for (phase, outcome) in [(BUSY, Return::Stay), (SUNK, Return::Surface)] {
            stage::point();
            // AcqRel: one of this step and that of `seize` happens, and the task goes with it. A post that is not BUSY
            // any more never is again in this turn, so that trying SUNK next is enough.
            if self.phase.compare_exchange(idle | phase, idle, AcqRel, Acquire).is_ok() {
                drop(self.task.take());
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
        matches!(phase & PHASE, BUSY | SUNK).then_some(Turn { busy: phase, started })
    }

    /// Takes the task of a turn away from the worker, to answer for it, with the life that it was begun in; `None` when
    /// it has just finished.
    pub(super) fn seize(&self, turn: Turn) -> Option<(Task, Life)> {
        let seized = turn.busy & !PHASE | SEIZED;
        stage::point();
        // AcqRel: acquires the task from `occupy`; see `vacate`.
        self.phase.compare_exchange(turn.busy, seized, AcqRel, Acquire).ok()?;
        self.task.take()
    }

    /// Tells the worker that it leaves its seat with this task; false when it has just finished it.
    pub(super) fn sink(&self, turn: Turn) -> bool {
        let sunk = turn.busy & !PHASE | SUNK;
        // AcqRel: in line with the other steps; nothing but the right to the seat goes with it.
        self.phase.compare_exchange(turn.busy & !PHASE | BUSY, sunk, AcqRel, Acquire).is_ok()
    }

    /// The supervisor has done with the thread what there is to do when it sinks, and will not name it again. Release
    /// pairs with `await_settled`.
    pub(super) fn settle(&self) {
        self.settled.store(true, Release);
    }

    /// The thread has sunk, and is done: it may end when nobody will name it any more. That is a system call of the
    /// supervisor away, and nobody waits for this thread.
    pub(super) fn await_settled(&self) {
        while !self.settled.load(Acquire) {
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
