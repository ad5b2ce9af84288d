//! How much of a core an operation costs, with one thread and with several.

use std::{
    num::NonZero,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Operations between two looks at the clock's verdict.
const BATCH: usize = 256;
/// Operations are timed so often, everybody in turn; the median counts.
pub(crate) const ROUNDS: usize = 5;
/// One round of one contender, and in the quick form.
const ROUND: Duration = Duration::from_millis(300);
const ROUND_QUICK: Duration = Duration::from_millis(40);

/// One who does the operation: so often as it is told.
pub(crate) type Repeat<'a> = &'a (dyn Fn(usize) + Sync);

/// The length of a round.
pub(crate) fn round(quick: bool) -> Duration {
    if quick { ROUND_QUICK } else { ROUND }
}

/// Nanoseconds of one core that an operation costs each contender, with `threads` threads at it.
pub(crate) fn nanos(contenders: &[Repeat<'_>], threads: usize, round: Duration) -> Vec<f64> {
    let mut rounds = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        for (contender, repeat) in contenders.iter().enumerate() {
            rounds[contender].push(once(*repeat, threads, round));
        }
    }
    rounds.into_iter().map(median).collect()
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn once(repeat: Repeat<'_>, threads: usize, round: Duration) -> f64 {
    let (stop, operations) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let begin = &Barrier::new(threads + 1);
    let mut taken = Duration::ZERO;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    // What a thread needs to make once.
                    repeat(BATCH);
                    begin.wait();
                    let mut done = 0;
                    // Relaxed, both: nothing is handed over but the figures themselves.
                    while !stop.load(Relaxed) {
                        repeat(BATCH);
                        done += BATCH as u64;
                    }
                    operations.fetch_add(done, Relaxed);
                })
            })
            .collect();
        begin.wait();
        let started = Instant::now();
        while started.elapsed() < round {
            thread::park_timeout(round.saturating_sub(started.elapsed()));
        }
        stop.store(true, Relaxed);
        workers.into_iter().for_each(|worker| worker.join().expect("an operation does not panic"));
        taken = started.elapsed();
    });
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    taken.as_nanos() as f64 * threads.min(cores) as f64 / operations.load(Relaxed) as f64
}
