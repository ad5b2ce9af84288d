//! A worker's post: what it runs since when, where the supervisor can see it, and take it away.
//!
//! ```text
//!          occupy                 seize (it overstays)
//!  IDLE ──────────▶ BUSY ─────────────────────────────▶ SEIZED   (its thread ends when it comes back)
//!   ▲                 │
//!   └──── vacate ─────┘
//! ```
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
use crate::platform::{atomic::AtomicU64, whereabouts::ThreadNumber};

const IDLE: u64 = 0;
const BUSY: u64 = 1;
const SEIZED: u64 = 2;
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
}

/// One occupation of a post, as the supervisor saw it.
#[derive(Debug, Clone, Copy)]
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
}

impl Post {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            phase: AtomicU64::new(IDLE),
            started: AtomicU64::new(0),
            epoch,
            thread: OnceLock::new(),
            task: Handoff::empty(),
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
        let busy = self.phase.load(Relaxed);
        // AcqRel: one of this step and that of `seize` happens, and the task goes with it.
        match self.phase.compare_exchange(busy & !PHASE | BUSY, busy & !PHASE, AcqRel, Acquire) {
            Ok(_) => {
                drop(self.task.take());
                Return::Stay
            }
            Err(_) => Return::Leave,
        }
    }

    /// What the worker is at, if it is at anything.
    pub(super) fn turn(&self) -> Option<Turn> {
        // Acquire pairs with the Release of `occupy`; the start is then that of this turn, or of a later one, whose task
        // `seize` will not take for this one's.
        let phase = self.phase.load(Acquire);
        let started = self.epoch + Duration::from_nanos(self.started.load(Relaxed));
        (phase & PHASE == BUSY).then_some(Turn { busy: phase, started })
    }

    /// Takes the task of a turn away from the worker, to answer for it, with the life that it was begun in; `None` when
    /// it has just finished.
    pub(super) fn seize(&self, turn: Turn) -> Option<(Task, Life)> {
        let seized = turn.busy & !PHASE | SEIZED;
        // AcqRel: acquires the task from `occupy`; see `vacate`.
        self.phase.compare_exchange(turn.busy, seized, AcqRel, Acquire).ok()?;
        self.task.take()
    }

    /// Whether the thread was told to end. Acquire pairs with `seize`.
    pub(super) fn is_seized(&self) -> bool {
        self.phase.load(Acquire) & PHASE == SEIZED
    }
}

#[cfg(all(test, millstream_loom))]
mod loom_tests;
