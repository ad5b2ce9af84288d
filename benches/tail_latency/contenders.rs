//! Who takes part, and what each has to be able to do.
//!
//! Each contender is used as its own documentation advises, with as many workers as there are cores, behind the same
//! tokio runtime with its default number of I/O threads. Each is started anew for each run and gone after it, so that
//! nobody's idle threads are in anybody's way. yatp is missing: it is not on crates.io.
//!
//! An [`Executor`] takes one job at a time and gives a future of it: for each message the harness spawns a task that
//! awaits this future, as a unary method does. [`streams`] is millstream's stream processor, which is fed through
//! long-lived streams in its place.

mod channel;
mod millstream;
mod per_job;
mod pools;
mod streams;
mod tokio_own;
mod variants;

use std::{num::NonZeroUsize, sync::Arc, thread, time::Duration};

use tokio::runtime::{Builder, Runtime};

use self::per_job::PerJob;
pub(crate) use self::{per_job::Executor, streams::Streams};
use crate::{arrivals::Ledger, work::Work};

/// What a contender is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// No hand-off at all: what hand-offs are measured from, and no peer of theirs.
    Reference,
    /// What a user would choose in place of millstream.
    Peer {
        /// Whether it has as many workers as there are cores, and no more.
        bounded: bool,
    },
    /// As a user gets it.
    Millstream,
    /// With a trick turned off, or once more as the control.
    Variant {
        /// The scenarios that show what it earns: where minutes count it takes part in no others.
        at: &'static [&'static str],
    },
}

/// One contender.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// What it is, for who reads the report.
    pub(crate) what: &'static str,
    pub(crate) role: Role,
    pub(crate) start: fn() -> Box<dyn Contender>,
}

impl Entry {
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self.role, Role::Peer { .. })
    }

    pub(crate) fn is_variant(&self) -> bool {
        matches!(self.role, Role::Variant { .. })
    }

    /// Whether it takes part in this scenario.
    pub(crate) fn takes_part(&self, scenario: &str, quick: bool) -> bool {
        match self.role {
            Role::Variant { at } => !quick || at.contains(&scenario),
            _ => true,
        }
    }

    pub(crate) fn is_bounded_peer(&self) -> bool {
        self.role == Role::Peer { bounded: true }
    }
}

/// A contender that runs, with the I/O threads in front of it.
pub(crate) trait Contender {
    fn io(&self) -> &Runtime;

    /// Opens the way in: what it returns is called with the number of each job of the trace when that is due. The
    /// ledger learns of each answer.
    fn open(&self, trace: Arc<[Work]>, ledger: Arc<Ledger>) -> Box<dyn FnMut(usize) + Send>;

    /// One job after another, each `gap` after the answer to the one before it; the time that each took.
    fn round_trips(&self, work: Work, count: usize, gap: Duration) -> Vec<Duration>;

    /// Keeps so many jobs in flight for so long; the jobs answered, and the time that took.
    fn flood(&self, work: Work, in_flight: usize, length: Duration) -> Flood;

    /// From each of so many threads at once: so many jobs that do nothing, each handed over without waiting for the one
    /// before it, then all awaited. The time until the last is done; `None` for whom that makes no sense.
    fn spawn_from(&self, producers: usize, jobs: usize) -> Option<Duration>;
}

/// What came out of keeping a contender busy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flood {
    pub(crate) jobs: usize,
    pub(crate) time: Duration,
}

impl Flood {
    pub(crate) fn per_second(self) -> f64 {
        self.jobs as f64 / self.time.as_secs_f64()
    }
}

/// The I/O threads that all contenders have in front of them.
fn io() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().worker_threads(workers().get()).thread_name("io");
    builder
}

/// Workers of each contender, and servers of the ideal.
pub(crate) fn workers() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn per_job<E: Executor>(executor: E) -> Box<dyn Contender> {
    Box::new(PerJob::new(io().build().expect("the system gives threads for I/O"), executor))
}

/// All of them, millstream's variants last.
pub(crate) fn entries() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().chain(variants::VARIANTS)
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: "inline",
        what: "the work on tokio's own threads, in the task of the message: no hand-off",
        role: Role::Reference,
        start: || per_job(tokio_own::Inline),
    },
    Entry {
        name: "spawn_blocking",
        what: "tokio::task::spawn_blocking, up to 512 threads",
        role: Role::Peer { bounded: false },
        start: tokio_own::spawn_blocking,
    },
    Entry {
        name: "spawn_blocking_capped",
        what: "spawn_blocking with max_blocking_threads at the worker count",
        role: Role::Peer { bounded: true },
        start: tokio_own::spawn_blocking_capped,
    },
    Entry {
        name: "tokio_dedicated",
        what: "a second tokio runtime for the CPU-heavy tasks",
        role: Role::Peer { bounded: true },
        start: || per_job(tokio_own::Dedicated::start()),
    },
    Entry {
        name: "rayon",
        what: "a rayon pool, with a tokio oneshot for the answer",
        role: Role::Peer { bounded: true },
        start: || per_job(pools::Rayon::start()),
    },
    Entry {
        name: "affinitypool",
        what: "an affinitypool with a thread per core",
        role: Role::Peer { bounded: true },
        start: || per_job(pools::Affinity::start()),
    },
    Entry {
        name: "blocking",
        what: "blocking::unblock, up to 500 threads",
        role: Role::Peer { bounded: false },
        start: || per_job(pools::Blocking),
    },
    Entry {
        name: "channel",
        what: "a bounded crossbeam channel, pinned threads, and tokio oneshots",
        role: Role::Peer { bounded: true },
        start: || per_job(channel::Channel::start()),
    },
    Entry {
        name: "millstream",
        what: "WorkerPool::spawn",
        role: Role::Millstream,
        start: || per_job(millstream::Pool::start(|config| config)),
    },
    Entry {
        name: "millstream_stream",
        what: "OptimizedStreamProcessor::stream, answers in order of completion",
        role: Role::Millstream,
        start: || Box::new(Streams::<false>::start(|config| config)),
    },
];

/// The contender of this name.
pub(crate) fn entry(name: &str) -> &'static Entry {
    entries().find(|entry| entry.name == name).expect("goals name contenders that take part")
}
