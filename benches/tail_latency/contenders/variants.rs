//! millstream's tricks, each turned off by itself: what is missing then is what it earns.
//!
//! A row is a change of the configuration, or of how jobs are handed over, and the scenarios that show it. Its name says
//! whom it is to be compared with: `millstream_stream_...` with the stream processor, the others with `WorkerPool::spawn`.

use std::time::Duration;

use millstream::{OptimizationConfig, Pinning};

use super::{Contender, Entry, Role, millstream::Pool, per_job, streams::Streams};
use crate::{
    options::{PROBE, ROUND_TRIP, TINY_JOBS},
    scenarios::{EXPONENTIAL, MIXED, SMALL},
};

const fn variant(
    name: &'static str,
    what: &'static str,
    at: &'static [&'static str],
    start: fn() -> Box<dyn Contender>,
) -> Entry {
    Entry { name, what, role: Role::Variant { at }, start }
}

fn pool(change: fn(OptimizationConfig) -> OptimizationConfig) -> Box<dyn Contender> {
    per_job(Pool::start(change))
}

fn stream(change: fn(OptimizationConfig) -> OptimizationConfig) -> Box<dyn Contender> {
    Box::new(Streams::<false>::start(change))
}

pub(super) const VARIANTS: &[Entry] = &[
    variant(
        "millstream_again",
        "WorkerPool::spawn once more: what differs from the first is noise",
        &[EXPONENTIAL, MIXED],
        || pool(|config| config),
    ),
    variant(
        "millstream_no_spin",
        "WorkerPool::spawn, workers that sleep at once",
        &[ROUND_TRIP, EXPONENTIAL, SMALL],
        || pool(|config| OptimizationConfig { worker_spin: Duration::ZERO, ..config }),
    ),
    variant(
        "millstream_no_lookout",
        "WorkerPool::spawn, tasks that sleep at once, however short the job that they await",
        &[ROUND_TRIP, TINY_JOBS],
        || pool(|config| OptimizationConfig { await_spin: Duration::ZERO, ..config }),
    ),
    variant(
        "millstream_unpinned",
        "WorkerPool::spawn, workers that the scheduler places",
        &[EXPONENTIAL, SMALL],
        || pool(|config| OptimizationConfig { worker_pinning: Pinning::Off, ..config }),
    ),
    variant(
        "millstream_not_nice",
        "WorkerPool::spawn, workers that give way to nobody",
        &[PROBE, EXPONENTIAL, SMALL],
        || pool(|config| OptimizationConfig { worker_niceness: 0, ..config }),
    ),
    variant(
        "millstream_by_class",
        "WorkerPool::spawn_with, jobs that say of which class they are: short and long ones are told apart in advance",
        &[MIXED],
        || per_job(Pool::by_class()),
    ),
    variant("millstream_no_lengths", "WorkerPool::spawn, short and long jobs alike", &[MIXED], || {
        pool(|config| OptimizationConfig { enable_length_scheduling: false, ..config })
    }),
    variant(
        "millstream_stream_batch_1",
        "OptimizedStreamProcessor::stream, no message travels with another",
        &[TINY_JOBS, EXPONENTIAL],
        || stream(|config| OptimizationConfig { batch_size: 1, ..config }),
    ),
    variant(
        "millstream_stream_unpinned",
        "OptimizedStreamProcessor::stream, workers that the scheduler places",
        &[SMALL],
        || stream(|config| OptimizationConfig { worker_pinning: Pinning::Off, ..config }),
    ),
    variant(
        "millstream_in_place",
        "WorkerPool::spawn_with, closures vouched for up to 50 µs: they may run on the I/O threads",
        &[ROUND_TRIP, TINY_JOBS, SMALL],
        || per_job(Pool::vouched()),
    ),
    variant(
        "millstream_stream_in_place",
        "OptimizedStreamProcessor::stream, a handler that vouches for jobs of up to 50 µs: they may run on the I/O threads",
        &[ROUND_TRIP, TINY_JOBS, SMALL],
        || Box::new(Streams::<true>::start(|config| config)),
    ),
];
