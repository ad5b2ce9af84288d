//! One structure under test: a victim that works on it and is stopped, and others that go on and are timed.
//!
//! What is timed is the gap between two moments at which a thread got on with its work: an operation that ended, an
//! element that was pushed, or popped though it had been there for a while. A pause *stalls* a kind of work if a gap of
//! it has 1 ms or more in common with the pause, and is 1 ms or more without the time that the thread was ready to run
//! and had no core ([`run_delay`](super::run_delay)): that is the machine's. On a busy machine this is kind to whoever
//! waits by giving up its core (`sched_yield`), since that wait looks like the machine's, too.
//!
//! The control pauses the same thread just as often and as long, between two operations, where it holds nothing. So it
//! has the same threads on the same cores, and every stall of it is the machine's: on a busy machine the control of a
//! structure with locks is not zero, since a thread that loses its core while it holds one is a stopped thread.

use std::{
    iter,
    ops::Range,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crossbeam::{queue::SegQueue, utils::CachePadded};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    pause::{Aim, At, Window, now},
    run_delay,
};

/// A gap that is a stall.
const STALL_NS: u64 = 1_000_000;
/// Pauses in a row of one sort, before the other sort has its turn.
const SLICE: usize = 10;
/// Between two pauses, in microseconds.
const BREAK_US: Range<u64> = 1_000..4_000;

/// What is timed, as the contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CacheHit,
    CacheInsert,
    QueuePush,
    QueuePop,
    Pool,
    Histogram,
    Flight,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CacheHit => "cache-hit",
            Self::CacheInsert => "cache-insert",
            Self::QueuePush => "queue-push",
            Self::QueuePop => "queue-pop",
            Self::Pool => "pool",
            Self::Histogram => "histogram",
            Self::Flight => "flight",
        }
    }
}

/// A time without progress, and how much of it the thread that ended it waited for a core.
struct Gap {
    window: Window,
    delay: u64,
}

/// When one thread, or several together, got on.
pub(crate) struct Progress {
    pub(crate) kind: Kind,
    last: CachePadded<AtomicU64>,
    operations: CachePadded<AtomicU64>,
    gaps: SegQueue<Gap>,
}

impl Progress {
    pub(crate) fn new(kind: Kind) -> Self {
        let zero = || CachePadded::new(AtomicU64::new(0));
        Self { kind, last: zero(), operations: zero(), gaps: SegQueue::new() }
    }

    /// Something was done just now.
    pub(crate) fn made(&self) {
        self.made_of(0);
    }

    /// Something was done just now that could not have been done before `possible`. Relaxed: each figure stands for
    /// itself.
    pub(crate) fn made_of(&self, possible: u64) {
        let now = now();
        let began = self.last.swap(now, Relaxed).max(possible);
        self.operations.fetch_add(1, Relaxed);
        let gap = now.saturating_sub(began);
        let delay = run_delay::in_gap(now, gap);
        if gap >= STALL_NS && began != 0 {
            self.gaps.push(Gap { window: Window { began, ended: now }, delay });
        }
    }

    /// There was nothing to do, which is nobody's stall.
    pub(crate) fn idle(&self) {
        self.last.store(now(), Relaxed);
    }
}

/// A thread of the rig: called again and again until the end.
pub(crate) type Loop<'a> = Box<dyn FnMut() + Send + 'a>;

/// One structure and those who work on it.
pub(crate) struct Rig<'a> {
    pub(crate) name: &'static str,
    /// Stopped in turn.
    pub(crate) aims: Vec<&'a Aim>,
    pub(crate) loops: Vec<Loop<'a>>,
    pub(crate) progress: Vec<&'a Progress>,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) injections: usize,
    pub(crate) stalls: usize,
    pub(crate) longest_ms: f64,
    pub(crate) operations: u64,
    pub(crate) control_stalls: usize,
}

impl Row {
    pub(crate) fn sentence(&self) -> String {
        let longest =
            if self.stalls > 0 { format!(", the longest {:.1} ms", self.longest_ms) } else { String::new() };
        format!(
            "{:12} {:24} {:3} of {} pauses stalled another thread{longest} (control: {}); {:.1} million operations.",
            self.kind.name(),
            self.name,
            self.stalls,
            self.injections,
            self.control_stalls,
            self.operations as f64 / 1e6,
        )
    }
}

impl Rig<'_> {
    /// So many pauses at arbitrary instructions, and as many between operations, a slice of each in turn.
    pub(crate) fn run(self, injections: usize) -> Vec<Row> {
        let stop = AtomicBool::new(false);
        let begin = Barrier::new(self.loops.len() + 1);
        let mut shots = Vec::with_capacity(2 * injections);
        thread::scope(|scope| {
            for mut work in self.loops {
                let (stop, begin) = (&stop, &begin);
                scope.spawn(move || {
                    begin.wait();
                    // Relaxed: nothing is handed over but the wish to stop.
                    while !stop.load(Relaxed) {
                        work();
                    }
                });
            }
            begin.wait();
            let mut random = SmallRng::seed_from_u64(5);
            let slices = iter::repeat([At::AnyInstruction, At::Rest]).flatten();
            let sorts = slices.flat_map(|at| iter::repeat_n(at, SLICE)).take(2 * injections);
            for (shot, at) in sorts.enumerate() {
                thread::park_timeout(Duration::from_micros(random.random_range(BREAK_US)));
                shots.push((at, self.aims[shot % self.aims.len()].fire(at)));
            }
            // The last stall has to end, too.
            thread::park_timeout(Duration::from_millis(2));
            stop.store(true, Relaxed);
        });
        self.progress.iter().map(|progress| row(self.name, progress, &shots)).collect()
    }
}

fn row(name: &'static str, progress: &Progress, shots: &[(At, Window)]) -> Row {
    let gaps: Vec<Gap> = iter::from_fn(|| progress.gaps.pop()).collect();
    let worst = |window: &Window| gaps.iter().filter_map(|gap| stall(gap, window)).max();
    let stalls = |sort| -> Vec<u64> {
        shots.iter().filter(|(at, _)| *at == sort).filter_map(|(_, window)| worst(window)).collect()
    };
    let injected = stalls(At::AnyInstruction);
    Row {
        name,
        kind: progress.kind,
        injections: shots.iter().filter(|(at, _)| *at == At::AnyInstruction).count(),
        stalls: injected.len(),
        longest_ms: injected.iter().max().map_or(0.0, |&longest| longest as f64 / 1e6),
        operations: progress.operations.load(Relaxed),
        control_stalls: stalls(At::Rest).len(),
    }
}

/// The part of a gap that a pause has to answer for.
fn stall(gap: &Gap, pause: &Window) -> Option<u64> {
    let Window { began, ended } = gap.window;
    let shared = ended.min(pause.ended).saturating_sub(began.max(pause.began));
    let own = (ended - began).saturating_sub(gap.delay);
    (shared >= STALL_NS && own >= STALL_NS).then_some(own)
}
