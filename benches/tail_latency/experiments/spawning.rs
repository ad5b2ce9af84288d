//! What a job costs to spawn when many threads spawn at once.

use std::time::Duration;

use crate::{contenders::Entry, stats::median};

/// Threads that spawn.
pub(crate) const PRODUCERS: [usize; 5] = [1, 2, 4, 8, 16];

/// Jobs that each of them spawns.
pub(crate) const JOBS: usize = 1600;

/// Times that it is done for one figure: it takes milliseconds, and the first is with cold threads.
const REPETITIONS: usize = 9;

/// Nanoseconds of wall time per job, from the first that is spawned until the last is done, by number of producers;
/// `None` for whom that makes no sense.
pub(crate) fn run(entry: &Entry, producers: usize) -> Option<f64> {
    let contender = (entry.start)();
    let times: Option<Vec<Duration>> =
        (0..REPETITIONS).map(|_| contender.spawn_from(producers, JOBS)).collect();
    let cost = |time: Duration| time.as_nanos() as f64 / (producers * JOBS) as f64;
    median(times?.into_iter().skip(1).map(cost))
}
